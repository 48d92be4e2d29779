/**
 * The locks of one mount, as FUSE asks for them: GETLK, SETLK and SETLKW, and their ends at close(2). Owns which file has
 * locks, and through which descriptors they were taken.
 *
 * Owners (fs/fuse/file.c): fcntl(2) locks belong to a process, OFD locks and flock(2) locks to an open file; the latter
 * two have the same number. Nothing tells an OFD lock from one of fcntl(2), and nobody unlocks one at the end of its
 * open file: so the last close of a descriptor ends what was locked through it.
 */
import type { Clock } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { FuseLock, LockRequest } from '../../fuse/contract/operations.js';
import { LAST_BYTE, type LockRange, LockTable, rangeOf } from '../../locks/index.js';
import { LockStatus, type TestResult } from '../../programs/nlm4/index.js';
import type { Credential } from '../../rpc/auth/credential.js';
import type { Cancellation, RpcCaller } from '../../rpc/client/rpc-caller.js';
import { describePath, type Inode } from '../cache/inode.js';
import { unattended } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { VfsCounters } from '../counters.js';
import type { OpenFile } from '../data/open-file.js';
import type { Exchange } from '../remote/exchange.js';
import { LockCalls, lockFailure } from './lock-calls.js';
import { type LockJournal, LockNotes } from './lock-notes.js';
import { type ClientLock, type ClientOwner, LockOwners } from './lock-owners.js';
import { LockRecovery } from './lock-recovery.js';
import { LockRequests } from './lock-requests.js';
import { LockSettling } from './lock-settling.js';
import { LockedData, type LockedDataNeeds } from './locked-data.js';
import { LockedFile } from './locked-file.js';

/** struct flock's l_type. */
export const LockType = { READ: 0, WRITE: 1, UNLOCK: 2 } as const;

const WHOLE_FILE: LockRange = { start: 0n, end: LAST_BYTE };

export interface LocksNeeds extends LockedDataNeeds {
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
  readonly #table = new LockTable<ClientOwner>(undefined, 'strengthen');
  readonly #files = new Map<Inode, LockedFile>();
  readonly #requests: LockRequests;
  readonly #settling: LockSettling;
  readonly #recovery: LockRecovery;
  readonly #notes: LockNotes;
  readonly #waiting = new Set<{ file: LockedFile; lock: ClientLock; since: number }>();

  constructor(vfs: LocksNeeds, options: LocksOptions) {
    const { clock, counters, exchange, log } = vfs;
    const { rpc, callerName, connectionless, credential, random } = options;
    this.#vfs = vfs;
    this.#options = options;
    const calls = new LockCalls(rpc, callerName);
    this.#calls = calls;
    this.#owners = new LockOwners(callerName, random);
    const files = (): Iterable<LockedFile> => this.#files.values();
    this.#recovery = new LockRecovery({ calls, clock, counters, log, files, credential, connectionless });
    const restartSeen = (): void => this.#recovery.restartSeen();
    const settling = new LockSettling({ calls, clock, restartSeen });
    this.#settling = settling;
    const notes = new LockNotes(options.journal);
    this.#notes = notes;
    this.#requests = new LockRequests({
      calls,
      clock,
      data: new LockedData(vfs),
      exchange,
      notes,
      settling,
      table: this.#table,
      reclaimed: () => this.#recovery.reclaimed,
      restartSeen,
    });
  }

  /** The server may have restarted: a new connection, or another write verifier. */
  restartSeen(): void {
    this.#recovery.restartSeen();
  }

  /** F_GETLK: what stands against a lock, of this mount's programs first. Its process is 0 if it is not one of them. */
  async test(file: OpenFile, request: LockRequest, cancellation?: Cancellation): Promise<FuseLock> {
    return this.#using(file.inode, request, async (locked, owner) => {
      const wanted = wantedLock(request, owner);
      const local = this.#table.test(locked.key, wanted);
      if (local !== undefined && !locked.isUnsettled(local)) return describeLocal(local);
      const { credential } = file;
      const asked = this.#vfs.exchange.ask(
        file.inode,
        unattended(credential),
        (handle) => this.#calls.test(locked.isHeld ? locked.handle : handle, wanted, credential),
        () => undefined,
        ({ status }) => status === LockStatus.STALE_FH,
      );
      const { result } = await interruptible(asked, cancellation);
      return describeRemote(result, request.lock);
    });
  }

  /**
   * F_SETLK and F_SETLKW, OFD locks, flock(2).
   * @throws FuseError EAGAIN, EINTR, EDEADLK, ENOLCK, EOVERFLOW, EROFS, ESTALE
   */
  async set(file: OpenFile, request: LockRequest, wait: boolean, cancellation?: Cancellation): Promise<void> {
    const { credential } = file;
    const { inode, fh } = file;
    await this.#using(inode, request, async (locked, owner) => {
      const wanted = wantedLock(request, owner);
      if (request.lock.type === LockType.UNLOCK) {
        locked.forgetLoss(owner, wanted);
        return this.#requests.unlock(locked, owner, wanted, credential, cancellation);
      }
      const waiting = { file: locked, lock: wanted, since: this.#vfs.clock.now() };
      if (wait) this.#waiting.add(waiting);
      try {
        await this.#requests.lock(locked, wanted, { wait, credential, cancellation });
        locked.takenThrough(fh, owner, credential);
        this.#recovery.watch();
      } finally {
        this.#waiting.delete(waiting);
      }
    });
  }

  /** Whether close(2) by this owner has locks to release. */
  endsAtClose({ inode }: OpenFile, lockOwner: bigint): boolean {
    const file = this.#files.get(inode);
    const owner = file && this.#owners.find(lockOwner, false);
    return owner !== undefined && (file?.heldBy(owner).length !== 0 || file.hasLostOf(owner));
  }

  /** close(2) of any descriptor ends all fcntl(2) locks of its process on the file. */
  async closed(file: OpenFile, lockOwner: bigint, cancellation?: Cancellation): Promise<void> {
    const { inode, credential } = file;
    const locked = this.#files.get(inode);
    const owner = locked && this.#owners.find(lockOwner, false);
    if (locked === undefined || owner === undefined) return;
    locked.takenNowhere(owner);
    if (locked.heldBy(owner).length === 0 && !locked.hasLostOf(owner)) return;
    await this.#unlockAll(locked, owner, credential, cancellation);
  }

  /** The last descriptor of an open file is gone: flock(2) and OFD locks end. */
  async released({ inode, fh, credential }: OpenFile): Promise<void> {
    const locked = this.#files.get(inode);
    if (locked === undefined) return;
    const owners = locked.release(fh);
    await Promise.all(owners.map((owner) => this.#unlockAll(locked, owner, credential)));
  }

  async #unlockAll(
    locked: LockedFile,
    owner: ClientOwner,
    credential: Credential,
    cancellation?: Cancellation,
  ): Promise<void> {
    this.#owners.useAgain(owner);
    locked.use();
    try {
      locked.forgetLoss(owner, WHOLE_FILE);
      await this.#requests.unlock(locked, owner, WHOLE_FILE, credential, cancellation);
    } finally {
      this.#giveBack(locked, owner);
    }
  }

  /** Whether a write through this descriptor has to fail: a lock that was taken through it is lost. */
  isLost({ inode, fh }: OpenFile): boolean {
    return this.#options.failsWhenLost && this.#files.get(inode)?.hasLost(fh) === true;
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

  /** The mount is over: the server is told of what is still held, for `milliseconds` at most. Never rejects. */
  async close(milliseconds: number): Promise<void> {
    this.#recovery.close();
    const left: Promise<void>[] = [];
    for (const file of this.#files.values()) {
      for (const { owner } of file.held())
        left.push(this.#unlockAll(file, owner, file.credentialOf(owner) ?? this.#options.credential));
    }
    let timer: { cancel(): void } | undefined;
    const late = new Promise<void>((resolve) => {
      timer = this.#vfs.clock.after(milliseconds, resolve);
    });
    await Promise.race([Promise.allSettled(left), late]);
    timer?.cancel();
    this.#notes.close(![...this.#files.values()].some((file) => file.isHeld || file.isUnsure));
    this.#settling.close();
    this.#options.rpc.close();
  }

  // ---- files and owners in use

  async #using<Result>(
    inode: Inode,
    { owner: fuseOwner, flock, lock }: LockRequest,
    work: (file: LockedFile, owner: ClientOwner) => Promise<Result>,
  ): Promise<Result> {
    if (!inode.isRegular) throw new FuseError(Errno.ENOLCK, 'not a regular file');
    let file = this.#files.get(inode);
    if (file === undefined) {
      file = new LockedFile(inode, this.#table, this.#owners);
      this.#files.set(inode, file);
    }
    file.use();
    const owner = this.#owners.use(fuseOwner, flock, lock.pid);
    try {
      return await work(file, owner);
    } finally {
      this.#giveBack(file, owner);
    }
  }

  #giveBack(file: LockedFile, owner: ClientOwner): void {
    this.#owners.giveBack(owner);
    file.giveBack();
    file.whenIdle(() => {
      if (this.#files.get(file.inode) === file) this.#files.delete(file.inode);
    });
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
