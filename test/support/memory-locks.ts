/** The locks of the file system in memory. A waiter looks again every 10 ms. */
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type {
  FuseLock,
  LockRequest,
  MaybePromise,
  RequestContext,
} from '../../lib/fuse/contract/operations.js';

export class MemoryLocks {
  #locks: { node: number; owner: bigint; lock: FuseLock }[] = [];

  /** A lock of another owner that stands against this one. */
  conflict(node: number, { owner, lock }: LockRequest): FuseLock | undefined {
    return this.#locks.find(
      (held) =>
        held.node === node &&
        held.owner !== owner &&
        held.lock.start <= lock.end &&
        lock.start <= held.lock.end &&
        (held.lock.type === 1 || lock.type === 1),
    )?.lock;
  }

  /** Sets or removes a lock, as soon as nothing stands against it if the caller waits. */
  take(ctx: RequestContext, nodeid: number, request: LockRequest, wait: boolean): MaybePromise<void> {
    if (request.lock.type !== 2 && this.conflict(nodeid, request) !== undefined) {
      if (!wait) throw new FuseError(Errno.EAGAIN);
      return new Promise((resolve, reject) => {
        const retry = setInterval(() => {
          if (this.conflict(nodeid, request) !== undefined) return;
          clearInterval(retry);
          this.#set(nodeid, request);
          resolve();
        }, 10);
        ctx.onCancel(() => {
          clearInterval(retry);
          reject(new FuseError(Errno.EINTR));
        });
      });
    }
    this.#set(nodeid, request);
  }

  /** Removes all locks of one owner on a node. */
  drop(node: number, owner: bigint): void {
    this.#locks = this.#locks.filter((held) => held.node !== node || held.owner !== owner);
  }

  #set(node: number, { owner, lock }: LockRequest): void {
    this.drop(node, owner);
    if (lock.type !== 2) this.#locks.push({ node, owner, lock });
  }
}
