/**
 * Process 1 of a container inherits every process whose parent has ended. It must wait for their ends, or they stay as
 * zombies. Owns the rule that Node itself waits for the children that Node has started.
 */
import { endedChild, reap } from './child-calls.js';

/** The next look after one at an ended child of Node, which hides other ended children until Node has waited for it. */
const AGAIN_MS = 20;

export class Reaper {
  readonly #adopted = new Set<number>();
  #timer: NodeJS.Timeout | undefined;
  readonly #onChild = () => this.#reapAll();

  constructor() {
    process.on('SIGCHLD', this.#onChild);
  }

  /** Leaves child `pid` to Node. Call it in the same turn of the event loop in which the child was started. */
  adopt(pid: number | undefined): void {
    if (pid !== undefined) this.#adopted.add(pid);
  }

  dispose(): void {
    process.off('SIGCHLD', this.#onChild);
    clearTimeout(this.#timer);
  }

  #reapAll(): void {
    for (let pid = endedChild(); pid !== undefined; pid = endedChild()) {
      if (this.#adopted.has(pid)) {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(this.#onChild, AGAIN_MS);
        return;
      }
      reap(pid);
    }
  }
}
