/**
 * How many calls are on the wire at a time over UDP. Nothing else there protects the server and the network from a
 * flood of calls, nor our own socket from a flood of replies: the kernel drops replies when the socket's buffer is
 * full, and each one dropped costs the wait for a retransmission. The rule is that of Linux (net/sunrpc,
 * xprt_adjust_cwnd): one call at first, about one more for each window full of replies, half as many after a loss.
 */
import type { SendWindow } from './outstanding-calls.js';

/** Linux: RPC_DEF_SLOT_TABLE. */
export const MOST_CALLS = 16;

export class CongestionWindow implements SendWindow {
  #most = MOST_CALLS;
  /** With its fraction. */
  #calls = 1;

  /** Calls that may be on the wire. */
  get size(): number {
    return Math.floor(this.#calls);
  }

  /** The socket has room for this many long replies: allows at most as many calls, and at least 1. */
  limit(replies: number): void {
    this.#most = Math.max(1, Math.min(MOST_CALLS, Math.floor(replies)));
    this.#calls = Math.min(this.#calls, this.#most);
  }

  /**
   * A reply came while `onWire` calls were on the wire, its own call among them. The window grows only if it is full.
   */
  answered(onWire: number): void {
    if (onWire >= this.size) this.#calls = Math.min(this.#most, this.#calls + 1 / this.#calls);
  }

  /** Calls were lost. Calls that are lost at the same moment count as one loss. */
  lost(): void {
    this.#calls = Math.max(1, this.#calls / 2);
  }
}
