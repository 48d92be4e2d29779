/**
 * Locks that programs ask for: fcntl(2), OFD locks and flock(2). Owns how a lock is got, waited for and given up.
 *
 * A lock is refused or waited for here first, among the programs of this mount; then the server decides. Nobody here need
 * be reachable by the server: a lock that waits is asked for again and again, and keeps its place in the server's queue. The
 * server may grant it at any moment, without a word. So every wait that is given up ends with CANCEL, and then with
 * UNLOCK.
 */
import type { Clock } from '../../base/clock.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { LockRange, LockTable, Piece } from '../../locks/index.js';
import { LockStatus } from '../../programs/nlm4/index.js';
import type { Credential } from '../../rpc/auth/credential.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';
import { type UserCredential, unattended } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { Exchange } from '../remote/exchange.js';
import { type LockCalls, lockFailure } from './lock-calls.js';
import type { LockNote, LockNotes } from './lock-notes.js';
import type { ClientLock, ClientOwner } from './lock-owners.js';
import type { LockSettling } from './lock-settling.js';
import { type LockedData, throwIfCancelled } from './locked-data.js';
import type { LockedFile } from './locked-file.js';

/** The first pause of a lock that waits, and the longest one: each is twice the last. */
export const FIRST_POLL_MS = 5;
export const LONGEST_POLL_MS = 1_000;
/** The pause while a server that has restarted takes back old locks only (NLMCLNT_GRACE_WAIT). */
export const GRACE_WAIT_MS = 5_000;

export interface LockRequestsNeeds {
  readonly calls: LockCalls;
  readonly clock: Clock;
  readonly data: LockedData;
  readonly exchange: Exchange;
  readonly notes: LockNotes;
  readonly settling: LockSettling;
  readonly table: LockTable<ClientOwner>;
  /** Resolves when no lock is being reclaimed; undefined if none is. */
  readonly reclaimed: () => Promise<void> | undefined;
  /** A server answered as after a restart. */
  readonly restartSeen: () => void;
}

/** How a lock is asked for. */
export interface Asking {
  /** Wait until it is free. */
  readonly wait: boolean;
  readonly credential: UserCredential;
  readonly cancellation: Cancellation | undefined;
}

/** The calls that have been made for one request. */
interface Asked {
  /** A LOCK has been sent: where its outcome is not known, it may be held. */
  sent: boolean;
  /** A LOCK that waits has been sent: it may stand in the queue. */
  queued: LockNote | undefined;
}

export class LockRequests {
  readonly #parts: LockRequestsNeeds;

  constructor(parts: LockRequestsNeeds) {
    this.#parts = parts;
  }

  /**
   * Resolves when the owner has the lock and the file's data is as the server has it.
   * @throws FuseError EAGAIN if another owner stands against it, EDEADLK, EINTR, ENOLCK without a lock manager's answer
   */
  async lock(file: LockedFile, wanted: ClientLock, asking: Asking): Promise<void> {
    const asked: Asked = { sent: false, queued: undefined };
    let before: readonly Piece<ClientOwner>[] | undefined;
    try {
      before = await this.#obtain(file, wanted, asking, asked);
      if (before === undefined) {
        // Another thread of the owner got it first: this one's place in the queue would be granted to nobody.
        if (asked.sent) this.#giveUp(file, wanted, asking.credential, asked.queued);
        return;
      }
      if (asked.queued !== undefined) this.#parts.notes.waitsNoMore(asked.queued);
      asked.queued = undefined;
      await this.#parts.data.refresh(file, asking.credential, asking.cancellation);
    } catch (error) {
      if (before !== undefined) file.restore(wanted.owner, before);
      if (asked.sent) this.#giveUp(file, wanted, asking.credential, asked.queued);
      throw error;
    }
  }

  /** Resolves with what the owner held of the range before, or with undefined if it had the lock already. */
  async #obtain(
    file: LockedFile,
    wanted: ClientLock,
    asking: Asking,
    asked: Asked,
  ): Promise<readonly Piece<ClientOwner>[] | undefined> {
    const { owner } = wanted;
    const { wait, cancellation } = asking;
    for (let poll = FIRST_POLL_MS; ; poll = Math.min(poll * 2, LONGEST_POLL_MS)) {
      throwIfCancelled(cancellation);
      if (file.covers(wanted)) return undefined;
      // Not within the owner's turn, which the reclaiming needs.
      const reclaimed = this.#parts.reclaimed();
      if (reclaimed !== undefined) await interruptible(reclaimed, cancellation);
      await this.#reserve(file, wanted, asking);
      let before: readonly Piece<ClientOwner>[] | undefined;
      const attempt = file.turn(owner, async () => {
        if (file.covers(wanted)) return undefined;
        before = file.pieces(owner, wanted);
        return this.#ask(file, wanted, asking, asked);
      });
      file.reserve(
        wanted,
        attempt.then(
          () => {},
          () => {},
        ),
      );
      const status = await interruptible(attempt, cancellation);
      if (status === undefined) return undefined;
      if (status === LockStatus.GRANTED) return before;
      if (status === LockStatus.DENIED_GRACE_PERIOD) {
        await this.#pause(file, GRACE_WAIT_MS, cancellation, false);
        poll = FIRST_POLL_MS;
      } else if (wait && (status === LockStatus.BLOCKED || status === LockStatus.DENIED)) {
        await this.#pause(file, poll, cancellation, true);
      } else {
        const settling = status === LockStatus.DENIED ? file.settling(wanted) : undefined;
        if (settling === undefined) throw lockFailure(status);
        await interruptible(settling, cancellation);
      }
    }
  }

  /** Resolves when the table holds the lock: nobody of this mount stands against it. */
  async #reserve(file: LockedFile, wanted: ClientLock, { wait, cancellation }: Asking): Promise<void> {
    const { table } = this.#parts;
    for (;;) {
      const woken = this.#woken(file, cancellation);
      try {
        const outcome = table.lock(file.key, wanted, wait ? () => file.wake() : undefined);
        switch (outcome) {
          case 'granted':
            return;
          case 'deadlock':
            throw new FuseError(Errno.EDEADLK);
          case 'full':
            throw new FuseError(Errno.ENOLCK);
          case 'denied': {
            // Whether that other lock is granted is not known yet.
            const settling = file.settling(wanted);
            if (settling === undefined) throw new FuseError(Errno.EAGAIN);
            await interruptible(settling, cancellation);
            break;
          }
          case 'waiting':
            try {
              await woken.promise;
            } catch (error) {
              file.leaveQueue(wanted);
              throw error;
            }
        }
      } finally {
        woken.stop();
      }
    }
  }

  /** One LOCK, in the owner's turn. A lock that is granted to a caller that is gone is not confirmed. */
  async #ask(
    file: LockedFile,
    wanted: ClientLock,
    { wait, credential, cancellation }: Asking,
    asked: Asked,
  ): Promise<LockStatus> {
    const { calls, clock, exchange, notes, restartSeen } = this.#parts;
    throwIfCancelled(cancellation);
    asked.sent = true;
    const { result } = await exchange.ask(
      file.inode,
      unattended(credential),
      (handle) => {
        // Locks that are held stay where they are known: a new handle is for files without any.
        if (!file.isHeld) file.handle = handle;
        notes.mayHold(file, wanted.owner);
        if (wait) asked.queued ??= notes.waits(file, wanted);
        return calls.lock(file.handle, wanted, { block: wait }, credential);
      },
      () => undefined,
      ({ status }) => status === LockStatus.STALE_FH,
    );
    const { status } = result;
    if (status === LockStatus.GRANTED) {
      throwIfCancelled(cancellation);
      file.confirm(wanted, clock.now());
    } else if (status === LockStatus.DENIED_GRACE_PERIOD) restartSeen();
    else if (status === LockStatus.STALE_FH) throw new FuseError(Errno.ESTALE);
    // A definite no: nothing is left of it at the server.
    else if (status !== LockStatus.BLOCKED && !wait) asked.sent = false;
    return status;
  }

  /** Takes back, in the background, what the server may have granted or may yet grant. */
  #giveUp(file: LockedFile, wanted: ClientLock, credential: Credential, queued: LockNote | undefined): void {
    const { settling } = this.#parts;
    const done = settling.takeBack(file, wanted, credential, queued !== undefined).then(() => {
      if (queued !== undefined) this.#parts.notes.waitsNoMore(queued);
      this.#note(file, wanted.owner);
      file.wake();
    });
    file.giveUp(wanted, done);
  }

  /**
   * Unlocks a range: data first, then the server, then here. Resolves when the server has taken the UNLOCK; in a server's
   * grace period earlier, since nobody can have the lock then. EINTR when the caller stops waiting: it goes on.
   */
  async unlock(
    file: LockedFile,
    owner: ClientOwner,
    range: LockRange,
    credential: Credential,
    cancellation?: Cancellation,
  ): Promise<void> {
    const { data, settling } = this.#parts;
    if (!file.pieces(owner, range).some(({ lock }) => lock !== undefined)) return;
    const work = async (): Promise<void> => {
      await data.settle(file);
      await settling.unlock(file, owner, range, credential);
      this.#note(file, owner);
      file.wake();
    };
    await interruptible(work(), cancellation);
  }

  #note(file: LockedFile, owner: ClientOwner): void {
    if (file.heldBy(owner).length === 0 && !file.concerns(owner)) this.#parts.notes.holdsNone(file, owner);
  }

  // ---- waiting

  #woken(file: LockedFile, cancellation: Cancellation | undefined): { promise: Promise<void>; stop(): void } {
    let stop = (): void => {};
    const promise = new Promise<void>((resolve, reject) => {
      stop = file.onWake(resolve);
      cancellation?.onCancel(() => reject(new FuseError(Errno.EINTR)));
    });
    promise.catch(() => {});
    return { promise, stop };
  }

  /** Sleeps for so long, or, if `wakeable`, until something of the file is unlocked. */
  async #pause(
    file: LockedFile,
    milliseconds: number,
    cancellation: Cancellation | undefined,
    wakeable: boolean,
  ): Promise<void> {
    let stop = (): void => {};
    const over = new Promise<void>((resolve) => {
      const timer = this.#parts.clock.after(milliseconds, resolve);
      const unsubscribe = wakeable ? file.onWake(resolve) : (): boolean => false;
      stop = (): void => {
        timer.cancel();
        unsubscribe();
      };
    });
    try {
      await interruptible(over, cancellation);
    } finally {
      stop();
    }
  }
}
