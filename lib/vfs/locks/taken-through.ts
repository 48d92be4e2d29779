/**
 * The descriptors through which the locks of one file were taken, and which of these locks are lost. A write through such a
 * descriptor fails as long as a lock is lost, and the last close of one ends what was taken through it.
 */
import { type LockRange, replaceRange } from '../../locks/index.js';
import type { UserCredential } from '../caller/caller.js';
import type { ClientLock, ClientOwner } from './lock-owners.js';

const NONE: readonly never[] = [];

interface Taker {
  readonly owner: ClientOwner;
  readonly credential: UserCredential;
}

export class TakenThrough {
  /** By descriptor, and by the owner's key: the object for an owner may be another one by and by. */
  readonly #takers = new Map<number, Map<string, Taker>>();
  /** By the owner's key: the descriptor through which it took a lock last. */
  readonly #last = new Map<string, number>();
  /** By the owner's key. */
  readonly #lost = new Map<string, readonly ClientLock[]>();

  add(fh: number, owner: ClientOwner, credential: UserCredential): void {
    const takers = this.#takers.get(fh) ?? new Map<string, Taker>();
    this.#takers.set(fh, takers.set(owner.key, { owner, credential }));
    this.#last.set(owner.key, fh);
  }

  /** The descriptor through which the owner took a lock last. 0: none. */
  lastOf({ key }: ClientOwner): number {
    return this.#last.get(key) ?? 0;
  }

  /** The owner has nothing left: it has taken nothing through any descriptor. */
  forget({ key }: ClientOwner): void {
    this.#last.delete(key);
    for (const [fh, takers] of this.#takers) {
      takers.delete(key);
      if (takers.size === 0) this.#takers.delete(fh);
    }
  }

  /**
   * The descriptor is gone: those that took locks through it, and through no other since. A process may have closed it long
   * ago, while a child of it has not, and may hold new locks through another one.
   */
  release(fh: number): readonly ClientOwner[] {
    const takers = this.#takers.get(fh)?.values() ?? NONE;
    this.#takers.delete(fh);
    return [...takers].map(({ owner }) => owner).filter(({ key }) => this.#last.get(key) === fh);
  }

  /** The credential with which the owner took its locks. */
  credentialOf({ key }: ClientOwner): UserCredential | undefined {
    for (const takers of this.#takers.values()) {
      const taker = takers.get(key);
      if (taker !== undefined) return taker.credential;
    }
    return undefined;
  }

  /** The server has given the lock to somebody else. */
  lose(lock: ClientLock): void {
    const { key } = lock.owner;
    this.#lost.set(key, replaceRange(this.#lost.get(key) ?? NONE, lock, lock));
  }

  /** The owner's losses in the range do not matter any more. */
  forgetLoss({ key }: ClientOwner, range: LockRange): void {
    const left = replaceRange(this.#lost.get(key) ?? NONE, range);
    if (left.length > 0) this.#lost.set(key, left);
    else this.#lost.delete(key);
  }

  hasLostOf({ key }: ClientOwner): boolean {
    return this.#lost.has(key);
  }

  /** Whether a lock that was taken through this descriptor is lost, and has not been unlocked since. */
  hasLost(fh: number): boolean {
    if (this.#lost.size === 0) return false;
    for (const key of this.#takers.get(fh)?.keys() ?? NONE) if (this.#lost.has(key)) return true;
    return false;
  }
}
