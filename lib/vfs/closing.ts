/** The ends of open files: close(2) and the last reference. Owns the order of data and locks. */
import { Errno, FuseError } from '../fuse/contract/errno.js';
import type { RequestContext } from '../fuse/contract/operations.js';
import type { Cancellation } from '../rpc/client/rpc-caller.js';
import type { ExitingCallers } from './caller/exiting-callers.js';
import type { Files } from './data/files.js';
import type { Locks } from './locks/locks.js';

export class Closing {
  readonly #files: Files;
  readonly #exiting: ExitingCallers;
  readonly #locks: Locks | undefined;

  constructor(files: Files, exiting: ExitingCallers, locks: Locks | undefined) {
    this.#files = files;
    this.#exiting = exiting;
    this.#locks = locks;
  }

  /** close(2) by a process that owns its fcntl(2) locks as `lockOwner`. Throws what {@link Files.flush} throws. */
  flush(ctx: RequestContext, fh: number, lockOwner: bigint): Promise<void> {
    const endsLocks = this.#locks?.endsAtClose(this.#files.get(fh), lockOwner) === true;
    if (!endsLocks && !this.#files.waitsAtFlush(fh)) return this.#files.flush(fh, ctx, ctx);
    return this.#exiting.wait(ctx, (cancellation) =>
      endsLocks
        ? this.#flushAndUnlock(ctx, fh, lockOwner, cancellation)
        : this.#files.flush(fh, cancellation, ctx),
    );
  }

  /** Data first: the next owner of the lock is to see it. Locks end also where that fails. */
  async #flushAndUnlock(
    ctx: RequestContext,
    fh: number,
    lockOwner: bigint,
    cancellation: Cancellation,
  ): Promise<void> {
    const file = this.#files.get(fh);
    try {
      await this.#files.flush(fh, cancellation, ctx);
    } finally {
      await this.#locks?.closed(file, lockOwner, cancellation).catch(ignoreInterrupt);
    }
  }

  /** The last reference to an open file is gone. Its locks do not wait for a file that is removed now. */
  async release(fh: number): Promise<void> {
    const unlocked = this.#locks?.released(this.#files.get(fh));
    await this.#files.release(fh);
    await unlocked;
  }
}

/** A signal ends the wait for an UNLOCK, which goes on: nothing has failed that close(2) could tell of. */
function ignoreInterrupt(error: unknown): void {
  if (!(error instanceof FuseError && error.errno === Errno.EINTR)) throw error;
}
