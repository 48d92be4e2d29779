/** One call at a time for each volume: CSI has the caller try again later (ABORTED) while another call is at work. */
import { CsiError } from './csi-error.js';

export class CallLocks {
  readonly #held = new Set<string>();

  /**
   * Carries out `work` unless other work for `key` is going on. It counts as going on until it has really ended, also if its
   * caller has been told by then that it takes too long.
   * @throws CsiError ABORTED
   */
  async holding<Value>(key: string, work: () => Promise<Value>): Promise<Value> {
    if (this.#held.has(key))
      throw new CsiError('ABORTED', 'Another call for this volume is still at work.', {
        remedy: 'Try again when that one has ended.',
      });
    this.#held.add(key);
    try {
      return await work();
    } finally {
      this.#held.delete(key);
    }
  }
}
