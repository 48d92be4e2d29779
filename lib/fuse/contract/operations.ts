/**
 * The contract between the FUSE session and the file system that it serves: one typed method per FUSE
 * operation, with what each argument means. Owns no behaviour. Knows nothing of NFS.
 *
 * Every method may answer at once or with a promise, and fails by throwing {@link FuseError}; anything else
 * thrown is a bug of the file system, is logged with the request, and reaches the application as EIO.
 *
 * Numbers: node ids, file handles (`fh`) and byte offsets are plain numbers below 2^53, which the session
 * checks; inode numbers, sizes, block counts and directory offsets are 64-bit and therefore bigint.
 */

import type { FuseCapabilities } from './capabilities.js';

export type MaybePromise<T> = T | Promise<T>;

/** A FUSE node id: our own counter, never reused within a mount. {@link ROOT_NODEID} is the root's. */
export type NodeId = number;
/** FUSE_ROOT_ID of the kernel's fuse.h. */
export const ROOT_NODEID: NodeId = 1;

/**
 * The caller of a request, as the kernel translates it into the mounter's user namespace, and whether it still waits.
 */
export interface RequestContext {
  /**
   * The kernel's number for this request, below 2^53; no other request of the connection has it. 0: the way to the kernel
   * knows no numbers.
   */
  readonly unique: number;
  /**
   * Another process has taken this request before and has not answered it: it died, or handed the connection over. So it
   * may have been carried out already, in part or as a whole. `unique` is the same as then.
   */
  readonly resent: boolean;
  readonly uid: number;
  readonly gid: number;
  /** 0 where the kernel itself asks, or where the caller's process is not visible from here. */
  readonly pid: number;
  /**
   * In a request that makes a name: the directory's group, if it is a supplementary group of the caller
   * (FUSE_CREATE_SUPP_GROUP, Linux 6.3). Undefined: it is not, or the kernel does not say.
   */
  readonly directoryGroup?: number | undefined;
  /** True once the caller was interrupted (FUSE_INTERRUPT) and waited long enough for an answer. */
  readonly cancelled: boolean;
  /** Calls `listener` once, when {@link cancelled} becomes true; at once if it is already. */
  onCancel(listener: () => void): void;
}

/** Foresees what FUSE does not say: that a lookup only prepares a call which makes the name. */
export interface CreationIntents {
  /**
   * Whether the lookup of `name` (a character for each byte) in `parent`, for whose answer this thread waits, is the last one
   * of a call that makes this name and fails if it exists: whatever the answer is, the kernel goes on to make it, and
   * nobody else sees the answer. False where that is not certain. Never rejects.
   */
  makes(thread: Pick<RequestContext, 'pid' | 'uid'>, parent: NodeId, name: string): Promise<boolean>;
}

/** Seconds since the epoch and nanoseconds; seconds may be negative. */
export interface FuseTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** struct fuse_attr. `mode` holds the S_IFMT type bits as well as the permissions. */
export interface FuseAttributes {
  readonly ino: bigint;
  readonly size: bigint;
  /** In 512-byte units. */
  readonly blocks: bigint;
  readonly atime: FuseTime;
  readonly mtime: FuseTime;
  readonly ctime: FuseTime;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
  readonly blksize: number;
}

/** Attributes and how long the kernel may trust them, in milliseconds. */
export interface AttributesReply {
  readonly attributes: FuseAttributes;
  readonly attrValidMs: number;
}

/** Answer to LOOKUP and to everything that makes a name. */
export interface EntryReply extends AttributesReply {
  readonly nodeid: NodeId;
  readonly generation: number;
  readonly entryValidMs: number;
}

/** "No such name", which the kernel may remember for `entryValidMs`. 0: it may not. */
export interface NegativeEntryReply {
  readonly nodeid: 0;
  readonly entryValidMs: number;
}

export interface OpenReply {
  /** Ours; the kernel hands it back with every operation on this open file. */
  readonly fh: number;
  /** FOPEN_* bits. */
  readonly openFlags: number;
}

/** The changes of a SETATTR. A field that is undefined stays as it is. */
export interface SetAttributes {
  readonly mode: number | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly size: bigint | undefined;
  /** 'now': UTIME_NOW, the server's clock decides. */
  readonly atime: FuseTime | 'now' | undefined;
  readonly mtime: FuseTime | 'now' | undefined;
  /** Set by ftruncate(2) and the like: the open file they were called on. */
  readonly fh: number | undefined;
}

/** struct fuse_kstatfs. */
export interface FuseStatfs {
  readonly blocks: bigint;
  readonly bfree: bigint;
  readonly bavail: bigint;
  readonly files: bigint;
  readonly ffree: bigint;
  readonly bsize: number;
  readonly namelen: number;
  readonly frsize: number;
}

/** A byte-range lock, `end` inclusive, 2^63-1 for "to the end of the file"; `type` is F_RDLCK, F_WRLCK, F_UNLCK. */
export interface FuseLock {
  readonly start: bigint;
  readonly end: bigint;
  readonly type: number;
  readonly pid: number;
}

export interface LockRequest {
  readonly fh: number;
  readonly owner: bigint;
  readonly lock: FuseLock;
  /** FUSE_LK_FLOCK: flock(2), not fcntl(2). */
  readonly flock: boolean;
}

/** The agreement of kernel and session in INIT. */
export interface ConnectionInfo {
  readonly protocolMinor: number;
  readonly maxWrite: number;
  readonly maxReadahead: number;
  /** FUSE_* flags in force, both words: bit n of the protocol is `1n << n`. */
  readonly flags: bigint;
}

/**
 * Takes the entries of one READDIR or READDIRPLUS answer. Both methods return false, and take nothing, once
 * the kernel's buffer is full: the entry then belongs to the next request.
 */
export interface DirectorySink {
  /** `offset` is the position after this entry, which the kernel sends to go on from; `type` is the DT_* code. */
  add(name: Uint8Array, ino: bigint, type: number, offset: bigint): boolean;
  /**
   * READDIRPLUS only. With an entry whose nodeid is not 0 the kernel counts one lookup (but not for "." and
   * ".."); undefined: the name alone.
   */
  addPlus(
    name: Uint8Array,
    ino: bigint,
    type: number,
    offset: bigint,
    entry: EntryReply | undefined,
  ): boolean;
}

/** The data of a READ, in memory that its owner uses again afterwards. */
export interface BorrowedData {
  readonly pieces: readonly Uint8Array[];
  /** The pieces are no longer needed. Called at most once. If it is never called, the memory is not used again. */
  release(): void;
}

/** A name in a directory, as the kernel sends it. */
export interface NamedEntry {
  readonly parent: NodeId;
  readonly name: Buffer;
}

/** FUSE_READ. */
export interface FuseRead {
  readonly fh: number;
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
  /** open(2)'s. */
  readonly flags: number;
  /** The data goes to the program, and not into the kernel's page cache. */
  readonly direct: boolean;
}

/** FUSE_WRITE. */
export interface FuseWrite {
  readonly fh: number;
  readonly offset: number;
  /** Belongs to the session, and is valid only until the answer: copy what must live longer. */
  readonly data: Uint8Array;
  /** open(2)'s. */
  readonly flags: number;
  /** FUSE_WRITE_CACHE: written back by the kernel (mmap). The context then names nobody. */
  readonly fromPageCache: boolean;
  /** The data did not go through the kernel's page cache, which may still hold the old data. */
  readonly direct: boolean;
}

export interface FuseOperations {
  /** The flags that INIT asks the kernel for follow from these. */
  readonly capabilities: FuseCapabilities;

  /** After INIT was answered, or when a connection was taken over; no request is delivered before it returns. */
  init?(connection: ConnectionInfo, notifier: FuseNotifier): void;
  /** The connection has ended: unmounted or aborted. Called once; nothing is delivered afterwards. */
  destroy?(): void;

  /** `name` is bytes, never empty, without "/" or NUL; "." and ".." come only for NFS export of this mount. */
  lookup(ctx: RequestContext, parent: NodeId, name: Buffer): MaybePromise<EntryReply | NegativeEntryReply>;
  /** The kernel drops `nlookup` references; BATCH_FORGET arrives as single calls. Never fails. */
  forget(nodeid: NodeId, nlookup: number): void;
  getattr(ctx: RequestContext, nodeid: NodeId, fh: number | undefined): MaybePromise<AttributesReply>;
  setattr(ctx: RequestContext, nodeid: NodeId, changes: SetAttributes): MaybePromise<AttributesReply>;
  readlink(ctx: RequestContext, nodeid: NodeId): MaybePromise<Uint8Array>;
  symlink(ctx: RequestContext, parent: NodeId, name: Buffer, target: Buffer): MaybePromise<EntryReply>;
  /**
   * `mode` holds the type bits and already respects the caller's umask; `rdev` is the kernel's 32-bit new_encode_dev.
   */
  mknod(
    ctx: RequestContext,
    parent: NodeId,
    name: Buffer,
    mode: number,
    rdev: number,
  ): MaybePromise<EntryReply>;
  mkdir(ctx: RequestContext, parent: NodeId, name: Buffer, mode: number): MaybePromise<EntryReply>;
  unlink(ctx: RequestContext, parent: NodeId, name: Buffer): MaybePromise<void>;
  rmdir(ctx: RequestContext, parent: NodeId, name: Buffer): MaybePromise<void>;
  /** `flags`: RENAME_NOREPLACE and the like, 0 for rename(2). */
  rename(ctx: RequestContext, from: NamedEntry, to: NamedEntry, flags: number): MaybePromise<void>;
  link(ctx: RequestContext, nodeid: NodeId, newParent: NodeId, newName: Buffer): MaybePromise<EntryReply>;

  /** `flags` are open(2)'s, without O_CREAT, O_EXCL and O_NOCTTY. */
  open(ctx: RequestContext, nodeid: NodeId, flags: number): MaybePromise<OpenReply>;
  create(
    ctx: RequestContext,
    parent: NodeId,
    name: Buffer,
    mode: number,
    flags: number,
  ): MaybePromise<{ entry: EntryReply; open: OpenReply }>;
  /** Fewer bytes than were asked for mean end of file, and only that. Several pieces are written to the kernel as they are. */
  read(
    ctx: RequestContext,
    nodeid: NodeId,
    read: FuseRead,
  ): MaybePromise<Uint8Array | readonly Uint8Array[] | BorrowedData>;
  /** Answers the number of bytes that were taken. */
  write(ctx: RequestContext, nodeid: NodeId, write: FuseWrite): MaybePromise<number>;
  /** Called for each close(2) of a descriptor: only here can close report an error. */
  flush(ctx: RequestContext, nodeid: NodeId, fh: number, lockOwner: bigint): MaybePromise<void>;
  /** The last reference to `fh` is gone. `flockOwner` is set if flock locks are to go too. */
  release(
    ctx: RequestContext,
    nodeid: NodeId,
    fh: number,
    flockOwner: bigint | undefined,
  ): MaybePromise<void>;
  fsync(ctx: RequestContext, nodeid: NodeId, fh: number, datasync: boolean): MaybePromise<void>;

  opendir(ctx: RequestContext, nodeid: NodeId, flags: number): MaybePromise<OpenReply>;
  /** Entries from position `offset` (0: the start) on; none added means the end. */
  readdir(
    ctx: RequestContext,
    nodeid: NodeId,
    fh: number,
    offset: bigint,
    sink: DirectorySink,
  ): MaybePromise<void>;
  readdirplus(
    ctx: RequestContext,
    nodeid: NodeId,
    fh: number,
    offset: bigint,
    sink: DirectorySink,
  ): MaybePromise<void>;
  releasedir(ctx: RequestContext, nodeid: NodeId, fh: number): MaybePromise<void>;
  fsyncdir(ctx: RequestContext, nodeid: NodeId, fh: number, datasync: boolean): MaybePromise<void>;

  statfs(ctx: RequestContext, nodeid: NodeId): MaybePromise<FuseStatfs>;
  /** access(2) and chdir(2): `mask` is of R_OK, W_OK, X_OK. */
  access(ctx: RequestContext, nodeid: NodeId, mask: number): MaybePromise<void>;

  /** With {@link FuseCapabilities.posixLocks}. */
  getlk?(ctx: RequestContext, nodeid: NodeId, request: LockRequest): MaybePromise<FuseLock>;
  /**
   * With either capability of locks. `wait`: SETLKW, may take for ever; ends with EINTR when the caller is cancelled.
   */
  setlk?(ctx: RequestContext, nodeid: NodeId, request: LockRequest, wait: boolean): MaybePromise<void>;
}

/** Tells the kernel to forget what it has cached. No method throws, also where the kernel has nothing cached. */
export interface FuseNotifier {
  /**
   * Drops cached attributes. Takes no page lock: written at once, before any reply sent after the call. False: the
   * kernel does not know the inode, and may still learn older attributes from a reply that is on its way.
   */
  invalidateAttributes(nodeid: NodeId): boolean;
  /**
   * Drops cached pages of a byte range (`length` 0: to the end) and the attributes. Written from a thread of
   * its own, because it may block on a page that a request waiting for us has locked; resolves when done.
   */
  invalidatePages(nodeid: NodeId, offset: number, length: number): Promise<void>;
  /** Drops a dentry; from a thread of its own, because it takes the directory's lock. Resolves when done. */
  invalidateEntry(parent: NodeId, name: Uint8Array): Promise<void>;
  /**
   * Makes the kernel look these names in `parent` up again before it uses its dentries. Programs that hold the objects
   * open are not disturbed. Written from a thread of its own, because it takes the directory's lock; resolves when
   * done. Without {@link expiresEntries}, only dentries of names that do not exist are dropped.
   */
  expireEntries(parent: NodeId, entries: Iterable<KnownEntry>): Promise<void>;
  /** False before Linux 6.2: a dentry can only be unhashed there, which also takes away whatever is mounted on it. */
  readonly expiresEntries: boolean;
}

/** A name that the kernel may have a dentry of. */
export interface KnownEntry {
  readonly name: Uint8Array;
  /** An object of that name exists. */
  readonly exists: boolean;
}
