/** NFS procedures as the client calls them: on behalf of a caller, with NFS3ERR_JUKEBOX waited out. */

import type { Clock } from '../../base/clock.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import { Status } from '../../programs/nfs3/index.js';
import type { CallOptions, Cancellation, RpcCaller } from '../../rpc/client/rpc-caller.js';
import type { Procedure } from '../../rpc/wire/procedure.js';
import type { Caller } from '../caller/caller.js';
import type { VfsCounters } from '../counters.js';
import { meansStale, rpcFailure } from './status-errno.js';

/** Linux waits NFS_JUKEBOX_RETRY_TIME, 5 s, each time; starting lower serves short delays better. */
const JUKEBOX_FIRST_MS = 250;
const JUKEBOX_MOST_MS = 5_000;

/** Waits, unless the caller stops waiting first: then throws EINTR. */
export function pause(
  clock: Clock,
  milliseconds: number,
  cancellation: Cancellation | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(milliseconds, resolve);
    cancellation?.onCancel(() => {
      timer.cancel();
      reject(new FuseError(Errno.EINTR));
    });
  });
}

export class NfsClient {
  readonly #rpc: RpcCaller;
  readonly #clock: Clock;
  readonly #counters: VfsCounters;

  constructor(rpc: RpcCaller, clock: Clock, counters: VfsCounters) {
    this.#rpc = rpc;
    this.#clock = clock;
    this.#counters = counters;
  }

  /** See RpcCaller. */
  recycle(data: Uint8Array): void {
    this.#rpc.recycle?.(data);
  }

  /**
   * Resolves with the result, whatever its status but JUKEBOX, which is waited out with a new call each time.
   * NOENT is STALE where it can mean nothing else.
   * Rejects with FuseError: EINTR when the caller was interrupted, EIO or ETIMEDOUT when the server could not
   * be asked.
   */
  async call<Arguments, Result extends { readonly status: Status }>(
    procedure: Procedure<Arguments, Result>,
    args: Arguments,
    caller: Caller,
    onRetransmit?: () => void,
  ): Promise<Result> {
    const options: CallOptions = {
      credential: caller.credential,
      cancellation: caller.cancellation,
      onRetransmit,
    };
    try {
      for (let wait = JUKEBOX_FIRST_MS; ; wait = Math.min(wait * 2, JUKEBOX_MOST_MS)) {
        const result = await this.#rpc.call(procedure, args, options);
        if (meansStale(procedure.name, result.status)) return { ...result, status: Status.STALE };
        if (result.status !== Status.JUKEBOX) return result;
        this.#counters.jukeboxWaits++;
        await pause(this.#clock, wait, caller.cancellation);
      }
    } catch (error) {
      throw rpcFailure(error);
    }
  }
}
