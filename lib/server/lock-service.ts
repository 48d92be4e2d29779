/**
 * The NLM program: locks on ranges of files, which end with the server or when their owner unlocks them. Owns the
 * table, the identity of owners, and the grace period.
 *
 * A lock that waits is granted as soon as it is free, whether or not its owner asks. The owner learns of it by sending
 * the same LOCK again: the server calls nobody back. Permissions for the file are not looked at, as in nfs-ganesha.
 */
import {
  type LockBounds,
  type LockOutcome,
  type LockOwner,
  LockTable,
  lengthOf,
  type OwnedLock,
  rangeOf,
} from '../locks/index.js';
import { type FileHandle, FileType, type GetattrResult, Status } from '../programs/nfs3/index.js';
import {
  type CancelArguments,
  type LockArguments,
  type LockCallName,
  type LockHolder,
  type LockResult,
  LockStatus,
  lockProcedures,
  type TestArguments,
  type TestResult,
  type UnlockArguments,
} from '../programs/nlm4/index.js';
import { handle, type ServerCall, type ServerProcedure } from '../rpc/server/server-procedure.js';
import type { Procedure } from '../rpc/wire/procedure.js';

export interface LockSettings {
  /**
   * By what owners are told apart: all that the protocol says of them, and their address, as nfs-ganesha does it; or
   * only the number of the process and the address, as Linux's server does it.
   */
  readonly owners: 'all' | 'svid';
  /** Milliseconds after the start in which only locks are granted that were held before it. */
  readonly grace: number;
  /** The owners of one address are a group. */
  readonly bounds: LockBounds;
}

/** They bound memory (2048 locks with the longest names take 8 MiB) and the time that one call takes. */
export const DEFAULT_LOCK_SETTINGS: LockSettings = {
  owners: 'all',
  grace: 0,
  bounds: { held: 2048, waiting: 128, heldByAll: 8192, waitingOfAll: 256 },
};

/** Carries a call out by `serve`: counts it, and adds faults, of which some refuse it. */
export type LockDispatch = <Result>(
  name: LockCallName,
  args: unknown,
  call: ServerCall,
  serve: () => Result | Promise<Result>,
  refuse: (status: LockStatus) => Result,
) => Result | Promise<Result>;

export interface LockServiceOptions {
  readonly settings: LockSettings;
  readonly readOnly: boolean;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Whether this caller may have locks. */
  readonly admits: (call: ServerCall) => boolean;
  /** GETATTR. */
  readonly attributesOf: (handle: FileHandle, call: ServerCall) => GetattrResult | Promise<GetattrResult>;
  /** Whether the handle is one of this export, of an object that need not be there any more. */
  readonly isOurs: (handle: FileHandle) => boolean;
  readonly dispatch: LockDispatch;
}

interface RemoteOwner extends LockOwner {
  readonly svid: number;
  readonly ownerHandle: string;
}

const NOBODY: LockHolder = { exclusive: true, svid: 0, ownerHandle: '', offset: 0n, length: 0n };

const STATUS_OF: Readonly<Record<LockOutcome, LockStatus>> = {
  granted: LockStatus.GRANTED,
  denied: LockStatus.DENIED,
  waiting: LockStatus.BLOCKED,
  deadlock: LockStatus.DEADLCK,
  full: LockStatus.DENIED_NOLOCKS,
};

/** An answer that fits every procedure: each encoder takes the fields that it knows. */
function answer(cookie: string, status: LockStatus): TestResult & LockResult {
  return { cookie, status, holder: NOBODY };
}

export class LockService {
  readonly #options: LockServiceOptions;
  readonly #table: LockTable<RemoteOwner>;
  readonly #graceUntil: number;

  constructor(options: LockServiceOptions) {
    this.#options = options;
    this.#table = new LockTable({ bounds: options.settings.bounds });
    this.#graceUntil = options.now() + options.settings.grace;
  }

  /** Locks held, and locks waited for. */
  get size(): { readonly held: number; readonly waiting: number } {
    return this.#table.size;
  }

  /** For RpcServer.register. */
  procedures(): ServerProcedure[] {
    const { TEST, LOCK, CANCEL, UNLOCK, NM_LOCK } = lockProcedures;
    // Nothing is answered from memory: real lock managers carry a repeated call out again.
    const serve = <Arguments extends { readonly cookie: string }, Result>(
      procedure: Procedure<Arguments, Result>,
      operation: (args: Arguments, call: ServerCall) => Result | Promise<Result>,
    ): ServerProcedure =>
      handle(procedure, (args, call) =>
        this.#options.dispatch(
          procedure.name as LockCallName,
          args,
          call,
          () => operation(args, call),
          (status) => answer(args.cookie, status) as Result,
        ),
      );
    return [
      serve(TEST, (args, call) => this.#test(args, call)),
      serve(LOCK, (args, call) => this.#lock(args, call)),
      serve(CANCEL, (args, call) => this.#cancel(args, call)),
      serve(UNLOCK, (args, call) => this.#unlock(args, call)),
      serve(NM_LOCK, (args, call) => this.#lock(args, call)),
    ];
  }

  #test(args: TestArguments, call: ServerCall): TestResult | Promise<TestResult> {
    const { cookie, lock } = args;
    const wanted = this.#admitted(args, call);
    if (typeof wanted === 'number') return answer(cookie, wanted);
    return this.#unlessUnfit(cookie, lock.handle, call, () => {
      const against = this.#table.test(lock.handle, wanted);
      if (against === undefined) return { cookie, status: LockStatus.GRANTED };
      return { cookie, status: LockStatus.DENIED, holder: this.#shown(against) };
    });
  }

  #shown(lock: OwnedLock<RemoteOwner>): LockHolder {
    const { exclusive, owner, start } = lock;
    // Linux's server tells its own number in place of the owner's.
    const isLinux = this.#options.settings.owners === 'svid';
    const { svid, ownerHandle } = isLinux ? { svid: process.pid, ownerHandle: '' } : owner;
    return { exclusive, svid, ownerHandle, offset: start, length: lengthOf(lock) };
  }

  #lock(args: LockArguments, call: ServerCall): LockResult | Promise<LockResult> {
    const { cookie, block, exclusive, reclaim, lock } = args;
    const wanted = this.#admitted(args, call, reclaim);
    if (typeof wanted === 'number') return answer(cookie, wanted);
    if (exclusive && this.#options.readOnly) return answer(cookie, LockStatus.ROFS);
    return this.#unlessUnfit(cookie, lock.handle, call, () => {
      // A lock that was held before a restart has nothing to wait for.
      const waits = block && !reclaim;
      return answer(cookie, STATUS_OF[this.#table.lock(lock.handle, wanted, waits ? () => {} : undefined)]);
    });
  }

  #cancel(args: CancelArguments, call: ServerCall): LockResult {
    const { cookie, exclusive } = args;
    const { handle } = args.lock;
    const wanted = this.#admitted(args, call);
    if (typeof wanted === 'number') return answer(cookie, wanted);
    if (!this.#isKnown(handle)) return answer(cookie, LockStatus.STALE_FH);
    // As Linux's server: denied when the lock has been granted meanwhile, so that the caller knows that it has it.
    const has = (lock: OwnedLock<RemoteOwner>): boolean =>
      lock.exclusive === exclusive && lock.start <= wanted.start && lock.end >= wanted.end;
    const isLate =
      !this.#table.cancel(handle, wanted) &&
      this.#table.heldBy(handle, wanted.owner).some((lock) => has(lock));
    return { cookie, status: isLate ? LockStatus.DENIED : LockStatus.GRANTED };
  }

  #unlock(args: UnlockArguments, call: ServerCall): LockResult {
    const { cookie } = args;
    const { handle } = args.lock;
    const range = this.#admitted({ ...args, exclusive: false }, call);
    if (typeof range === 'number') return answer(cookie, range);
    if (!this.#isKnown(handle)) return answer(cookie, LockStatus.STALE_FH);
    this.#table.abandon(handle, range.owner, range);
    // Otherwise a client could cut one lock into pieces without end.
    const done = this.#table.unlock(handle, range.owner, range);
    return { cookie, status: done ? LockStatus.GRANTED : LockStatus.DENIED_NOLOCKS };
  }

  /** The lock that is meant, or why it is refused whatever the file is. */
  #admitted(
    { exclusive, lock }: Pick<TestArguments, 'exclusive' | 'lock'>,
    call: ServerCall,
    reclaim = false,
  ): OwnedLock<RemoteOwner> | LockStatus {
    if (!this.#options.admits(call)) return LockStatus.FAILED;
    const isGrace = this.#options.now() < this.#graceUntil;
    // After the grace period somebody else may have got, and released, what is reclaimed.
    if (reclaim !== isGrace) return LockStatus.DENIED_GRACE_PERIOD;
    const range = rangeOf(lock.offset, lock.length);
    if (range === undefined) return LockStatus.FBIG;
    const { callerName, ownerHandle, svid } = lock;
    const group = call.remoteAddress;
    const name = `${group} ${svid}`;
    const key =
      this.#options.settings.owners === 'svid'
        ? name
        : `${name} ${callerName.length} ${callerName}${ownerHandle}`;
    return { owner: { key, group, svid, ownerHandle }, exclusive, ...range };
  }

  /**
   * Answers by `serve` unless nobody can lock the file. It is not left for later without need: an UNLOCK that comes in
   * one packet with its LOCK must not go first.
   */
  #unlessUnfit<Result>(
    cookie: string,
    handle: FileHandle,
    call: ServerCall,
    serve: () => Result,
  ): Result | Promise<Result> {
    // A removed file keeps its locks.
    if (this.#table.has(handle)) return serve();
    const judge = (result: GetattrResult): Result => {
      const unfit = unfitness(result);
      return unfit === undefined ? serve() : (answer(cookie, unfit) as Result);
    };
    const attributes = this.#options.attributesOf(handle, call);
    return attributes instanceof Promise ? attributes.then(judge) : judge(attributes);
  }

  #isKnown(handle: FileHandle): boolean {
    return this.#table.has(handle) || this.#options.isOurs(handle);
  }
}

/** Why nobody can lock an object. Undefined: it can be locked. */
function unfitness(result: GetattrResult): LockStatus | undefined {
  if (result.status === Status.OK) {
    return result.attributes.type === FileType.REG ? undefined : LockStatus.FAILED;
  }
  const isStale = result.status === Status.STALE || result.status === Status.BADHANDLE;
  return isStale ? LockStatus.STALE_FH : LockStatus.FAILED;
}
