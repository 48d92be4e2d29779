/**
 * The locks of one file, as this mount has them. Owns what the server has granted (`confirmed`), whose turn it is to call
 * the lock manager, and which requests have no answer yet.
 *
 * The table holds what is confirmed and what is being asked for, so that a lock is refused here before it is asked for
 * there. When the answer has come, the table is made to hold what is confirmed again.
 */
import {
  type LockRange,
  type LockTable,
  overlaps,
  type Piece,
  partition,
  replaceRange,
} from '../../locks/index.js';
import type { FileHandle } from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';
import type { UserCredential } from '../caller/caller.js';
import type { ClientLock, ClientOwner, LockOwners } from './lock-owners.js';

const NONE: readonly never[] = [];

/** Reported to the server, and not answered yet; or given up, and not taken back yet. */
interface Unsettled {
  readonly lock: ClientLock;
  /** Whether the table counts it as held meanwhile. */
  readonly reserved: boolean;
  readonly settled: Promise<void>;
}

export class LockedFile {
  readonly inode: Inode;
  readonly key: string;
  /** The handle by which the server knows the locks: a redrive may find another one for the same object. */
  handle: FileHandle;
  /** Counts of Inode.contentChanges after a lock was granted, and pages were good: the same count means that they still are. */
  pagesGoodAt: number | undefined = undefined;
  readonly #table: LockTable<ClientOwner>;
  readonly #owners: LockOwners;
  readonly #confirmed = new Map<string, readonly ClientLock[]>();
  readonly #since = new Map<string, number>();
  readonly #unsettled = new Set<Unsettled>();
  /** The end of the last call of each owner. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #sleepers = new Set<() => void>();
  /** The owners that have taken locks through a descriptor, and with which credential. */
  readonly #through = new Map<number, Map<ClientOwner, UserCredential>>();
  /** Locks that were lost to somebody else after a restart of the server, until they are unlocked. */
  readonly #lost = new Map<ClientOwner, readonly ClientLock[]>();
  #users = 0;

  constructor(inode: Inode, table: LockTable<ClientOwner>, owners: LockOwners) {
    this.inode = inode;
    this.key = String(inode.nodeid);
    this.handle = inode.handle;
    this.#table = table;
    this.#owners = owners;
  }

  // ---- what is held

  /** Locks that the server has granted to the owner: sorted, neighbours merged. */
  heldBy({ key }: ClientOwner): readonly ClientLock[] {
    return this.#confirmed.get(key) ?? NONE;
  }

  /** All locks that the server has granted, by owner, and when the owner's first one was (Clock.now). */
  *held(): Generator<{
    readonly owner: ClientOwner;
    readonly locks: readonly ClientLock[];
    readonly since: number;
  }> {
    for (const [key, locks] of this.#confirmed) {
      const owner = locks[0]?.owner;
      if (owner !== undefined) yield { owner, locks, since: this.#since.get(key) ?? 0 };
    }
  }

  get isHeld(): boolean {
    return this.#confirmed.size > 0;
  }

  /** Whether the owner has the whole range already, in the same way. */
  covers(wanted: ClientLock): boolean {
    const pieces = partition(this.heldBy(wanted.owner), wanted);
    return pieces.every(({ lock }) => lock?.exclusive === wanted.exclusive);
  }

  /** The range in pieces, by what the owner holds. */
  pieces(owner: ClientOwner, range: LockRange): readonly Piece<ClientOwner>[] {
    return partition(this.heldBy(owner), range);
  }

  /** The server has granted the lock, in place of what its owner had of the range. */
  confirm(lock: ClientLock, now: number): void {
    if (!this.#confirmed.has(lock.owner.key)) this.#since.set(lock.owner.key, now);
    this.#set(lock.owner, replaceRange(this.heldBy(lock.owner), lock, lock));
  }

  /** The owner has no lock of this range any more. */
  remove(owner: ClientOwner, range: LockRange): void {
    this.#set(owner, replaceRange(this.heldBy(owner), range));
    this.#sync(owner);
  }

  /** Makes the owner hold what it held before. `before`: pieces that cover the range which it is about. */
  restore(owner: ClientOwner, before: readonly Piece<ClientOwner>[]): void {
    let locks = this.heldBy(owner);
    for (const { range, lock } of before) locks = replaceRange(locks, range, lock);
    this.#set(owner, locks);
    this.#sync(owner);
  }

  #set(owner: ClientOwner, locks: readonly ClientLock[]): void {
    const { key } = owner;
    const had = this.#confirmed.has(key);
    if (locks.length > 0) {
      this.#confirmed.set(key, locks);
      if (!had) this.#owners.useAgain(owner);
    } else if (had) {
      this.#confirmed.delete(key);
      this.#since.delete(key);
      this.#owners.giveBack(owner);
    }
  }

  // ---- descriptors, and what is lost

  /** A lock was granted through this descriptor. */
  takenThrough(fh: number, owner: ClientOwner, credential: UserCredential): void {
    const owners = this.#through.get(fh) ?? new Map<ClientOwner, UserCredential>();
    this.#through.set(fh, owners.set(owner, credential));
  }

  /** The owner has given up all its locks. */
  takenNowhere(owner: ClientOwner): void {
    for (const [fh, owners] of this.#through) {
      owners.delete(owner);
      if (owners.size === 0) this.#through.delete(fh);
    }
  }

  /** The descriptor is gone: the owners that took locks through it, and have some left or lost. */
  release(fh: number): readonly ClientOwner[] {
    const owners = [...(this.#through.get(fh)?.keys() ?? NONE)];
    this.#through.delete(fh);
    return owners.filter((owner) => this.#confirmed.has(owner.key) || this.#lost.has(owner));
  }

  /** The credential with which the owner took its locks. */
  credentialOf(owner: ClientOwner): UserCredential | undefined {
    for (const owners of this.#through.values()) {
      const credential = owners.get(owner);
      if (credential !== undefined) return credential;
    }
    return undefined;
  }

  /** The server has given the lock to somebody else. */
  lose(lock: ClientLock): void {
    const { owner } = lock;
    if (!this.#lost.has(owner)) this.#owners.useAgain(owner);
    this.#lost.set(owner, replaceRange(this.#lost.get(owner) ?? NONE, lock, lock));
    this.remove(owner, lock);
  }

  /** The owner unlocks a range: what it had lost of it does not matter any more. */
  forgetLoss(owner: ClientOwner, range: LockRange): void {
    const lost = this.#lost.get(owner);
    if (lost === undefined) return;
    const left = replaceRange(lost, range);
    if (left.length > 0) {
      this.#lost.set(owner, left);
      return;
    }
    this.#lost.delete(owner);
    this.#owners.giveBack(owner);
  }

  /** Whether a lock that was taken through this descriptor is lost, and has not been unlocked since. */
  hasLost(fh: number): boolean {
    if (this.#lost.size === 0) return false;
    for (const owner of this.#through.get(fh)?.keys() ?? NONE) if (this.#lost.has(owner)) return true;
    return false;
  }

  hasLostOf(owner: ClientOwner): boolean {
    return this.#lost.has(owner);
  }

  // ---- requests without an answer

  /** The table holds the lock until `settled`, whatever the server will say. */
  reserve(lock: ClientLock, settled: Promise<void>): void {
    this.#add(lock, true, settled);
  }

  /** The server may hold the lock until `settled`, although its owner does not want it any more. */
  giveUp(lock: ClientLock, settled: Promise<void>): void {
    this.#add(lock, false, settled);
  }

  #add(lock: ClientLock, reserved: boolean, settled: Promise<void>): void {
    const unsettled = { lock, reserved, settled };
    this.#unsettled.add(unsettled);
    const end = (): void => {
      this.#unsettled.delete(unsettled);
      if (reserved) this.#sync(lock.owner);
    };
    settled.then(end, end);
  }

  /** Another owner's request that may stand against the lock, and has no answer yet: its end. */
  settling(wanted: ClientLock): Promise<void> | undefined {
    for (const { lock, settled } of this.#unsettled) {
      const against = (lock.exclusive || wanted.exclusive) && overlaps(lock, wanted);
      if (against && lock.owner.key !== wanted.owner.key) return settled.catch(() => {});
    }
    return undefined;
  }

  /** The table holds what is confirmed and reserved of the owner, and nothing else. */
  #sync(owner: ClientOwner): void {
    let locks: readonly ClientLock[] = this.heldBy(owner);
    for (const { lock, reserved } of this.#unsettled) {
      if (!reserved || lock.owner.key !== owner.key) continue;
      for (const piece of partition(locks, lock)) {
        if (piece.lock?.exclusive !== true)
          locks = replaceRange(locks, piece.range, { ...lock, ...piece.range });
      }
    }
    this.#table.replace(this.key, owner, locks);
  }

  /** A place in the table's queue is given up: what was granted to it meanwhile is nobody's. */
  leaveQueue(wanted: ClientLock): void {
    if (!this.#table.cancel(this.key, wanted)) this.#sync(wanted.owner);
  }

  // ---- turns

  /**
   * Runs `work` when no other work of this owner on this file is under way. A server carries out the calls of one owner in
   * the order in which they arrive, and a LOCK that overtakes an UNLOCK would hold for ever.
   */
  turn<Result>({ key }: ClientOwner, work: () => Promise<Result>): Promise<Result> {
    const before = this.#turns.get(key) ?? Promise.resolve();
    const mine = before.then(work, work);
    const over = (): void => {
      if (this.#turns.get(key) === end) this.#turns.delete(key);
    };
    const end: Promise<void> = mine.then(over, over);
    this.#turns.set(key, end);
    return mine;
  }

  // ---- waiting

  /** Something was unlocked, or granted to one that waits: all that wait look again. */
  wake(): void {
    for (const sleeper of [...this.#sleepers]) sleeper();
  }

  /** Calls `sleeper` at each {@link wake}, until the function that it returns is called. */
  onWake(sleeper: () => void): () => void {
    this.#sleepers.add(sleeper);
    return () => this.#sleepers.delete(sleeper);
  }

  // ---- its life

  use(): void {
    this.#users++;
  }

  giveBack(): void {
    this.#users--;
  }

  /** Calls `idle` when nobody uses it, nothing is held, lost or asked for: at once, or after the calls that are under way. */
  whenIdle(idle: () => void): void {
    if (this.#users > 0 || this.isHeld || this.#lost.size > 0) return;
    if (this.#turns.size === 0 && this.#unsettled.size === 0) {
      idle();
      return;
    }
    const ends = [...this.#turns.values(), ...[...this.#unsettled].map(({ settled }) => settled)];
    void Promise.allSettled(ends).then(() => this.whenIdle(idle));
  }

  /** Whether the server may hold or grant something that is not confirmed here. */
  get isUnsure(): boolean {
    return this.#turns.size > 0 || this.#unsettled.size > 0;
  }

  /** Whether a call of the owner is under way, or a request of it has no answer. */
  concerns({ key }: ClientOwner): boolean {
    if (this.#turns.has(key)) return true;
    for (const { lock } of this.#unsettled) if (lock.owner.key === key) return true;
    return false;
  }

  /** Whether the table counts a lock as held that has not been granted. */
  isUnsettled(held: ClientLock): boolean {
    return !partition(this.heldBy(held.owner), held).some(({ lock }) => lock !== undefined);
  }
}
