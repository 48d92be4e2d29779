/**
 * As process 1 of a container, we inherit every process whose parent has ended, and must take note of its end, or it
 * stays as a zombie. Owns the rule that the children that Node itself has started are left to Node.
 */
import { endedChild, reap } from './child-calls.js';

/** Until Node has taken note of a child of its own, which hides the others. */
const AGAIN_MS = 20;

export class Reaper {
  readonly #own = new Set<number>();
  #timer: NodeJS.Timeout | undefined;
  readonly #onChild = () => this.#reapAll();

  constructor() {
    process.on('SIGCHLD', this.#onChild);
  }

  /** Node waits for this one. To be called in the same turn in which it was started. */
  own(pid: number | undefined): void {
    if (pid !== undefined) this.#own.add(pid);
  }

  dispose(): void {
    process.off('SIGCHLD', this.#onChild);
    clearTimeout(this.#timer);
  }

  #reapAll(): void {
    for (let pid = endedChild(); pid !== undefined; pid = endedChild()) {
      if (this.#own.has(pid)) {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(this.#onChild, AGAIN_MS);
        return;
      }
      reap(pid);
    }
  }
}
