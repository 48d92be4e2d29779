/**
 * When a call is sent again and when it is given up: nfs(5) timeo, retrans, hard, soft, softerr, with the
 * arithmetic of Linux (net/sunrpc xprt_adjust_timeout, fs/nfs nfs_init_timeout_values).
 *
 * TCP backs off linearly: intervals timeo, 2 timeo, ..., and the major timeout is timeo * (1 + retrans) after the
 * call. The intervals matter for nothing else, since TCP itself repeats what gets lost: a call is sent again only
 * on a new connection, and after the major timeout a new connection is made. UDP doubles the interval and
 * sends the call again after each; after the major timeout there is a new socket, to wherever the server is by then.
 */

/** Linux: NFS_MAX_TCP_TIMEOUT and NFS_MAX_UDP_TIMEOUT, in milliseconds. */
const MAX_TCP_TIMEOUT = 600_000;
const MAX_UDP_TIMEOUT = 60_000;
/** How often deadlines are checked in each timeo, within the bounds below (milliseconds). */
const TICKS_PER_TIMEO = 10;
const LEAST_TICK = 10;
const MOST_TICK = 1000;
/** Reconnection: at once, then after this long, doubled each time up to the maximum. */
const FIRST_DELAY = 100;
const MOST_DELAY = 10_000;

export type Recovery = 'hard' | 'soft' | 'softerr';

/** The fields of a call that the policy reads and sets. */
export interface CallTimes {
  /** When the call was made, and when it was sent last (Clock.now()). */
  madeAt: number;
  lastSentAt: number;
  /** The current retransmission interval. */
  interval: number;
  /** When it is to be sent again over an unreliable transport. */
  resendAt: number;
  /** When its major timeout is over. */
  majorAt: number;
  readonly transmissions: number;
}

export class RetransmissionPolicy {
  readonly soft: boolean;
  readonly softerr: boolean;
  /** Milliseconds between looks at the deadlines. */
  readonly tick: number;
  /** The first retransmission interval in milliseconds. */
  readonly timeo: number;
  /** Milliseconds from the call to its major timeout. */
  readonly majorTimeout: number;
  readonly #exponential: boolean;

  /** `timeo` is in tenths of a second, `retrans` a count, both as in nfs(5). */
  constructor(protocol: 'tcp' | 'udp', recovery: Recovery, timeo: number, retrans: number) {
    this.soft = recovery !== 'hard';
    this.softerr = recovery === 'softerr';
    this.#exponential = protocol === 'udp';
    const most = this.#exponential ? MAX_UDP_TIMEOUT : MAX_TCP_TIMEOUT;
    this.timeo = Math.min(timeo * 100, most);
    const major = this.#exponential ? this.timeo * 2 ** retrans : this.timeo * (1 + retrans);
    this.majorTimeout = Math.min(major, most);
    this.tick = Math.min(MOST_TICK, Math.max(LEAST_TICK, this.timeo / TICKS_PER_TIMEO));
  }

  /** The call was made. */
  begin(call: CallTimes, now: number): void {
    call.madeAt = now;
    call.majorAt = now + this.majorTimeout;
    call.interval = this.timeo;
  }

  /** The call is sent. The full time of a hard call starts again here; that of a soft one does not, so that it ends. */
  sent(call: CallTimes, now: number): void {
    call.lastSentAt = now;
    call.resendAt = now + call.interval;
    if (!this.soft) call.majorAt = now + this.majorTimeout;
  }

  /** The interval is over without an answer, and the call is sent once more. */
  backOff(call: CallTimes, now: number): void {
    if (this.#exponential) call.interval = Math.min(call.interval * 2, MAX_UDP_TIMEOUT);
    call.resendAt = now + call.interval;
  }

  /** The major timeout of a hard call is over: its times start again. */
  restart(call: CallTimes, now: number): void {
    call.majorAt = now + this.majorTimeout;
    call.interval = this.timeo;
  }

  /**
   * Milliseconds to wait before the next attempt to connect, `failures` having failed in a row. Jittered by
   * `random` (0 to 1), so that the clients of a rebooted server do not all return at the same moment.
   */
  reconnectDelay(failures: number, random: number): number {
    if (failures === 0) return 0;
    const delay = Math.min(MOST_DELAY, FIRST_DELAY * 2 ** Math.min(failures - 1, 20));
    return delay * (0.5 + random / 2);
  }
}
