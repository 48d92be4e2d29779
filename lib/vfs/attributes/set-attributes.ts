/** SETATTR, when it is guarded, and what it shows of the server. */
import {
  type Fattr3,
  type FileHandle,
  type NfsTime,
  type Sattr3,
  SETATTR,
  Status,
  type WccData,
  type WccResult,
} from '../../programs/nfs3/index.js';
import type { AttributeCache, ChangeTerms } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { Answer, Exchange } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import type { ReachedBy, Redriver } from '../remote/redrive.js';
import { isStale } from '../remote/status-errno.js';
import type { CurrentAttributes } from './current-attributes.js';
import type { SettingEvidence } from './setting-evidence.js';

/** The parts of the mount that one call needs. */
export interface SetOnceNeeds {
  readonly evidence: SettingEvidence;
  readonly exchange: Exchange;
  readonly nfs: NfsClient;
  readonly redriver: Redriver;
}

/** The parts of the mount that this needs. */
export interface SetAttributesNeeds extends SetOnceNeeds {
  readonly attributes: AttributeCache;
  readonly current: CurrentAttributes;
}

/** SETATTRs with a guard before one without: a file that others change all the time, or a server that cannot tell. */
const MAX_GUARDED = 3;

const wccOf = ({ wcc }: WccResult): WccData => wcc;
/** Success is answered to the kernel with the attributes as they are then. */
const told = (result: WccResult | undefined): ChangeTerms => ({
  trusting: true,
  told: result?.status === Status.OK,
});

/** One SETATTR; resolves with the result, whatever its status. */
export async function setOnce(
  vfs: SetOnceNeeds,
  inode: Inode,
  changes: Sattr3,
  caller: Caller,
  guard?: NfsTime,
): Promise<Answer<WccResult>> {
  const set = (object: FileHandle): Promise<WccResult> =>
    vfs.nfs.call(SETATTR, { object, attributes: changes, guard }, caller);
  const answer = await vfs.exchange.change(inode, caller, set, wccOf, told);
  const { status, wcc } = answer.result;
  const fsid = inode.attributes?.fsid;
  if (fsid === undefined || status === Status.NOT_SYNC || isStale(status)) return answer;
  const after = status === Status.OK ? wcc.after : undefined;
  if (status !== Status.OK || after !== undefined)
    vfs.evidence.answered(fsid, caller.credential.uid, changes, after);
  return answer;
}

/**
 * SETATTR; answers the attributes as they are then. A change of the size is guarded by the file's ctime (RFC 1813
 * 3.3.2): a copy of the call that was left on a broken connection, and that the server meets only after its repeat
 * and the writes that followed, must not cut these off.
 */
export async function setAttributes(
  vfs: SetAttributesNeeds,
  inode: Inode,
  changes: Sattr3,
  caller: Caller,
  reachedBy: ReachedBy = 'path',
): Promise<Fattr3> {
  let guard = changes.size === undefined ? undefined : inode.attributes?.ctime;
  for (let refused = 0; ; ) {
    const { result, start } = await setOnce(vfs, inode, changes, caller, guard);
    // The handle answers for another object now.
    if (result.status === Status.OK && inode.stale) throw vfs.redriver.reportStale(inode, caller, reachedBy);
    const shown = result.wcc.after;
    const after = shown && vfs.attributes.latest(inode, shown, start);
    if (result.status === Status.OK) return after ?? vfs.current.fetch(inode, caller, reachedBy);
    if (result.status !== Status.NOT_SYNC || guard === undefined)
      throw vfs.redriver.reportFailure(result, [inode], caller, reachedBy);
    // Changed by another client, or by the first copy of this very call: what is wanted stays the same.
    const now = after ?? (await vfs.current.fetch(inode, caller, reachedBy));
    refused += 1;
    guard = refused < MAX_GUARDED ? now.ctime : undefined;
  }
}
