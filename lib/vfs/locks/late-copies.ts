/**
 * Calls to the lock manager that were sent more than once. A lock manager carries out each copy, whenever it arrives: one that the
 * network or a busy server has kept undoes what was asked for after it. Owns which copies may still be under way.
 *
 * A copy of a LOCK locks again: {@link takeResent} says that the server has to be told once more. Copies of an UNLOCK, and of a LOCK
 * that shares, take away what the owner has locked since, and nothing would show it: {@link takingAway} says to wait for them.
 */
import type { Clock } from '../../base/clock.js';
import { type LockRange, overlaps, WHOLE_FILE } from '../../locks/index.js';
import type { FileHandle } from '../../programs/nfs3/index.js';
import type { ClientLock, ClientOwner } from './lock-owners.js';

/** A copy that is still under way after so many milliseconds is the exception: a reply would have been given up for lost twice. */
export const COPIES_ARRIVE_MS = 2_000;

/** The copies of one call, and the range that they change. */
interface Copied {
  readonly key: string;
  readonly range: LockRange;
  /** Undefined: they unlock it. */
  readonly exclusive: boolean | undefined;
  /** Clock.now(), when the last one was sent. */
  sentAt: number;
}

const keyOf = (handle: FileHandle, { svid }: ClientOwner): string => `${handle} ${svid}`;

export class LateCopies {
  readonly #clock: Clock;
  /** Files and owners for which a LOCK was sent more than once. */
  readonly #resent = new Set<string>();
  /** That take something away, and may be under way. */
  #weakening: readonly Copied[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** For one call: the result is to be called each time that it is sent again. `exclusive` is undefined for an UNLOCK. */
  watch(
    handle: FileHandle,
    owner: ClientOwner,
    range: LockRange,
    exclusive: boolean | undefined,
  ): () => void {
    const key = keyOf(handle, owner);
    const copied: Copied = { key, range, exclusive, sentAt: 0 };
    return () => {
      if (exclusive !== undefined) this.#resent.add(key);
      if (exclusive === true) return;
      copied.sentAt = this.#clock.now();
      const others = this.#weakening.filter((other) => other !== copied && this.#left(other) > 0);
      this.#weakening = [...others, copied];
    };
  }

  /**
   * Calls of this owner may be under way that another process has sent. `connectionless`: as datagrams. A connection has broken
   * since, and the server has read all that it will ever get of it before this process had started.
   */
  ofAnotherProcess(handle: FileHandle, owner: ClientOwner, connectionless: boolean): void {
    this.#resent.add(keyOf(handle, owner));
    if (connectionless) this.watch(handle, owner, WHOLE_FILE, undefined)();
  }

  #left({ sentAt }: Copied): number {
    return sentAt + COPIES_ARRIVE_MS - this.#clock.now();
  }

  /** Whether a LOCK of this owner was sent more than once since this was last asked: a copy may arrive after its UNLOCK. */
  takeResent(handle: FileHandle, owner: ClientOwner): boolean {
    return this.#resent.delete(keyOf(handle, owner));
  }

  /** Milliseconds for which copies may arrive that take something of this lock away; 0 if there are none. */
  takingAway(handle: FileHandle, wanted: ClientLock): number {
    const key = keyOf(handle, wanted.owner);
    let longest = 0;
    for (const copied of this.#weakening) {
      if (copied.key !== key || !overlaps(copied.range, wanted)) continue;
      if (copied.exclusive === undefined || wanted.exclusive) longest = Math.max(longest, this.#left(copied));
    }
    return longest;
  }
}
