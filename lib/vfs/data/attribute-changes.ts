/** chmod(2), chown(2), truncate(2), utimensat(2) and their kin. Owns their order among the writes of a file. */
import type { SetAttributes } from '../../fuse/contract/operations.js';
import type { Fattr3, Sattr3 } from '../../programs/nfs3/index.js';
import { type ClaimedRightsNeeds, mayChange } from '../access/claimed-rights.js';
import { type SetAttributesNeeds, setAttributes } from '../attributes/set-attributes.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import { opensForWriting } from '../open-flags.js';
import { writerOf } from '../write-behind/write-behind.js';
import { Deferral, type DeferralNeeds, SET_ID } from './deferral.js';
import type { OpenFile } from './open-file.js';
import { serverTime } from './server-time.js';

export interface AttributeChangesNeeds extends ClaimedRightsNeeds, SetAttributesNeeds, DeferralNeeds {}

export class AttributeChanges {
  readonly #vfs: AttributeChangesNeeds;
  readonly #find: (fh: number) => OpenFile | undefined;
  readonly #deferral: Deferral;

  constructor(vfs: AttributeChangesNeeds, find: (fh: number) => OpenFile | undefined) {
    this.#vfs = vfs;
    this.#find = find;
    this.#deferral = new Deferral(vfs);
  }

  /**
   * Writes that came before are on the server first. Answers the attributes as they are then, or as they will be where the server
   * need not be asked at once.
   */
  async set(inode: Inode, changes: SetAttributes, caller: Caller): Promise<Fattr3> {
    const writer = writerOf(inode);
    const sattr = serverChanges(changes);
    const known = this.#deferral.allows(inode, sattr, caller) ? inode.attributes : undefined;
    if (known !== undefined && writer?.setLater(sattr, caller.credential, true))
      return writer.attributesWith(known);
    // A WRITE that arrives after the SETATTR would move the mtime again, or write beyond a new end. Nor may data be written again
    // later that would undo the change (Linux nfs_setattr, nfs_sync_inode).
    if (isUndoneByWrites(sattr) && writer?.clean === false)
      await interruptible(writer.makeStable(), caller.cancellation);
    else if (writer?.dirty) await interruptible(writer.drain(true), caller.cancellation);
    let asWhom = caller;
    // ftruncate(2): the right to write was settled at open.
    const file = changes.fh === undefined ? undefined : this.#find(changes.fh);
    if (caller.claim !== undefined) {
      const opened = file !== undefined && opensForWriting(file.flags);
      await mayChange(this.#vfs, inode, changes, opened, caller);
    }
    if (changes.size !== undefined) {
      inode.countContentChange();
      if (file !== undefined) asWhom = { ...caller, credential: file.credential };
    }
    writer?.setsNow();
    // Of all that change attributes, only ftruncate(2) says that it has a descriptor. Where truncate(2), chmod(2) and
    // the like name a file that another client has replaced, the kernel's second look finds the new one.
    const reachedBy = changes.fh === undefined ? 'path' : 'descriptor';
    const change = (): Promise<Fattr3> => setAttributes(this.#vfs, inode, sattr, asWhom, reachedBy);
    if (changes.size === undefined || writer === undefined) return change();
    return interruptible(writer.resize(Number(changes.size), change), caller.cancellation);
  }

  /**
   * CREATE with EXCLUSIVE has made the file, which `changes` complete. True: they are set once it is open, together with its data.
   * False: the server is to be asked at once.
   */
  completesLater(inode: Inode, attributes: Fattr3, changes: Sattr3, caller: Caller): boolean {
    if (!this.#deferral.allowsNew(attributes, changes, caller)) return false;
    // The rights are in the server's hands, and the times follow from the data: it makes no difference which comes first.
    const writer = writerOf(inode);
    if (!writer?.setLater(changes, caller.credential, false)) return false;
    writer.opening = this.#vfs.config.kernelChecks && caller.tid !== 0 ? caller.tid : undefined;
    return true;
  }

  /** The caller has made the file, and is about to have it open. */
  made(inode: Inode, attributes: Fattr3, caller: Caller): void {
    const writer = writerOf(inode);
    if (writer !== undefined && this.#deferral.isMaker(attributes, caller)) writer.maker = caller.credential;
  }
}

function isUndoneByWrites({ mode = 0, mtime }: Sattr3): boolean {
  return mtime !== undefined || (mode & SET_ID) !== 0;
}

function serverChanges({ mode, uid, gid, size, atime, mtime }: SetAttributes): Sattr3 {
  return {
    mode: mode === undefined ? undefined : mode & 0o7777,
    uid,
    gid,
    size,
    atime: serverTime(atime),
    mtime: serverTime(mtime),
  };
}
