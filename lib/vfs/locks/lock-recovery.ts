/**
 * Servers forget their locks when they restart, and take back for a while (the grace period) only those that were held
 * before. Owns how a restart is noticed without a status monitor, and what becomes of each lock then.
 *
 * Signs of a restart: a new connection, another write verifier, an answer that says "grace period". While locks are
 * held the lock manager is called every few seconds, so that an idle mount does not miss a short grace period.
 */
import type { Clock, Timer } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import { LAST_BYTE } from '../../locks/index.js';
import { LockStatus, lockStatusName } from '../../programs/nlm4/index.js';
import type { Credential } from '../../rpc/auth/credential.js';
import { describePath } from '../cache/inode.js';
import type { VfsCounters } from '../counters.js';
import type { LockCalls } from './lock-calls.js';
import type { ClientLock, ClientOwner } from './lock-owners.js';
import type { LockedFile } from './locked-file.js';

/** A grace period lasts longer: the shortest ones in use are of some 12 s. */
export const PING_MS = 10_000;
const REPEAT_MS = 1_000;
/** How often a server may say that it cannot give a lock back, for no reason that has to do with the lock. */
const MOST_FAILURES = 10;

export interface LockRecoveryNeeds {
  readonly calls: LockCalls;
  readonly clock: Clock;
  readonly counters: VfsCounters;
  readonly log: Logger;
  /** Files with locks. */
  readonly files: () => Iterable<LockedFile>;
  /** Of calls that no program asks for. */
  readonly credential: Credential;
  /** The owner has lost a lock: a LOCK that asked for it again may have been sent more than once. */
  readonly awaitCopies: (file: LockedFile, owner: ClientOwner, credential: Credential) => void;
  /** Datagrams: no connection shows that the server has restarted. */
  readonly connectionless: boolean;
}

export class LockRecovery {
  readonly #parts: LockRecoveryNeeds;
  #round: Promise<void> | undefined = undefined;
  #again = false;
  #timer: Timer | undefined = undefined;
  #closed = false;
  /** Told when the server could not be asked for an old lock. */
  readonly #waiting = new Set<(error: unknown) => void>();

  constructor(parts: LockRecoveryNeeds) {
    this.#parts = parts;
  }

  /** The server may have restarted: all locks are reclaimed. */
  restartSeen(): void {
    if (this.#closed) return;
    if (this.#round !== undefined) {
      this.#again = true;
      return;
    }
    if (![...this.#parts.files()].some((file) => file.isHeld)) return;
    this.#round = this.#reclaimAll().finally(() => {
      this.#round = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.restartSeen();
    });
  }

  /**
   * Resolves when no locks are being reclaimed: new ones come after them. Undefined: none are. Rejects when the server could
   * not be asked, which calls of `soft` mounts find out.
   */
  reclaimed(): Promise<void> | undefined {
    const round = this.#round;
    if (round === undefined) return undefined;
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      void round.then(() => {
        this.#waiting.delete(reject);
        resolve();
      });
    });
  }

  /** Locks are held: the server is watched. */
  watch(): void {
    if (this.#closed) return;
    this.#timer ??= this.#parts.clock.after(PING_MS, () => {
      this.#timer = undefined;
      void this.#ping();
    });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  async #ping(): Promise<void> {
    const { calls, connectionless, credential, files } = this.#parts;
    const held = [...files()].filter((file) => file.isHeld);
    if (held.length === 0) return;
    try {
      if (connectionless) await Promise.all(held.map((file) => this.#probe(file)));
      else await calls.ping(credential);
    } catch {
      // The RPC layer reports silence, and a new connection brings us here again.
    }
    this.watch();
  }

  /**
   * Asks for one lock of each owner that holds some: an answer that says "grace period", or that somebody else has the lock,
   * tells what a lost connection would have told.
   */
  async #probe(file: LockedFile): Promise<void> {
    for (const { owner } of [...file.held()]) {
      await file.turn(owner, async () => {
        // It may have been unlocked meanwhile, and must not be locked again.
        const [lock] = file.heldBy(owner);
        if (lock === undefined) return;
        const { status } = await this.#lock(file, lock, false);
        if (status !== LockStatus.GRANTED) this.restartSeen();
      });
    }
  }

  async #reclaimAll(): Promise<void> {
    const owners: Promise<void>[] = [];
    for (const file of this.#parts.files()) {
      for (const { owner } of file.held()) {
        owners.push(file.turn(owner, () => this.#reclaimOwner(file, owner)));
      }
    }
    await Promise.allSettled(owners);
  }

  async #reclaimOwner(file: LockedFile, owner: ClientOwner): Promise<void> {
    for (const lock of file.heldBy(owner)) {
      const status = await this.#reclaim(file, lock);
      if (status === LockStatus.GRANTED) this.#parts.counters.locksReclaimed++;
      else this.#lose(file, lock, status);
    }
  }

  #lose(file: LockedFile, lock: ClientLock, status: LockStatus): void {
    const { awaitCopies, counters, log } = this.#parts;
    const { owner } = lock;
    awaitCopies(file, owner, this.#credentialOf(file, owner));
    // An interrupted program may have given it back meanwhile.
    const left = file.pieces(owner, lock).flatMap((piece) => piece.lock ?? []);
    if (left.length === 0) return;
    for (const piece of left) file.lose(piece);
    counters.locksLost++;
    file.sleepers.wake();
    const end = lock.end === LAST_BYTE ? 'the end' : String(lock.end);
    const process = owner.pid === 0 ? 'a process' : `process ${owner.pid}`;
    const reason =
      status === LockStatus.DENIED
        ? 'somebody else has locked the range'
        : `it does not give the lock back (${lockStatusName(status)})`;
    log.error(
      `${describePath(file.inode)}: the lock of ${process} on bytes ${lock.start} to ${end} is lost: ` +
        `the server has restarted, and ${reason}`,
    );
  }

  /** Asks until the server says clearly whether the lock is still, or again, held. */
  async #reclaim(file: LockedFile, lock: ClientLock): Promise<LockStatus> {
    let failures = 0;
    while (!this.#closed) {
      try {
        let { status } = await this.#lock(file, lock, true);
        // Not in a grace period: it is over, there is none, or the server has not restarted at all.
        if (status === LockStatus.DENIED_GRACE_PERIOD) ({ status } = await this.#lock(file, lock, false));
        if (status === LockStatus.GRANTED || isRefusal(status)) return status;
        if (status !== LockStatus.DENIED_GRACE_PERIOD && ++failures === MOST_FAILURES) return status;
      } catch (error) {
        // No answer: asked again.
        for (const reject of this.#waiting) reject(error);
        this.#waiting.clear();
      }
      await new Promise<void>((resolve) => this.#parts.clock.after(REPEAT_MS, resolve));
    }
    return LockStatus.GRANTED;
  }

  #lock(file: LockedFile, lock: ClientLock, reclaim: boolean): Promise<{ readonly status: LockStatus }> {
    const credential = this.#credentialOf(file, lock.owner);
    return this.#parts.calls.lock(file.handle, lock, { block: false, reclaim }, credential);
  }

  #credentialOf(file: LockedFile, owner: ClientOwner): Credential {
    return file.credentialOf(owner) ?? this.#parts.credential;
  }
}

function isRefusal(status: LockStatus): boolean {
  return (
    status === LockStatus.DENIED ||
    status === LockStatus.BLOCKED ||
    status === LockStatus.STALE_FH ||
    status === LockStatus.ROFS
  );
}
