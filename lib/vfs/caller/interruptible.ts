/** Waiting that ends when the caller is interrupted, for work that goes on all the same. */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';

/**
 * Resolves or rejects as `work` does, or with EINTR once the caller stops waiting. The work is not stopped, and may fail
 * unheard.
 */
export function interruptible<T>(work: Promise<T>, cancellation: Cancellation | undefined): Promise<T> {
  if (cancellation === undefined) return work;
  return new Promise((resolve, reject) => {
    work.then(resolve, reject);
    cancellation.onCancel(() => reject(new FuseError(Errno.EINTR)));
  });
}
