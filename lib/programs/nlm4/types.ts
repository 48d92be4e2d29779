/** The constants and types of the Network Lock Manager, version 4 (RFC 1813 appendix II, and X/Open's XNFS). */
import type { FileHandle } from '../nfs3/file-handle.js';

/** The most bytes of a cookie, an owner handle and a caller's name (LM_MAXSTRLEN, MAXNETOBJ_SZ). */
export const MAX_LOCK_NAME = 1024;

/** The procedures that a client calls, NULL left out. */
export const LOCK_CALLS = ['TEST', 'LOCK', 'CANCEL', 'UNLOCK', 'NM_LOCK'] as const;
export type LockCallName = (typeof LOCK_CALLS)[number];

/** nlm4_stats. */
export const LockStatus = {
  GRANTED: 0,
  DENIED: 1,
  /** The server has no room for another lock. */
  DENIED_NOLOCKS: 2,
  /** The request waits in the server's queue. */
  BLOCKED: 3,
  /** The server has restarted: only what was held before may be locked now. */
  DENIED_GRACE_PERIOD: 4,
  DEADLCK: 5,
  ROFS: 6,
  STALE_FH: 7,
  /** The range has bytes beyond the largest offset. */
  FBIG: 8,
  FAILED: 9,
} as const;
export type LockStatus = (typeof LockStatus)[keyof typeof LockStatus];

const STATUS_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(LockStatus).map(([name, value]) => [value, `NLM4_${name}`]),
);

export function isLockStatus(value: number): value is LockStatus {
  return STATUS_NAMES.has(value);
}

/** As the specification spells it: "NLM4_GRANTED". */
export function lockStatusName(status: LockStatus): string {
  return STATUS_NAMES.get(status) ?? `nlm4_stats ${status}`;
}

/** nlm4_lock: a range of a file, and whose lock it is. */
export interface RemoteLock {
  /** The name of the client's machine: bytes, one character each, as in `ownerHandle` and all cookies. */
  readonly callerName: string;
  readonly handle: FileHandle;
  /** oh: whatever tells owners of this caller apart. */
  readonly ownerHandle: string;
  /** The number of the process that owns the lock, signed. */
  readonly svid: number;
  /** Unsigned, of 64 bits. */
  readonly offset: bigint;
  /** 0: to the end of the file. */
  readonly length: bigint;
}

/** nlm4_holder: a lock that stands against another one. */
export interface LockHolder {
  readonly exclusive: boolean;
  readonly svid: number;
  readonly ownerHandle: string;
  readonly offset: bigint;
  readonly length: bigint;
}

interface Cookie {
  /** Comes back with the answer. */
  readonly cookie: string;
}

/** nlm4_testargs: of TEST, and of GRANTED. */
export interface TestArguments extends Cookie {
  readonly exclusive: boolean;
  readonly lock: RemoteLock;
}

/** nlm4_cancargs. It has to say what the LOCK said. */
export interface CancelArguments extends TestArguments {
  /** Wait for the lock if it cannot be had at once. */
  readonly block: boolean;
}

/** nlm4_lockargs. */
export interface LockArguments extends CancelArguments {
  /** The caller held this lock before the server restarted. */
  readonly reclaim: boolean;
  /** How often the caller's machine has started, as its status monitor counts. */
  readonly state: number;
}

/** nlm4_unlockargs. */
export interface UnlockArguments extends Cookie {
  readonly lock: RemoteLock;
}

/** nlm4_res. */
export interface LockResult extends Cookie {
  readonly status: LockStatus;
}

/** nlm4_testres. */
export type TestResult =
  | (Cookie & { readonly status: typeof LockStatus.DENIED; readonly holder: LockHolder })
  | (Cookie & { readonly status: Exclude<LockStatus, typeof LockStatus.DENIED> });
