/**
 * Numbers of the FUSE kernel protocol (include/uapi/linux/fuse.h, protocol 7.31 to 7.45): opcodes, flags and
 * the byte offsets of structure fields. Owns no behaviour.
 */

/** FUSE_KERNEL_VERSION. */
export const PROTOCOL_MAJOR = 7;
/** The newest minor whose messages are understood here: that of Linux 6.18. */
export const PROTOCOL_MINOR = 45;
/** The oldest minor served: Linux 5.4, whose structures have the sizes used here. */
export const PROTOCOL_MINOR_OLDEST = 31;

export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;

const opcodeNames: string[] = [];
for (const [name, opcode] of Object.entries(Opcode)) opcodeNames[opcode] = name;

/** "LOOKUP" for 1; "opcode 99" for what has no name here. */
export function opcodeName(opcode: number): string {
  return opcodeNames[opcode] ?? `opcode ${opcode}`;
}

/** enum fuse_ext_type: struct fuse_supp_groups follows the header of the extension. */
export const EXT_GROUPS = 32;

/** INIT flags: bit n of the 64 that `flags` and `flags2` make together. */
export const InitFlag = {
  ASYNC_READ: 1n << 0n,
  POSIX_LOCKS: 1n << 1n,
  FILE_OPS: 1n << 2n,
  ATOMIC_O_TRUNC: 1n << 3n,
  EXPORT_SUPPORT: 1n << 4n,
  BIG_WRITES: 1n << 5n,
  DONT_MASK: 1n << 6n,
  SPLICE_WRITE: 1n << 7n,
  SPLICE_MOVE: 1n << 8n,
  SPLICE_READ: 1n << 9n,
  FLOCK_LOCKS: 1n << 10n,
  HAS_IOCTL_DIR: 1n << 11n,
  AUTO_INVAL_DATA: 1n << 12n,
  DO_READDIRPLUS: 1n << 13n,
  READDIRPLUS_AUTO: 1n << 14n,
  ASYNC_DIO: 1n << 15n,
  WRITEBACK_CACHE: 1n << 16n,
  NO_OPEN_SUPPORT: 1n << 17n,
  PARALLEL_DIROPS: 1n << 18n,
  HANDLE_KILLPRIV: 1n << 19n,
  POSIX_ACL: 1n << 20n,
  ABORT_ERROR: 1n << 21n,
  MAX_PAGES: 1n << 22n,
  CACHE_SYMLINKS: 1n << 23n,
  NO_OPENDIR_SUPPORT: 1n << 24n,
  EXPLICIT_INVAL_DATA: 1n << 25n,
  MAP_ALIGNMENT: 1n << 26n,
  SUBMOUNTS: 1n << 27n,
  HANDLE_KILLPRIV_V2: 1n << 28n,
  SETXATTR_EXT: 1n << 29n,
  INIT_EXT: 1n << 30n,
  INIT_RESERVED: 1n << 31n,
  SECURITY_CTX: 1n << 32n,
  HAS_INODE_DAX: 1n << 33n,
  CREATE_SUPP_GROUP: 1n << 34n,
  HAS_EXPIRE_ONLY: 1n << 35n,
  DIRECT_IO_ALLOW_MMAP: 1n << 36n,
  PASSTHROUGH: 1n << 37n,
  NO_EXPORT_SUPPORT: 1n << 38n,
  HAS_RESEND: 1n << 39n,
  ALLOW_IDMAP: 1n << 40n,
  OVER_IO_URING: 1n << 41n,
  REQUEST_TIMEOUT: 1n << 42n,
} as const;

/** The names of the set INIT flags, joined by "|". */
export function initFlagNames(flags: bigint): string {
  const names: string[] = [];
  for (const [name, bit] of Object.entries(InitFlag)) if ((flags & bit) !== 0n) names.push(name);
  return names.length === 0 ? '0' : names.join('|');
}

/** Flags of struct fuse_open_out, which an {@link OpenReply} carries. */
export const OpenFlag = {
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  NONSEEKABLE: 1 << 2,
  CACHE_DIR: 1 << 3,
  STREAM: 1 << 4,
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
} as const;

/**
 * The upper half of a request's number without FUSE_UNIQUE_RESEND (bit 63), which marks a request that was read before by
 * somebody who did not answer it. The answer carries the bit as well.
 */
export const UNIQUE_HIGH_MASK = 0x7fff_ffff;

/** Bits of fuse_setattr_in.valid. */
export const SetattrValid = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  LOCKOWNER: 1 << 9,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

export const GETATTR_FH = 1 << 0;
export const WRITE_CACHE = 1 << 0;
/**
 * FUSE_READ_LOCKOWNER and FUSE_WRITE_LOCKOWNER, which have the same value. The kernel names the owner in direct I/O
 * (fuse_direct_io), by O_DIRECT or FOPEN_DIRECT_IO, and nowhere else.
 */
export const DIRECT_LOCKOWNER = 1 << 1;
export const RELEASE_FLUSH = 1 << 0;
export const RELEASE_FLOCK_UNLOCK = 1 << 1;
export const FSYNC_FDATASYNC = 1 << 0;
export const LK_FLOCK = 1 << 0;

/** enum fuse_notify_code. */
export const NotifyCode = {
  POLL: 1,
  INVAL_INODE: 2,
  INVAL_ENTRY: 3,
  STORE: 4,
  RETRIEVE: 5,
  DELETE: 6,
  RESEND: 7,
} as const;

/** Flags of FUSE_NOTIFY_INVAL_ENTRY: the dentry is asked for again before its next use, and not unhashed. */
export const EXPIRE_ONLY = 1;

/** Sizes of structures in bytes. */
export const Size = {
  IN_HEADER: 40,
  OUT_HEADER: 16,
  ATTR: 88,
  ENTRY_OUT: 128,
  ATTR_OUT: 104,
  OPEN_OUT: 16,
  WRITE_OUT: 8,
  STATFS_OUT: 80,
  LK_OUT: 24,
  INIT_OUT: 64,
  /** Before the name. */
  DIRENT: 24,
  /** Before the name. */
  DIRENTPLUS: 152,
  INIT_IN: 16,
  INIT_IN_EXT: 64,
  GETATTR_IN: 16,
  SETATTR_IN: 88,
  MKNOD_IN: 16,
  MKDIR_IN: 8,
  RENAME_IN: 8,
  RENAME2_IN: 16,
  LINK_IN: 8,
  OPEN_IN: 8,
  CREATE_IN: 16,
  READ_IN: 40,
  WRITE_IN: 40,
  RELEASE_IN: 24,
  FLUSH_IN: 24,
  FSYNC_IN: 16,
  LK_IN: 48,
  ACCESS_IN: 8,
  FORGET_IN: 8,
  BATCH_FORGET_IN: 8,
  FORGET_ONE: 16,
  INTERRUPT_IN: 8,
} as const;

/** The page size that max_pages counts in. On a kernel with larger pages, requests only get larger than asked for. */
export const PAGE_BYTES = 4096;
/** FUSE_MAX_MAX_PAGES: the most that a kernel lets a request have unless its administrator raised it. */
export const MAX_PAGES = 256;
/** The largest errno that the kernel accepts in a reply is 511 (fuse_dev_do_write refuses -512 and below). */
export const MAX_ERRNO = 511;
