/**
 * The file system as FUSE sees it: each operation finds its inodes and its caller and hands over to the part
 * that knows how. Owns nothing but the wiring, and the end of a mount.
 */

import { systemClock } from '../base/clock.js';
import type { FuseCapabilities } from '../fuse/contract/capabilities.js';
import { decodeDevice } from '../fuse/contract/device-number.js';
import { Errno, FuseError } from '../fuse/contract/errno.js';
import type {
  AttributesReply,
  BorrowedData,
  ConnectionInfo,
  EntryReply,
  FuseLock,
  FuseNotifier,
  FuseOperations,
  FuseRead,
  FuseStatfs,
  FuseWrite,
  LockRequest,
  NamedEntry,
  NegativeEntryReply,
  NodeId,
  OpenReply,
  RequestContext,
  SetAttributes,
} from '../fuse/contract/operations.js';
import { fileNameFromBytes } from '../programs/nfs3/index.js';
import { Permission } from './access/permission.js';
import type { DentryKey } from './cache/dentry-cache.js';
import type { Inode } from './cache/inode.js';
import { type Caller, Credentials, withGroups } from './caller/caller.js';
import { CallerGroups } from './caller/caller-groups.js';
import { ExitingCallers } from './caller/exiting-callers.js';
import type { IdentityRules } from './caller/identity.js';
import { Closing } from './closing.js';
import type { ClientConfig } from './config.js';
import type { VfsCounters } from './counters.js';
import { Creation } from './data/creation.js';
import { Files, type UnwrittenFile } from './data/files.js';
import { Directories } from './directories/directories.js';
import { LookupStorms } from './directories/lookup-storms.js';
import { letKernelAsk } from './handover/kernel-doubts.js';
import { takeUpMount } from './handover/take-up.js';
import type { Locks } from './locks/locks.js';
import { type Found, Lookup } from './names/lookup.js';
import { MakeRequests, mknodWhat } from './names/make.js';
import { checkNameLength } from './names/name-limit.js';
import { RemoveRequests } from './names/remove.js';
import { SillyRenames } from './names/silly-rename.js';
import { ObjectRequests } from './object-requests.js';
import {
  type ConnectedExport,
  capabilitiesOf,
  type ExportDependencies,
  openExport,
  openLocks,
} from './open-export.js';
import type { VfsState } from './vfs-state.js';

/** The longest time that the end of a mount waits for a lock manager that does not answer. */
const UNLOCKING_MS = 2_000;

type ListingRequest = Parameters<FuseOperations['readdir']>;

export class NfsFileSystem implements FuseOperations {
  readonly capabilities: FuseCapabilities;
  readonly counters: VfsCounters;
  readonly #session: ConnectedExport;
  readonly #vfs: VfsState;
  readonly #callerGroups: CallerGroups;
  readonly #credentials: Credentials;
  readonly #lookup: Lookup;
  readonly #make: MakeRequests;
  readonly #creation: Creation;
  readonly #remove: RemoveRequests;
  readonly #files: Files;
  readonly #directories: Directories;
  readonly #permission: Permission;
  readonly #silly: SillyRenames;
  readonly #objects: ObjectRequests;
  readonly #closing: Closing;
  /** Locks at the server; undefined where the kernel keeps all of them. */
  readonly locks: Locks | undefined;

  constructor(session: ConnectedExport, config: ClientConfig, dependencies: ExportDependencies) {
    const { clock = systemClock } = dependencies;
    this.#session = session;
    this.#vfs = openExport(session, config, dependencies);
    const { unseenGroups: ofUnseen, madeElsewhere, idmapped } = config.identity;
    const { log } = dependencies;
    this.#callerGroups = new CallerGroups({ log, ofUnseen, madeElsewhere, idmapped });
    this.#credentials = new Credentials({
      machineName: session.machineName,
      identity: this.#vfs.identity,
      now: () => clock.now(),
      groupsOf: this.#callerGroups.of,
    });
    this.counters = this.#vfs.counters;
    this.#permission = new Permission(this.#vfs);
    this.#lookup = new Lookup(this.#vfs, new LookupStorms(this.#vfs), dependencies.intents);
    this.#make = new MakeRequests(this.#vfs, this.#lookup);
    this.#silly = new SillyRenames(this.#vfs);
    this.#remove = new RemoveRequests(this.#vfs, this.#lookup, this.#silly);
    this.#files = new Files(this.#vfs, this.#permission, this.#lookup, this.#silly);
    this.#creation = new Creation(this.#make, this.#files);
    this.#objects = new ObjectRequests(this.#vfs, this.#files);
    this.#directories = new Directories(this.#vfs, this.#permission, this.#lookup, this.#silly);
    this.capabilities = capabilitiesOf(session, config);
    this.locks = openLocks(session, this.#vfs, dependencies.lockJournal);
    const isSilent = (): boolean => session.rpc.unresponsive === true || this.locks?.unresponsive === true;
    const exiting = new ExitingCallers(clock, isSilent);
    this.#closing = new Closing(this.#files, exiting, this.locks);
  }

  get openFileCount(): number {
    return this.#vfs.open.files;
  }

  get inodeCount(): number {
    return this.#vfs.inodes.size;
  }

  get identity(): IdentityRules {
    return this.#vfs.config.identity;
  }

  /** Callers whose groups could not be read, as often as that was tried. */
  get unseenCallers(): number {
    return this.#callerGroups.unseen;
  }

  /** Entries in the caches, each of which is bounded. */
  get cacheSizes(): { readonly dentries: number } {
    return { dentries: this.#vfs.dentries.size };
  }

  /** Bytes that reads and writes hold in memory. */
  get buffered(): { readonly read: number; readonly write: number } {
    return { read: this.#vfs.memory.readBudget.used, write: this.#vfs.memory.writeBudget.used };
  }

  /**
   * Goes on with the mount of an earlier process, if there was one. To be awaited before the kernel's first request is read.
   * @throws RecordsError for records of that process that are not as this program writes them
   */
  async takeUp(): Promise<void> {
    const { records } = this.#vfs;
    if (!records?.isTakeover) return;
    const to = { files: this.#files, directories: this.#directories, silly: this.#silly };
    await takeUpMount(this.#vfs, records, { ...to, locks: this.locks, credentials: this.#credentials });
  }

  init(_connection: ConnectionInfo, notifier: FuseNotifier): void {
    this.#vfs.kernel.notifier = notifier;
    void letKernelAsk(notifier, this.#vfs);
  }

  /**
   * All data written so far goes to stable storage; the mount goes on. Resolves with a line for each file that lost
   * data. Never rejects.
   */
  writeBack(): Promise<readonly string[]> {
    return this.#files.flushAll();
  }

  /** The files with data in memory that is not on the server's stable storage. */
  unwritten(): readonly UnwrittenFile[] {
    return this.#files.unwritten();
  }

  /**
   * The mount is over: what was written is flushed, files without a name are removed, the server is told
   * (UMNT), connections are closed. Never rejects; what went wrong is in the log.
   */
  async shutdown(): Promise<void> {
    // Nobody is left to be told.
    for (const loss of await this.#files.flushAll()) {
      this.#vfs.counters.losses++;
      this.#vfs.log.error(loss);
    }
    await this.#silly.finishAll();
    await this.locks?.close(UNLOCKING_MS);
    this.#vfs.memoryReturn?.close();
    await this.#vfs.disk?.close();
    await this.#session.close();
  }

  /**
   * The caller who asks for something of one, two or three objects, or of an object and a group that it is to have. Throws
   * EOVERFLOW for somebody whom the server does not have.
   */
  #caller(ctx: RequestContext, inode: Inode, second?: Inode, third?: Inode, group?: number): Caller {
    const caller = this.#credentials.caller(ctx);
    if (caller.manyGroups === undefined) return caller;
    const gidOf = (of: Inode | undefined): number | undefined => of?.attributes?.gid;
    return withGroups(caller, gidOf(inode), gidOf(second), gidOf(third), group);
  }

  /** The name that a call is about, and its directory. Throws ENAMETOOLONG for a name that the directory cannot hold. */
  #dentryKey(nodeid: NodeId, bytes: Uint8Array): DentryKey {
    const parent = this.#vfs.inodes.get(nodeid);
    const name = fileNameFromBytes(bytes);
    checkNameLength(this.#vfs, parent, name);
    return { parent, name };
  }

  lookup(ctx: RequestContext, nodeid: NodeId, bytes: Buffer): Promise<EntryReply | NegativeEntryReply> {
    const { parent, name } = this.#dentryKey(nodeid, bytes);
    return this.#lookup.entry(parent, name, this.#caller(ctx, parent));
  }

  forget(nodeid: NodeId, nlookup: number): void {
    this.#vfs.inodes.forget(nodeid, nlookup);
  }

  async getattr(ctx: RequestContext, nodeid: NodeId, _fh: number | undefined): Promise<AttributesReply> {
    const inode = this.#vfs.inodes.get(nodeid);
    return this.#objects.attributes(inode, this.#caller(ctx, inode));
  }

  async setattr(ctx: RequestContext, nodeid: NodeId, asked: SetAttributes): Promise<AttributesReply> {
    const { inodes, identity } = this.#vfs;
    const inode = inodes.get(nodeid);
    const changes = identity === undefined ? asked : identity.ownersToServer(asked);
    const caller = this.#caller(ctx, inode, undefined, undefined, changes.gid);
    return this.#objects.setAttributes(inode, changes, caller);
  }

  async readlink(ctx: RequestContext, nodeid: NodeId): Promise<Uint8Array> {
    const inode = this.#vfs.inodes.get(nodeid);
    return this.#objects.target(inode, this.#caller(ctx, inode));
  }

  async symlink(ctx: RequestContext, nodeid: NodeId, bytes: Buffer, target: Buffer): Promise<EntryReply> {
    const key = this.#dentryKey(nodeid, bytes);
    const { parent, name } = key;
    return this.#entry(key, await this.#make.symlink(parent, name, target, this.#caller(ctx, parent)));
  }

  async mknod(
    ctx: RequestContext,
    nodeid: NodeId,
    bytes: Buffer,
    mode: number,
    rdev: number,
  ): Promise<EntryReply> {
    const key = this.#dentryKey(nodeid, bytes);
    const { parent, name } = key;
    const device = decodeDevice(rdev);
    const what = mknodWhat(mode, device.major, device.minor);
    const caller = this.#caller(ctx, parent);
    return this.#entry(
      key,
      what === undefined
        ? await this.#make.create(parent, name, mode & 0o7777, true, caller)
        : await this.#make.mknod(parent, name, what, caller),
    );
  }

  async mkdir(ctx: RequestContext, nodeid: NodeId, bytes: Buffer, mode: number): Promise<EntryReply> {
    const key = this.#dentryKey(nodeid, bytes);
    const { parent, name } = key;
    return this.#entry(key, await this.#make.mkdir(parent, name, mode & 0o7777, this.#caller(ctx, parent)));
  }

  unlink(ctx: RequestContext, nodeid: NodeId, bytes: Buffer): Promise<void> {
    const { parent, name } = this.#dentryKey(nodeid, bytes);
    return this.#remove.unlink(parent, name, this.#caller(ctx, parent));
  }

  rmdir(ctx: RequestContext, nodeid: NodeId, bytes: Buffer): Promise<void> {
    const { parent, name } = this.#dentryKey(nodeid, bytes);
    return this.#remove.rmdir(parent, name, this.#caller(ctx, parent));
  }

  rename(ctx: RequestContext, oldEntry: NamedEntry, newEntry: NamedEntry, flags: number): Promise<void> {
    const from = this.#dentryKey(oldEntry.parent, oldEntry.name);
    const to = this.#dentryKey(newEntry.parent, newEntry.name);
    // A directory that moves to another has its ".." changed: a right to write is needed in it, too.
    const moved =
      from.parent === to.parent ? undefined : this.#vfs.dentries.getUnverified(from.parent, from.name)?.inode;
    return this.#remove.rename(from, to, flags, this.#caller(ctx, from.parent, to.parent, moved));
  }

  async link(ctx: RequestContext, nodeid: NodeId, newParent: NodeId, newName: Buffer): Promise<EntryReply> {
    const inode = this.#vfs.inodes.get(nodeid);
    const key = this.#dentryKey(newParent, newName);
    const { parent, name } = key;
    const caller = this.#caller(ctx, parent, inode);
    return this.#entry(key, await this.#make.link(inode, parent, name, caller));
  }

  open(ctx: RequestContext, nodeid: NodeId, flags: number): Promise<OpenReply> {
    const inode = this.#vfs.inodes.get(nodeid);
    return this.#files.open(inode, flags, this.#caller(ctx, inode));
  }

  async create(
    ctx: RequestContext,
    nodeid: NodeId,
    bytes: Buffer,
    mode: number,
    flags: number,
  ): Promise<{ entry: EntryReply; open: OpenReply }> {
    const key = this.#dentryKey(nodeid, bytes);
    const { parent, name } = key;
    const { found, open } = await this.#creation.open(
      parent,
      name,
      { mode, flags },
      this.#caller(ctx, parent),
    );
    return { entry: this.#entry(key, found), open };
  }

  #entry({ parent, name }: DentryKey, { inode, attributes, entryValidMs }: Found): EntryReply {
    return this.#vfs.replies.handOver(parent, name, inode, attributes, entryValidMs);
  }

  read(ctx: RequestContext, _nodeid: NodeId, { fh, offset, size, direct }: FuseRead): Promise<BorrowedData> {
    return this.#files.read(fh, offset, size, { cancellation: ctx, tid: ctx.pid }, direct);
  }

  write(ctx: RequestContext, _nodeid: NodeId, write: FuseWrite): Promise<number> {
    if (this.locks?.isLost(this.#files.get(write.fh)))
      throw new FuseError(Errno.EIO, 'the lock of this file is lost');
    return this.#files.write(write.fh, write, ctx);
  }

  flush(ctx: RequestContext, _nodeid: NodeId, fh: number, lockOwner: bigint): Promise<void> {
    return this.#closing.flush(ctx, fh, lockOwner);
  }

  async release({ resent }: RequestContext, _nodeid: NodeId, fh: number): Promise<void> {
    // An earlier process has closed it, and died before it said so.
    if (resent && this.#files.find(fh) === undefined) return;
    await this.#closing.release(fh);
  }

  getlk(ctx: RequestContext, _nodeid: NodeId, request: LockRequest): Promise<FuseLock> {
    return this.#requireLocks().test(this.#files.get(request.fh), request, ctx);
  }

  setlk(ctx: RequestContext, _nodeid: NodeId, request: LockRequest, wait: boolean): Promise<void> {
    return this.#requireLocks().set(this.#files.get(request.fh), request, wait, ctx);
  }

  #requireLocks(): Locks {
    // The kernel sends none where the capabilities are not claimed. ENOSYS would go to the program.
    if (this.locks === undefined) throw new FuseError(Errno.ENOLCK);
    return this.locks;
  }

  fsync(ctx: RequestContext, _nodeid: NodeId, fh: number): Promise<void> {
    return this.#files.flush(fh, ctx, ctx);
  }

  opendir(ctx: RequestContext, nodeid: NodeId): Promise<OpenReply> {
    const inode = this.#vfs.inodes.get(nodeid);
    return this.#directories.open(inode, this.#caller(ctx, inode));
  }

  readdir(...request: ListingRequest): Promise<void> {
    return this.#list(request, false);
  }

  readdirplus(...request: ListingRequest): Promise<void> {
    return this.#list(request, true);
  }

  #list([ctx, nodeid, fh, offset, sink]: ListingRequest, isPlus: boolean): Promise<void> {
    const caller = this.#caller(ctx, this.#vfs.inodes.get(nodeid));
    return this.#directories.read(fh, offset, sink, isPlus, caller);
  }

  releasedir(_ctx: RequestContext, _nodeid: NodeId, fh: number): void {
    this.#directories.release(fh);
  }

  /** NFSv3 servers make every change of a directory stable before they answer (RFC 1813 4.8). */
  fsyncdir(): void {}

  async statfs(ctx: RequestContext, nodeid: NodeId): Promise<FuseStatfs> {
    const inode = this.#vfs.inodes.get(nodeid);
    return this.#objects.fileSystem(inode, this.#caller(ctx, inode));
  }

  async access(ctx: RequestContext, nodeid: NodeId, mask: number): Promise<void> {
    const inode = this.#vfs.inodes.get(nodeid);
    const caller = this.#caller(ctx, inode);
    const { namesGeneration } = inode;
    await this.#permission.check(inode, mask, caller);
    if (inode.namesGeneration !== namesGeneration && inode.opens === 0)
      await this.#lookup.confirm(inode, caller);
    await this.#vfs.kernel.notified();
  }
}
