/**
 * Makes the server agree with what is confirmed here, whatever became of the program that asked: after a lock was given
 * up, and after an UNLOCK that the server could not take yet. Repeated until it does, or the mount ends.
 */
import type { Clock } from '../../base/clock.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import { type LockRange, replaceRange, WHOLE_FILE } from '../../locks/index.js';
import { type LockResult, LockStatus } from '../../programs/nlm4/index.js';
import type { Credential } from '../../rpc/auth/credential.js';
import { COPIES_ARRIVE_MS, type LateCopies } from './late-copies.js';
import type { LockCalls } from './lock-calls.js';
import type { ClientLock, ClientOwner } from './lock-owners.js';
import type { LockedFile } from './locked-file.js';

const REPEAT_MS = 5_000;
/** Pauses before the server is told again, after a LOCK that was sent more than once. */
const LATE_MS = [COPIES_ARRIVE_MS, 30_000];

export interface LockSettlingNeeds {
  readonly calls: LockCalls;
  readonly clock: Clock;
  readonly copies: LateCopies;
  readonly restartSeen: () => void;
}

/**
 * The outcome of a call. 'later': the server could not be asked, or is in a grace period. 'full': it has no room, and
 * has changed nothing.
 */
type Told = 'taken' | 'later' | 'full';

type Call = () => Promise<LockResult>;

/** Whether an unlock of the range makes two locks of one. */
function splits(locks: readonly ClientLock[], range: LockRange): boolean {
  return replaceRange(locks, range).length > locks.length;
}

export class LockSettling {
  readonly #parts: LockSettlingNeeds;
  #closed = false;
  readonly #sleepers = new Set<() => void>();

  constructor(parts: LockSettlingNeeds) {
    this.#parts = parts;
  }

  /** No call is repeated any more. */
  close(): void {
    this.#closed = true;
    for (const sleeper of [...this.#sleepers]) sleeper();
  }

  /**
   * UNLOCK, and then the end of the owner's locks of the range here. Resolves when the server has taken it. In a grace
   * period nobody else can get the lock: it resolves at once then, and the server is told later.
   * @throws FuseError ENOLCK where a lock would have to be split, and the server has no room: it stays as it was
   */
  async unlock(
    file: LockedFile,
    owner: ClientOwner,
    range: LockRange,
    credential: Credential,
  ): Promise<void> {
    const holds = (): boolean => file.pieces(owner, range).some(({ lock }) => lock !== undefined);
    const told = await file.turn(owner, async (): Promise<Told> => {
      if (!holds()) return 'taken';
      const told = await this.#tell(() => this.#parts.calls.unlock(file.handle, owner, range, credential));
      if (told === 'full' && splits(file.heldBy(owner), range)) throw new FuseError(Errno.ENOLCK);
      file.remove(owner, range);
      return told;
    });
    this.awaitCopies(file, owner, credential);
    if (told === 'taken') return;
    const { start, end } = range;
    file.giveUp({ owner, start, end, exclusive: true }, this.agree(file, owner, range, credential));
  }

  /**
   * To be called when a LOCK was refused, or its lock is unlocked. If that LOCK was sent more than once, a copy that the network
   * or a busy server has kept may lock again, for ever: so the server is told what the owner holds of the file, in the
   * background, when no copy can be under way any more.
   */
  awaitCopies(file: LockedFile, owner: ClientOwner, credential: Credential): void {
    if (this.#parts.copies.takeResent(file.handle, owner)) void this.#unlockCopies(file, owner, credential);
  }

  async #unlockCopies(file: LockedFile, owner: ClientOwner, credential: Credential): Promise<void> {
    file.use(owner);
    try {
      for (const wait of LATE_MS) {
        await this.#pause(wait);
        if (this.#closed) return;
        await this.agree(file, owner, WHOLE_FILE, credential);
      }
    } finally {
      file.giveBack(owner);
    }
  }

  /**
   * Ends a request whose outcome is not known: of its range the server keeps what the owner holds here, and nothing waits
   * for it. `queued`: it may stand in the server's queue. CANCEL alone is not enough, since the lock may have been granted
   * before it came; Linux's server says so then, nfs-ganesha does not.
   */
  async takeBack(
    file: LockedFile,
    wanted: ClientLock,
    credential: Credential,
    queued: boolean,
  ): Promise<void> {
    const { owner } = wanted;
    const cancel = (): Promise<Told> =>
      file.turn(owner, () => this.#tell(() => this.#parts.calls.cancel(file.handle, wanted, credential)));
    while (queued && (await cancel()) === 'later' && !this.#closed) await this.#pause();
    await this.agree(file, owner, wanted, credential);
    // The LOCK may have been sent again after its program had stopped waiting.
    this.awaitCopies(file, owner, credential);
  }

  /** Resolves when the server holds of a range what the owner holds of it here. */
  async agree(file: LockedFile, owner: ClientOwner, range: LockRange, credential: Credential): Promise<void> {
    const { calls, restartSeen } = this.#parts;
    const lockAgain = async (lock: ClientLock): Promise<LockResult> => {
      const result = await calls.lock(file.handle, lock, { block: false }, credential);
      // Somebody else has it: the server has forgotten what is held here.
      if (result.status === LockStatus.DENIED) restartSeen();
      return result;
    };
    const attempt = async (): Promise<boolean> => {
      // A piece that is held is locked as it is to be, in one step, so that nobody else gets it in between.
      for (const piece of file.pieces(owner, range)) {
        const { lock } = piece;
        const call: Call = () =>
          lock === undefined ? calls.unlock(file.handle, owner, piece.range, credential) : lockAgain(lock);
        if ((await this.#tell(call)) !== 'taken') return false;
      }
      return true;
    };
    // Pauses are no part of the owner's turn: in a grace period, what it holds has to be reclaimed.
    while (!(await file.turn(owner, attempt)) && !this.#closed) await this.#pause();
  }

  async #tell(call: Call): Promise<Told> {
    try {
      const { status } = await call();
      if (status === LockStatus.DENIED_GRACE_PERIOD) {
        this.#parts.restartSeen();
        return 'later';
      }
      return status === LockStatus.DENIED_NOLOCKS ? 'full' : 'taken';
    } catch {
      return 'later';
    }
  }

  #pause(milliseconds = REPEAT_MS): Promise<void> {
    return new Promise((resolve) => {
      if (this.#closed) return resolve();
      const over = (): void => {
        timer.cancel();
        this.#sleepers.delete(over);
        resolve();
      };
      const timer = this.#parts.clock.after(milliseconds, over);
      this.#sleepers.add(over);
    });
  }
}
