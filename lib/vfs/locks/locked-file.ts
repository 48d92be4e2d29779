/**
 * The locks of one file, as this mount has them. Owns what the server has granted (`confirmed`), whose turn it is to call
 * the lock manager, and which requests have no answer yet.
 *
 * The table holds what is confirmed and what is being asked for, so that a lock is refused here before it is asked for
 * there. When the answer has come, the table is made to hold what is confirmed again.
 */
import {
  conflicts,
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
import type { LockNotes } from './lock-notes.js';
import type { ClientLock, ClientOwner, LockOwners } from './lock-owners.js';
import type { LockRecords } from './lock-records.js';
import { Sleepers } from './sleepers.js';
import { TakenThrough } from './taken-through.js';
import { WaitingLine } from './waiting-line.js';

const NONE: readonly never[] = [];

export interface LockedFileNeeds {
  readonly table: LockTable<ClientOwner>;
  readonly owners: LockOwners;
  readonly notes: LockNotes;
  readonly records: LockRecords | undefined;
  /** Nobody uses the file, and nothing of it is held, lost or asked for. */
  readonly idle: (file: LockedFile) => void;
}

/** Reported to the server, and not answered yet; or given up, and not taken back yet. */
interface Unsettled {
  readonly lock: ClientLock;
  /** Whether the table counts it as held meanwhile. */
  readonly reserved: boolean;
  readonly settled: Promise<void>;
}

/** A lock that the server has granted, and that the program does not know of yet. It may still be withdrawn. */
export interface Grant {
  readonly lock: ClientLock;
  /** The range in pieces, by what the owner held of it. */
  readonly before: readonly Piece<ClientOwner>[];
  /** The parts of it that nobody has unlocked since. */
  left: readonly ClientLock[];
  readonly over: Promise<void>;
  readonly end: () => void;
}

export class LockedFile {
  readonly inode: Inode;
  readonly key: string;
  /** The handle by which the server knows the locks: a redrive may find another one for the same object. */
  handle: FileHandle;
  readonly line = new WaitingLine();
  readonly #needs: LockedFileNeeds;
  readonly #confirmed = new Map<string, readonly ClientLock[]>();
  readonly #since = new Map<string, number>();
  readonly #grants = new Set<Grant>();
  readonly #leaving = new Set<Pick<Grant, 'lock' | 'over'>>();
  readonly #unsettled = new Set<Unsettled>();
  /** The end of the last call of each owner. */
  readonly #turns = new Map<string, Promise<unknown>>();
  /** Those that wait. */
  readonly sleepers = new Sleepers();
  readonly #through = new TakenThrough();
  /** How often each owner is in use here. */
  readonly #uses = new Map<string, number>();
  /** Work that goes on whatever becomes of the program that began it. */
  readonly #background = new Set<Promise<unknown>>();

  static keyOf({ nodeid }: Inode): string {
    return String(nodeid);
  }

  constructor(inode: Inode, needs: LockedFileNeeds) {
    this.inode = inode;
    this.key = LockedFile.keyOf(inode);
    this.handle = inode.handle;
    this.#needs = needs;
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
    return this.pieces(wanted.owner, wanted).every(({ lock }) => lock?.exclusive === wanted.exclusive);
  }

  /** The range in pieces, by what the owner holds. */
  pieces(owner: ClientOwner, range: LockRange): readonly Piece<ClientOwner>[] {
    return partition(this.heldBy(owner), range);
  }

  /** Whether the server has granted the owner with this key a lock that stands against this one. */
  holdsAgainst(key: string, wanted: ClientLock): boolean {
    return this.#confirmed.get(key)?.some((lock) => conflicts(lock, wanted)) === true;
  }

  /** A lock that the server has granted to another owner, and that stands against this one: that with the lowest start. */
  against(wanted: ClientLock): ClientLock | undefined {
    const all = [...this.held()].flatMap(({ locks }) => locks).filter((lock) => conflicts(lock, wanted));
    return all.sort((one, other) => (one.start < other.start ? -1 : 1))[0];
  }

  /**
   * The server has granted the lock, in place of what its owner had of the range. It ends with {@link complete} or
   * {@link withdraw}; until then the owner asks for nothing of the range.
   */
  confirm(lock: ClientLock, now: number): Grant {
    const { owner } = lock;
    if (!this.#confirmed.has(owner.key)) this.#since.set(owner.key, now);
    let end = (): void => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    const grant: Grant = { lock, before: this.pieces(owner, lock), left: [lock], over, end };
    this.#set(owner, replaceRange(this.heldBy(owner), lock, lock));
    this.#grants.add(grant);
    return grant;
  }

  /** The program gets its lock. */
  complete(grant: Grant): void {
    this.#grants.delete(grant);
    grant.end();
  }

  /** The program does not want it any more: the owner holds what it held before, less what it has unlocked since. */
  withdraw(grant: Grant): void {
    const { owner } = grant.lock;
    let locks = this.heldBy(owner);
    for (const { range, lock } of grant.before) {
      for (const part of partition(grant.left, range)) {
        if (part.lock !== undefined)
          locks = replaceRange(locks, part.range, lock && { ...lock, ...part.range });
      }
    }
    this.#set(owner, locks);
    this.#sync(owner);
    this.complete(grant);
  }

  /**
   * The end of a {@link Grant} or an unlock of the same owner that meets the range, so that it is not certain what the owner
   * will have of it. Undefined: there is none.
   */
  changing(wanted: ClientLock): Promise<void> | undefined {
    for (const { lock, over } of [...this.#grants, ...this.#leaving])
      if (lock.owner.key === wanted.owner.key && overlaps(lock, wanted)) return over;
    return undefined;
  }

  /** The owner gives up a range, until `work` has ended. Nobody need wait for that. */
  leave(owner: ClientOwner, { start, end }: LockRange, work: Promise<void>): void {
    const over = work.then(
      () => void this.#leaving.delete(leaving),
      () => void this.#leaving.delete(leaving),
    );
    const leaving = { lock: { owner, start, end, exclusive: true }, over };
    this.#leaving.add(leaving);
    this.keep(owner, work);
  }

  /** The owner has no lock of this range any more. */
  remove(owner: ClientOwner, range: LockRange): void {
    for (const grant of this.#grants)
      if (grant.lock.owner.key === owner.key) grant.left = replaceRange(grant.left, range);
    this.#set(owner, replaceRange(this.heldBy(owner), range));
    this.#sync(owner);
  }

  #set(owner: ClientOwner, locks: readonly ClientLock[]): void {
    const { key } = owner;
    const had = this.#confirmed.has(key);
    if (locks.length > 0) {
      this.#confirmed.set(key, locks);
      this.#record(owner);
      if (!had) this.use(owner);
    } else if (had) {
      this.#confirmed.delete(key);
      this.#record(owner);
      this.#since.delete(key);
      if (!this.#through.hasLostOf(owner)) this.#through.forget(owner);
      this.giveBack(owner);
    }
  }

  // ---- descriptors, and what is lost

  /** A lock was granted through this descriptor. */
  takenThrough(fh: number, owner: ClientOwner, credential: UserCredential): void {
    // Another thread may have unlocked it already.
    if (!this.#confirmed.has(owner.key)) return;
    this.#through.add(fh, owner, credential);
    this.#record(owner);
  }

  /** An earlier process of this mount has held these locks for the owner, who had taken one `through` this descriptor last. */
  takeUp(
    owner: ClientOwner,
    locks: readonly ClientLock[],
    now: number,
    through: { readonly fh: number; readonly credential: UserCredential } | undefined,
  ): void {
    this.#since.set(owner.key, now);
    // It is recorded together with the locks.
    if (through !== undefined) this.#through.add(through.fh, owner, through.credential);
    this.#set(owner, locks);
    this.#sync(owner);
  }

  #record(owner: ClientOwner): void {
    this.#needs.records?.holds(this, owner, this.heldBy(owner), this.#through.lastOf(owner));
  }

  /** The descriptor is gone: the owners that took locks through it, and have some left or lost. */
  release(fh: number): readonly ClientOwner[] {
    return this.#through
      .release(fh)
      .filter((owner) => this.#confirmed.has(owner.key) || this.hasLostOf(owner));
  }

  /** The credential with which the owner took its locks. */
  credentialOf(owner: ClientOwner): UserCredential | undefined {
    return this.#through.credentialOf(owner);
  }

  /** The server has given the lock to somebody else. */
  lose(lock: ClientLock): void {
    const { owner } = lock;
    if (!this.hasLostOf(owner)) this.use(owner);
    this.#through.lose(lock);
    this.remove(owner, lock);
  }

  /** The owner unlocks a range: what it had lost of it does not matter any more. */
  forgetLoss(owner: ClientOwner, range: LockRange): void {
    if (!this.hasLostOf(owner)) return;
    this.#through.forgetLoss(owner, range);
    if (this.hasLostOf(owner)) return;
    if (!this.#confirmed.has(owner.key)) this.#through.forget(owner);
    this.giveBack(owner);
  }

  /** Whether a lock that was taken through this descriptor is lost, and has not been unlocked since. */
  hasLost(fh: number): boolean {
    return this.#through.hasLost(fh);
  }

  hasLostOf(owner: ClientOwner): boolean {
    return this.#through.hasLostOf(owner);
  }

  // ---- requests without an answer

  /** Runs `work`, which asks the server for the lock. The table holds it meanwhile, whatever the server will say. */
  reserve<Result>(lock: ClientLock, work: () => Promise<Result>): Promise<Result> {
    const run = async (): Promise<Result> => {
      try {
        return await work();
      } finally {
        this.#unsettled.delete(unsettled);
        this.#sync(lock.owner);
      }
    };
    const result = run();
    const settled = result.then(
      () => {},
      () => {},
    );
    const unsettled: Unsettled = { lock, reserved: true, settled };
    this.#unsettled.add(unsettled);
    return result;
  }

  /** The server may hold the lock until `settled`, which never rejects, although its owner does not want it any more. */
  giveUp(lock: ClientLock, settled: Promise<void>): void {
    const unsettled: Unsettled = { lock, reserved: false, settled };
    this.#unsettled.add(unsettled);
    void settled.then(() => this.#unsettled.delete(unsettled));
    this.keep(lock.owner, settled);
  }

  /** Another owner's request that may stand against the lock, and has no answer yet: its end. */
  settling(wanted: ClientLock): Promise<void> | undefined {
    for (const { lock, settled } of this.#unsettled) {
      if (conflicts(lock, wanted)) return settled;
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
    this.#needs.table.replace(this.key, owner, locks);
  }

  /** A place in the table's queue is given up: what was granted to it meanwhile is nobody's. */
  leaveQueue(wanted: ClientLock): void {
    if (!this.#needs.table.cancel(this.key, wanted)) this.#sync(wanted.owner);
    // Another thread of the owner may have shared the place.
    this.sleepers.wakeQueue();
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

  // ---- its life

  /** The owner asks for something, holds it, has lost it, or is being told of to the server. Each use is given back once. */
  use(owner: ClientOwner): void {
    this.#uses.set(owner.key, (this.#uses.get(owner.key) ?? 0) + 1);
    this.#needs.owners.useAgain(owner);
  }

  giveBack(owner: ClientOwner): void {
    const { key } = owner;
    const left = (this.#uses.get(key) ?? 1) - 1;
    if (left > 0) this.#uses.set(key, left);
    else {
      this.#uses.delete(key);
      this.#needs.notes.holdsNone(this, owner);
    }
    this.#needs.owners.giveBack(owner);
    if (this.#uses.size === 0) this.#needs.idle(this);
  }

  /** The owner stays in use until `work` has ended, which nobody may wait for. */
  keep(owner: ClientOwner, work: Promise<unknown>): void {
    this.use(owner);
    this.#background.add(work);
    const end = (): void => {
      this.#background.delete(work);
      this.giveBack(owner);
    };
    work.then(end, end);
  }

  /** All that {@link keep} keeps. */
  get background(): readonly Promise<unknown>[] {
    return [...this.#background];
  }
}
