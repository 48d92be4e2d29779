/**
 * How many calls are on the wire at a time over UDP, where nothing else keeps a server and a network from being
 * flooded, nor their replies from our own socket: they are thrown away when its buffer is full, and each costs the
 * wait for its retransmission. The rule is that of Linux (net/sunrpc, xprt_adjust_cwnd): one call at first, about one
 * more for each window full of replies, half as many after a loss.
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

  /** There is room for so many replies: no more calls than that, and 1 at least. */
  limit(replies: number): void {
    this.#most = Math.max(1, Math.min(MOST_CALLS, Math.floor(replies)));
    this.#calls = Math.min(this.#calls, this.#most);
  }

  /** A reply came while so many calls were on the wire, its own among them. A window that is not used proves nothing. */
  answered(onWire: number): void {
    if (onWire >= this.size) this.#calls = Math.min(this.#most, this.#calls + 1 / this.#calls);
  }

  /** Calls were lost; those lost in one moment are one loss. */
  lost(): void {
    this.#calls = Math.max(1, this.#calls / 2);
  }
}
