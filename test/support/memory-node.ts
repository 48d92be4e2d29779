/** The files and directories of the file system in memory. */
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type { FuseAttributes, FuseTime } from '../../lib/fuse/contract/operations.js';

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

export interface MemoryNode {
  readonly id: number;
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  nlink: number;
  size: number;
  data: Buffer;
  atime: FuseTime;
  mtime: FuseTime;
  ctime: FuseTime;
  lookups: number;
  /** Of directories: names as Latin-1 strings, which keep every byte. */
  readonly children: Map<string, MemoryNode>;
  parent: MemoryNode | undefined;
}

/** A new node without content, not in any directory yet. */
export function newNode(
  id: number,
  mode: number,
  owner: { readonly uid: number; readonly gid: number },
  parent: MemoryNode | undefined,
): MemoryNode {
  const now = currentTime();
  return {
    id,
    mode,
    uid: owner.uid,
    gid: owner.gid,
    rdev: 0,
    nlink: 1,
    size: 0,
    data: Buffer.alloc(0),
    atime: now,
    mtime: now,
    ctime: now,
    lookups: 0,
    children: new Map(),
    parent,
  };
}

export function resize(node: MemoryNode, size: number): void {
  if (size > node.data.length) {
    const larger = Buffer.alloc(Math.max(size, Math.min(node.data.length * 2, 2 ** 31)));
    node.data.copy(larger, 0, 0, node.size);
    node.data = larger;
  } else if (size < node.size) node.data.fill(0, size, node.size);
  node.size = size;
}

export function attributesOf(node: MemoryNode): FuseAttributes {
  return {
    ino: BigInt(node.id),
    size: BigInt(isDirectory(node) ? 4096 : node.size),
    blocks: BigInt(Math.ceil(node.size / 512)),
    atime: node.atime,
    mtime: node.mtime,
    ctime: node.ctime,
    mode: node.mode,
    nlink: node.nlink,
    uid: node.uid,
    gid: node.gid,
    rdevMajor: (node.rdev >>> 8) & 0xfff,
    rdevMinor: (node.rdev & 0xff) | ((node.rdev >>> 12) & 0xfff00),
    blksize: 4096,
  };
}

export function isDirectory(node: MemoryNode): boolean {
  return (node.mode & S_IFMT) === S_IFDIR;
}

/** The kernel itself passes names of up to 4095 bytes through FUSE. */
export function checkName(name: Buffer): void {
  if (name.length > 255) throw new FuseError(Errno.ENAMETOOLONG);
}

export function currentTime(): FuseTime {
  const now = Date.now();
  return { seconds: Math.floor(now / 1000), nanoseconds: (now % 1000) * 1_000_000 };
}
