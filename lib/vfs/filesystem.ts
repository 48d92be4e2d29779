/**
 * The file system as FUSE sees it: each operation finds its inodes and its caller and hands over to the part
 * that knows how. Owns nothing but the wiring, and the end of a mount.
 */
import { Errno, FuseError } from '../fuse/errno.js';
import type {
  AttributesReply,
  BorrowedData,
  ConnectionInfo,
  DirectorySink,
  EntryReply,
  FuseNotifier,
  FuseOperations,
  FuseStatfs,
  NegativeEntryReply,
  NodeId,
  OpenReply,
  RequestContext,
  SetAttributes,
} from '../fuse/operations.js';
import { decodeDevice } from '../fuse/reply.js';
import { FSSTAT, READLINK, Status } from '../nfs3/index.js';
import { systemClock } from '../rpc/clock.js';
import { type Caller, Credentials } from './caller.js';
import type { ClientConfig } from './config.js';
import type { VfsCounters } from './counters.js';
import { Directories } from './directories.js';
import { isStale } from './errors.js';
import { Files, type UnwrittenFile } from './files.js';
import type { Inode } from './inode.js';
import { interruptible } from './interruptible.js';
import { type Made, mknodWhat, Names } from './names.js';
import { type ConnectedExport, type ExportDependencies, openExport } from './open-export.js';
import { Permission } from './permission.js';
import { possibleOperand } from './redrive.js';
import { Removal } from './removal.js';
import { SillyRenames } from './silly-rename.js';
import type { VfsState } from './vfs-state.js';

const O_EXCL = 0o200;
const O_TRUNC = 0o1000;

/** O_TRUNC. */
const EMPTY: SetAttributes = {
  mode: undefined,
  uid: undefined,
  gid: undefined,
  size: 0n,
  atime: undefined,
  mtime: undefined,
  fh: undefined,
};

function isAbsent(error: unknown): boolean {
  return error instanceof FuseError && error.errno === Errno.ENOENT;
}

export interface CacheSizes {
  readonly dentries: number;
  /** Directories all of whose names are known. */
  readonly completeDirectories: number;
}

export class NfsFileSystem implements FuseOperations {
  readonly counters: VfsCounters;
  readonly #session: ConnectedExport;
  readonly #vfs: VfsState;
  readonly #credentials: Credentials;
  readonly #names: Names;
  readonly #removal: Removal;
  readonly #files: Files;
  readonly #directories: Directories;
  readonly #permission: Permission;
  readonly #silly: SillyRenames;

  constructor(session: ConnectedExport, config: ClientConfig, dependencies: ExportDependencies) {
    const { clock = systemClock } = dependencies;
    this.#session = session;
    this.#credentials = new Credentials({ machineName: session.machineName, now: () => clock.now() });
    this.#vfs = openExport(session, config, dependencies);
    this.counters = this.#vfs.counters;
    this.#permission = new Permission(this.#vfs);
    this.#names = new Names(this.#vfs);
    this.#silly = new SillyRenames(this.#vfs);
    this.#removal = new Removal(this.#vfs, this.#names, this.#silly);
    this.#files = new Files(this.#vfs, this.#permission, this.#names, this.#silly);
    this.#directories = new Directories(this.#vfs, this.#permission, this.#silly);
  }

  get openFileCount(): number {
    return this.#vfs.openFiles;
  }

  /** Inodes held in memory. */
  get inodeCount(): number {
    return this.#vfs.inodes.size;
  }

  /** Entries in the caches, each of which is bounded. */
  get cacheSizes(): CacheSizes {
    const { dentries, knownNames } = this.#vfs;
    return { dentries: dentries.size, completeDirectories: knownNames.size };
  }

  /** Bytes that reads and writes hold in memory. */
  get buffered(): { readonly read: number; readonly write: number } {
    return { read: this.#vfs.readBudget.used, write: this.#vfs.writeBudget.used };
  }

  init(_connection: ConnectionInfo, notifier: FuseNotifier): void {
    this.#vfs.notifier = notifier;
  }

  /**
   * What was written so far goes to stable storage; the mount goes on. Resolves with a line for each file that lost
   * data. Never rejects.
   */
  writeBack(): Promise<readonly string[]> {
    return this.#files.flushAll();
  }

  /** What is in memory and not on the server's stable storage. */
  unwritten(): readonly UnwrittenFile[] {
    return this.#files.unwritten();
  }

  /**
   * The mount is over: what was written is flushed, files without a name are removed, the server is told
   * (UMNT), connections are closed. Never rejects; what went wrong is in the log.
   */
  async shutdown(): Promise<void> {
    // Nobody is left to be told.
    for (const loss of await this.#files.flushAll()) this.#vfs.log.error(loss);
    await this.#silly.finishAll();
    await this.#session.close();
  }

  #caller(ctx: RequestContext): Caller {
    return this.#credentials.caller(ctx);
  }

  lookup(ctx: RequestContext, parent: NodeId, name: Buffer): Promise<EntryReply | NegativeEntryReply> {
    return this.#names.lookup(this.#vfs.inodes.get(parent), name, this.#caller(ctx));
  }

  forget(nodeid: NodeId, nlookup: number): void {
    this.#vfs.inodes.forget(nodeid, nlookup);
  }

  async getattr(ctx: RequestContext, nodeid: NodeId, _fh: number | undefined): Promise<AttributesReply> {
    const inode = this.#vfs.inodes.get(nodeid);
    // Size and times are the server's to say, once it has the data.
    if (inode.writer?.dirty) await interruptible(inode.writer.drain(), ctx);
    const operand = possibleOperand(inode);
    try {
      const attributes = await this.#vfs.freshAttributes(inode, this.#caller(ctx), operand);
      return this.#vfs.attributesReply(inode, attributes);
    } catch (error) {
      // fstat(2) of what another client deleted: a local file system would still answer.
      if (operand === 'path' || inode.attributes === undefined || !isAbsent(error)) throw error;
      const nlink = inode.gone ? 0 : inode.attributes.nlink;
      return { ...this.#vfs.attributesReply(inode, { ...inode.attributes, nlink }), attrValidMs: 0 };
    }
  }

  async setattr(ctx: RequestContext, nodeid: NodeId, changes: SetAttributes): Promise<AttributesReply> {
    const inode = this.#vfs.inodes.get(nodeid);
    const attributes = await this.#files.setAttributes(inode, changes, this.#caller(ctx));
    return this.#vfs.attributesReply(inode, attributes);
  }

  async readlink(ctx: RequestContext, nodeid: NodeId): Promise<Uint8Array> {
    const vfs = this.#vfs;
    const inode = vfs.inodes.get(nodeid);
    const caller = this.#caller(ctx);
    let start = vfs.attributes.start();
    const result = await vfs.redriver.run(inode, caller, (symlink) => {
      start = vfs.attributes.start();
      return vfs.nfs.call(READLINK, { symlink }, caller);
    });
    if (result.status !== Status.OK) throw vfs.redriver.failure(result, [inode], caller);
    vfs.attributes.observe(inode, result.attributes, start);
    return result.target;
  }

  async symlink(ctx: RequestContext, parent: NodeId, name: Buffer, target: Buffer): Promise<EntryReply> {
    return this.#entry(
      await this.#names.symlink(this.#vfs.inodes.get(parent), name, target, this.#caller(ctx)),
    );
  }

  async mknod(
    ctx: RequestContext,
    parent: NodeId,
    name: Buffer,
    mode: number,
    rdev: number,
  ): Promise<EntryReply> {
    const directory = this.#vfs.inodes.get(parent);
    const device = decodeDevice(rdev);
    const what = mknodWhat(mode, device.major, device.minor);
    const caller = this.#caller(ctx);
    return this.#entry(
      what === undefined
        ? await this.#names.create(directory, name, mode & 0o7777, true, caller)
        : await this.#names.mknod(directory, name, what, caller),
    );
  }

  async mkdir(ctx: RequestContext, parent: NodeId, name: Buffer, mode: number): Promise<EntryReply> {
    const directory = this.#vfs.inodes.get(parent);
    return this.#entry(await this.#names.mkdir(directory, name, mode & 0o7777, this.#caller(ctx)));
  }

  unlink(ctx: RequestContext, parent: NodeId, name: Buffer): Promise<void> {
    return this.#removal.unlink(this.#vfs.inodes.get(parent), name, this.#caller(ctx));
  }

  rmdir(ctx: RequestContext, parent: NodeId, name: Buffer): Promise<void> {
    return this.#removal.rmdir(this.#vfs.inodes.get(parent), name, this.#caller(ctx));
  }

  rename(
    ctx: RequestContext,
    parent: NodeId,
    name: Buffer,
    newParent: NodeId,
    newName: Buffer,
    flags: number,
  ): Promise<void> {
    const { inodes } = this.#vfs;
    return this.#removal.rename(
      inodes.get(parent),
      name,
      inodes.get(newParent),
      newName,
      flags,
      this.#caller(ctx),
    );
  }

  async link(ctx: RequestContext, nodeid: NodeId, newParent: NodeId, newName: Buffer): Promise<EntryReply> {
    const { inodes } = this.#vfs;
    return this.#entry(
      await this.#names.link(inodes.get(nodeid), inodes.get(newParent), newName, this.#caller(ctx)),
    );
  }

  open(ctx: RequestContext, nodeid: NodeId, flags: number): Promise<OpenReply> {
    return this.#files.open(this.#vfs.inodes.get(nodeid), flags, this.#caller(ctx));
  }

  async create(
    ctx: RequestContext,
    parent: NodeId,
    name: Buffer,
    mode: number,
    flags: number,
  ): Promise<{ entry: EntryReply; open: OpenReply }> {
    const caller = this.#caller(ctx);
    const exclusive = (flags & O_EXCL) !== 0;
    const truncate = (flags & O_TRUNC) !== 0;
    const directory = this.#vfs.inodes.get(parent);
    const made = await this.#names.create(directory, name, mode & 0o7777, exclusive, caller);
    const { inode } = made;
    // Another client was faster: the file is there, with something in it.
    const attributes =
      truncate && made.attributes.size > 0n
        ? await this.#files.setAttributes(inode, EMPTY, caller)
        : made.attributes;
    return { entry: this.#entry({ ...made, attributes }), open: this.#files.created(inode, flags, caller) };
  }

  #entry(made: Made): EntryReply {
    return this.#vfs.entryReply(made.inode, made.attributes, made.entryValidMs);
  }

  read(
    ctx: RequestContext,
    _nodeid: NodeId,
    fh: number,
    offset: number,
    size: number,
  ): Promise<BorrowedData> {
    return this.#files.read(fh, offset, size, this.#caller(ctx));
  }

  write(
    ctx: RequestContext,
    _nodeid: NodeId,
    fh: number,
    offset: number,
    data: Uint8Array,
    flags: number,
    fromPageCache: boolean,
  ): Promise<number> {
    return this.#files.write(fh, offset, data, flags, fromPageCache, ctx);
  }

  flush(ctx: RequestContext, _nodeid: NodeId, fh: number): Promise<void> {
    return this.#files.flush(fh, ctx);
  }

  release(_ctx: RequestContext, _nodeid: NodeId, fh: number): Promise<void> {
    return this.#files.release(fh);
  }

  fsync(ctx: RequestContext, _nodeid: NodeId, fh: number): Promise<void> {
    return this.#files.flush(fh, ctx);
  }

  opendir(ctx: RequestContext, nodeid: NodeId): Promise<OpenReply> {
    return this.#directories.open(this.#vfs.inodes.get(nodeid), this.#caller(ctx));
  }

  readdir(
    ctx: RequestContext,
    _nodeid: NodeId,
    fh: number,
    offset: bigint,
    sink: DirectorySink,
  ): Promise<void> {
    return this.#directories.read(fh, offset, sink, false, this.#caller(ctx));
  }

  readdirplus(
    ctx: RequestContext,
    _nodeid: NodeId,
    fh: number,
    offset: bigint,
    sink: DirectorySink,
  ): Promise<void> {
    return this.#directories.read(fh, offset, sink, true, this.#caller(ctx));
  }

  releasedir(_ctx: RequestContext, _nodeid: NodeId, fh: number): void {
    this.#directories.release(fh);
  }

  /** NFSv3 servers make every change of a directory stable before they answer (RFC 1813 4.8). */
  fsyncdir(): void {}

  async statfs(ctx: RequestContext, nodeid: NodeId): Promise<FuseStatfs> {
    const vfs = this.#vfs;
    const inode = vfs.inodes.get(nodeid);
    const caller = this.#caller(ctx);
    const ask = (of: Inode) =>
      vfs.redriver.run(of, caller, (object) => vfs.nfs.call(FSSTAT, { object }, caller));
    let result = await ask(inode);
    // The file system outlives what is in it.
    if (isStale(result.status) && !inode.isRoot) result = await ask(vfs.inodes.root);
    if (result.status !== Status.OK) {
      throw vfs.redriver.failure(result, [vfs.inodes.root], caller, possibleOperand(vfs.inodes.root));
    }
    const blockSize = 4096n;
    return {
      blocks: result.totalBytes / blockSize,
      bfree: result.freeBytes / blockSize,
      bavail: result.availableBytes / blockSize,
      files: result.totalFiles,
      ffree: result.freeFiles,
      bsize: vfs.limits.wsize,
      frsize: Number(blockSize),
      namelen: vfs.limits.nameMax,
    };
  }

  access(ctx: RequestContext, nodeid: NodeId, mask: number): Promise<void> {
    return this.#permission.check(this.#vfs.inodes.get(nodeid), mask, this.#caller(ctx));
  }
}
