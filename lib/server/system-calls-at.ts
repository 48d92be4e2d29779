/**
 * The system calls that Node's fs cannot make: relative to a directory descriptor and without following links,
 * so that changes to the tree by others cannot lead a path out of it. Owns the boundary to native code: it checks the
 * results, and every function returns a value of 0 or more, or the negated errno, as the kernel does.
 *
 * All calls are synchronous. On a local file system they take about a microsecond, a tenth of the way to the
 * thread pool and back, and what runs between two of them cannot be interleaved with another request.
 */
import { endianness } from 'node:os';
import koffi from 'koffi';

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;
const AT_SYMLINK_FOLLOW = 0x400;
const AT_EACCESS = 0x200;
const AT_HANDLE_FID = 0x200;
const STATX_BASIC_STATS_AND_BTIME = 0xfff;
/** The same on every architecture. */
const SYS_FACCESSAT2 = 439;
/** setgroups(2) of this thread only; the C library's wrapper changes all threads. */
const SYS_SETGROUPS: Readonly<Record<string, number>> = {
  x64: 116,
  arm64: 159,
  riscv64: 159,
  loong64: 159,
  ppc64: 81,
  s390x: 206,
};

/** open(2) flags that Node's constants lack, or whose values differ between architectures. */
export const O_PATH = 0o10000000;
export const O_CLOEXEC = 0o2000000;

const library = koffi.load(null);
type Call = (...args: (number | Uint8Array | null)[]) => number;

function bind(prototype: string): Call {
  const call: unknown = library.func(prototype);
  return call as Call;
}

const native = {
  statx: bind('int statx(int, const void *, int, unsigned int, void *)'),
  openat: bind('int openat(int, const void *, int, unsigned int)'),
  mkdirat: bind('int mkdirat(int, const void *, unsigned int)'),
  mknodat: bind('int mknodat(int, const void *, unsigned int, uint64_t)'),
  symlinkat: bind('int symlinkat(const void *, int, const void *)'),
  linkat: bind('int linkat(int, const void *, int, const void *, int)'),
  unlinkat: bind('int unlinkat(int, const void *, int)'),
  renameat: bind('int renameat(int, const void *, int, const void *)'),
  readlinkat: bind('long readlinkat(int, const void *, void *, size_t)'),
  fchownat: bind('int fchownat(int, const void *, uint32_t, uint32_t, int)'),
  utimensat: bind('int utimensat(int, const void *, const void *, int)'),
  getdents64: bind('long getdents64(int, void *, size_t)'),
  nameToHandleAt: bind('int name_to_handle_at(int, const void *, void *, void *, int)'),
  setfsuid: bind('int setfsuid(uint32_t)'),
  setfsgid: bind('int setfsgid(uint32_t)'),
  syscall: bind('long syscall(long, long, const void *, long, long)'),
};

function checked(result: number): number {
  return result < 0 ? -koffi.errno() : result;
}

const littleEndian = endianness() === 'LE';
/** With AT_EMPTY_PATH this path names the descriptor itself. */
export const EMPTY_PATH = Buffer.from([0]);

/** A name or path for the kernel: bytes (one character each) and the terminating zero. */
export function cString(latin1: string): Buffer {
  const bytes = Buffer.allocUnsafe(latin1.length + 1);
  bytes.write(latin1, 'latin1');
  bytes[latin1.length] = 0;
  return bytes;
}

const statxBytes = Buffer.alloc(256);
const statxView = new DataView(statxBytes.buffer, statxBytes.byteOffset, statxBytes.length);

/** The raw struct statx of the object, valid until the next call; or -errno. */
export function statx(directory: number, path: Uint8Array, flags: number): DataView | number {
  const result = native.statx(directory, path, flags, STATX_BASIC_STATS_AND_BTIME, statxBytes);
  return result < 0 ? -koffi.errno() : statxView;
}

export { littleEndian as nativeLittleEndian };

/** Permissions in `mode` are subject to the umask. The descriptor is close-on-exec. */
export function openAt(directory: number, path: Uint8Array, flags: number, mode = 0): number {
  return checked(native.openat(directory, path, flags | O_CLOEXEC, mode));
}

export function mkdirAt(directory: number, name: Uint8Array, mode: number): number {
  return checked(native.mkdirat(directory, name, mode));
}

export function mknodAt(directory: number, name: Uint8Array, mode: number, device: number): number {
  return checked(native.mknodat(directory, name, mode, device));
}

export function symlinkAt(target: Uint8Array, directory: number, name: Uint8Array): number {
  return checked(native.symlinkat(target, directory, name));
}

/** Gives the object behind a descriptor, O_PATH ones included, another name. */
export function linkDescriptor(descriptor: number, directory: number, name: Uint8Array): number {
  const path = cString(`/proc/self/fd/${descriptor}`);
  return checked(native.linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW));
}

export function unlinkAt(directory: number, name: Uint8Array, flags: number): number {
  return checked(native.unlinkat(directory, name, flags));
}

export function renameAt(
  fromDirectory: number,
  from: Uint8Array,
  toDirectory: number,
  to: Uint8Array,
): number {
  return checked(native.renameat(fromDirectory, from, toDirectory, to));
}

const linkText = Buffer.alloc(4097);

/** The text of a symbolic link, or -errno. */
export function readlinkAt(directory: number, name: Uint8Array): Buffer | number {
  const length = checked(native.readlinkat(directory, name, linkText, linkText.length));
  return length < 0 ? length : Buffer.from(linkText.subarray(0, length));
}

/** 0xffffffff leaves an id as it is. */
export function chownAt(
  directory: number,
  path: Uint8Array,
  uid: number,
  gid: number,
  flags: number,
): number {
  return checked(native.fchownat(directory, path, uid, gid, flags));
}

const timespecs = new BigInt64Array(4);
const timespecBytes = new Uint8Array(timespecs.buffer);
const UTIME_NOW = 0x3fffffffn;
const UTIME_OMIT = 0x3ffffffen;

/** A time to set: seconds and nanoseconds, the kernel's clock, or (undefined) no change. */
export type NewTime = { readonly seconds: number; readonly nanoseconds: number } | 'server' | undefined;

function putTime(at: number, time: NewTime): void {
  timespecs[at] = typeof time === 'object' ? BigInt(time.seconds) : 0n;
  timespecs[at + 1] =
    time === undefined ? UTIME_OMIT : time === 'server' ? UTIME_NOW : BigInt(time.nanoseconds);
}

export function utimesAt(
  directory: number,
  path: Uint8Array,
  atime: NewTime,
  mtime: NewTime,
  flags: number,
): number {
  putTime(0, atime);
  putTime(2, mtime);
  return checked(native.utimensat(directory, path, timespecBytes, flags));
}

/** Fills `into` with struct linux_dirent64 records; the number of bytes, 0 at the end of the directory. */
export function getDents(directory: number, into: Uint8Array): number {
  return checked(native.getdents64(directory, into, into.length));
}

/**
 * Whether the file-system identity of this thread has the permission: R_OK 4, W_OK 2, X_OK 1. Judged by the
 * kernel, access control lists included. 0 or -errno; -ENOSYS before Linux 5.8.
 */
export function accessAt(directory: number, path: Uint8Array, mode: number, flags: number): number {
  return checked(native.syscall(SYS_FACCESSAT2, directory, path, mode, flags | AT_EACCESS));
}

const handleBytes = Buffer.alloc(8 + 128);
const mountId = Buffer.alloc(8);
const handleView = new DataView(handleBytes.buffer, handleBytes.byteOffset, handleBytes.length);

/**
 * A number that tells apart two objects that had the same inode number one after the other: a hash of the file
 * system's own handle, which holds the inode's generation. 0 where the file system has none. Needs no privilege.
 */
export function generationAt(directory: number, path: Uint8Array, flags: number): number {
  handleView.setUint32(0, 128, littleEndian);
  if (native.nameToHandleAt(directory, path, handleBytes, mountId, flags) < 0) {
    handleView.setUint32(0, 128, littleEndian);
    if (native.nameToHandleAt(directory, path, handleBytes, mountId, flags | AT_HANDLE_FID) < 0) return 0;
  }
  return hash32(handleBytes, 0, 8 + handleView.getUint32(0, littleEndian)) || 1;
}

/** FNV-1a. */
export function hash32(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] ?? 0), 0x01000193);
  return hash >>> 0;
}

/**
 * Sets the file-system uid of this thread, for which the kernel checks permissions. Returns the former one, also when
 * the new one was not taken: setfsuid(2) never fails.
 */
export function setFsUid(uid: number): number {
  return native.setfsuid(uid) >>> 0;
}

export function setFsGid(gid: number): number {
  return native.setfsgid(gid) >>> 0;
}

/** Whether {@link setThreadGroups} exists on this architecture. */
export const canSetThreadGroups = SYS_SETGROUPS[process.arch] !== undefined;

/** Sets the supplementary groups of this thread alone. 0 or -errno. */
export function setThreadGroups(groups: Uint32Array): number {
  const number = SYS_SETGROUPS[process.arch];
  if (number === undefined) return -38;
  return checked(
    native.syscall(
      number,
      groups.length,
      groups.length === 0 ? null : new Uint8Array(groups.buffer, groups.byteOffset, groups.byteLength),
      0,
      0,
    ),
  );
}
