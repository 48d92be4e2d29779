/** The locks of one file: those that are held, and the queue of those that wait, in the order in which they came. */
import { conflicts, isSameLock, type LockOwner, type OwnedLock } from './lock-range.js';

/** A lock that waits. */
export interface LockWaiter<Owner extends LockOwner> {
  readonly file: string;
  readonly lock: OwnedLock<Owner>;
  /** Called when the lock was granted. */
  granted: () => void;
}

export class FileLocks<Owner extends LockOwner> {
  /** By the owner's key; as replaceRange leaves them. */
  readonly held = new Map<string, readonly OwnedLock<Owner>[]>();
  readonly queue: LockWaiter<Owner>[] = [];

  get isEmpty(): boolean {
    return this.held.size === 0 && this.queue.length === 0;
  }

  /** The held lock that stands against this one. Of several, that with the lowest start. */
  firstAgainst(wanted: OwnedLock<Owner>): OwnedLock<Owner> | undefined {
    let first: OwnedLock<Owner> | undefined;
    for (const lock of this.#heldAgainst(wanted)) {
      if (first === undefined || lock.start < first.start) first = lock;
    }
    return first;
  }

  /** The owners that hold something against this lock. */
  holdersAgainst(wanted: OwnedLock<Owner>): Set<string> {
    const keys = new Set<string>();
    for (const { owner } of this.#heldAgainst(wanted)) keys.add(owner.key);
    return keys;
  }

  *#heldAgainst(wanted: OwnedLock<Owner>): Generator<OwnedLock<Owner>> {
    for (const [key, locks] of this.held) {
      if (key === wanted.owner.key) continue;
      for (const lock of locks) {
        if (lock.start > wanted.end) break;
        if (conflicts(lock, wanted)) yield lock;
      }
    }
  }

  /** Those that stand in the queue before this lock, or at all if it does not, and against it. */
  *waitersBefore(wanted: OwnedLock<Owner>): Generator<LockWaiter<Owner>> {
    for (const waiter of this.queue) {
      if (waiter.lock === wanted) return;
      if (conflicts(waiter.lock, wanted)) yield waiter;
    }
  }

  /** The place in the queue of the same request. */
  find(wanted: OwnedLock<Owner>): LockWaiter<Owner> | undefined {
    return this.queue.find(({ lock }) => isSameLock(lock, wanted));
  }
}
