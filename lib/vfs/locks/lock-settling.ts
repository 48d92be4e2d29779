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
  /** Work that waits for late copies, and the ends of its pauses. */
  readonly #awaited = new Set<Promise<void>>();
  readonly #copyPauses = new Set<() => void>();
  #hurries = false;

  constructor(parts: LockSettlingNeeds) {
    this.#parts = parts;
  }

  /** No call is repeated any more. */
  close(): void {
    this.#closed = true;
    for (const sleeper of [...this.#sleepers]) sleeper();
  }

  /**
   * The mount ends: late copies are not waited for any more. The server is told once more what is held of each file for which
   * they were, and nothing of it is left then. Resolves when the server has taken that.
   */
  async endAwaiting(): Promise<void> {
    this.#hurries = true;
    for (const over of [...this.#copyPauses]) over();
    while (this.#awaited.size > 0) await Promise.all(this.#awaited);
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
    if (!this.#parts.copies.takeResent(file.handle, owner)) return;
    const work = this.#unlockCopies(file, owner, credential).finally(() => this.#awaited.delete(work));
    this.#awaited.add(work);
  }

  async #unlockCopies(file: LockedFile, owner: ClientOwner, credential: Credential): Promise<void> {
    file.use(owner);
    try {
      for (const wait of LATE_MS) {
        if (!this.#hurries) await this.#pause(wait, this.#copyPauses);
        if (this.#closed) return;
        const isLast = this.#hurries;
        await this.agree(file, owner, WHOLE_FILE, credential);
        if (isLast) return;
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

  /** Ends early with the mount, and when the end that it puts in `pauses` is called. */
  #pause(milliseconds = REPEAT_MS, pauses = new Set<() => void>()): Promise<void> {
    return new Promise((resolve) => {
      if (this.#closed) return resolve();
      const over = (): void => {
        timer.cancel();
        this.#sleepers.delete(over);
        pauses.delete(over);
        resolve();
      };
      const timer = this.#parts.clock.after(milliseconds, over);
      this.#sleepers.add(over);
      pauses.add(over);
    });
  }
}
