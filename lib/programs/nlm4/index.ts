/** The Network Lock Manager, version 4. */

export * as lockProcedures from './procedures.js';
export { NLM_PROGRAM } from './procedures.js';
export {
  type CancelArguments,
  isLockStatus,
  LOCK_CALLS,
  type LockArguments,
  type LockCallName,
  type LockHolder,
  type LockResult,
  LockStatus,
  lockStatusName,
  MAX_LOCK_NAME,
  type RemoteLock,
  type TestArguments,
  type TestResult,
  type UnlockArguments,
} from './types.js';
