/**
 * Records of locks, for the next process of this mount, should there be one. Owns the interface; lib/vfs/handover implements
 * it.
 */
import type { FileHandle } from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';
import type { ClientLock, ClientOwner } from './lock-owners.js';

/** A file with locks, and the handle by which the server knows them. */
export interface RecordedLockFile {
  readonly inode: Inode;
  readonly handle: FileHandle;
}

export interface LockRecords {
  /** The owner holds exactly this of the file, taken last through descriptor `fh`. To be called before it is told. */
  holds(file: RecordedLockFile, owner: ClientOwner, locks: readonly ClientLock[], fh: number): void;
}

/** An owner as an earlier process of this mount has recorded it. */
export type RecordedOwner = Omit<ClientOwner, 'group'>;

/** A range that an owner holds. */
export type HeldLock = Omit<ClientLock, 'owner'>;
