/** How a mount has ended, as one rule: what counts as a failure, and which reason is told. */
import type { SessionEnd } from '../../fuse/index.js';
import { describeUnwritten, type Unwritten } from '../failure/unwritten.js';
import type { MountOutcome } from '../reach/link-protocol.js';

/** Everything that the outcome of a mount depends on. */
export interface MountEnd {
  /** How the connection with the kernel ended. An error: the reason to end it. */
  readonly end: SessionEnd;
  /** The user ended the mount without waiting for the server. */
  readonly forced: boolean;
  /** The last error that was logged after the end had begun. */
  readonly lastError: string | undefined;
  /** The number of files that lost data at any time when no program could be told. */
  readonly untold: number;
  /** Whether these losses are a failure: the mount was there for one command. */
  readonly untoldIsFailure: boolean;
  /** Data that was given up. */
  readonly lost: Unwritten | undefined;
}

/** The reason why a mount ends although nobody unmounted it. Undefined: it was unmounted, or goes on elsewhere. */
export function failureOf(end: SessionEnd): string | undefined {
  if (end === 'unmounted' || end === 'detached') return undefined;
  return end === 'aborted' ? 'The FUSE connection was aborted.' : end.message;
}

/** The outcome of a mount: status 0 and no message if everything that was written is on the server. */
export function outcomeOf(facts: MountEnd): MountOutcome {
  const { end, forced, lastError, untold, untoldIsFailure, lost } = facts;
  const message =
    lastError ??
    (untoldIsFailure && untold > 0 ? 'Not everything could be written back.' : undefined) ??
    failureOf(end) ??
    // The kernel says "aborted" or "unmounted", depending on whether programs still used the mount.
    (forced ? 'The mount was ended by force.' : undefined);
  return { status: message === undefined ? 0 : 1, message, lost, untold };
}

/** One sentence about data that was given up. */
export function describeLoss(lost: Unwritten): string {
  return lost.bytes > 0 ? `Lost: ${describeUnwritten(lost)}.` : 'Nothing that was written is lost.';
}
