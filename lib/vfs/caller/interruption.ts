/**
 * The wish of one who waits for a lock to wait no longer: its program got a signal, or the mount ends. It waits again and
 * again, for weeks perhaps. So the program is listened to once, and each wait forgets its own listener.
 */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';

export class Interruption implements Cancellation {
  readonly #listeners = new Set<() => void>();
  #cancelled = false;

  constructor(program: Cancellation | undefined) {
    program?.onCancel(() => this.interrupt());
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  interrupt(): void {
    this.#cancelled = true;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }

  onCancel(listener: () => void): void {
    if (this.#cancelled) listener();
    else this.#listeners.add(listener);
  }

  /** @throws FuseError EINTR */
  throwIfCancelled(): void {
    if (this.#cancelled) throw new FuseError(Errno.EINTR);
  }

  /** Resolves or rejects as `work` does, or with EINTR once it is interrupted. The work is not stopped, and may fail unheard. */
  until<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const interrupted = (): void => reject(new FuseError(Errno.EINTR));
      const forget = (): void => void this.#listeners.delete(interrupted);
      work.then(resolve, reject);
      work.then(forget, forget);
      this.onCancel(interrupted);
    });
  }
}
