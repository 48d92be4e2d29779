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
    for (const key of this.held.keys()) {
      const lock = this.#against(key, wanted);
      if (lock !== undefined && (first === undefined || lock.start < first.start)) first = lock;
    }
    return first;
  }

  /** Whether nothing that is held stands against this lock. */
  isFree(wanted: OwnedLock<Owner>): boolean {
    for (const key of this.held.keys()) if (this.#against(key, wanted) !== undefined) return false;
    return true;
  }

  /** Whether the owner with this key holds something against this lock. */
  holdsAgainst(key: string, wanted: OwnedLock<Owner>): boolean {
    return this.#against(key, wanted) !== undefined;
  }

  #against(key: string, wanted: OwnedLock<Owner>): OwnedLock<Owner> | undefined {
    if (key === wanted.owner.key) return undefined;
    for (const lock of this.held.get(key) ?? []) {
      if (lock.start > wanted.end) return undefined;
      if (conflicts(lock, wanted)) return lock;
    }
    return undefined;
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
