/**
 * The owners of locks, as the lock manager knows them. Owns the numbers (svids) by which a server tells the owners of
 * one address apart.
 *
 * Linux's server looks at the address and the number only, whatever name is sent with it. Behind one address there may
 * be other containers and the host's own client, which counts from 0. So numbers begin at a random place.
 */
import type { LockOwner, OwnedLock } from '../../locks/index.js';

/** svid is signed: half of the numbers are left. */
const SVIDS = 2 ** 31;
/** Owners without locks that keep their number: a program that locks and unlocks all the time is one owner. */
const MAX_IDLE = 256;

export interface ClientOwner extends LockOwner {
  readonly svid: number;
  /** oh, as Linux's client has it: number@machine. */
  readonly ownerHandle: string;
  /** The owner of a flock(2) lock, not of a fcntl(2) lock. */
  readonly flock: boolean;
  /** The process that asked last; 0 where it is not visible here. */
  pid: number;
}

export type ClientLock = OwnedLock<ClientOwner>;

export class LockOwners {
  readonly #callerName: string;
  readonly #known = new Map<string, { readonly owner: ClientOwner; uses: number }>();
  /** Keys of owners that nobody uses, the longest idle first. */
  readonly #idle = new Set<string>();
  #next: number;
  /** Numbers of owners of an earlier process. */
  readonly #takenUp = new Set<number>();

  /** `random`: 0 <= random() < 1. */
  constructor(callerName: string, random: () => number) {
    this.#callerName = callerName;
    this.#next = Math.floor(random() * SVIDS);
  }

  /** Takes up an owner of an earlier process of this mount, which must stay the same at the server. Nobody uses it yet. */
  takeUp(recorded: Omit<ClientOwner, 'group'>): ClientOwner {
    const { key, svid } = recorded;
    const known = this.#known.get(key);
    if (known !== undefined) return known.owner;
    const owner = { ...recorded, group: '' };
    this.#known.set(key, { owner, uses: 0 });
    this.#idle.add(key);
    this.#takenUp.add(svid);
    return owner;
  }

  /** The owner, if it has asked for a lock before. */
  find(fuseOwner: bigint, flock: boolean): ClientOwner | undefined {
    return this.#known.get(keyOf(fuseOwner, flock))?.owner;
  }

  /**
   * The owner by the kernel's number, which is the same for the flock(2) lock and the OFD locks of one open file. It stays
   * the same owner at the server until each use has been given back ({@link giveBack}).
   */
  use(fuseOwner: bigint, flock: boolean, pid: number): ClientOwner {
    const key = keyOf(fuseOwner, flock);
    let known = this.#known.get(key);
    if (known === undefined) {
      known = { owner: this.#make(key, flock), uses: 0 };
      this.#known.set(key, known);
    }
    known.uses++;
    this.#idle.delete(key);
    if (pid !== 0) known.owner.pid = pid;
    return known.owner;
  }

  /** One more use of an owner that is in use. */
  useAgain({ key }: ClientOwner): void {
    const known = this.#known.get(key);
    if (known === undefined) throw new Error(`the lock owner ${key} is not in use`);
    known.uses++;
    this.#idle.delete(key);
  }

  giveBack({ key }: ClientOwner): void {
    const known = this.#known.get(key);
    if (known === undefined || --known.uses > 0) return;
    this.#idle.add(key);
    for (const longest of this.#idle) {
      if (this.#idle.size <= MAX_IDLE) break;
      this.#idle.delete(longest);
      this.#known.delete(longest);
    }
  }

  #make(key: string, flock: boolean): ClientOwner {
    while (this.#takenUp.has(this.#next)) this.#next = (this.#next + 1) % SVIDS;
    const svid = this.#next;
    this.#next = (svid + 1) % SVIDS;
    return { key, group: '', svid, ownerHandle: `${svid}@${this.#callerName}`, flock, pid: 0 };
  }
}

function keyOf(fuseOwner: bigint, flock: boolean): string {
  return `${flock ? 'f' : 'p'}${fuseOwner}`;
}
