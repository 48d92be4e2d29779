/**
 * The checks of a local file system for callers with a {@link Claim}: those whom uid= or gid= make one user of the
 * server, which therefore lets each of them do what that user may. Every check goes by attributes that are asked for
 * just then, since the kernel's own check (default_permissions) goes by those that it has cached.
 */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { SetAttributes } from '../../fuse/contract/operations.js';
import { Access, type Fattr3 } from '../../programs/nfs3/index.js';
import type { CurrentAttributes } from '../attributes/current-attributes.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';

/** The parts of the mount that this needs. */
export interface ClaimedRightsNeeds {
  readonly current: CurrentAttributes;
}

const S_ISVTX = 0o1000;

/** Search permission in a directory, by its attributes as they are cached. @throws FuseError EACCES */
export async function maySearch(vfs: ClaimedRightsNeeds, directory: Inode, caller: Caller): Promise<void> {
  const { claim } = caller;
  if (claim === undefined) return;
  const attributes = await vfs.current.fresh(directory, caller);
  if ((claim.access(attributes) & Access.LOOKUP) === 0) throw new FuseError(Errno.EACCES);
}

/** Making a name in a directory. Answers its attributes. @throws FuseError EACCES */
export async function mayAddName(
  vfs: ClaimedRightsNeeds,
  directory: Inode,
  caller: Caller,
): Promise<Fattr3 | undefined> {
  const { claim } = caller;
  if (claim === undefined) return undefined;
  const attributes = await vfs.current.fetch(directory, caller);
  const needed = Access.MODIFY | Access.LOOKUP;
  if ((claim.access(attributes) & needed) !== needed) throw new FuseError(Errno.EACCES);
  return attributes;
}

/**
 * Taking a name away, or giving it to another object. `find` answers the object of the name; it is called only where the
 * directory has the sticky bit. @throws FuseError EACCES, or EPERM by the sticky bit
 */
export async function mayTakeName(
  vfs: ClaimedRightsNeeds,
  directory: Inode,
  caller: Caller,
  find: () => Promise<Inode | undefined>,
): Promise<void> {
  const attributes = await mayAddName(vfs, directory, caller);
  const { claim } = caller;
  if (claim === undefined || attributes === undefined) return;
  if ((attributes.mode & S_ISVTX) === 0 || claim.owns(attributes)) return;
  const object = await find();
  if (object === undefined) return;
  if (!claim.owns(await vfs.current.fetch(object, caller))) throw new FuseError(Errno.EPERM);
}

/** Changing the content of a directory that moves to another place: its "..". @throws FuseError EACCES */
export async function mayMove(vfs: ClaimedRightsNeeds, moved: Inode, caller: Caller): Promise<void> {
  const { claim } = caller;
  if (claim === undefined || !moved.isDirectory) return;
  const attributes = await vfs.current.fetch(moved, caller);
  if ((claim.access(attributes) & Access.MODIFY) === 0) throw new FuseError(Errno.EACCES);
}

/**
 * chmod(2), chown(2), truncate(2), utimensat(2). `changes` are in the server's ids; `opened`: a descriptor that is open for
 * writing was named. @throws FuseError EPERM or EACCES, as a local file system does
 */
export async function mayChange(
  vfs: ClaimedRightsNeeds,
  inode: Inode,
  changes: SetAttributes,
  opened: boolean,
  caller: Caller,
): Promise<void> {
  const { claim } = caller;
  if (claim === undefined) return;
  const { mode, uid, gid, size, atime, mtime } = changes;
  const setsTimes = size === undefined && (atime !== undefined || mtime !== undefined);
  const touches = setsTimes && atime === 'now' && mtime === 'now';
  const truncates = size !== undefined && !opened;
  if (mode === undefined && uid === undefined && gid === undefined && !setsTimes && !truncates) return;
  const attributes = await vfs.current.fetch(inode, caller);
  const owns = claim.owns(attributes);
  if (mode !== undefined && !owns) throw new FuseError(Errno.EPERM);
  if (uid !== undefined && !(owns && uid === attributes.uid)) throw new FuseError(Errno.EPERM);
  if (gid !== undefined && !(owns && (gid === attributes.gid || claim.isMember(gid))))
    throw new FuseError(Errno.EPERM);
  if (setsTimes && !touches && !owns) throw new FuseError(Errno.EPERM);
  const writes = (claim.access(attributes) & Access.MODIFY) !== 0;
  if ((truncates || (touches && !owns)) && !writes) throw new FuseError(Errno.EACCES);
}
