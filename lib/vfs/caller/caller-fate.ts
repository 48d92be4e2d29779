/** Whether a caller still waits for its answer as a program does, or is being ended: by what /proc shows of its thread. */
import type { RequestContext } from '../../fuse/contract/operations.js';
import { isExiting } from './exiting-callers.js';
import { statusField, threadStatus } from './thread-status.js';

/** SIGKILL, in a set of signals. Every signal that ends a process becomes one for each of its threads, but for those that dump core. */
const KILL_BIT = 1 << 8;
/** The kernel does not tell who asks (FUSE_INVALID_UIDGID). */
const UNTOLD = 0xffff_ffff;

/**
 * `killed`: SIGKILL is pending for the thread, which is Linux's condition for ending a wait for a server (fatal_signal_pending).
 * `exiting`: see {@link isExiting}. `unseen`: /proc does not show it, or shows another thread under its number.
 */
export function callerFate(
  { pid, uid, gid }: Pick<RequestContext, 'pid' | 'uid' | 'gid'>,
  statusOf = threadStatus,
): 'waits' | 'killed' | 'exiting' | 'unseen' {
  const status = pid === 0 ? undefined : statusOf(pid);
  if (status === undefined || !hasId(status, 'Uid', uid) || !hasId(status, 'Gid', gid)) return 'unseen';
  const pending = Number.parseInt(statusField(status, 'SigPnd').slice(-8), 16);
  if ((pending & KILL_BIT) !== 0) return 'killed';
  return isExiting(pid) ? 'exiting' : 'waits';
}

/** The id of file accesses, or the real one, which access(2) asks with. */
function hasId(status: string, name: string, id: number): boolean {
  const [real, , , forFiles] = statusField(status, name).split(/\s+/).map(Number);
  return id === UNTOLD || id === forFiles || id === real;
}
