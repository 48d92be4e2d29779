/**
 * The lock manager of a server in memory, in the place of an RPC connection. It grants what waits as soon as it is free,
 * whether or not its owner asks, and forgets everything when it restarts.
 */
import {
  type LockOwner,
  type LockRange,
  LockTable,
  lengthOf,
  type OwnedLock,
  rangeOf,
} from '../../../lib/locks/index.js';
import {
  type CancelArguments,
  type LockArguments,
  type LockResult,
  LockStatus,
  type RemoteLock,
  type TestArguments,
  type TestResult,
  type UnlockArguments,
} from '../../../lib/programs/nlm4/index.js';
import { FakeCaller } from './fake-caller.js';

interface RemoteOwner extends LockOwner {
  readonly svid: number;
  readonly ownerHandle: string;
}

const OUTCOMES = {
  granted: LockStatus.GRANTED,
  denied: LockStatus.DENIED,
  waiting: LockStatus.BLOCKED,
  deadlock: LockStatus.DEADLCK,
  full: LockStatus.DENIED_NOLOCKS,
} as const;

/** "start-end", with "x" for an exclusive lock and "*" for the end of the file. */
export function describeRange(lock: LockRange & { readonly exclusive: boolean }): string {
  const end = lengthOf(lock) === 0n ? '*' : String(lock.end);
  return `${lock.start}-${end}${lock.exclusive ? 'x' : ''}`;
}

export class FakeLockManager extends FakeCaller {
  table = new LockTable<RemoteOwner>();
  /** Only old locks are granted. */
  grace = false;
  /** "Not responding" was reported. */
  unresponsive = false;
  readonly #owners = new Map<string, RemoteOwner>();
  readonly #files = new Set<string>();

  /** Forgets all locks; with `grace`, old ones are taken back until {@link grace} ends. */
  restart(grace: boolean): void {
    this.table = new LockTable();
    this.grace = grace;
  }

  /** The locks that are held: "svid start-end" as {@link describeRange} has it, sorted. */
  get held(): string[] {
    const all: string[] = [];
    for (const file of this.#files) {
      for (const owner of this.#owners.values()) {
        for (const lock of this.table.heldBy(file, owner)) all.push(`${owner.svid} ${describeRange(lock)}`);
      }
    }
    return all.sort();
  }

  /** The locks of each owner that has some of the file, in order, whoever it is. */
  byOwner(file: string): string[] {
    const all = [...this.#owners.values()].map((owner) => this.table.heldBy(file, owner));
    return all
      .filter((locks) => locks.length > 0)
      .map((locks) => locks.map(describeRange).join())
      .sort();
  }

  get waiting(): number {
    return this.table.size.waiting;
  }

  /** Somebody else locks a file, on another client. */
  foreign(handle: string, start: bigint, end: bigint, exclusive = true): { unlock(): void } {
    const owner = this.#owner({ svid: -1, ownerHandle: 'foreign' } as RemoteLock);
    this.#files.add(handle);
    const lock = { owner, start, end, exclusive };
    if (this.table.lock(handle, lock) !== 'granted') throw new Error('the foreign lock is not free');
    return { unlock: () => void this.table.unlock(handle, owner, lock) };
  }

  #owner({ svid, ownerHandle }: RemoteLock): RemoteOwner {
    const key = `${svid} ${ownerHandle}`;
    const owner = this.#owners.get(key) ?? { key, group: '', svid, ownerHandle };
    this.#owners.set(key, owner);
    return owner;
  }

  #lock(lock: RemoteLock, exclusive: boolean): OwnedLock<RemoteOwner> {
    this.#files.add(lock.handle);
    const range = rangeOf(lock.offset, lock.length);
    if (range === undefined) throw new RangeError('no such range');
    return { owner: this.#owner(lock), exclusive, ...range };
  }

  do_NULL(): void {}

  do_NM_LOCK(args: LockArguments): LockResult {
    return this.do_LOCK(args);
  }

  do_LOCK({ cookie, block, exclusive, reclaim, lock }: LockArguments): LockResult {
    if (reclaim !== this.grace) return { cookie, status: LockStatus.DENIED_GRACE_PERIOD };
    const granted = block && !reclaim ? () => {} : undefined;
    const outcome = this.table.lock(lock.handle, this.#lock(lock, exclusive), granted);
    return { cookie, status: OUTCOMES[outcome] };
  }

  do_UNLOCK({ cookie, lock }: UnlockArguments): LockResult {
    if (this.grace) return { cookie, status: LockStatus.DENIED_GRACE_PERIOD };
    const range = this.#lock(lock, false);
    this.table.abandon(lock.handle, range.owner, range);
    this.table.unlock(lock.handle, range.owner, range);
    return { cookie, status: LockStatus.GRANTED };
  }

  do_CANCEL({ cookie, exclusive, lock }: CancelArguments): LockResult {
    if (this.grace) return { cookie, status: LockStatus.DENIED_GRACE_PERIOD };
    this.table.cancel(lock.handle, this.#lock(lock, exclusive));
    return { cookie, status: LockStatus.GRANTED };
  }

  do_TEST({ cookie, exclusive, lock }: TestArguments): TestResult {
    if (this.grace) return { cookie, status: LockStatus.DENIED_GRACE_PERIOD };
    const against = this.table.test(lock.handle, this.#lock(lock, exclusive));
    if (against === undefined) return { cookie, status: LockStatus.GRANTED };
    const { owner, start } = against;
    const holder = { ...owner, exclusive: against.exclusive, offset: start, length: lengthOf(against) };
    return { cookie, status: LockStatus.DENIED, holder };
  }

  /** Answers the calls of a procedure with a status, without doing what they ask. */
  answer(name: string, status: LockStatus): () => void {
    return this.on(name, ({ cookie }: { cookie: string }) => ({ cookie, status }));
  }
}
