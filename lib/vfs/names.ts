/** Operations that find or make a name: lookup, create, mkdir, mknod, symlink, link. */
import { randomBytes } from 'node:crypto';
import { Errno, FuseError } from '../fuse/errno.js';
import type { EntryReply, NegativeEntryReply } from '../fuse/operations.js';
import {
  Access,
  CREATE,
  CREATE_VERIFIER_SIZE,
  type CreateHow,
  CreateMode,
  type Fattr3,
  type FileHandle,
  FileType,
  LINK,
  type LinkResult,
  LOOKUP,
  type MakeResult,
  MKDIR,
  MKNOD,
  type MknodWhat,
  type NfsTime,
  READLINK,
  type Sattr3,
  SETATTR,
  Status,
  SYMLINK,
  type WccData,
  type WccResult,
} from '../nfs3/index.js';
import type { CallStart } from './attribute-cache.js';
import type { Caller } from './caller.js';
import { isStale, statusError } from './errors.js';
import type { Inode } from './inode.js';
import { LookupStorms } from './lookup-storms.js';
import { Permission } from './permission.js';
import type { Operand } from './redrive.js';
import { Replay } from './replay.js';
import type { VfsState } from './vfs-state.js';

/** SETATTRs with a guard before one without: a file that others change all the time, or a server that cannot tell. */
const MAX_GUARDED = 3;

/** A new object, and what is known of it. */
export interface Made {
  readonly inode: Inode;
  readonly attributes: Fattr3;
  readonly entryValidMs: number;
}

export class Names {
  readonly #vfs: VfsState;
  readonly #storms: LookupStorms;
  readonly #permission: Permission;

  constructor(vfs: VfsState) {
    this.#vfs = vfs;
    this.#permission = new Permission(vfs);
    this.#storms = new LookupStorms(vfs);
  }

  async lookup(parent: Inode, name: Buffer, caller: Caller): Promise<EntryReply | NegativeEntryReply> {
    const vfs = this.#vfs;
    const key = name.toString('latin1');
    if (key === '.' || key === '..') return this.#lookupDots(parent, key, caller);
    const cached = this.#fromCache(parent, key);
    if (cached !== undefined) return cached;
    if (this.#seemsAbsent(parent, key)) {
      // Who may not search a directory is not told what it lacks. Asked once, this answers for all names.
      const granted = await this.#permission.granted(parent, caller);
      if ((granted & Access.LOOKUP) !== 0 && this.#seemsAbsent(parent, key)) {
        vfs.counters.negativeDentries.hits++;
        return { nodeid: 0, entryValidMs: vfs.entryValidity(parent, parent.generation, false) };
      }
    }

    const generation = parent.generation;
    this.#storms.note(parent, caller);
    const found = await this.find(parent, name, key, caller);
    if (found === undefined) {
      return { nodeid: 0, entryValidMs: vfs.entryValidity(parent, generation, false) };
    }
    return vfs.entryReply(found.inode, found.attributes, found.entryValidMs);
  }

  /** Asks the server for a name; undefined: there is no such name. */
  async find(parent: Inode, name: Buffer, key: string, caller: Caller): Promise<Made | undefined> {
    const result = parent.gone ? undefined : await this.#ask(parent, name, key, caller);
    return result === undefined ? this.#findInSuccessor(parent, name, key, caller) : result.found;
  }

  /**
   * A name in a directory that is no longer there. ESTALE is no answer to a lookup: for mkdir(2), symlink(2),
   * mknod(2) and link(2) the kernel does not repeat it. So the name is looked up in the directory that the path
   * leads to now; a change that follows names the old directory, gets ESTALE, and is repeated from the root. Only
   * where a descriptor of the old directory may be behind it, nothing of the new one is shown.
   */
  async #findInSuccessor(
    parent: Inode,
    name: Buffer,
    key: string,
    caller: Caller,
  ): Promise<Made | undefined> {
    const { parent: above, name: ownKey } = parent;
    if (!parent.gone || above === undefined) return undefined;
    const successor = (await this.find(above, Buffer.from(ownKey, 'latin1'), ownKey, caller))?.inode;
    if (successor === undefined || !successor.isDirectory) return undefined;
    const found = (await this.#ask(successor, name, key, caller))?.found;
    if (found === undefined || successor === parent) return found;
    if (parent.opens > 0) throw this.#vfs.redriver.staleError(parent, caller, 'path');
    return { ...found, entryValidMs: 0 };
  }

  /** LOOKUP; undefined: the directory's handle is stale, and stays so. */
  async #ask(
    parent: Inode,
    name: Buffer,
    key: string,
    caller: Caller,
  ): Promise<{ readonly found: Made | undefined } | undefined> {
    const vfs = this.#vfs;
    const generation = parent.generation;
    const before = vfs.dentries.getUnverified(parent, key);
    let start = vfs.attributes.start();
    const result = await vfs.redriver.run(parent, caller, (directory) => {
      start = vfs.attributes.start();
      return vfs.nfs.call(LOOKUP, { directory, name }, caller);
    });
    vfs.attributes.observe(parent, result.directoryAttributes, start);
    const now = vfs.dentries.getUnverified(parent, key);
    const handle = result.status === Status.OK ? result.object : undefined;
    if (now !== undefined && now !== before && now.inode?.handle !== handle && !now.inode?.stale) {
      // A change of ours gave the name another meaning meanwhile, and this reply may be from before it.
      return this.#ask(parent, name, key, caller);
    }
    if (result.status === Status.NOENT) {
      vfs.dentries.set(parent, key, undefined, generation);
      return { found: undefined };
    }
    if (isStale(result.status)) return undefined;
    if (result.status !== Status.OK) throw statusError(result.status);
    return {
      found: await this.#made(parent, key, result.object, result.attributes, start, generation, caller),
    };
  }

  #seemsAbsent(parent: Inode, key: string): boolean {
    const { config, dentries, knownNames, attributes } = this.#vfs;
    if (config.lookupCache !== 'all' || !knownNames.isAbsent(parent, key)) return false;
    return attributes.isFresh(parent) && dentries.get(parent, key) === undefined;
  }

  #fromCache(parent: Inode, key: string): EntryReply | NegativeEntryReply | undefined {
    const vfs = this.#vfs;
    const { lookupCache } = vfs.config;
    const dentry = lookupCache === 'none' ? undefined : vfs.dentries.get(parent, key);
    const fresh = vfs.attributes.isFresh(parent);
    if (dentry === undefined || !fresh) {
      vfs.counters.dentries.misses++;
      return undefined;
    }
    const { inode } = dentry;
    if (inode === undefined) {
      if (lookupCache !== 'all') return undefined;
      vfs.counters.negativeDentries.hits++;
      return { nodeid: 0, entryValidMs: vfs.entryValidity(parent, parent.generation, false) };
    }
    // With its own attributes in doubt, a LOOKUP answers for both at the price of one GETATTR.
    if (inode.attributes === undefined || !vfs.attributes.isFresh(inode)) return undefined;
    vfs.counters.dentries.hits++;
    return vfs.entryReply(inode, inode.attributes, vfs.entryValidity(parent, parent.generation, true));
  }

  /** For NFS export of this mount (FUSE EXPORT_SUPPORT). Neither name is ever sent to the server. */
  async #lookupDots(inode: Inode, key: string, caller: Caller): Promise<EntryReply> {
    const vfs = this.#vfs;
    const target = key === '.' || inode.isRoot ? inode : inode.parent;
    if (target === undefined) throw new FuseError(Errno.ESTALE, 'parent unknown');
    return vfs.entryReply(target, await vfs.freshAttributes(target, caller), 0);
  }

  /** Completes what a reply left out: RFC 1813 lets servers omit the handle and the attributes. */
  async #made(
    parent: Inode,
    key: string,
    handle: FileHandle | undefined,
    attributes: Fattr3 | undefined,
    start: CallStart,
    generation: number,
    caller: Caller,
  ): Promise<Made> {
    const vfs = this.#vfs;
    if (handle === undefined) {
      const found = await this.find(parent, Buffer.from(key, 'latin1'), key, caller);
      if (found === undefined) throw statusError(Status.NOENT);
      return found;
    }
    const inode = vfs.bind(parent, key, handle, attributes, start, generation);
    const latest = attributes && (vfs.attributes.latest(inode, attributes, start) ?? inode.attributes);
    const known = latest ?? (await vfs.fetchAttributes(inode, caller));
    return { inode, attributes: known, entryValidMs: vfs.entryValidity(parent, generation, true) };
  }

  /**
   * One of the calls that make a name in a directory, with its bookkeeping. `isOurs` tells whether what is
   * found under the name, after a repeated call was answered NFS3ERR_EXIST, is what the first one made.
   */
  async #make(
    parent: Inode,
    key: string,
    caller: Caller,
    call: (directory: FileHandle, onRetransmit: () => void) => Promise<MakeResult>,
    isOurs: (found: Made) => boolean | Promise<boolean>,
  ): Promise<Made> {
    const vfs = this.#vfs;
    const generation = parent.generation;
    const start = vfs.attributes.start();
    const replay = new Replay(parent);
    let result: MakeResult;
    try {
      result = await this.change(parent, caller, (directory) => call(directory, replay.onRetransmit));
    } catch (error) {
      // Nobody knows whether it happened.
      vfs.dentries.delete(parent, key);
      throw error;
    }
    if (result.status === Status.OK) {
      return this.#made(parent, key, result.object, result.attributes, start, generation, caller);
    }
    // A failed call may have succeeded before its reply was lost: no negative dentry.
    vfs.dentries.delete(parent, key);
    if (result.status === Status.EXIST && replay.retransmitted) {
      const found = await this.find(parent, Buffer.from(key, 'latin1'), key, caller);
      if (found !== undefined && replay.mayHaveMade(found.attributes) && (await isOurs(found))) return found;
    }
    throw vfs.redriver.failure(result, [parent], caller);
  }

  /** Runs a call that changes one directory, and accounts for the change. */
  async change<Result extends MakeResult>(
    parent: Inode,
    caller: Caller,
    call: (directory: FileHandle) => Promise<Result>,
  ): Promise<Result> {
    const { attributes, redriver } = this.#vfs;
    attributes.beginChange(parent);
    let start = attributes.start();
    let result: Result | undefined;
    try {
      result = await redriver.run(parent, caller, (directory) => {
        start = attributes.start();
        return call(directory);
      });
      return result;
    } finally {
      attributes.endChange(parent, result?.directoryWcc, start);
    }
  }

  /** open(2) with O_CREAT. What exists already keeps its content: CREATE has no guard against its own late copies. */
  async create(parent: Inode, name: Buffer, mode: number, exclusive: boolean, caller: Caller): Promise<Made> {
    const key = name.toString('latin1');
    if (exclusive) return this.#createExclusive(parent, name, key, mode, caller);
    return this.#create(parent, name, key, { mode: CreateMode.UNCHECKED, attributes: { mode } }, caller);
  }

  #create(parent: Inode, name: Buffer, key: string, how: CreateHow, caller: Caller): Promise<Made> {
    return this.#make(
      parent,
      key,
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
    parent: Inode,
    name: Buffer,
    key: string,
    mode: number,
    caller: Caller,
  ): Promise<Made> {
    let made: Made;
    try {
      const verifier = randomBytes(CREATE_VERIFIER_SIZE);
      made = await this.#create(parent, name, key, { mode: CreateMode.EXCLUSIVE, verifier }, caller);
    } catch (error) {
      if (!(error instanceof FuseError) || error.errno !== Errno.EOPNOTSUPP) throw error;
      return this.#create(parent, name, key, { mode: CreateMode.GUARDED, attributes: { mode } }, caller);
    }
    const changes: Sattr3 = { mode, atime: 'server', mtime: 'server' };
    // Not to be repeated by the kernel: the file is there by now.
    return { ...made, attributes: await this.setAttributes(made.inode, changes, caller, 'object') };
  }

  /**
   * SETATTR; answers the attributes as they are then. A change of the size is guarded by the file's ctime (RFC 1813
   * 3.3.2): a copy of the call that was left on a broken connection, and that the server meets only after its repeat
   * and the writes that followed, must not cut these off.
   */
  async setAttributes(
    inode: Inode,
    changes: Sattr3,
    caller: Caller,
    operand: Operand = 'path',
  ): Promise<Fattr3> {
    let guard = changes.size === undefined ? undefined : inode.attributes?.ctime;
    for (let refused = 0; ; ) {
      const { result, start } = await this.#setAttributes(inode, changes, guard, caller);
      // The handle answers for another object now.
      if (result.status === Status.OK && inode.stale)
        throw this.#vfs.redriver.staleError(inode, caller, operand);
      const shown = result.wcc.after;
      const after = shown && this.#vfs.attributes.latest(inode, shown, start);
      if (result.status === Status.OK) return after ?? this.#vfs.fetchAttributes(inode, caller, operand);
      if (result.status !== Status.NOT_SYNC || guard === undefined)
        throw this.#vfs.redriver.failure(result, [inode], caller, operand);
      // Changed by another client, or by the first copy of this very call: what is wanted stays the same.
      const now = after ?? (await this.#vfs.fetchAttributes(inode, caller, operand));
      refused += 1;
      guard = refused < MAX_GUARDED ? now.ctime : undefined;
    }
  }

  /** One SETATTR with its bookkeeping. */
  async #setAttributes(
    inode: Inode,
    changes: Sattr3,
    guard: NfsTime | undefined,
    caller: Caller,
  ): Promise<{ readonly result: WccResult; readonly start: CallStart }> {
    const { attributes, redriver, nfs } = this.#vfs;
    attributes.beginChange(inode);
    let start = attributes.start();
    let wcc: WccData | undefined;
    try {
      const result = await redriver.run(inode, caller, (object) => {
        start = attributes.start();
        return nfs.call(SETATTR, { object, attributes: changes, guard }, caller);
      });
      wcc = result.wcc;
      return { result, start };
    } finally {
      attributes.endChange(inode, wcc, start, true);
    }
  }

  async mkdir(parent: Inode, name: Buffer, mode: number, caller: Caller): Promise<Made> {
    const { nfs, knownNames } = this.#vfs;
    let told = false;
    const made = await this.#make(
      parent,
      name.toString('latin1'),
      caller,
      async (directory, onRetransmit) => {
        const args = { where: { directory, name }, attributes: { mode } };
        const result = await nfs.call(MKDIR, args, caller, onRetransmit);
        told = result.status === Status.OK && result.object !== undefined && result.attributes !== undefined;
        return result;
      },
      ({ inode }) => inode.isDirectory,
    );
    // The attributes are those of its making: whatever somebody puts into it moves them.
    if (told) knownNames.learn(made.inode, new Set());
    return made;
  }

  symlink(parent: Inode, name: Buffer, target: Buffer, caller: Caller): Promise<Made> {
    const { nfs } = this.#vfs;
    return this.#make(
      parent,
      name.toString('latin1'),
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

  mknod(parent: Inode, name: Buffer, what: MknodWhat, caller: Caller): Promise<Made> {
    return this.#make(
      parent,
      name.toString('latin1'),
      caller,
      (directory, onRetransmit) =>
        this.#vfs.nfs.call(MKNOD, { where: { directory, name }, what }, caller, onRetransmit),
      ({ attributes }) => attributes.type === what.type,
    );
  }

  async link(inode: Inode, newParent: Inode, newName: Buffer, caller: Caller): Promise<Made> {
    const { attributes, redriver, nfs } = this.#vfs;
    const key = newName.toString('latin1');
    const generation = newParent.generation;
    const replay = new Replay(newParent);
    attributes.beginChange(newParent);
    attributes.expectCtime(inode);
    let start = attributes.start();
    let result: LinkResult | undefined;
    try {
      result = await redriver.runTwo(inode, newParent, caller, (file, directory) => {
        start = attributes.start();
        return nfs.call(LINK, { file, link: { directory, name: newName } }, caller, replay.onRetransmit);
      });
    } finally {
      attributes.endChange(newParent, result?.directoryWcc, start);
    }
    if (result.status === Status.OK) attributes.observe(inode, result.attributes, start);
    else attributes.expectNoCtime(inode);
    if (result.status !== Status.OK) {
      this.#vfs.dentries.delete(newParent, key);
      if (result.status === Status.EXIST && replay.retransmitted) {
        const found = await this.find(newParent, newName, key, caller);
        if (found?.inode === inode) return found;
      }
      throw redriver.failure(result, [newParent, inode], caller);
    }
    return this.#made(newParent, key, inode.handle, result.attributes, start, generation, caller);
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
