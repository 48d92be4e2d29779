/**
 * The time that data of one file may wait for a COMMIT. A server that restarts loses it until then, and what is written again in its
 * place would come to lie over what other clients have written since: the later, the more. Linux commits within half a minute as well.
 */
import type { Clock, Timer } from '../../base/clock.js';

/** No more came for so long: the file is at rest. */
const IDLE_MS = 10_000;
/** A file that is written all the time. */
const LONGEST_MS = 30_000;

export class IdleCommit {
  readonly #due: () => void;
  #since = 0;
  #last = 0;
  #timer: Timer | undefined = undefined;

  /** `due` is to send a COMMIT, unless one is under way. */
  constructor(due: () => void) {
    this.#due = due;
  }

  /** A WRITE, a COMMIT or a SETATTR has ended. `isWaiting`: there is data that waits for a COMMIT. */
  sees(clock: Clock, isWaiting: boolean): void {
    if (!isWaiting) {
      this.#timer?.cancel();
      this.#timer = undefined;
      return;
    }
    this.#last = clock.now();
    if (this.#timer !== undefined) return;
    this.#since = this.#last;
    this.#wait(clock, IDLE_MS);
  }

  #wait(clock: Clock, milliseconds: number): void {
    this.#timer = clock.after(milliseconds, () => {
      this.#timer = undefined;
      const left = Math.min(this.#last + IDLE_MS, this.#since + LONGEST_MS) - clock.now();
      if (left > 0) this.#wait(clock, left);
      else this.#due();
    });
  }
}
