/** GETATTR, SETATTR, ACCESS, READLINK, and the setting of attributes on new objects. */
import { chmodSync, closeSync, fchmodSync, ftruncateSync } from 'node:fs';
import {
  Access,
  type AccessArguments,
  type AccessResult,
  FileType,
  type GetattrArguments,
  type GetattrResult,
  type ReadlinkArguments,
  type ReadlinkResult,
  type Sattr3,
  type SetattrArguments,
  Status,
  sameTime,
  type WccResult,
} from '../../programs/nfs3/index.js';
import type { ServedUser } from '../served-users.js';
import { check, NfsError, statusOfError } from '../status-error.js';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  chownAt,
  cString,
  EMPTY_PATH,
  readlinkAt,
  utimesAt,
} from '../system-calls-at.js';
import type { FileStat } from '../tree/file-stat.js';
import type { Permit } from '../tree/served-files.js';
import type { ServedObject } from '../tree/served-object.js';
import type { ExportedTree } from '../tree/tree.js';
import { isAllowed, MAY_EXECUTE, MAY_READ, MAY_WRITE } from './access.js';

/** Node's fs passes offsets on exactly up to this limit. No file system has longer files. */
const MAX_SIZE = BigInt(Number.MAX_SAFE_INTEGER);
const UNCHANGED = 0xffffffff;

export function getattr(tree: ExportedTree, { object }: GetattrArguments): GetattrResult {
  try {
    return { status: Status.OK, attributes: tree.stat(tree.table.get(object)) };
  } catch (error) {
    return { status: statusOfError(error) };
  }
}

export function setattr(tree: ExportedTree, args: SetattrArguments, caller: ServedUser): WccResult {
  let inode: ServedObject | undefined;
  let before: FileStat | undefined;
  try {
    inode = tree.table.get(args.object);
    before = tree.stat(inode);
    tree.requireWritable();
    if (args.guard !== undefined && !sameTime(args.guard, before.ctime)) throw new NfsError(Status.NOT_SYNC);
    if (args.attributes.size !== undefined) truncate(tree, inode, before, args.attributes.size, caller);
    if (changesMoreThanSize(args.attributes)) {
      const { descriptor, stat } = tree.table.pin(inode);
      try {
        tree.callers.as(caller, () => applyAttributes(descriptor, stat, args.attributes));
      } finally {
        closeSync(descriptor);
      }
    }
    return { status: Status.OK, wcc: tree.wcc(inode, before) };
  } catch (error) {
    return { status: statusOfError(error), wcc: tree.wcc(inode, before) };
  }
}

function changesMoreThanSize({ mode, uid, gid, atime, mtime }: Sattr3): boolean {
  return [mode, uid, gid, atime, mtime].some((value) => value !== undefined);
}

/** Throws NFS3ERR_FBIG for a size that no file can have. */
export function sizeOf(size: bigint): number {
  if (size > MAX_SIZE) throw new NfsError(Status.FBIG);
  return Number(size);
}

/** Throws NFS3ERR_ISDIR or NFS3ERR_INVAL for what has no size, NFS3ERR_ACCES, and what the file system says. */
export function truncate(
  tree: ExportedTree,
  inode: ServedObject,
  stat: FileStat,
  size: bigint,
  caller: ServedUser,
): void {
  if (stat.type === FileType.DIR) throw new NfsError(Status.ISDIR);
  if (stat.type !== FileType.REG) throw new NfsError(Status.INVAL);
  const length = sizeOf(size);
  const permit: Permit = (current, descriptor) => requireData(tree, caller, current, descriptor, MAY_WRITE);
  const file = tree.files.acquire(inode, 'write', permit);
  try {
    permit(stat, file.descriptor);
    clearSetIds(tree, caller, stat.mode, file.descriptor);
    ftruncateSync(file.descriptor, length);
    tree.uncommitted.committed(inode.handle);
  } finally {
    file.release();
  }
}

/**
 * Throws NFS3ERR_ACCES unless the caller may read or write the open file. The owner always may: an application that
 * has it open does not lose it by a chmod, and NFS has no open (RFC 1813 4.4). A file that may be executed may be read.
 */
export function requireData(
  tree: ExportedTree,
  caller: ServedUser,
  stat: FileStat,
  descriptor: number,
  wanted: number,
): void {
  if (caller.uid === 0 || tree.callers.owns(caller, stat.uid)) return;
  if (isAllowed(tree, caller, stat, descriptor, wanted)) return;
  if (wanted === MAY_READ && isAllowed(tree, caller, stat, descriptor, MAY_EXECUTE)) return;
  throw new NfsError(Status.ACCES);
}

const SETUID_SETGID = 0o6000;

/**
 * Takes set-user-id and set-group-id bits away, as the kernel does for a writer without privilege: a changed program
 * must not run with the rights of its owner. Called before the content changes, so that the new content never has the
 * bits.
 */
export function clearSetIds(tree: ExportedTree, caller: ServedUser, mode: number, descriptor: number): void {
  if ((mode & SETUID_SETGID) === 0 || caller.uid === 0) return;
  // A server without privilege is such a writer itself: the kernel takes the bits away. It may also not be the owner.
  if (!tree.callers.impersonating) return;
  const isGroupExecutable = (mode & 0o010) !== 0;
  fchmodSync(descriptor, mode & (isGroupExecutable ? ~SETUID_SETGID : ~0o4000) & 0o7777);
}

/**
 * Sets owner, mode and times, all but the size, of the object behind a descriptor (O_PATH will do), with the
 * thread's present identity. Throws NfsError or a system error.
 */
export function applyAttributes(descriptor: number, stat: FileStat, attributes: Sattr3): void {
  const { mode, uid, gid, atime, mtime } = attributes;
  if (uid !== undefined || gid !== undefined) {
    // chown(2) would understand this id as "leave it as it is", and the client would see a success.
    if (uid === UNCHANGED || gid === UNCHANGED) throw new NfsError(Status.INVAL);
    check(chownAt(descriptor, EMPTY_PATH, uid ?? UNCHANGED, gid ?? UNCHANGED, AT_EMPTY_PATH));
  }
  // After the owner: a change of the owner takes setuid and setgid away.
  if (mode !== undefined) {
    if (stat.type === FileType.LNK) throw new NfsError(Status.NOTSUPP);
    chmodSync(`/proc/self/fd/${descriptor}`, mode & 0o7777);
  }
  if (atime === undefined && mtime === undefined) return;
  if (stat.type === FileType.LNK) check(utimesAt(descriptor, EMPTY_PATH, atime, mtime, AT_EMPTY_PATH));
  else check(utimesAt(AT_FDCWD, cString(`/proc/self/fd/${descriptor}`), atime, mtime, 0));
}

export function access(tree: ExportedTree, args: AccessArguments, caller: ServedUser): AccessResult {
  let inode: ServedObject | undefined;
  try {
    inode = tree.table.get(args.object);
    const { descriptor, stat } = tree.table.pin(inode);
    try {
      const granted = stat.type === FileType.LNK ? Access.READ : grantedBits(tree, caller, stat, descriptor);
      return { status: Status.OK, attributes: stat, access: granted & args.access };
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    return { status: statusOfError(error), attributes: tree.tryStat(inode) };
  }
}

function grantedBits(tree: ExportedTree, caller: ServedUser, stat: FileStat, descriptor: number): number {
  const may = (wanted: number) => isAllowed(tree, caller, stat, descriptor, wanted);
  const isDirectory = stat.type === FileType.DIR;
  let granted = 0;
  if (may(MAY_READ)) granted |= Access.READ;
  if (may(MAY_EXECUTE)) granted |= isDirectory ? Access.LOOKUP : Access.EXECUTE;
  if (tree.options.readOnly) return granted;
  // Changing names in a directory needs search permission as well.
  if (may(isDirectory ? MAY_WRITE | MAY_EXECUTE : MAY_WRITE)) {
    granted |= Access.MODIFY | Access.EXTEND | (isDirectory ? Access.DELETE : 0);
  }
  return granted;
}

export function readlink(tree: ExportedTree, { symlink }: ReadlinkArguments): ReadlinkResult {
  let inode: ServedObject | undefined;
  try {
    inode = tree.table.get(symlink);
    if (inode.isDirectory) throw new NfsError(Status.INVAL);
    const { directory, name, stat } = tree.table.locate(inode);
    if (stat.type !== FileType.LNK) throw new NfsError(Status.INVAL);
    tree.table.requireData(stat.fsid);
    const target = readlinkAt(directory, name);
    if (typeof target === 'number') throw new NfsError(Status.IO);
    return { status: Status.OK, attributes: tree.tryStat(inode), target };
  } catch (error) {
    return { status: statusOfError(error), attributes: tree.tryStat(inode) };
  }
}
