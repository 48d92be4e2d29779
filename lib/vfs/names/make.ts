/** Making a name: create, mkdir, mknod, symlink, link. */
import { randomBytes } from 'node:crypto';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import {
  CREATE,
  CREATE_VERIFIER_SIZE,
  type CreateHow,
  CreateMode,
  type FileHandle,
  type FileName,
  FileType,
  LINK,
  type MakeResult,
  MKDIR,
  MKNOD,
  type MknodWhat,
  READLINK,
  type Sattr3,
  Status,
  SYMLINK,
} from '../../programs/nfs3/index.js';
import type { ClaimedRightsNeeds } from '../access/claimed-rights.js';
import { mayAddName } from '../access/claimed-rights.js';
import type { SetAttributesNeeds } from '../attributes/set-attributes.js';
import { setAttributes } from '../attributes/set-attributes.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { DentryCache, DentryKey } from '../cache/dentry-cache.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { KernelReplies } from '../kernel/kernel-replies.js';
import type { Answer, Exchange } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import type { Redriver } from '../remote/redrive.js';
import { Replay, type RequestRecords } from '../remote/replay.js';
import type { Found, Lookup } from './lookup.js';

/** The parts of the mount that this needs. */
export interface MakeNeeds extends ClaimedRightsNeeds, SetAttributesNeeds {
  readonly attributes: AttributeCache;
  readonly dentries: DentryCache;
  readonly exchange: Exchange;
  readonly nfs: NfsClient;
  readonly records: { readonly requests: RequestRecords } | undefined;
  readonly redriver: Redriver;
  readonly replies: KernelReplies;
}

/** Whether `changes`, which complete a new file, may be left to somebody who sets them later. */
export type CompletesLater = (made: Found, changes: Sattr3) => boolean;

const TWO_32 = 0x1_0000_0000;

export class MakeRequests {
  readonly #vfs: MakeNeeds;
  readonly #lookup: Lookup;

  constructor(vfs: MakeNeeds, lookup: Lookup) {
    this.#vfs = vfs;
    this.#lookup = lookup;
  }

  /**
   * One of the calls that make a name in a directory, with its bookkeeping. `isOurs` tells whether what is
   * found under the name, after a repeated call was answered NFS3ERR_EXIST, is what the first one made.
   */
  async #make(
    parent: Inode,
    name: FileName,
    caller: Caller,
    call: (directory: FileHandle, onRetransmit: () => void) => Promise<MakeResult>,
    isOurs: (found: Found) => boolean | Promise<boolean>,
  ): Promise<Found> {
    const vfs = this.#vfs;
    if (caller.claim !== undefined) await mayAddName(vfs, parent, caller);
    const replay = new Replay(parent, caller, vfs.records?.requests);
    return replay.during(() => this.#makeOnce({ parent, name }, caller, replay, call, isOurs));
  }

  async #makeOnce(
    { parent, name }: DentryKey,
    caller: Caller,
    replay: Replay,
    call: (directory: FileHandle, onRetransmit: () => void) => Promise<MakeResult>,
    isOurs: (found: Found) => boolean | Promise<boolean>,
  ): Promise<Found> {
    const vfs = this.#vfs;
    const made = replay.isDone ? await this.#lookup.find(parent, name, caller) : undefined;
    if (made !== undefined) return made;
    const generation = parent.generation;
    let answer: Answer<MakeResult>;
    try {
      answer = await vfs.exchange.change(
        parent,
        caller,
        (directory) => call(directory, replay.onRetransmit),
        ({ directoryWcc }) => directoryWcc,
      );
    } catch (error) {
      // Nobody knows whether it happened.
      vfs.dentries.delete(parent, name);
      throw error;
    }
    const { result, start } = answer;
    if (result.status === Status.OK) {
      return this.#lookup.complete(
        { parent, name, handle: result.object, attributes: result.attributes, start, generation },
        caller,
      );
    }
    // A failed call may have succeeded before its reply was lost: no negative dentry.
    vfs.dentries.delete(parent, name);
    if (result.status === Status.EXIST && replay.retransmitted) {
      const found = await this.#lookup.find(parent, name, caller);
      if (found !== undefined && replay.mayHaveMade(found.attributes) && (await isOurs(found))) return found;
    }
    // Of a procedure that the server does not have another one takes the place, which an earlier process may have called.
    if (result.status !== Status.NOTSUPP) replay.changedNothing();
    const known = await this.#lookup.whyNotMade({ parent, name }, result, caller);
    throw known ?? vfs.redriver.reportFailure(result, [parent], caller);
  }

  /** open(2) with O_CREAT. A file that exists already keeps its content: CREATE has no guard against its own late copies. */
  async create(
    parent: Inode,
    name: FileName,
    mode: number,
    exclusive: boolean,
    caller: Caller,
    later?: CompletesLater,
  ): Promise<Found> {
    if (exclusive) return this.#createExclusive({ parent, name }, mode, caller, later);
    return this.#create(parent, name, { mode: CreateMode.UNCHECKED, attributes: { mode } }, caller);
  }

  #create(parent: Inode, name: FileName, how: CreateHow, caller: Caller): Promise<Found> {
    return this.#make(
      parent,
      name,
      caller,
      (directory, onRetransmit) =>
        this.#vfs.nfs.call(CREATE, { where: { directory, name }, how }, caller, onRetransmit),
      // EXCLUSIVE repeats itself right by its verifier: what exists then is somebody else's.
      ({ inode, attributes }) => how.mode === CreateMode.GUARDED && inode.isRegular && attributes.size === 0n,
    );
  }

  /**
   * O_EXCL: EXCLUSIVE with a verifier that makes a repeated call succeed (RFC 1813 3.3.8), and a SETATTR for
   * the mode and for the times, in which servers keep the verifier. Servers that cannot get GUARDED instead.
   */
  async #createExclusive(
    { parent, name }: DentryKey,
    mode: number,
    caller: Caller,
    later: CompletesLater | undefined,
  ): Promise<Found> {
    let made: Found;
    try {
      const verifier = this.#verifierFor(caller);
      made = await this.#create(parent, name, { mode: CreateMode.EXCLUSIVE, verifier }, caller);
    } catch (error) {
      if (!(error instanceof FuseError) || error.errno !== Errno.EOPNOTSUPP) throw error;
      return this.#create(parent, name, { mode: CreateMode.GUARDED, attributes: { mode } }, caller);
    }
    const changes: Sattr3 = { mode, atime: 'server', mtime: 'server' };
    if (later?.(made, changes)) return made;
    // The kernel must not repeat the call: the file is there by now.
    return { ...made, attributes: await setAttributes(this.#vfs, made.inode, changes, caller, 'object') };
  }

  /**
   * A request that another process had taken before gets the verifier that it had then: what that process has made is found
   * again, and nobody else's file is taken for it.
   */
  #verifierFor({ request }: Caller): Buffer {
    const { generation } = this.#vfs.replies;
    if (!request?.unique) return randomBytes(CREATE_VERIFIER_SIZE);
    const verifier = Buffer.alloc(CREATE_VERIFIER_SIZE);
    // Random for each mount, and counted within one.
    verifier.writeUInt32BE(generation, 0);
    verifier.writeUInt32BE(request.unique % TWO_32, 4);
    return verifier;
  }

  mkdir(parent: Inode, name: FileName, mode: number, caller: Caller): Promise<Found> {
    return this.#make(
      parent,
      name,
      caller,
      (directory, onRetransmit) =>
        this.#vfs.nfs.call(MKDIR, { where: { directory, name }, attributes: { mode } }, caller, onRetransmit),
      ({ inode }) => inode.isDirectory,
    );
  }

  symlink(parent: Inode, name: FileName, target: Buffer, caller: Caller): Promise<Found> {
    const { nfs } = this.#vfs;
    return this.#make(
      parent,
      name,
      caller,
      (directory, onRetransmit) =>
        nfs.call(SYMLINK, { where: { directory, name }, attributes: {}, target }, caller, onRetransmit),
      async ({ inode, attributes }) => {
        if (attributes.type !== FileType.LNK) return false;
        const result = await nfs.call(READLINK, { symlink: inode.handle }, caller);
        return result.status === Status.OK && target.equals(result.target);
      },
    );
  }

  mknod(parent: Inode, name: FileName, what: MknodWhat, caller: Caller): Promise<Found> {
    return this.#make(
      parent,
      name,
      caller,
      (directory, onRetransmit) =>
        this.#vfs.nfs.call(MKNOD, { where: { directory, name }, what }, caller, onRetransmit),
      ({ attributes }) => attributes.type === what.type,
    );
  }

  async link(inode: Inode, newParent: Inode, newName: FileName, caller: Caller): Promise<Found> {
    if (caller.claim !== undefined) await mayAddName(this.#vfs, newParent, caller);
    const replay = new Replay(newParent, caller, this.#vfs.records?.requests);
    return replay.during(() => this.#linkOnce(inode, { parent: newParent, name: newName }, caller, replay));
  }

  async #linkOnce(
    inode: Inode,
    { parent: newParent, name: newName }: DentryKey,
    caller: Caller,
    replay: Replay,
  ): Promise<Found> {
    const { attributes, exchange, redriver, nfs } = this.#vfs;
    if (inode.writer?.setsLater) await interruptible(inode.writer.drain(), caller.cancellation);
    const made = replay.isDone ? await this.#lookup.find(newParent, newName, caller) : undefined;
    if (made?.inode === inode) return made;
    const generation = newParent.generation;
    attributes.expectCtime(inode);
    const { result, start } = await exchange.changeTwo(
      { first: inode, second: newParent },
      caller,
      (file, directory) =>
        nfs.call(LINK, { file, link: { directory, name: newName } }, caller, replay.onRetransmit),
      [[newParent, ({ directoryWcc }) => directoryWcc]],
    );
    if (result.status === Status.OK) attributes.observe(inode, result.attributes, start, true);
    else attributes.expectNoCtime(inode);
    if (result.status !== Status.OK) {
      this.#vfs.dentries.delete(newParent, newName);
      if (result.status === Status.EXIST && replay.retransmitted) {
        const found = await this.#lookup.find(newParent, newName, caller);
        if (found?.inode === inode) return found;
      }
      replay.changedNothing();
      const known = await this.#lookup.whyNotMade({ parent: newParent, name: newName }, result, caller);
      throw known ?? redriver.reportFailure(result, [newParent, inode], caller);
    }
    return this.#lookup.complete(
      {
        parent: newParent,
        name: newName,
        handle: inode.handle,
        attributes: result.attributes,
        start,
        generation,
      },
      caller,
    );
  }
}

/** mknod(2)'s mode and device as MKNOD carries them; regular files go through CREATE. */
export function mknodWhat(mode: number, rdevMajor: number, rdevMinor: number): MknodWhat | undefined {
  const attributes: Sattr3 = { mode: mode & 0o7777 };
  switch (mode & 0o170000) {
    case 0o010000:
      return { type: FileType.FIFO, attributes };
    case 0o140000:
      return { type: FileType.SOCK, attributes };
    case 0o020000:
      return { type: FileType.CHR, attributes, rdevMajor, rdevMinor };
    case 0o060000:
      return { type: FileType.BLK, attributes, rdevMajor, rdevMinor };
    default:
      return undefined;
  }
}
