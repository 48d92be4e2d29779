/** From the server's attributes to the kernel's: types, inode numbers, block counts, identities. */
import type { FuseAttributes } from '../../fuse/contract/operations.js';
import { type Fattr3, FileType } from '../../programs/nfs3/index.js';
import type { Identity } from '../caller/identity.js';

const S_IFMT_OF: Readonly<Record<FileType, number>> = {
  [FileType.REG]: 0o100000,
  [FileType.DIR]: 0o040000,
  [FileType.BLK]: 0o060000,
  [FileType.CHR]: 0o020000,
  [FileType.LNK]: 0o120000,
  [FileType.SOCK]: 0o140000,
  [FileType.FIFO]: 0o010000,
};

/** The kernel's off_t. Told of more, it takes the inode for broken and never asks again. */
const MAX_SIZE = (1n << 63n) - 1n;

/** Shown for a fileid of 0: readdir(3) takes an entry with inode number 0 for a deleted one and hides it. */
const FOR_ZERO = 0xffff_ffff_ffff_fffen;

/** DT_* of readdir(3) is the file type of st_mode, shifted. */
export function direntType(type: FileType): number {
  return S_IFMT_OF[type] >> 12;
}

/**
 * st_ino: the fileid, mixed with the fsid where that is not the root's, so that two files of one mount never
 * look like one. The mix is a multiplication by an odd constant: one to one for a given fsid.
 */
export function inodeNumber(attributes: Fattr3, rootFsid: bigint): bigint {
  if (attributes.fsid === rootFsid) return attributes.fileid || FOR_ZERO;
  const mixed = (attributes.fsid ^ (rootFsid << 1n)) * 0x9e37_79b9_7f4a_7c15n;
  return BigInt.asUintN(64, attributes.fileid ^ mixed) || FOR_ZERO;
}

export interface AttributeView {
  readonly rootFsid: bigint;
  /** st_blksize, the transfer size that serves best. */
  readonly blksize: number;
  /** Undefined: owners are shown as the server names them. */
  readonly identity: Identity | undefined;
}

/** `size` and `nlink` may differ from the server's: writes on their way, names that only we can see. */
export function toFuseAttributes(
  attributes: Fattr3,
  view: AttributeView,
  size: bigint,
  nlink: number,
): FuseAttributes {
  const { identity } = view;
  return {
    ino: inodeNumber(attributes, view.rootFsid),
    size: size > MAX_SIZE ? MAX_SIZE : size,
    blocks: (attributes.used + 511n) / 512n,
    atime: attributes.atime,
    mtime: attributes.mtime,
    ctime: attributes.ctime,
    mode: S_IFMT_OF[attributes.type] | attributes.mode,
    nlink,
    uid: identity === undefined ? attributes.uid : identity.uid.toLocal(attributes.uid),
    gid: identity === undefined ? attributes.gid : identity.gid.toLocal(attributes.gid),
    rdevMajor: attributes.rdevMajor,
    rdevMinor: attributes.rdevMinor,
    blksize: view.blksize,
  };
}
