/**
 * The locks of one mount, as FUSE asks for them: GETLK, SETLK and SETLKW, and their ends at close(2). Owns which file has
 * locks, and through which descriptors they were taken.
 *
 * Owners (fs/fuse/file.c): fcntl(2) locks belong to a process, OFD locks and flock(2) locks to an open file; the latter
 * two have the same number. Nothing tells an OFD lock from one of fcntl(2), and nobody unlocks one at the end of its
 * open file: so the last close of a descriptor ends what was locked through it.
 */
import { atMost, type Clock } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { FuseLock, LockRequest } from '../../fuse/contract/operations.js';
import { LAST_BYTE, LockTable, rangeOf, WHOLE_FILE } from '../../locks/index.js';
import { LockStatus, type RemoteLock, type TestResult } from '../../programs/nlm4/index.js';
import type { Credential } from '../../rpc/auth/credential.js';
import type { Cancellation, RpcCaller } from '../../rpc/client/rpc-caller.js';
import { describePath, type Inode } from '../cache/inode.js';
import { Interruption } from '../caller/interruption.js';
import type { VfsCounters } from '../counters.js';
import type { OpenFile } from '../data/open-file.js';
import type { ToldCloses } from '../kernel/told-closes.js';
import type { Exchange } from '../remote/exchange.js';
import { LateCopies } from './late-copies.js';
import { LockCalls, lockFailure } from './lock-calls.js';
import { type LockJournal, LockNotes } from './lock-notes.js';
import { type ClientLock, type ClientOwner, LockOwners } from './lock-owners.js';
import type { LockRecords } from './lock-records.js';
import { LockRecovery } from './lock-recovery.js';
import { LockRequests } from './lock-requests.js';
import { LockSettling } from './lock-settling.js';
import { type LeftLocks, type SuccessionNeeds, takeUpLocks } from './lock-succession.js';
import { LockedData, type LockedDataNeeds } from './locked-data.js';
import { LockedFile, type LockedFileNeeds } from './locked-file.js';

/** struct flock's l_type. */
export const LockType = { READ: 0, WRITE: 1, UNLOCK: 2 } as const;

export interface LocksNeeds extends LockedDataNeeds {
  readonly records: { readonly locks: LockRecords } | undefined;
  readonly closes: ToldCloses;
  readonly clock: Clock;
  readonly counters: VfsCounters;
  readonly exchange: Exchange;
  readonly log: Logger;
}

export interface LocksOptions {
  /** The lock manager. */
  readonly rpc: RpcCaller;
  /** The name of this machine, as its lock manager knows it: one character per byte. */
  readonly callerName: string;
  readonly connectionless: boolean;
  /** Of calls that no program asks for. */
  readonly credential: Credential;
  /** Writes under a lock that is lost fail with EIO. */
  readonly failsWhenLost: boolean;
  /** The server can call this mount when it grants a lock that waits: see {@link Locks.granted}. */
  readonly hearsGrants: boolean;
  readonly journal?: LockJournal | undefined;
  /** 0 <= random() < 1. */
  readonly random: () => number;
}

/** One owner's locks of a file, for people. */
export interface HeldLocks {
  readonly path: string;
  readonly pid: number;
  readonly flock: boolean;
  /** Milliseconds for which the owner has had locks of the file. */
  readonly heldMs: number;
  readonly locks: readonly { readonly start: bigint; readonly end: bigint; readonly exclusive: boolean }[];
}

/** A request that waits, for people. */
export interface WaitingLock {
  readonly path: string;
  readonly pid: number;
  readonly flock: boolean;
  readonly waitedMs: number;
  readonly start: bigint;
  readonly end: bigint;
  readonly exclusive: boolean;
}

export class Locks {
  readonly #vfs: LocksNeeds;
  readonly #options: LocksOptions;
  readonly #calls: LockCalls;
  readonly #owners: LockOwners;
  readonly #table = new LockTable<ClientOwner>({
    taking: 'strengthen',
    // A lock that is only asked for may be refused, and nobody waits for it for ever.
    holdsForCertain: (file, key, wanted) => this.#files.get(file)?.holdsAgainst(key, wanted) === true,
  });
  /** By {@link LockedFile.key}. */
  readonly #files = new Map<string, LockedFile>();
  readonly #fileNeeds: LockedFileNeeds;
  readonly #requests: LockRequests;
  readonly #settling: LockSettling;
  readonly #recovery: LockRecovery;
  readonly #notes: LockNotes;
  readonly #succession: SuccessionNeeds;
  readonly #waiting = new Set<{ file: LockedFile; lock: ClientLock; since: number }>();
  /** The requests that are being answered. */
  readonly #underWay = new Map<Interruption, Promise<unknown>>();
  #closed = false;

  constructor(vfs: LocksNeeds, options: LocksOptions) {
    const { clock, counters, exchange, log } = vfs;
    const { rpc, callerName, connectionless, credential, random } = options;
    const notes = new LockNotes(options.journal);
    this.#notes = notes;
    this.#vfs = vfs;
    this.#options = options;
    const copies = new LateCopies(clock);
    const calls = new LockCalls(rpc, callerName, copies);
    this.#calls = calls;
    this.#owners = new LockOwners(callerName, random);
    this.#fileNeeds = {
      table: this.#table,
      owners: this.#owners,
      notes,
      records: vfs.records?.locks,
      idle: ({ key }) => this.#files.delete(key),
    };
    const files = (): Iterable<LockedFile> => this.#files.values();
    const restartSeen = (): void => this.restartSeen();
    const settling = new LockSettling({ calls, clock, copies, restartSeen });
    this.#settling = settling;
    const awaitCopies: LockSettling['awaitCopies'] = (...parts) => settling.awaitCopies(...parts);
    const recovery = { awaitCopies, calls, clock, counters, log, files, credential, connectionless };
    this.#recovery = new LockRecovery(recovery);
    this.#succession = { clock, settling, copies, notes, credential, connectionless };
    this.#requests = new LockRequests({
      calls,
      clock,
      copies,
      data: new LockedData(vfs),
      exchange,
      hearsGrants: options.hearsGrants,
      notes,
      settling,
      table: this.#table,
      reclaimed: () => this.#recovery.reclaimed(),
      restartSeen,
    });
  }

  /**
   * Takes up the locks of an earlier process of this mount, and has the server agree with them. Resolves when it does, or
   * when it does not answer for so long; then that goes on in the background. Never rejects.
   */
  async takeUp(left: readonly LeftLocks[], milliseconds: number): Promise<void> {
    const { clock, closes } = this.#vfs;
    if (left.length === 0) return;
    const work = left.map((one) => {
      const file = this.#fileOf(one.inode) ?? new LockedFile(one.inode, this.#fileNeeds);
      file.handle = one.handle;
      this.#files.set(file.key, file);
      const owner = this.#owners.takeUp(one.owner);
      if (!owner.flock) closes.locksAreUsed();
      return takeUpLocks(file, owner, one, this.#succession);
    });
    await atMost(clock, milliseconds, Promise.all(work));
    this.#recovery.watch();
    // The server may have restarted while nobody was there to notice.
    this.restartSeen();
  }

  /** The server may have restarted: a new connection, or another write verifier. */
  restartSeen(): void {
    for (const { line } of this.#files.values()) line.serverRestarted();
    this.#recovery.restartSeen();
  }

  /** "Not responding" was reported of the lock manager, and it has not answered since. */
  get unresponsive(): boolean {
    return this.#calls.unresponsive;
  }

  /** F_GETLK: what stands against a lock, of this mount's programs first. Its process is 0 if it is not one of them. */
  async test(file: OpenFile, request: LockRequest, cancellation?: Cancellation): Promise<FuseLock> {
    const { credential } = file;
    return this.#using(file.inode, request, cancellation, async (locked, owner, interruption) => {
      const wanted = wantedLock(request, owner);
      const against = await this.#requests.test(locked, wanted, { credential, interruption });
      return 'owner' in against ? describeLocal(against) : describeRemote(against, request.lock);
    });
  }

  /**
   * F_SETLK and F_SETLKW, OFD locks, flock(2).
   * @throws FuseError EAGAIN, EINTR, EDEADLK, ENOLCK, EOVERFLOW, EROFS, ESTALE
   */
  async set(file: OpenFile, request: LockRequest, wait: boolean, cancellation?: Cancellation): Promise<void> {
    const { inode, fh, credential } = file;
    if (!request.flock) this.#vfs.closes.locksAreUsed();
    await this.#using(inode, request, cancellation, async (locked, owner, interruption) => {
      const wanted = wantedLock(request, owner);
      if (request.lock.type === LockType.UNLOCK) {
        locked.forgetLoss(owner, wanted);
        return this.#requests.unlock(locked, owner, wanted, credential, interruption);
      }
      const waiting = { file: locked, lock: wanted, since: this.#vfs.clock.now() };
      if (wait) this.#waiting.add(waiting);
      try {
        await this.#requests.lock(locked, wanted, { wait, credential, interruption });
        locked.takenThrough(fh, owner, credential);
        this.#recovery.watch();
      } finally {
        this.#waiting.delete(waiting);
      }
    });
  }

  /** Whether close(2) by this owner has locks to release. */
  endsAtClose({ inode }: OpenFile, lockOwner: bigint): boolean {
    const file = this.#fileOf(inode);
    const owner = file && this.#owners.find(lockOwner, false);
    return owner !== undefined && (file?.heldBy(owner).length !== 0 || file.hasLostOf(owner));
  }

  /** close(2) of any descriptor ends all fcntl(2) locks of its process on the file. */
  async closed(file: OpenFile, lockOwner: bigint, cancellation?: Cancellation): Promise<void> {
    const { inode, credential } = file;
    const locked = this.#fileOf(inode);
    const owner = locked && this.#owners.find(lockOwner, false);
    if (locked === undefined || owner === undefined) return;
    if (locked.heldBy(owner).length === 0 && !locked.hasLostOf(owner)) return;
    await this.#unlockAll(locked, owner, credential, cancellation);
  }

  /** The last descriptor of an open file is gone: flock(2) and OFD locks end. Never rejects: nobody could be told. */
  async released({ inode, fh, credential }: OpenFile): Promise<void> {
    const locked = this.#fileOf(inode);
    if (locked === undefined) return;
    const owners = locked.release(fh);
    await Promise.allSettled(owners.map((owner) => this.#unlockAll(locked, owner, credential)));
  }

  async #unlockAll(
    locked: LockedFile,
    owner: ClientOwner,
    credential: Credential,
    cancellation?: Cancellation,
  ): Promise<void> {
    locked.use(owner);
    try {
      locked.forgetLoss(owner, WHOLE_FILE);
      await this.#requests.unlock(locked, owner, WHOLE_FILE, credential, cancellation);
    } finally {
      locked.giveBack(owner);
    }
  }

  /** Whether a write through this descriptor has to fail: a lock that was taken through it is lost. */
  isLost({ inode, fh }: OpenFile): boolean {
    return this.#options.failsWhenLost && this.#fileOf(inode)?.hasLost(fh) === true;
  }

  /**
   * The server says that it has granted a lock which waited. True: somebody waits for it, and asks at once, or holds it
   * already. A grant is matched by file, owner and range: its cookie is the server's own.
   */
  granted({ handle, svid, offset, length }: RemoteLock): boolean {
    const range = rangeOf(offset, length);
    for (const { file, lock } of this.#waiting) {
      if (file.handle !== handle || lock.owner.svid !== svid) continue;
      if (lock.start !== range?.start || lock.end !== range.end) continue;
      file.sleepers.wake();
      return true;
    }
    for (const file of this.#files.values()) {
      if (file.handle !== handle || range === undefined) continue;
      for (const { owner } of file.held())
        if (owner.svid === svid) return file.pieces(owner, range).every(({ lock }) => lock !== undefined);
    }
    return false;
  }

  /** Locks that the server has granted. */
  held(): readonly HeldLocks[] {
    const now = this.#vfs.clock.now();
    const all: HeldLocks[] = [];
    for (const file of this.#files.values()) {
      for (const { owner, locks, since } of file.held()) {
        const { pid, flock } = owner;
        all.push({ path: describePath(file.inode), pid, flock, heldMs: now - since, locks });
      }
    }
    return all;
  }

  /** Locks that programs wait for. */
  waiting(): readonly WaitingLock[] {
    const now = this.#vfs.clock.now();
    return [...this.#waiting].map(({ file, lock, since }) => {
      const { start, end, exclusive, owner } = lock;
      const path = describePath(file.inode);
      return { path, pid: owner.pid, flock: owner.flock, waitedMs: now - since, start, end, exclusive };
    });
  }

  /**
   * The mount is over: nobody waits any more, and the server is told of what is held and of what was given up, for
   * `milliseconds` at most. Never rejects.
   */
  async close(milliseconds: number): Promise<void> {
    this.#closed = true;
    this.#recovery.close();
    for (const interruption of this.#underWay.keys()) interruption.interrupt();
    await atMost(this.#vfs.clock, milliseconds, this.#releaseAll());
    this.#notes.close(this.#files.size === 0);
    this.#settling.close();
    this.#options.rpc.close();
  }

  async #releaseAll(): Promise<void> {
    // Those that were interrupted give up first.
    await Promise.allSettled(this.#underWay.values());
    for (const file of [...this.#files.values()]) {
      for (const { owner } of [...file.held()]) {
        const credential = file.credentialOf(owner) ?? this.#options.credential;
        this.#unlockAll(file, owner, credential).catch(() => {});
      }
    }
    for (;;) {
      const background = [...this.#files.values()].flatMap((file) => file.background);
      if (background.length === 0) return this.#settling.endAwaiting();
      await Promise.allSettled(background);
    }
  }

  // ---- files and owners in use

  #fileOf(inode: Inode): LockedFile | undefined {
    return this.#files.get(LockedFile.keyOf(inode));
  }

  async #using<Result>(
    inode: Inode,
    { owner: fuseOwner, flock, lock }: LockRequest,
    cancellation: Cancellation | undefined,
    work: (file: LockedFile, owner: ClientOwner, interruption: Interruption) => Promise<Result>,
  ): Promise<Result> {
    if (!inode.isRegular) throw new FuseError(Errno.ENOLCK, 'not a regular file');
    if (this.#closed) throw new FuseError(Errno.ENOLCK, 'the mount has ended');
    const file = this.#fileOf(inode) ?? new LockedFile(inode, this.#fileNeeds);
    this.#files.set(file.key, file);
    const owner = this.#owners.use(fuseOwner, flock, lock.pid);
    file.use(owner);
    const interruption = new Interruption(cancellation);
    const running = work(file, owner, interruption);
    this.#underWay.set(interruption, running);
    try {
      return await running;
    } finally {
      this.#underWay.delete(interruption);
      file.giveBack(owner);
      this.#owners.giveBack(owner);
    }
  }
}

function wantedLock({ lock }: LockRequest, owner: ClientOwner): ClientLock {
  if (lock.start > LAST_BYTE || lock.end > LAST_BYTE) throw new FuseError(Errno.EOVERFLOW);
  if (lock.start > lock.end) throw new FuseError(Errno.EINVAL);
  return { start: lock.start, end: lock.end, exclusive: lock.type === LockType.WRITE, owner };
}

function describeLocal({ start, end, exclusive, owner }: ClientLock): FuseLock {
  return { start, end, type: exclusive ? LockType.WRITE : LockType.READ, pid: owner.pid };
}

function describeRemote(result: TestResult, asked: FuseLock): FuseLock {
  const { status } = result;
  if (status === LockStatus.GRANTED) return { ...asked, type: LockType.UNLOCK };
  if (status !== LockStatus.DENIED) throw lockFailure(status);
  const { holder } = result;
  const { start, end } = rangeOf(holder.offset, holder.length) ?? WHOLE_FILE;
  return { start, end, type: holder.exclusive ? LockType.WRITE : LockType.READ, pid: 0 };
}
