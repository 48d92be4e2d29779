/**
 * Byte-range locks on files: who holds which range, who waits for one, and who waits for whom. Knows nothing of
 * servers, processes and time.
 *
 * Order among those that wait: a lock that waits, or would wait, lets those go first that came before it and stand
 * against it. It overtakes only one that cannot go on before its own owner does. A lock that does not want to wait
 * looks only at what is held, as fcntl(F_SETLK) does.
 *
 * A circle of owners that wait for what the others hold is refused. Places in the queue never make such a circle,
 * since there one overtakes.
 */
import { FileLocks, type LockWaiter } from './file-locks.js';
import { type LockBounds, LockCounts, NO_BOUNDS } from './lock-counts.js';
import {
  isSameLock,
  type LockOwner,
  type LockRange,
  type OwnedLock,
  replaceRange,
  strengthenRange,
} from './lock-range.js';

/** 'full': a bound of the table is reached. */
export type LockOutcome = 'granted' | 'denied' | 'waiting' | 'deadlock' | 'full';

/**
 * The effect of a lock on those that its owner has of the same range. 'replace': it takes their place. 'strengthen': those
 * that are exclusive stay so, until {@link LockTable.replace} says what is held.
 */
export type Taking = 'replace' | 'strengthen';

/** Whether the owner with this key holds something of a file against a lock. */
export type HoldsAgainst<Owner extends LockOwner> = (
  file: string,
  key: string,
  wanted: OwnedLock<Owner>,
) => boolean;

export interface TableRules<Owner extends LockOwner> {
  readonly bounds?: LockBounds | undefined;
  readonly taking?: Taking | undefined;
  /** Asked before a request is refused as a deadlock. By default all that is in the table counts as held. */
  readonly holdsForCertain?: HoldsAgainst<Owner> | undefined;
}

const NONE: readonly never[] = [];

export class LockTable<Owner extends LockOwner> {
  readonly #files = new Map<string, FileLocks<Owner>>();
  /** By the owner's key. */
  readonly #waiting = new Map<string, Set<LockWaiter<Owner>>>();
  readonly #counts: LockCounts;
  readonly #taking: Taking;
  readonly #holdsForCertain: HoldsAgainst<Owner> | undefined;
  /** Files in which somebody who waits may be able to go on. */
  readonly #unsettled = new Set<string>();

  constructor({ bounds = NO_BOUNDS, taking = 'replace', holdsForCertain }: TableRules<Owner> = {}) {
    this.#counts = new LockCounts(bounds);
    this.#taking = taking;
    this.#holdsForCertain = holdsForCertain;
  }

  /** Locks held, and locks waited for. */
  get size(): { readonly held: number; readonly waiting: number } {
    const { held, waiting } = this.#counts;
    return { held, waiting };
  }

  /** Whether somebody holds a lock on the file, or waits for one. */
  has(file: string): boolean {
    return this.#files.has(file);
  }

  /** The locks of an owner on a file, sorted, neighbours merged. */
  heldBy(file: string, { key }: LockOwner): readonly OwnedLock<Owner>[] {
    return this.#files.get(file)?.held.get(key) ?? NONE;
  }

  /** The lock that stands against this one: of several, that with the lowest start. Undefined: it could be had. */
  test(file: string, wanted: OwnedLock<Owner>): OwnedLock<Owner> | undefined {
    return this.#files.get(file)?.firstAgainst(wanted);
  }

  /**
   * Locks a range, in place of what the same owner had of it. With `granted` it waits where something stands against
   * it, and `granted` is called when the lock is there, which can be before this returns; without, it is denied then.
   * The same request again keeps its place in the queue. A lock that is refused changes nothing.
   */
  lock(file: string, wanted: OwnedLock<Owner>, granted?: () => void): LockOutcome {
    const locks = this.#files.get(file);
    const isFree = locks?.isFree(wanted) ?? true;
    if (locks === undefined || (isFree && (granted === undefined || this.#isNext(file, locks, wanted)))) {
      return this.#take(file, wanted);
    }
    if (granted === undefined) return 'denied';
    const known = locks.find(wanted);
    if (known !== undefined) {
      known.granted = granted;
      return 'waiting';
    }
    if (this.#ways(file, wanted, wanted.owner.key, 'held').has(wanted.owner.key)) return 'deadlock';
    return this.#enqueue(locks, { file, lock: wanted, granted });
  }

  /**
   * Unlocks a range. False, with nothing changed, where a lock would have to be split and the table is full. Locks
   * that the owner waits for stay in the queue.
   */
  unlock(file: string, owner: Owner, range: LockRange): boolean {
    const locks = this.#files.get(file);
    const own = locks?.held.get(owner.key);
    if (locks === undefined || own === undefined) return true;
    const left = replaceRange(own, range);
    if (!this.#counts.mayHold(owner.group, left.length - own.length)) return false;
    this.#store(file, locks, owner, left);
    this.#wake();
    return true;
  }

  /**
   * Makes `locks` all that the owner holds of a file. They are sorted, do not overlap, and stand against nobody: no byte may
   * be locked more strongly than it was.
   */
  replace(file: string, owner: Owner, locks: readonly OwnedLock<Owner>[]): void {
    const known = this.#files.get(file);
    if (known === undefined) return;
    this.#store(file, known, owner, locks);
    this.#wake();
  }

  /** Takes a request out of the queue. False: it does not wait; it may have been granted. */
  cancel(file: string, wanted: OwnedLock<Owner>): boolean {
    const waiter = this.#files.get(file)?.find(wanted);
    if (waiter === undefined) return false;
    this.#dequeue(waiter);
    this.#wake();
    return true;
  }

  /** Takes all requests of an owner that lie in the range out of the queue. */
  abandon(file: string, { key }: Owner, range: LockRange): void {
    for (const waiter of [...(this.#waiting.get(key) ?? NONE)]) {
      const { start, end } = waiter.lock;
      if (waiter.file === file && start >= range.start && end <= range.end) this.#dequeue(waiter);
    }
    this.#wake();
  }

  // ---- taking

  #take(file: string, wanted: OwnedLock<Owner>): LockOutcome {
    const { owner } = wanted;
    const own = this.heldBy(file, owner);
    const next = this.#with(own, wanted);
    if (!this.#counts.mayHold(owner.group, next.length - own.length)) return 'full';
    const locks = this.#files.get(file) ?? new FileLocks<Owner>();
    this.#files.set(file, locks);
    this.#store(file, locks, owner, next);
    // It would be granted again, to nobody, after an unlock.
    for (const waiter of this.#waiting.get(owner.key) ?? NONE) {
      if (waiter.file === file && isSameLock(waiter.lock, wanted)) this.#dequeue(waiter);
    }
    this.#loosen(owner.key);
    this.#wake();
    return 'granted';
  }

  #with(locks: readonly OwnedLock<Owner>[], put: OwnedLock<Owner>): readonly OwnedLock<Owner>[] {
    return this.#taking === 'replace' ? replaceRange(locks, put, put) : strengthenRange(locks, put);
  }

  #store(file: string, locks: FileLocks<Owner>, owner: Owner, next: readonly OwnedLock<Owner>[]): void {
    const before = locks.held.get(owner.key)?.length ?? 0;
    if (next.length > 0) locks.held.set(owner.key, next);
    else locks.held.delete(owner.key);
    this.#counts.add(owner.group, { held: next.length - before });
    // One that had nothing here has given nothing up.
    if (before > 0) this.#unsettled.add(file);
  }

  // ---- waiting

  #enqueue(locks: FileLocks<Owner>, waiter: LockWaiter<Owner>): LockOutcome {
    const { owner } = waiter.lock;
    if (!this.#counts.mayWait(owner.group)) return 'full';
    this.#counts.add(owner.group, { waiting: 1 });
    locks.queue.push(waiter);
    const waiters = this.#waiting.get(owner.key) ?? new Set();
    this.#waiting.set(owner.key, waiters.add(waiter));
    this.#loosen(owner.key);
    this.#wake();
    return 'waiting';
  }

  #dequeue(waiter: LockWaiter<Owner>): void {
    const { file, lock } = waiter;
    const { key, group } = lock.owner;
    const queue = this.#files.get(file)?.queue;
    queue?.splice(queue.indexOf(waiter), 1);
    const waiters = this.#waiting.get(key);
    waiters?.delete(waiter);
    if (waiters?.size === 0) this.#waiting.delete(key);
    this.#counts.add(group, { waiting: -1 });
    this.#unsettled.add(file);
  }

  /** Whether a lock that nothing held stands against may be taken before those that wait. */
  #isNext(file: string, locks: FileLocks<Owner>, wanted: OwnedLock<Owner>): boolean {
    const { key } = wanted.owner;
    for (const earlier of locks.waitersBefore(wanted)) {
      if (!this.#ways(file, earlier.lock, key, 'all').has(key)) return false;
    }
    return true;
  }

  /**
   * The owners for which a lock waits, those for which they wait, and so on: because of what is held, and with 'all'
   * also because of places in a queue. Owners that wait for nobody are left out, but for `goal`: a file may have
   * thousands of them.
   */
  #ways(file: string, lock: OwnedLock<Owner>, goal: string, reason: 'held' | 'all'): Set<string> {
    const reached = this.#waitsFor(file, lock, goal, reason);
    // A set also walks through what is added meanwhile.
    for (const key of reached) {
      for (const waiter of this.#waiting.get(key) ?? NONE)
        for (const next of this.#waitsFor(waiter.file, waiter.lock, goal, reason)) reached.add(next);
    }
    return reached;
  }

  #waitsFor(file: string, lock: OwnedLock<Owner>, goal: string, reason: 'held' | 'all'): Set<string> {
    const keys = new Set<string>();
    const locks = this.#files.get(file);
    if (locks === undefined) return keys;
    const isCertain = reason === 'held' ? this.#holdsForCertain : undefined;
    for (const key of [goal, ...this.#waiting.keys()]) {
      if (locks.holdsAgainst(key, lock) && isCertain?.(file, key, lock) !== false) keys.add(key);
    }
    if (reason === 'all') for (const earlier of locks.waitersBefore(lock)) keys.add(earlier.lock.owner.key);
    return keys;
  }

  /**
   * The owner waits, and may have got into somebody's way out of turn, so that owners wait for each other because of
   * places in a queue: one of them has to overtake. (A lock granted out of the queue gets into nobody's way whom it did
   * not keep waiting before.)
   */
  #loosen(key: string): void {
    for (const { file, lock } of this.#waiting.get(key) ?? NONE) {
      const ways = this.#ways(file, lock, key, 'all');
      if (!ways.has(key)) continue;
      for (const owner of ways) {
        for (const waiter of this.#waiting.get(owner) ?? NONE) this.#unsettled.add(waiter.file);
      }
    }
  }

  /** Grants what can be granted now, in the order of the queues. */
  #wake(): void {
    const done: LockWaiter<Owner>[] = [];
    // As above: files are added again while locks are granted.
    for (const file of this.#unsettled) {
      this.#unsettled.delete(file);
      const locks = this.#files.get(file);
      if (locks === undefined) continue;
      for (const waiter of [...locks.queue]) {
        const { lock } = waiter;
        if (!locks.isFree(lock) || !this.#isNext(file, locks, lock)) continue;
        this.#dequeue(waiter);
        // Bounds are not asked for: it was counted while it waited, and so few can wait.
        this.#store(file, locks, lock.owner, this.#with(this.heldBy(file, lock.owner), lock));
        done.push(waiter);
      }
      if (locks.isEmpty) this.#files.delete(file);
    }
    for (const { granted } of done) granted();
  }
}
