/** Asks the server what a caller may do, and remembers the answer while the object's permissions stay. */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import {
  ACCESS,
  Access,
  type AccessResult,
  type Fattr3,
  type FileHandle,
  Status,
} from '../../programs/nfs3/index.js';
import type { CurrentAttributes } from '../attributes/current-attributes.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import { type Caller, withGroups } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { ClientConfig } from '../config.js';
import type { VfsCounters } from '../counters.js';
import type { KernelView } from '../kernel/kernel-view.js';
import { opensForExecution, opensForReading, opensForWriting } from '../open-flags.js';
import type { Exchange } from '../remote/exchange.js';
import { ofObject } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import type { ReachedBy, Redriver } from '../remote/redrive.js';
import { knownAccess, rememberAccess } from './access-cache.js';

/** The parts of the mount that this needs. */
export interface PermissionNeeds {
  readonly attributes: AttributeCache;
  readonly config: ClientConfig;
  readonly counters: VfsCounters;
  readonly current: CurrentAttributes;
  readonly exchange: Exchange;
  readonly kernel: KernelView;
  readonly nfs: NfsClient;
  readonly redriver: Redriver;
}

const R_OK = 4;
const W_OK = 2;
const X_OK = 1;
/** Calls about one object whose group is another in each answer. */
const MAX_ASKED = 3;

/** All that the kind of object knows, so that one call answers every later question (Linux nfs3_proc_access). */
function allBits(inode: Inode): number {
  const common = Access.READ | Access.MODIFY | Access.EXTEND;
  return common | (inode.isDirectory ? Access.LOOKUP | Access.DELETE : Access.EXECUTE);
}

/** Of what the server grants, what the caller gets: all of it, unless the server takes the caller for another. */
function entitled(inode: Inode, { claim }: Caller, granted: number): number {
  if (claim === undefined) return granted;
  return inode.attributes === undefined ? 0 : granted & claim.access(inode.attributes);
}

export class Permission {
  readonly #vfs: PermissionNeeds;

  constructor(vfs: PermissionNeeds) {
    this.#vfs = vfs;
  }

  /**
   * The right that opening needs, with the attributes as close-to-open wants them: one call to the server that brings
   * both, GETATTR where the caller's rights are known and else ACCESS; none without close-to-open.
   * @throws FuseError EACCES unless `suffices` says yes to the ACCESS bits granted; ESTALE where the kernel has to check again.
   */
  async admit(inode: Inode, caller: Caller, suffices: (granted: number) => boolean): Promise<void> {
    const before = inode.attributes;
    await this.#admit(inode, caller, suffices);
    // Of an idmapped mount the kernel alone knows the caller, and it has decided by what it was told before. It decides again
    // when it has looked the path up once more.
    if (
      this.#vfs.config.identity.idmapped === true &&
      before !== undefined &&
      !hasRightsOf(before, inode.attributes)
    )
      throw new FuseError(Errno.ESTALE, 'another mode or owner than the kernel has decided by');
  }

  async #admit(inode: Inode, caller: Caller, suffices: (granted: number) => boolean): Promise<void> {
    let granted = this.#remembered(inode, caller);
    if (this.#vfs.config.closeToOpen && granted !== undefined) {
      await this.#vfs.current.fetch(inode, caller);
      // If the attributes moved, the rights are void and asked for after all.
      granted = this.#remembered(inode, caller);
    } else if (!this.#vfs.attributes.isFresh(inode)) granted = undefined;
    await this.#require(inode, caller, 'path', granted, suffices);
  }

  /**
   * Asks what the caller may do with an object that it is expected to open, unless that is known. Never rejects: who opens the
   * object asks again.
   */
  async learn(inode: Inode, caller: Caller): Promise<void> {
    if (this.#remembered(inode, caller) !== undefined) return;
    await this.#ask(inode, allBits(inode), caller).catch(() => {});
  }

  #remembered(inode: Inode, caller: Caller): number | undefined {
    return knownAccess(inode, caller.credential, allBits(inode));
  }

  /** Nobody is refused because of what is `remembered`: the caller may have been let in since that was asked. */
  async #require(
    inode: Inode,
    caller: Caller,
    reachedBy: ReachedBy,
    remembered: number | undefined,
    suffices: (granted: number) => boolean,
  ): Promise<void> {
    if (remembered !== undefined && suffices(entitled(inode, caller, remembered))) {
      this.#vfs.counters.access.hits++;
      return;
    }
    const { granted } = await this.#ask(inode, allBits(inode), caller, reachedBy);
    if (!suffices(entitled(inode, caller, granted))) throw new FuseError(Errno.EACCES);
  }

  async #ask(
    inode: Inode,
    wanted: number,
    caller: Caller,
    reachedBy: ReachedBy = 'path',
    asked = 1,
  ): Promise<{ granted: number; attributes: Fattr3 | undefined }> {
    const { exchange, redriver, nfs, counters } = this.#vfs;
    counters.access.misses++;
    let { accessGeneration } = inode;
    // The answer may be from before a change that was seen meanwhile; one that it shows itself is no reason.
    let timely = true;
    const call = async (object: FileHandle): Promise<AccessResult> => {
      ({ accessGeneration } = inode);
      const answer = await nfs.call(ACCESS, { object, access: wanted }, caller);
      timely = inode.accessGeneration === accessGeneration;
      return answer;
    };
    const { result } = await exchange.ask(inode, caller, call, ofObject);
    if (result.status !== Status.OK) throw redriver.reportFailure(result, [inode], caller, reachedBy);
    if (timely) ({ accessGeneration } = inode);
    if (result.attributes === undefined) await this.#vfs.current.fetch(inode, caller, reachedBy);
    rememberAccess(inode, caller.credential, wanted, result.access, accessGeneration);
    // The object turns out to be of another group than was known, and the server was not told that the caller is in it.
    const member = withGroups(caller, inode.attributes?.gid);
    if (member !== caller && asked < MAX_ASKED) return this.#ask(inode, wanted, member, reachedBy, asked + 1);
    return { granted: result.access, attributes: result.attributes };
  }

  /** access(2), chdir(2) and fchdir(2). Throws EACCES. */
  async check(inode: Inode, mask: number, caller: Caller): Promise<void> {
    if (inode.writer?.setsLater) await interruptible(inode.writer.drain(), caller.cancellation);
    const reachedBy = this.#vfs.kernel.reachedBy(inode);
    if ((mask & (R_OK | W_OK | X_OK)) === 0) {
      await this.#vfs.current.fresh(inode, caller, reachedBy);
      return;
    }
    const remembered = this.#vfs.attributes.isFresh(inode) ? this.#remembered(inode, caller) : undefined;
    await this.#require(inode, caller, reachedBy, remembered, (granted) => allows(inode, mask, granted));
  }
}

function hasRightsOf({ mode, uid, gid }: Fattr3, now: Fattr3 | undefined): boolean {
  return mode === now?.mode && uid === now.uid && gid === now.gid;
}

/** Whether ACCESS bits suffice for open(2) with these flags. */
export function allowsOpen(granted: number, flags: number): boolean {
  const executes = opensForExecution(flags);
  if (executes && (granted & Access.EXECUTE) === 0) return false;
  // A program that may be executed but not read is read by the kernel alone.
  if (!executes && opensForReading(flags) && (granted & Access.READ) === 0) return false;
  return !opensForWriting(flags) || (granted & (Access.MODIFY | Access.EXTEND)) !== 0;
}

/** Whether ACCESS bits allow what access(2) asks for. */
function allows(inode: Inode, mask: number, granted: number): boolean {
  const search = inode.isDirectory ? Access.LOOKUP : Access.EXECUTE;
  return (
    ((mask & R_OK) === 0 || (granted & Access.READ) !== 0) &&
    ((mask & W_OK) === 0 || (granted & (Access.MODIFY | Access.EXTEND)) !== 0) &&
    ((mask & X_OK) === 0 || (granted & search) !== 0)
  );
}
