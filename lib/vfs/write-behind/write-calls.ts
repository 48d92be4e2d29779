/** WRITE and COMMIT as calls: short writes continued, changes accounted for, failures as errors. */

import type { Clock } from '../../base/clock.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import {
  COMMIT,
  type Fattr3,
  StableHow as Stable,
  type StableHow,
  Status,
  WRITE,
  type WriteResult,
} from '../../programs/nfs3/index.js';
import type { ChangeTerms } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { TransferLimits } from '../config.js';
import type { Exchange } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import { LEAST_STEP, Patience } from '../remote/patience.js';
import type { Redriver } from '../remote/redrive.js';

/** The parts of the mount that this needs. */
export interface WriteCallsNeeds {
  readonly clock: Clock;
  readonly exchange: Exchange;
  readonly limits: TransferLimits;
  readonly nfs: NfsClient;
  readonly redriver: Redriver;
}

/** Without attributes from before, as Linux has it for WRITE: it was this mount alone that changed the file. */
const trusting = (): ChangeTerms => ({ trusting: true });

/** WRITE's arguments beside the file. */
export interface WriteTerms {
  readonly offset: number;
  readonly data: Uint8Array;
  readonly stable: StableHow;
  /** Called as soon as a WRITE has gone out. */
  readonly onSent?: (() => void) | undefined;
}

/** The server's promise about data that it took. */
export interface Written {
  /** The weakest promise of the WRITEs that it needed. */
  readonly committed: StableHow;
  /** Undefined where all is on stable storage; a verifier that no COMMIT answers where two were seen. */
  readonly verifier: string | undefined;
  /** The file as the last reply showed it. */
  readonly after: Fattr3 | undefined;
}

/** WRITEs until all bytes are taken; short writes are continued (RFC 1813 3.3.7). Throws what fsync(2) is to report. */
export async function writeAll(
  vfs: WriteCallsNeeds,
  inode: Inode,
  { offset, data, stable, onSent }: WriteTerms,
  caller: Caller,
): Promise<Written> {
  let committed: StableHow = Stable.FILE_SYNC;
  let verifier: string | undefined;
  let after: Fattr3 | undefined;
  const patience = new Patience(vfs.clock, 'the server takes only a few bytes with each WRITE');
  // A server that takes less than it is sent is sent less: what it leaves has crossed the network for nothing.
  let most = vfs.limits.wsize;
  for (let done = 0; done < data.length; ) {
    const piece = data.subarray(done, done + most);
    const write = { offset: offset + done, data: piece, stable, onSent };
    const result = await writeOnce(vfs, inode, write, caller);
    after = result.wcc.after;
    if (result.count === 0) throw new FuseError(Errno.EIO, 'the server wrote nothing');
    const taken = Math.min(result.count, piece.length);
    done += taken;
    most = Math.min(vfs.limits.wsize, Math.max(LEAST_STEP, taken * 2));
    await patience.after(taken, piece.length, caller.cancellation);
    if (result.committed === Stable.FILE_SYNC) continue;
    // Two verifiers within one extent: no COMMIT can vouch for both, so it counts as lost at once.
    verifier = committed === Stable.FILE_SYNC || verifier === result.verifier ? result.verifier : '';
    committed = Stable.UNSTABLE;
  }
  return { committed, verifier, after };
}

async function writeOnce(
  vfs: WriteCallsNeeds,
  inode: Inode,
  { offset, data, stable, onSent }: WriteTerms,
  caller: Caller,
): Promise<WriteResult & { status: 0 }> {
  const { result } = await vfs.exchange.change(
    inode,
    caller,
    (file) => {
      const reply = vfs.nfs.call(WRITE, { file, offset, data, stable }, caller);
      onSent?.();
      return reply;
    },
    ({ wcc }) => wcc,
    trusting,
  );
  if (result.status !== Status.OK) throw vfs.redriver.reportFailure(result, [inode], caller, 'descriptor');
  return result;
}

/** COMMIT of the whole file, as Linux sends it. Answers the server's verifier; throws what fsync(2) is to report. */
export async function commitAll(vfs: WriteCallsNeeds, inode: Inode, caller: Caller): Promise<string> {
  const { result } = await vfs.exchange.change(
    inode,
    caller,
    (file) => vfs.nfs.call(COMMIT, { file, offset: 0, count: 0 }, caller),
    ({ wcc }) => wcc,
    trusting,
  );
  if (result.status !== Status.OK) throw vfs.redriver.reportFailure(result, [inode], caller, 'descriptor');
  return result.verifier;
}
