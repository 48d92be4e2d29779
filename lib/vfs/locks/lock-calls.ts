/**
 * Calls to the lock manager of a server. Owns which of the two procedures locks (NM_LOCK, LOCK), and what a failed call
 * means to a program: ENOLCK.
 *
 * No call is ever given up while its reply may still come: a LOCK that nobody waits for may be granted all the same.
 */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import { type LockRange, lengthOf } from '../../locks/index.js';
import type { FileHandle } from '../../programs/nfs3/index.js';
import {
  type LockArguments,
  type LockResult,
  LockStatus,
  lockProcedures,
  type RemoteLock,
  type TestResult,
} from '../../programs/nlm4/index.js';
import type { Credential } from '../../rpc/auth/credential.js';
import type { RpcCaller } from '../../rpc/client/rpc-caller.js';
import { RpcProcedureUnavailableError } from '../../rpc/rpc-errors.js';
import type { Procedure } from '../../rpc/wire/procedure.js';
import type { LateCopies } from './late-copies.js';
import type { ClientLock, ClientOwner } from './lock-owners.js';

const { TEST, LOCK, NM_LOCK, CANCEL, UNLOCK, NULL } = lockProcedures;

/** How often this machine has started, as a status monitor would count: there is none that could be told. */
const STATE = 1;

type LockProcedure = Procedure<LockArguments, LockResult>;

export interface LockTerms {
  /** Wait in the server's queue. */
  readonly block: boolean;
  /** The lock was held before the server restarted. */
  readonly reclaim?: boolean;
}

export class LockCalls {
  readonly #rpc: RpcCaller;
  readonly #callerName: string;
  /** LOCK makes a server ask its status monitor, which may be dead, or look for our name in a DNS that is. */
  #lock: LockProcedure = NM_LOCK;
  #cookie = 0;
  readonly #copies: LateCopies;

  constructor(rpc: RpcCaller, callerName: string, copies: LateCopies) {
    this.#rpc = rpc;
    this.#callerName = callerName;
    this.#copies = copies;
  }

  /** "Not responding" was reported, and the lock manager has not answered since. */
  get unresponsive(): boolean {
    return this.#rpc.unresponsive === true;
  }

  /** Asks which lock stands against another one. */
  test(handle: FileHandle, lock: ClientLock, credential: Credential): Promise<TestResult> {
    const args = {
      cookie: this.#nextCookie(),
      exclusive: lock.exclusive,
      lock: this.#remote(handle, lock.owner, lock),
    };
    return this.#call(TEST, args, credential);
  }

  /** Asks for a lock. A server that has no room, or no monitor, for one kind of call is asked by the other. */
  async lock(
    handle: FileHandle,
    lock: ClientLock,
    { block, reclaim = false }: LockTerms,
    credential: Credential,
  ): Promise<LockResult> {
    const args = {
      cookie: this.#nextCookie(),
      block,
      exclusive: lock.exclusive,
      lock: this.#remote(handle, lock.owner, lock),
      reclaim,
      state: STATE,
    };
    const resent = this.#copies.watch(handle, lock.owner, lock, lock.exclusive);
    const usual = this.#lock;
    const other = usual === NM_LOCK ? LOCK : NM_LOCK;
    let result: LockResult;
    try {
      result = await this.#call(usual, args, credential, resent);
    } catch (error) {
      if (!isUnknownProcedure(error)) throw error;
      this.#lock = other;
      return this.#call(other, args, credential, resent);
    }
    if (result.status !== LockStatus.DENIED_NOLOCKS) return result;
    const second = await this.#call(other, args, credential, resent).catch(() => result);
    if (second.status !== LockStatus.DENIED_NOLOCKS) this.#lock = other;
    return second;
  }

  /** Gives up a lock that waits. It has to say what its LOCK said. GRANTED: it waits no more; it may be held. */
  cancel(handle: FileHandle, lock: ClientLock, credential: Credential): Promise<LockResult> {
    const args = {
      cookie: this.#nextCookie(),
      block: true,
      exclusive: lock.exclusive,
      lock: this.#remote(handle, lock.owner, lock),
    };
    return this.#call(CANCEL, args, credential);
  }

  unlock(
    handle: FileHandle,
    owner: ClientOwner,
    range: LockRange,
    credential: Credential,
  ): Promise<LockResult> {
    const args = { cookie: this.#nextCookie(), lock: this.#remote(handle, owner, range) };
    return this.#call(UNLOCK, args, credential, this.#copies.watch(handle, owner, range, undefined));
  }

  /** Sees whether the lock manager is there. */
  ping(credential: Credential): Promise<void> {
    return this.#rpc.call(NULL, undefined, { credential });
  }

  #remote(handle: FileHandle, owner: ClientOwner, range: LockRange): RemoteLock {
    const { ownerHandle, svid } = owner;
    return {
      callerName: this.#callerName,
      handle,
      ownerHandle,
      svid,
      offset: range.start,
      length: lengthOf(range),
    };
  }

  /** Eight bytes: Linux's server takes no more than 32. */
  #nextCookie(): string {
    this.#cookie = (this.#cookie + 1) % 2 ** 32;
    return this.#cookie.toString(16).padStart(8, '0');
  }

  async #call<Arguments, Result>(
    procedure: Procedure<Arguments, Result>,
    args: Arguments,
    credential: Credential,
    onRetransmit?: () => void,
  ): Promise<Result> {
    try {
      return await this.#rpc.call(procedure, args, { credential, onRetransmit });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new FuseError(Errno.ENOLCK, message, { cause: error });
    }
  }
}

function isUnknownProcedure(error: unknown): boolean {
  return error instanceof Error && error.cause instanceof RpcProcedureUnavailableError;
}

/**
 * A refusal as an error for the program. Linux's nlm_stat_to_errno has the same table.
 * @param status none of GRANTED, BLOCKED and STALE_FH
 */
export function lockFailure(status: LockStatus): FuseError {
  switch (status) {
    case LockStatus.DENIED:
      return new FuseError(Errno.EAGAIN);
    case LockStatus.DEADLCK:
      return new FuseError(Errno.EDEADLK);
    case LockStatus.ROFS:
      return new FuseError(Errno.EROFS);
    case LockStatus.FBIG:
      return new FuseError(Errno.EOVERFLOW);
    default:
      return new FuseError(Errno.ENOLCK);
  }
}
