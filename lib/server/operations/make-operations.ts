/** CREATE, MKDIR, SYMLINK, MKNOD: a new object under a name, with exactly the attributes asked for. */
import { closeSync, constants, ftruncateSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import {
  type CreateArguments,
  CreateMode,
  type DirectoryName,
  FileType,
  type MakeResult,
  type MkdirArguments,
  type MknodArguments,
  type Sattr3,
  Status,
  type SymlinkArguments,
} from '../../programs/nfs3/index.js';
import { type Name, parseName } from '../checked-name.js';
import type { ServedUser } from '../served-users.js';
import { check, NfsError } from '../status-error.js';
import { AT_REMOVEDIR, mkdirAt, mknodAt, O_PATH, openAt, symlinkAt, unlinkAt } from '../system-calls-at.js';
import { type FileStat, statAt, statDescriptor } from '../tree/file-stat.js';
import type { ExportedTree } from '../tree/tree.js';
import { applyAttributes, sizeOf, truncate } from './attribute-operations.js';
import { changeDirectory, type Known, type Place, remember } from './name-operations.js';

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDWR } = constants;
/** The modes of new objects for which the client gives none. */
const FILE_MODE = 0o644;
/** Of a file that its maker has not said the mode of yet: CREATE with EXCLUSIVE has no place for it. */
const UNSAID_MODE = 0o600;
const DIRECTORY_MODE = 0o755;
const SETGID = 0o2000;
/** Keeps the sign bit of a stored time clear: some file systems have no years after 2038 or before 1970. */
const TIME_BITS = 0x7fffffff;

/** The common part of all four: the directory, the name, the reply. */
function make(
  tree: ExportedTree,
  where: DirectoryName,
  action: (place: Place, name: Name) => Known,
): MakeResult {
  const result = changeDirectory(tree, where.directory, (place) =>
    action(place, parseName(where.name, Status.EXIST)),
  );
  const directoryWcc = result.wcc;
  if (result.status !== Status.OK) return { status: result.status, directoryWcc };
  const { inode, stat } = result.outcome;
  return { status: Status.OK, object: inode.handle, attributes: stat, directoryWcc };
}

function rememberMade(tree: ExportedTree, place: Place, name: Name): Known {
  const stat = statAt(place.descriptor, name.cString);
  // A local process has removed it again.
  if (typeof stat === 'number') throw new NfsError(Status.STALE);
  return remember(tree, place, name, stat);
}

/**
 * The attributes that still have to be set on a new object: the umask may have cleared bits of the mode, and only root
 * may give an object another owner (for other callers the owner is ignored, as servers do).
 */
function outstanding(attributes: Sattr3, stat: FileStat, caller: ServedUser): Sattr3 {
  const isRoot = caller.uid === 0;
  return {
    uid: isRoot && attributes.uid !== stat.uid ? attributes.uid : undefined,
    gid: isRoot && attributes.gid !== stat.gid ? attributes.gid : undefined,
    mode:
      attributes.mode !== undefined && (attributes.mode & 0o7777) !== stat.mode ? attributes.mode : undefined,
    atime: attributes.atime,
    mtime: attributes.mtime,
  };
}

function finish(descriptor: number, attributes: Sattr3, caller: ServedUser): void {
  const stat = statDescriptor(descriptor);
  if (typeof stat === 'number') throw new NfsError(Status.IO);
  applyAttributes(descriptor, stat, outstanding(attributes, stat, caller));
}

/** Like {@link finish}, for objects that are not opened when they are made. Removes the object if this fails. */
function finishByName(place: Place, name: Name, attributes: Sattr3, caller: ServedUser): void {
  const descriptor = check(openAt(place.descriptor, name.cString, O_PATH | O_NOFOLLOW));
  try {
    finish(descriptor, attributes, caller);
  } catch (error) {
    unlinkAt(place.descriptor, name.cString, 0);
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

export function create(tree: ExportedTree, args: CreateArguments, caller: ServedUser): MakeResult {
  const { how } = args;
  return make(tree, args.where, (place, name) => {
    const attributes =
      how.mode === CreateMode.EXCLUSIVE ? { ...markOf(how.verifier), mode: UNSAID_MODE } : how.attributes;
    const descriptor = createFile(tree, place, name, attributes, caller);
    if (descriptor >= 0) {
      const made = rememberMade(tree, place, name);
      tree.files.adopt(made.inode, descriptor);
      if (how.mode === CreateMode.EXCLUSIVE) tree.creations.set(made.inode.handle, textOf(how.verifier));
      return made;
    }
    const existing = rememberMade(tree, place, name);
    if (how.mode === CreateMode.EXCLUSIVE && isReplay(tree, existing, how.verifier)) return existing;
    if (how.mode !== CreateMode.UNCHECKED || existing.stat.type !== FileType.REG) {
      throw new NfsError(Status.EXIST);
    }
    // For an existing file, only the size is set: this is an open with O_TRUNC.
    if (how.attributes.size === undefined) return existing;
    truncate(tree, existing.inode, existing.stat, how.attributes.size, caller);
    return rememberMade(tree, place, name);
  });
}

/** A descriptor open for reading and writing, or -EEXIST. Throws NfsError. */
function createFile(
  tree: ExportedTree,
  place: Place,
  name: Name,
  attributes: Sattr3,
  caller: ServedUser,
): number {
  return tree.callers.as(caller, () => {
    const mode = (attributes.mode ?? FILE_MODE) & 0o7777;
    const flags = O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW;
    const descriptor = openAt(place.descriptor, name.cString, flags, mode);
    if (descriptor === -osConstants.errno.EEXIST) return descriptor;
    check(descriptor);
    try {
      if (attributes.size !== undefined) ftruncateSync(descriptor, sizeOf(attributes.size));
      finish(descriptor, { mode, ...attributes }, caller);
    } catch (error) {
      closeSync(descriptor);
      unlinkAt(place.descriptor, name.cString, 0);
      throw error;
    }
    return descriptor;
  });
}

function textOf(verifier: Uint8Array): string {
  return Buffer.from(verifier).toString('latin1');
}

/**
 * The verifier of an EXCLUSIVE create is kept in the times of the file until the client sets them, so that a replay
 * is recognized also after the server was restarted (RFC 1813 3.3.8).
 */
function markOf(verifier: Uint8Array): Sattr3 {
  const view = new DataView(verifier.buffer, verifier.byteOffset, verifier.length);
  return {
    mtime: { seconds: view.getUint32(0) & TIME_BITS, nanoseconds: 0 },
    atime: { seconds: view.getUint32(4) & TIME_BITS, nanoseconds: 0 },
  };
}

function isReplay(tree: ExportedTree, { inode, stat }: Known, verifier: Uint8Array): boolean {
  if (stat.type !== FileType.REG) return false;
  const kept = tree.creations.get(inode.handle);
  if (kept !== undefined) return kept === textOf(verifier);
  const { atime, mtime } = markOf(verifier);
  const isSame = (a: Sattr3['atime'], b: FileStat['atime']) =>
    typeof a === 'object' && a.seconds === b.seconds && a.nanoseconds === b.nanoseconds;
  return stat.size === 0n && isSame(atime, stat.atime) && isSame(mtime, stat.mtime);
}

export function mkdir(tree: ExportedTree, args: MkdirArguments, caller: ServedUser): MakeResult {
  return make(tree, args.where, (place, name) => {
    const mode = (args.attributes.mode ?? DIRECTORY_MODE) & 0o7777;
    tree.callers.as(caller, () => {
      check(mkdirAt(place.descriptor, name.cString, mode));
    });
    finishDirectory(tree, place, name, { ...args.attributes, mode }, caller);
    return rememberMade(tree, place, name);
  });
}

/**
 * A directory inherits setgid and the group from its parent, and keeps both for any mode that was asked for, as
 * mkdir(2) does. The kernel clears the bit if the caller that sets the mode is not in the group. So the mode is set
 * with the directory's group as the group of the caller. On a directory the bit gives nobody the rights of the group.
 */
function finishDirectory(
  tree: ExportedTree,
  place: Place,
  name: Name,
  attributes: Sattr3,
  caller: ServedUser,
): void {
  const { callers } = tree;
  const flags = O_PATH | O_NOFOLLOW | O_DIRECTORY;
  const descriptor = check(callers.as(caller, () => openAt(place.descriptor, name.cString, flags)));
  try {
    const stat = statDescriptor(descriptor);
    if (typeof stat === 'number') throw new NfsError(Status.IO);
    const inherited = stat.mode & SETGID;
    const left = outstanding({ ...attributes, mode: (attributes.mode ?? 0) | inherited }, stat, caller);
    const chooser = inherited !== 0 && left.gid === undefined ? callers.within(caller, stat.gid) : caller;
    callers.as(chooser, () => applyAttributes(descriptor, stat, left));
  } catch (error) {
    callers.as(caller, () => unlinkAt(place.descriptor, name.cString, AT_REMOVEDIR));
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

export function symlink(tree: ExportedTree, args: SymlinkArguments, caller: ServedUser): MakeResult {
  return make(tree, args.where, (place, name) => {
    if (args.target.length === 0 || args.target.includes(0)) throw new NfsError(Status.INVAL);
    const target = Buffer.concat([args.target, Buffer.alloc(1)]);
    tree.callers.as(caller, () => {
      check(symlinkAt(target, place.descriptor, name.cString));
      // The mode of a link has no meaning, and cannot be set.
      finishByName(place, name, { ...args.attributes, mode: undefined }, caller);
    });
    return rememberMade(tree, place, name);
  });
}

const typeBits: Readonly<Partial<Record<FileType, number>>> = {
  [FileType.CHR]: 0o020000,
  [FileType.BLK]: 0o060000,
  [FileType.SOCK]: 0o140000,
  [FileType.FIFO]: 0o010000,
};

export function mknod(tree: ExportedTree, args: MknodArguments, caller: ServedUser): MakeResult {
  const { what } = args;
  return make(tree, args.where, (place, name) => {
    const bits = typeBits[what.type];
    if (!('attributes' in what) || bits === undefined) throw new NfsError(Status.BADTYPE);
    const mode = (what.attributes.mode ?? FILE_MODE) & 0o7777;
    const device = 'rdevMajor' in what ? makeDevice(what.rdevMajor, what.rdevMinor) : 0;
    tree.callers.as(caller, () => {
      check(mknodAt(place.descriptor, name.cString, bits | mode, device));
      finishByName(place, name, { ...what.attributes, mode }, caller);
    });
    return rememberMade(tree, place, name);
  });
}

/** dev_t as Linux has it: twelve bits of major, twenty of minor. Throws NFS3ERR_INVAL for more. */
function makeDevice(major: number, minor: number): number {
  if (major > 0xfff || minor > 0xfffff) throw new NfsError(Status.INVAL);
  return (minor & 0xff) + (major << 8) + (minor >>> 8) * 0x10_0000;
}
