/**
 * Gives back what the kernel no longer needs: when a lot of inodes have gone, has the engine collect its garbage. A process
 * that has nothing to do does not do so of its own accord, and would keep the memory of a walked tree for ever.
 */
import type { Clock, Timer } from '../../base/clock.js';

/** Inodes that have gone: some 50 MB. Less is not worth a collection. */
const MANY = 50_000;
/** Inodes go by the ten thousand when they go: it is waited until that is over. */
const QUIET_MS = 5_000;

export class MemoryReturn {
  readonly #clock: Clock;
  readonly #collect: () => void;
  readonly #held: () => number;
  /** Gone since the last collection; and how many of them when the timer was set. */
  #gone = 0;
  #seen = 0;
  #timer: Timer | undefined;

  /**
   * `held`: how many inodes there are. A collection takes its time for each of them, so that there have to be as many that
   * have gone.
   */
  constructor(clock: Clock, collect: () => void, held: () => number) {
    this.#clock = clock;
    this.#collect = collect;
    this.#held = held;
  }

  /** An inode has gone. */
  dropped(): void {
    if (++this.#gone >= MANY && this.#timer === undefined) this.#wait();
  }

  /** Nothing is collected any more. */
  close(): void {
    this.#timer?.cancel();
    this.#gone = Number.NEGATIVE_INFINITY;
  }

  #wait(): void {
    this.#seen = this.#gone;
    this.#timer = this.#clock.after(QUIET_MS, () => {
      this.#timer = undefined;
      if (this.#gone !== this.#seen) this.#wait();
      else if (this.#gone >= this.#held()) {
        this.#gone = 0;
        this.#collect();
      }
    });
  }
}
