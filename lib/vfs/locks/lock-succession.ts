/**
 * Locks of an earlier process of this mount. Owns how this process becomes their holder: it knows what programs hold, and the
 * server may hold more, of requests that the other process had sent and nobody was told of.
 */
import type { Clock } from '../../base/clock.js';
import { WHOLE_FILE } from '../../locks/index.js';
import type { FileHandle } from '../../programs/nfs3/index.js';
import type { Credential } from '../../rpc/auth/credential.js';
import type { Inode } from '../cache/inode.js';
import type { OpenFile } from '../data/open-file.js';
import type { LateCopies } from './late-copies.js';
import type { LockNote, LockNotes } from './lock-notes.js';
import type { ClientOwner } from './lock-owners.js';
import type { HeldLock, RecordedOwner } from './lock-records.js';
import type { LockSettling } from './lock-settling.js';
import type { LockedFile } from './locked-file.js';

/** All that an earlier process has left of one owner and one file. */
export interface LeftLocks {
  readonly inode: Inode;
  readonly owner: RecordedOwner;
  /** By which the server knows the file. */
  readonly handle: FileHandle;
  /** Ranges that programs hold. */
  readonly locks: readonly HeldLock[];
  /** Through which a lock was taken last. Undefined: it is closed. */
  readonly through: OpenFile | undefined;
  /** Locks that may wait in the server's queue. */
  readonly waiting: readonly NonNullable<LockNote['waiting']>[];
}

export interface SuccessionNeeds {
  readonly settling: LockSettling;
  readonly copies: LateCopies;
  readonly notes: LockNotes;
  /** Of calls that no program asks for. */
  readonly credential: Credential;
  readonly clock: Clock;
  /** The lock manager is called by datagrams. */
  readonly connectionless: boolean;
}

/** Resolves when the server holds what the owner holds, and nothing waits for it. */
export async function takeUpLocks(
  file: LockedFile,
  owner: ClientOwner,
  { locks, through, waiting }: LeftLocks,
  { settling, copies, notes, credential, clock, connectionless }: SuccessionNeeds,
): Promise<void> {
  file.use(owner);
  try {
    notes.mayHold(file, owner);
    if (locks.length > 0)
      file.takeUp(
        owner,
        locks.map((lock) => ({ ...lock, owner })),
        clock.now(),
        through,
      );
    // A call of the other process may arrive behind the calls of this one.
    copies.ofAnotherProcess(file.handle, owner, connectionless);
    const asked = waiting.map((range) => settling.takeBack(file, { ...range, owner }, credential, true));
    await Promise.all([...asked, settling.agree(file, owner, WHOLE_FILE, credential)]);
    settling.awaitCopies(file, owner, credential);
  } finally {
    file.giveBack(owner);
  }
}
