/** The choices that a session is made with. Owns no behaviour. */
import type { ConnectionInfo } from '../contract/operations.js';
import type { SessionTimers } from './interrupts.js';
import type { ConnectionOptions } from './negotiate.js';

export interface SessionOptions extends ConnectionOptions {
  /** Receives one line per event that the operator should know of. By default, standard error. */
  readonly log?: ((line: string) => void) | undefined;
  /** Receives one line per request, reply and notification. By default nothing is dumped, at no cost. */
  readonly debug?: ((line: string) => void) | undefined;
  /**
   * How long an interrupted request may still answer normally before its operation is told that the caller
   * wants to go; 300 ms by default. The kernel reports every signal, also those whose handlers would have the
   * call restarted by the kernel's own NFS client.
   */
  readonly interruptGraceMs?: number | undefined;
  /** How long the end of the connection waits for operations under way; 5000 ms by default. */
  readonly drainMs?: number | undefined;
  readonly timers?: SessionTimers | undefined;
  /**
   * The agreement that another process has reached with the kernel over this connection. That process has died, or has let
   * go of the connection; this one goes on. No INIT comes: `init` of the operations is called at once. Requests that
   * the other one had read and not answered come again (Linux 6.9), marked as `resent`.
   */
  readonly resumed?: ConnectionInfo | undefined;
  /**
   * True, without `resumed`: another process has had this connection, and has died before it told an agreement. INIT is
   * asked for again, in case it has read it (Linux 6.9; on older kernels nothing comes then).
   */
  readonly restarted?: boolean | undefined;
  /**
   * With `resumed`: requests that the kernel does not repeat, which are delivered before the constructor returns, marked as
   * `resent`. A StandIn has left them, or, where the kernel cannot repeat any, the other process has handed them over
   * ({@link HandedOver}). Undefined: that process has died.
   */
  readonly requests?: readonly Uint8Array[] | undefined;
  /**
   * Cells in memory that outlives this process, zeros at first. Where the kernel cannot repeat requests, those under way are
   * noted there, and the session that is `resumed` with the same cells ends them with EIO. 64 at least; with 1000 of them
   * there is one for each request in all but odd cases.
   */
  readonly underWay?: Float64Array | undefined;
  /**
   * Gets the agreement of INIT before the kernel does. If this process dies in between, the one that resumes answers INIT
   * with the same agreement.
   */
  readonly agreed?: ((connection: ConnectionInfo) => void) | undefined;
}

/** How long a session that is to let go of its connection waits. */
export interface DetachOptions {
  /** For the operations under way to end by themselves, in milliseconds; 5000 by default. */
  readonly patienceMs?: number | undefined;
  /** For operations to end that were cancelled then, and for notifications on their way; 2000 by default. */
  readonly cancelMs?: number | undefined;
}

/** The requests that a session has taken from the kernel, and leaves to the next process. */
export interface HandedOver {
  /** As they came, for `requests` of {@link SessionOptions}. Empty where the kernel repeats them. */
  readonly requests: readonly Uint8Array[];
  /** How many there are, whoever repeats them. */
  readonly unanswered: number;
}
