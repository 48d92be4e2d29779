/**
 * Locks that programs ask for: fcntl(2), OFD locks and flock(2). Owns how a lock is got, waited for and given up.
 *
 * A lock is refused or waited for here first, among the programs of this mount; then the server decides. Nobody here need
 * be reachable by the server: a lock that waits is asked for again and again.
 *
 * It stands in the server's queue only where the server can say when it grants (`hearsGrants`). nfs-ganesha takes a lock that it
 * has granted from its queue away again when nobody hears of it, although it has answered GRANTED to the owner's next
 * call meanwhile: two owners had one lock. A place in the queue may be granted at any moment, so every wait that is given up
 * ends with CANCEL, and then with UNLOCK.
 */
import type { Clock, Timer } from '../../base/clock.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { LockRange, LockTable } from '../../locks/index.js';
import { LockStatus, type TestResult } from '../../programs/nlm4/index.js';
import type { Credential } from '../../rpc/auth/credential.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';
import { type UserCredential, unattended } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { Interruption } from '../caller/interruption.js';
import type { Exchange } from '../remote/exchange.js';
import type { LateCopies } from './late-copies.js';
import { type LockCalls, lockFailure } from './lock-calls.js';
import type { LockNote, LockNotes } from './lock-notes.js';
import type { ClientLock, ClientOwner } from './lock-owners.js';
import type { LockSettling } from './lock-settling.js';
import type { LockedData } from './locked-data.js';
import type { Grant, LockedFile } from './locked-file.js';
import type { PlaceInLine } from './waiting-line.js';

/** The first pause of a lock that waits, and the longest one: each is twice the last. */
export const FIRST_POLL_MS = 5;
export const LONGEST_POLL_MS = 1_000;
/** The pause while a server that has restarted takes back old locks only (NLMCLNT_GRACE_WAIT). */
export const GRACE_WAIT_MS = 5_000;

export interface LockRequestsNeeds {
  readonly calls: LockCalls;
  readonly clock: Clock;
  readonly copies: LateCopies;
  readonly data: LockedData;
  readonly exchange: Exchange;
  readonly hearsGrants: boolean;
  readonly notes: LockNotes;
  readonly settling: LockSettling;
  readonly table: LockTable<ClientOwner>;
  /** Resolves when no lock is being reclaimed; undefined if none is. Rejects where the server cannot be asked. */
  readonly reclaimed: () => Promise<void> | undefined;
  /** A server answered as after a restart. */
  readonly restartSeen: () => void;
}

/** How a lock is asked for. */
export interface Asking {
  /** Wait until it is free. */
  readonly wait: boolean;
  readonly credential: UserCredential;
  readonly interruption: Interruption;
}

/** The calls that have been made for one request. */
interface Asked {
  /** A LOCK has been sent: where its outcome is not known, it may be held. */
  sent: boolean;
  /** A LOCK that waits has been sent: it may stand in the queue. */
  queued: LockNote | undefined;
  /** The end of a request of this mount that the server may have refused this one for: it is taken back, say. */
  settling: Promise<void> | undefined;
  /** Undefined: it does not wait. */
  place: PlaceInLine | undefined;
  /** Undefined: it has not been granted, or another thread of the owner had it already. */
  grant: Grant | undefined;
}

const isStale = ({ status }: { readonly status: number }): boolean => status === LockStatus.STALE_FH;

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
    const asked: Asked = {
      sent: false,
      queued: undefined,
      settling: undefined,
      place: undefined,
      grant: undefined,
    };
    try {
      await this.#obtain(file, wanted, asking, asked);
      const { grant } = asked;
      if (grant !== undefined) {
        if (asked.queued !== undefined) this.#parts.notes.waitsNoMore(asked.queued);
        asked.queued = undefined;
        await this.#parts.data.refresh(file.inode, asking.credential, asking.interruption);
        file.complete(grant);
        return;
      }
    } catch (error) {
      if (asked.grant !== undefined) file.withdraw(asked.grant);
      this.#parts.settling.awaitCopies(file, wanted.owner, asking.credential);
      if (asked.sent) this.#giveUp(file, wanted, asking.credential, asked.queued);
      throw error;
    }
    // Another thread of the owner got it first: this one's place in the queue would be granted to nobody.
    if (asked.sent) this.#giveUp(file, wanted, asking.credential, asked.queued);
  }

  /** Resolves when the owner has the lock. One that waits does so in line. */
  async #obtain(file: LockedFile, wanted: ClientLock, asking: Asking, asked: Asked): Promise<void> {
    if (!asking.wait) return this.#pursue(file, wanted, asking, asked);
    asked.place = file.line.join(wanted);
    try {
      await this.#pursue(file, wanted, asking, asked);
    } finally {
      file.line.leave(asked.place);
    }
  }

  async #pursue(file: LockedFile, wanted: ClientLock, asking: Asking, asked: Asked): Promise<void> {
    const { copies } = this.#parts;
    const { owner } = wanted;
    const { wait, interruption } = asking;
    for (let poll = FIRST_POLL_MS; ; poll = Math.min(poll * 2, LONGEST_POLL_MS)) {
      interruption.throwIfCancelled();
      // Another thread of the owner has just got a lock of the range, and may yet give it back. Or an unlock is under way, for
      // which nobody waits any more.
      const changing = file.changing(wanted);
      if (changing !== undefined) {
        await interruption.until(changing);
        continue;
      }
      if (file.covers(wanted)) return;
      const late = copies.takingAway(file.handle, wanted);
      if (late > 0) {
        await this.#sleep(late, interruption);
        continue;
      }
      const isUncertain = (): boolean =>
        file.changing(wanted) !== undefined || copies.takingAway(file.handle, wanted) > 0;
      const status = await this.#whileReserved(file, wanted, asking, asked, async () => {
        if (!this.#isNext(file, asked)) return 'later';
        return file.turn(owner, async () =>
          file.covers(wanted) || isUncertain() ? undefined : this.#ask(file, wanted, asking, asked),
        );
      });
      if (status === LockStatus.GRANTED) return;
      if (status === undefined) continue;
      if (status === 'later') {
        // Not for longer than others: it has to see when a circle of owners comes to be.
        await this.#pause(file, poll, interruption, 'line');
        continue;
      }
      if (status === LockStatus.DENIED_GRACE_PERIOD) {
        await this.#sleep(GRACE_WAIT_MS, interruption);
        poll = FIRST_POLL_MS;
      } else if (wait && (status === LockStatus.BLOCKED || status === LockStatus.DENIED)) {
        await this.#pause(file, poll, interruption);
      } else {
        if (status !== LockStatus.DENIED || asked.settling === undefined) throw lockFailure(status);
        await interruption.until(asked.settling);
      }
    }
  }

  /** Whether it is this request's turn to ask the server. */
  #isNext(file: LockedFile, { place }: Asked): boolean {
    if (place === undefined) return true;
    const { key } = place.lock.owner;
    return file.line.isNext(place, this.#parts.hearsGrants, (earlier) => file.holdsAgainst(key, earlier));
  }

  /** Runs `work` once the table holds the lock, since nobody of this mount stands against it, and as long as that takes. */
  async #whileReserved<Result>(
    file: LockedFile,
    wanted: ClientLock,
    { wait, interruption }: Asking,
    { queued }: Asked,
    work: () => Promise<Result>,
  ): Promise<Result> {
    const { table, reclaimed } = this.#parts;
    for (;;) {
      // Old locks come first. Not within the owner's turn, which the reclaiming needs.
      for (let old = reclaimed(); old !== undefined; old = reclaimed()) await interruption.until(old);
      const woken = nextWake(file, 'queue');
      try {
        // It stands in the queue of the server, who may grant it at any moment: here it lets nobody go first any more.
        const isNext = queued !== undefined && table.lock(file.key, wanted) === 'granted';
        const granted = wait ? () => file.sleepers.wakeQueue() : undefined;
        const outcome = isNext ? 'granted' : table.lock(file.key, wanted, granted);
        switch (outcome) {
          case 'granted':
            return await interruption.until(file.reserve(wanted, work));
          case 'deadlock':
            throw new FuseError(Errno.EDEADLK);
          case 'full':
            throw new FuseError(Errno.ENOLCK);
          case 'denied': {
            // Whether that other lock is granted is not known yet.
            const settling = file.settling(wanted);
            if (settling === undefined) throw new FuseError(Errno.EAGAIN);
            await interruption.until(settling);
            break;
          }
          case 'waiting':
            try {
              if (queued === undefined) await interruption.until(woken.promise);
              else {
                const settling = file.settling(wanted);
                if (settling !== undefined) await interruption.until(settling);
                else await this.#pause(file, LONGEST_POLL_MS, interruption, 'queue');
              }
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
    { wait, credential, interruption }: Asking,
    asked: Asked,
  ): Promise<LockStatus> {
    const { calls, clock, exchange, hearsGrants, notes, restartSeen } = this.#parts;
    const block = wait && hearsGrants;
    interruption.throwIfCancelled();
    asked.sent = true;
    asked.settling = file.settling(wanted);
    const { result } = await exchange.ask(
      file.inode,
      unattended(credential),
      (handle) => {
        // Locks that are held stay where they are known: a new handle is for files without any.
        if (!file.isHeld) file.handle = handle;
        notes.mayHold(file, wanted.owner);
        if (block) asked.queued ??= notes.waits(file, wanted);
        return calls.lock(file.handle, wanted, { block }, credential);
      },
      () => undefined,
      isStale,
    );
    const { status } = result;
    const isHeld = status === LockStatus.BLOCKED || status === LockStatus.DENIED;
    if (isHeld && asked.place !== undefined) file.line.toldToWait(asked.place);
    if (status === LockStatus.GRANTED) {
      interruption.throwIfCancelled();
      asked.grant = file.confirm(wanted, clock.now());
    } else if (status === LockStatus.DENIED_GRACE_PERIOD) restartSeen();
    else if (status === LockStatus.STALE_FH) throw new FuseError(Errno.ESTALE);
    // A definite no: nothing is left of it at the server.
    else if (status !== LockStatus.BLOCKED && !block) asked.sent = false;
    return status;
  }

  /** Takes back, in the background, what the server may have granted or may yet grant. */
  #giveUp(file: LockedFile, wanted: ClientLock, credential: Credential, queued: LockNote | undefined): void {
    const { notes, settling } = this.#parts;
    const done = settling.takeBack(file, wanted, credential, queued !== undefined).then(() => {
      if (queued !== undefined) notes.waitsNoMore(queued);
    });
    file.giveUp(wanted, done);
    void done.then(() => file.sleepers.wake());
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
      await data.settle(file.inode);
      await settling.unlock(file, owner, range, credential);
      file.sleepers.wake();
    };
    const done = work();
    file.leave(owner, range, done);
    await interruptible(done, cancellation);
  }

  /** A lock of this mount that stands against another one, or else what the server says. In a grace period it waits. */
  async test(
    file: LockedFile,
    wanted: ClientLock,
    { credential, interruption }: Omit<Asking, 'wait'>,
  ): Promise<ClientLock | TestResult> {
    const { calls, exchange, restartSeen } = this.#parts;
    for (;;) {
      const local = file.against(wanted);
      if (local !== undefined) return local;
      // The server may mean one that this mount is taking back.
      const settling = file.settling(wanted);
      const asked = exchange.ask(
        file.inode,
        unattended(credential),
        (handle) => calls.test(file.isHeld ? file.handle : handle, wanted, credential),
        () => undefined,
        isStale,
      );
      const { result } = await interruption.until(asked);
      const { status } = result;
      if (status === LockStatus.DENIED && settling !== undefined) await interruption.until(settling);
      else if (status === LockStatus.DENIED_GRACE_PERIOD) {
        restartSeen();
        await this.#sleep(GRACE_WAIT_MS, interruption);
      } else return result;
    }
  }

  /** Sleeps for so long, or until something of the file is unlocked, the table's queue or the line moves on. */
  async #pause(
    file: LockedFile,
    milliseconds: number,
    interruption: Interruption,
    where: Waits = 'server',
  ): Promise<void> {
    const woken = nextWake(file, where);
    const timer = this.#parts.clock.after(milliseconds, woken.wake);
    try {
      await interruption.until(woken.promise);
    } finally {
      timer.cancel();
      woken.stop();
    }
  }

  async #sleep(milliseconds: number, interruption: Interruption): Promise<void> {
    let timer: Timer | undefined;
    const over = new Promise<void>((resolve) => {
      timer = this.#parts.clock.after(milliseconds, resolve);
    });
    try {
      await interruption.until(over);
    } finally {
      timer?.cancel();
    }
  }
}

/** A request waits for a lock of another client, for one of the table, or for one that asked before it. */
type Waits = 'server' | 'queue' | 'line';

interface Sleep {
  readonly promise: Promise<void>;
  readonly wake: () => void;
  readonly stop: () => void;
}

function nextWake(file: LockedFile, where: Waits): Sleep {
  let wake = (): void => {};
  const promise = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const stop = where === 'line' ? file.line.onChange(wake) : file.sleepers.onWake(wake, where === 'queue');
  return { promise, wake, stop };
}
