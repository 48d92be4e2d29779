/** A small, complete file system in memory, for mounts without a server. Owns its nodes and handles. */
import type { FuseCapabilities } from '../../lib/fuse/contract/capabilities.js';
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type {
  AttributesReply,
  ConnectionInfo,
  DirectorySink,
  EntryReply,
  FuseAttributes,
  FuseLock,
  FuseNotifier,
  FuseOperations,
  FuseRead,
  FuseStatfs,
  FuseWrite,
  LockRequest,
  MaybePromise,
  NamedEntry,
  NegativeEntryReply,
  OpenReply,
  RequestContext,
  SetAttributes,
} from '../../lib/fuse/contract/operations.js';
import { MemoryLocks } from './memory-locks.js';
import {
  attributesOf,
  checkName,
  currentTime,
  isDirectory,
  type MemoryNode,
  newNode,
  resize,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from './memory-node.js';

export interface MemoryOptions {
  /** By default all of them but the caching of symbolic links. */
  readonly capabilities?: Partial<FuseCapabilities>;
  readonly entryValidMs?: number;
  readonly attrValidMs?: number;
  /** FOPEN_* of every open file. */
  readonly openFlags?: number;
}

type ListingRequest = Parameters<FuseOperations['readdir']>;

/** Answers every operation from memory. Tests override methods for delays, failures and the like. */
export class MemoryFileSystem implements FuseOperations {
  readonly capabilities: FuseCapabilities;
  readonly nodes = new Map<number, MemoryNode>();
  readonly root: MemoryNode;
  connection: ConnectionInfo | undefined;
  notifier: FuseNotifier | undefined;
  destroyed = 0;
  released = 0;
  readonly #options: MemoryOptions;
  #nextId = 1;
  #nextHandle = 1;
  readonly #locks = new MemoryLocks();

  constructor(options: MemoryOptions = {}) {
    this.#options = options;
    this.capabilities = {
      posixLocks: true,
      flockLocks: true,
      readdirplus: true,
      lookupOfDots: true,
      clearsSetIdBits: true,
      cachedSymlinks: false,
      idmappedMounts: false,
      ...options.capabilities,
    };
    this.root = this.make(S_IFDIR | 0o755, 0, 0, undefined);
    this.root.nlink = 2;
  }

  make(mode: number, uid: number, gid: number, parent: MemoryNode | undefined): MemoryNode {
    const node = newNode(this.#nextId++, mode, { uid, gid }, parent);
    this.nodes.set(node.id, node);
    return node;
  }

  /** Puts a file with `content` into the root directory, without the kernel's knowledge. */
  addFile(name: string | Buffer, content: Buffer): MemoryNode {
    const node = this.make(S_IFREG | 0o644, 0, 0, this.root);
    node.data = content;
    node.size = content.length;
    this.root.children.set(Buffer.from(name).toString('latin1'), node);
    return node;
  }

  init(connection: ConnectionInfo, notifier: FuseNotifier): void {
    this.connection = connection;
    this.notifier = notifier;
  }

  destroy(): void {
    this.destroyed += 1;
  }

  lookup(_ctx: RequestContext, parent: number, name: Buffer): MaybePromise<EntryReply | NegativeEntryReply> {
    checkName(name);
    const child = this.node(parent).children.get(name.toString('latin1'));
    if (child === undefined) throw new FuseError(Errno.ENOENT);
    return this.entry(child);
  }

  forget(nodeid: number, nlookup: number): void {
    const node = this.nodes.get(nodeid);
    if (node === undefined) return;
    node.lookups -= nlookup;
    if (node.lookups <= 0 && node.nlink === 0) this.nodes.delete(nodeid);
  }

  getattr(_ctx: RequestContext, nodeid: number): MaybePromise<AttributesReply> {
    return this.attributesReply(this.node(nodeid));
  }

  setattr(_ctx: RequestContext, nodeid: number, changes: SetAttributes): MaybePromise<AttributesReply> {
    const node = this.node(nodeid);
    const now = currentTime();
    if (changes.mode !== undefined) node.mode = (node.mode & S_IFMT) | (changes.mode & 0o7777);
    if (changes.uid !== undefined) node.uid = changes.uid;
    if (changes.gid !== undefined) node.gid = changes.gid;
    if (changes.size !== undefined) {
      if (changes.size > 1n << 31n) throw new FuseError(Errno.EFBIG);
      resize(node, Number(changes.size));
      node.mtime = now;
    }
    if (changes.atime !== undefined) node.atime = changes.atime === 'now' ? now : changes.atime;
    if (changes.mtime !== undefined) node.mtime = changes.mtime === 'now' ? now : changes.mtime;
    node.ctime = now;
    return this.attributesReply(node);
  }

  readlink(_ctx: RequestContext, nodeid: number): MaybePromise<Uint8Array> {
    return this.node(nodeid).data;
  }

  symlink(ctx: RequestContext, parent: number, name: Buffer, target: Buffer): MaybePromise<EntryReply> {
    const node = this.#create(ctx, parent, name, S_IFLNK | 0o777);
    node.data = Buffer.from(target);
    node.size = target.length;
    return this.entry(node);
  }

  mknod(
    ctx: RequestContext,
    parent: number,
    name: Buffer,
    mode: number,
    rdev: number,
  ): MaybePromise<EntryReply> {
    const node = this.#create(ctx, parent, name, mode);
    node.rdev = rdev;
    return this.entry(node);
  }

  mkdir(ctx: RequestContext, parent: number, name: Buffer, mode: number): MaybePromise<EntryReply> {
    const node = this.#create(ctx, parent, name, S_IFDIR | (mode & 0o7777));
    node.nlink = 2;
    this.node(parent).nlink += 1;
    return this.entry(node);
  }

  unlink(_ctx: RequestContext, parent: number, name: Buffer): MaybePromise<void> {
    const directory = this.node(parent);
    const key = name.toString('latin1');
    const node = directory.children.get(key);
    if (node === undefined) throw new FuseError(Errno.ENOENT);
    directory.children.delete(key);
    node.nlink -= 1;
    this.#touch(directory);
  }

  rmdir(_ctx: RequestContext, parent: number, name: Buffer): MaybePromise<void> {
    const directory = this.node(parent);
    const key = name.toString('latin1');
    const node = directory.children.get(key);
    if (node === undefined) throw new FuseError(Errno.ENOENT);
    if (node.children.size > 0) throw new FuseError(Errno.ENOTEMPTY);
    directory.children.delete(key);
    directory.nlink -= 1;
    node.nlink = 0;
    this.#touch(directory);
  }

  rename(
    _ctx: RequestContext,
    { parent, name }: NamedEntry,
    { parent: newParent, name: newName }: NamedEntry,
    flags: number,
  ): MaybePromise<void> {
    const from = this.node(parent);
    const to = this.node(newParent);
    const node = from.children.get(name.toString('latin1'));
    if (node === undefined) throw new FuseError(Errno.ENOENT);
    if (flags > 1) throw new FuseError(Errno.EINVAL);
    const target = to.children.get(newName.toString('latin1'));
    if (target !== undefined) {
      if (flags === 1) throw new FuseError(Errno.EEXIST);
      if (target.children.size > 0) throw new FuseError(Errno.ENOTEMPTY);
      target.nlink = isDirectory(target) ? 0 : target.nlink - 1;
    }
    from.children.delete(name.toString('latin1'));
    to.children.set(newName.toString('latin1'), node);
    node.parent = to;
    if (isDirectory(node)) {
      from.nlink -= 1;
      if (target === undefined) to.nlink += 1;
    }
    this.#touch(from);
    this.#touch(to);
  }

  link(_ctx: RequestContext, nodeid: number, newParent: number, newName: Buffer): MaybePromise<EntryReply> {
    const node = this.node(nodeid);
    const directory = this.node(newParent);
    const key = newName.toString('latin1');
    if (directory.children.has(key)) throw new FuseError(Errno.EEXIST);
    directory.children.set(key, node);
    node.nlink += 1;
    this.#touch(directory);
    return this.entry(node);
  }

  open(_ctx: RequestContext, nodeid: number, _flags: number): MaybePromise<OpenReply> {
    this.node(nodeid);
    return this.#opened();
  }

  create(
    ctx: RequestContext,
    parent: number,
    name: Buffer,
    mode: number,
    _flags: number,
  ): MaybePromise<{ entry: EntryReply; open: OpenReply }> {
    const node = this.#create(ctx, parent, name, S_IFREG | (mode & 0o7777));
    return { entry: this.entry(node), open: this.#opened() };
  }

  read(
    _ctx: RequestContext,
    nodeid: number,
    { offset, size }: FuseRead,
  ): MaybePromise<Uint8Array | readonly Uint8Array[]> {
    const node = this.node(nodeid);
    return node.data.subarray(Math.min(offset, node.size), Math.min(offset + size, node.size));
  }

  write(_ctx: RequestContext, nodeid: number, { offset, data }: FuseWrite): MaybePromise<number> {
    const node = this.node(nodeid);
    const end = offset + data.length;
    if (end > 2 ** 31) throw new FuseError(Errno.EFBIG);
    if (end > node.size) resize(node, end);
    node.data.set(data, offset);
    const now = currentTime();
    node.mtime = now;
    node.ctime = now;
    return data.length;
  }

  flush(_ctx: RequestContext, nodeid: number, _fh: number, lockOwner: bigint): MaybePromise<void> {
    this.#locks.drop(nodeid, lockOwner);
  }

  release(
    _ctx: RequestContext,
    nodeid: number,
    _fh: number,
    flockOwner: bigint | undefined,
  ): MaybePromise<void> {
    this.released += 1;
    if (flockOwner !== undefined) this.#locks.drop(nodeid, flockOwner);
  }

  fsync(_ctx: RequestContext, _nodeid: number, _fh: number, _datasync: boolean): MaybePromise<void> {}

  opendir(_ctx: RequestContext, nodeid: number, _flags: number): MaybePromise<OpenReply> {
    this.node(nodeid);
    return { fh: this.#nextHandle++, openFlags: 0 };
  }

  readdir(...request: ListingRequest): MaybePromise<void> {
    this.#list(request, (sink, name, node, next) =>
      sink.add(name, BigInt(node.id), (node.mode & S_IFMT) >> 12, BigInt(next)),
    );
  }

  readdirplus(...request: ListingRequest): MaybePromise<void> {
    this.#list(request, (sink, name, node, next) => {
      const isDot = next <= 2;
      const entry = isDot ? undefined : this.entry(node);
      const isTaken = sink.addPlus(name, BigInt(node.id), (node.mode & S_IFMT) >> 12, BigInt(next), entry);
      if (!isTaken && !isDot) node.lookups -= 1;
      return isTaken;
    });
  }

  /** Adds entries from an offset on, until one is not taken. */
  #list(
    [, nodeid, , offset, sink]: ListingRequest,
    add: (sink: DirectorySink, name: Buffer, node: MemoryNode, next: number) => boolean,
  ): void {
    const list = this.#listing(nodeid);
    for (let i = Number(offset); i < list.length; i++) {
      const [name, node] = list[i] ?? [Buffer.alloc(0), this.root];
      if (!add(sink, name, node, i + 1)) break;
    }
  }

  releasedir(_ctx: RequestContext, _nodeid: number, _fh: number): MaybePromise<void> {}
  fsyncdir(_ctx: RequestContext, _nodeid: number, _fh: number, _datasync: boolean): MaybePromise<void> {}

  statfs(_ctx: RequestContext, _nodeid: number): MaybePromise<FuseStatfs> {
    return {
      blocks: 1_000_000n,
      bfree: 500_000n,
      bavail: 400_000n,
      files: 1000n,
      ffree: 900n,
      bsize: 4096,
      namelen: 255,
      frsize: 4096,
    };
  }

  access(_ctx: RequestContext, _nodeid: number, _mask: number): MaybePromise<void> {}

  getlk(_ctx: RequestContext, nodeid: number, request: LockRequest): MaybePromise<FuseLock> {
    return this.#locks.conflict(nodeid, request) ?? { ...request.lock, type: 2 };
  }

  setlk(ctx: RequestContext, nodeid: number, request: LockRequest, wait: boolean): MaybePromise<void> {
    return this.#locks.take(ctx, nodeid, request, wait);
  }

  node(nodeid: number): MemoryNode {
    const node = this.nodes.get(nodeid);
    if (node === undefined) throw new FuseError(Errno.ESTALE);
    return node;
  }

  attributes(node: MemoryNode): FuseAttributes {
    return attributesOf(node);
  }

  attributesReply(node: MemoryNode): AttributesReply {
    return { attributes: this.attributes(node), attrValidMs: this.#options.attrValidMs ?? 1000 };
  }

  entry(node: MemoryNode): EntryReply {
    node.lookups += 1;
    return {
      nodeid: node.id,
      generation: 0,
      entryValidMs: this.#options.entryValidMs ?? 1000,
      attrValidMs: this.#options.attrValidMs ?? 1000,
      attributes: this.attributes(node),
    };
  }

  #opened(): OpenReply {
    return { fh: this.#nextHandle++, openFlags: this.#options.openFlags ?? 0 };
  }

  #listing(nodeid: number): [Buffer, MemoryNode][] {
    const directory = this.node(nodeid);
    const list: [Buffer, MemoryNode][] = [
      [Buffer.from('.'), directory],
      [Buffer.from('..'), directory.parent ?? directory],
    ];
    for (const [name, node] of directory.children) list.push([Buffer.from(name, 'latin1'), node]);
    return list;
  }

  #create(ctx: RequestContext, parent: number, name: Buffer, mode: number): MemoryNode {
    checkName(name);
    const directory = this.node(parent);
    const key = name.toString('latin1');
    if (directory.children.has(key)) throw new FuseError(Errno.EEXIST);
    const node = this.make(mode, ctx.uid, ctx.gid, directory);
    directory.children.set(key, node);
    this.#touch(directory);
    return node;
  }

  #touch(directory: MemoryNode): void {
    const now = currentTime();
    directory.mtime = now;
    directory.ctime = now;
  }
}
