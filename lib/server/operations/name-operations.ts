/** LOOKUP, REMOVE, RMDIR, RENAME, LINK. */
import { closeSync, constants, fsyncSync } from 'node:fs';
import {
  type DirectoryName,
  type ErrorStatus,
  type FileHandle,
  type FileName,
  type LinkArguments,
  type LinkResult,
  type LookupResult,
  type RenameArguments,
  type RenameResult,
  Status,
  type WccData,
  type WccResult,
} from '../../programs/nfs3/index.js';
import { type Name, parseName } from '../checked-name.js';
import type { ServedUser } from '../served-users.js';
import { check, NfsError, ObjectMovedError, statusOfErrno, statusOfError } from '../status-error.js';
import { AT_REMOVEDIR, cString, linkDescriptor, openAt, renameAt, unlinkAt } from '../system-calls-at.js';
import { type FileStat, statAt } from '../tree/file-stat.js';
import type { ServedObject } from '../tree/served-object.js';
import type { ExportedTree } from '../tree/tree.js';

/** A directory that an operation works in: found, open, and its attributes from before. */
export interface Place {
  readonly inode: ServedObject;
  readonly descriptor: number;
  readonly before: FileStat;
}

/** An object under a name, as it is now. */
export interface Known {
  readonly inode: ServedObject;
  readonly stat: FileStat;
}

/** Throws NFS3ERR_NOTDIR, or as ObjectTable does. */
export function enter(tree: ExportedTree, inode: ServedObject): Place {
  const descriptor = tree.table.openDirectory(inode);
  return { inode, descriptor, before: tree.table.stat(inode) };
}

/** With `syncDirectories`: the change is on stable storage when this returns. */
export function settle(tree: ExportedTree, ...places: readonly Place[]): void {
  if (!tree.options.syncDirectories) return;
  for (const { descriptor } of places) {
    const readable = check(openAt(descriptor, cString('.'), constants.O_RDONLY | constants.O_DIRECTORY));
    try {
      fsyncSync(readable);
    } finally {
      closeSync(readable);
    }
  }
}

/** How a change of one directory ended, with the attributes of the directory before and after. */
export type Changed<T> = { readonly wcc: WccData } & (
  | { readonly status: typeof Status.OK; readonly outcome: T }
  | { readonly status: ErrorStatus }
);

/** Runs `change` in the directory of this handle, if the export may be written to, and settles it. */
export function changeDirectory<T>(
  tree: ExportedTree,
  handle: FileHandle,
  change: (place: Place) => T,
): Changed<T> {
  let directory: ServedObject | undefined;
  let before: FileStat | undefined;
  try {
    directory = tree.table.get(handle);
    const place = enter(tree, directory);
    before = place.before;
    tree.requireWritable();
    const outcome = change(place);
    settle(tree, place);
    return { status: Status.OK, outcome, wcc: tree.wcc(directory, before) };
  } catch (error) {
    return { status: statusOfError(error), wcc: tree.wcc(directory, before) };
  }
}

export function lookup(tree: ExportedTree, where: DirectoryName, caller: ServedUser): LookupResult {
  let directory: ServedObject | undefined;
  try {
    directory = tree.table.get(where.directory);
    const { descriptor, before } = enter(tree, directory);
    const { object, attributes } = resolve(tree, directory, descriptor, where.name, caller);
    return { status: Status.OK, object: object.handle, attributes, directoryAttributes: before };
  } catch (error) {
    return { status: statusOfError(error), directoryAttributes: tree.tryStat(directory) };
  }
}

function resolve(
  tree: ExportedTree,
  directory: ServedObject,
  descriptor: number,
  name: FileName,
  caller: ServedUser,
): { object: ServedObject; attributes: FileStat } {
  const { table } = tree;
  if (name === '.') return { object: directory, attributes: table.stat(directory) };
  if (name === '..') {
    const object = parentOf(tree, directory, descriptor, caller);
    return { object, attributes: table.stat(object) };
  }
  const { text, cString } = parseName(name, Status.INVAL);
  const attributes = tree.callers.as(caller, () => statAt(descriptor, cString));
  if (typeof attributes === 'number') throw new NfsError(statusOfErrno(-attributes));
  return { object: table.intern(attributes, directory, descriptor, text, cString), attributes };
}

const UP = cString('..');

/** The parent of a directory. The root is its own parent, so that nothing above it can be reached. */
function parentOf(
  tree: ExportedTree,
  directory: ServedObject,
  descriptor: number,
  caller: ServedUser,
): ServedObject {
  const { table } = tree;
  if (directory === table.root) return directory;
  table.confine(directory, descriptor);
  const stat = tree.callers.as(caller, () => statAt(descriptor, UP));
  if (typeof stat === 'number') throw new NfsError(statusOfErrno(-stat));
  const parent = directory.links[0]?.directory;
  // A local process has moved it. Its place has to be found first.
  if (parent === undefined || !table.matches(parent, stat, descriptor, UP)) {
    throw new ObjectMovedError(directory.handle);
  }
  return parent;
}

/**
 * Remembers the object behind a name and returns it; or -errno, if there is none or the caller may not look it up. The
 * system call that later changes the name does not rely on this result.
 */
function known(tree: ExportedTree, place: Place, name: Name, caller: ServedUser): Known | number {
  const stat = tree.callers.as(caller, () => statAt(place.descriptor, name.cString));
  if (typeof stat === 'number') return stat;
  return remember(tree, place, name, stat);
}

/** Puts the object under a name into the table. */
export function remember(tree: ExportedTree, place: Place, name: Name, stat: FileStat): Known {
  const inode = tree.table.intern(stat, place.inode, place.descriptor, name.text, name.cString);
  return { inode, stat };
}

/** Forgets a name that was removed, and the object with its last name. */
function forget(tree: ExportedTree, victim: Known, place: Place, name: Name): void {
  if (victim.inode.isDirectory || victim.stat.nlink <= 1) {
    tree.files.drop(victim.inode);
    tree.uncommitted.committed(victim.inode.handle);
    tree.creations.delete(victim.inode.handle);
  }
  tree.table.unlinked(victim.inode, place.inode, name.text);
}

export function remove(tree: ExportedTree, where: DirectoryName, caller: ServedUser): WccResult {
  return unlink(tree, where, caller, 0);
}

export function rmdir(tree: ExportedTree, where: DirectoryName, caller: ServedUser): WccResult {
  return unlink(tree, where, caller, AT_REMOVEDIR);
}

function unlink(tree: ExportedTree, where: DirectoryName, caller: ServedUser, flags: number): WccResult {
  const { status, wcc } = changeDirectory(tree, where.directory, (place) => {
    // RFC 1813 3.3.13: "." is NFS3ERR_INVAL, ".." is NFS3ERR_EXIST.
    const isParent = where.name.length === 2;
    const name = parseName(where.name, isParent && flags === AT_REMOVEDIR ? Status.EXIST : Status.INVAL);
    const victim = known(tree, place, name, caller);
    tree.callers.as(caller, () => check(unlinkAt(place.descriptor, name.cString, flags)));
    if (typeof victim !== 'number') forget(tree, victim, place, name);
  });
  return { status, wcc };
}

export function rename(tree: ExportedTree, args: RenameArguments, caller: ServedUser): RenameResult {
  let fromInode: ServedObject | undefined;
  let toInode: ServedObject | undefined;
  let from: Place | undefined;
  let to: Place | undefined;
  const wcc = () => ({
    fromWcc: tree.wcc(fromInode, from?.before),
    toWcc: tree.wcc(toInode, to?.before),
  });
  try {
    fromInode = tree.table.get(args.from.directory);
    toInode = tree.table.get(args.to.directory);
    from = enter(tree, fromInode);
    to = enter(tree, toInode);
    tree.requireWritable();
    const oldName = parseName(args.from.name, Status.INVAL);
    const newName = parseName(args.to.name, Status.EXIST);
    const moved = known(tree, from, oldName, caller);
    if (typeof moved === 'number') throw new NfsError(statusOfErrno(-moved));
    const replaced = known(tree, to, newName, caller);
    const places: [Place, Place] = [from, to];
    tree.callers.as(caller, () => {
      check(renameAt(places[0].descriptor, oldName.cString, places[1].descriptor, newName.cString));
    });
    // Both are names of the same file: rename(2) then keeps both.
    const overwritten = typeof replaced === 'number' ? undefined : replaced;
    if (overwritten?.inode !== moved.inode) {
      if (overwritten !== undefined) forget(tree, overwritten, to, newName);
      moved.inode.removeLink(fromInode, oldName.text);
      moved.inode.addLink(toInode, newName.text, moved.stat.nlink);
    }
    settle(tree, from, to);
    return { status: Status.OK, ...wcc() };
  } catch (error) {
    return { status: statusOfError(error), ...wcc() };
  }
}

export function link(tree: ExportedTree, args: LinkArguments, caller: ServedUser): LinkResult {
  let inode: ServedObject | undefined;
  let directory: ServedObject | undefined;
  let before: FileStat | undefined;
  const rest = () => ({ attributes: tree.tryStat(inode), directoryWcc: tree.wcc(directory, before) });
  try {
    inode = tree.table.get(args.file);
    directory = tree.table.get(args.link.directory);
    const place = enter(tree, directory);
    before = place.before;
    tree.requireWritable();
    if (inode.isDirectory) throw new NfsError(Status.ISDIR);
    const name = parseName(args.link.name, Status.EXIST);
    const { descriptor, stat } = tree.table.pin(inode);
    try {
      tree.callers.as(caller, () => check(linkDescriptor(descriptor, place.descriptor, name.cString)));
    } finally {
      closeSync(descriptor);
    }
    inode.addLink(directory, name.text, stat.nlink + 1);
    settle(tree, place);
    return { status: Status.OK, ...rest() };
  } catch (error) {
    return { status: statusOfError(error), ...rest() };
  }
}
