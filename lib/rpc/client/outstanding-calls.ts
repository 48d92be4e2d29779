/**
 * The calls of one connection that have no answer: those that a reply may come for, and those that are sent as soon as
 * the window has room. Owns the order of sending: a new transport first gets all calls in the order in which they were
 * made; calls that are lost on it take turns with calls that queue.
 */
import { CallQueue } from './call-queue.js';
import type { PendingCall } from './pending-call.js';

/** XIDs of given-up calls that are remembered, to tell a late reply from a wrong one. */
const MAX_ABANDONED = 1024;

/** How many calls may be on the wire at a time. */
export interface SendWindow {
  readonly size: number;
  /** A reply came while `onWire` calls were on the wire. */
  answered(onWire: number): void;
  /** Calls were not answered in time. */
  lost(): void;
}

/** For transports that control congestion themselves. */
export function fixedWindow(size: number): SendWindow {
  return { size, answered: () => {}, lost: () => {} };
}

export class OutstandingCalls {
  readonly #window: SendWindow;
  /** Calls that were handed out to be sent, in the order made. */
  readonly #expected = new Map<number, PendingCall>();
  /** Calls of these that must be handed out once more. They take no room in the window. */
  readonly #again = new Set<PendingCall>();
  /** Whether queued calls take turns with the calls in {@link #again}. */
  #byTurns = false;
  /** The call that was handed out last came from {@link #again}. */
  #wasAgain = false;
  readonly #queue = new CallQueue();
  readonly #abandoned = new Set<number>();

  constructor(window: SendWindow) {
    this.#window = window;
  }

  /** Calls without an answer. */
  get count(): number {
    return this.#expected.size + this.#queue.length;
  }

  /** Calls that were sent or are just being sent, without those that are believed lost. */
  get onWire(): number {
    return this.#expected.size - this.#again.size;
  }

  /** Takes a call over. {@link next} hands it out. */
  add(call: PendingCall): void {
    this.#queue.push(call);
  }

  /** The next call to be sent; it is on the wire from now on. Undefined when there is none, or no room. */
  next(): PendingCall | undefined {
    if (this.onWire >= this.#window.size) return undefined;
    const yields = this.#byTurns && this.#wasAgain && this.#queue.length > 0;
    if (this.#again.size > 0 && !yields) {
      this.#wasAgain = true;
      const [call] = this.#again;
      if (call !== undefined) this.#again.delete(call);
      return call;
    }
    this.#wasAgain = false;
    const call = this.#queue.shift();
    if (call !== undefined) this.#expected.set(call.xid, call);
    return call;
  }

  /**
   * These calls were handed out and seem to be lost. They are sent again, after those that already have to be, and take
   * turns with queued calls.
   */
  lost(calls: readonly PendingCall[]): void {
    if (calls.length === 0) return;
    this.#window.lost();
    // Without turns, a call that is lost each time would block all others where the window is 1.
    this.#byTurns = true;
    for (const call of calls) this.#again.add(call);
  }

  /** All calls that were handed out are sent again, in the order in which they were made, before those that queue. */
  sendAllAgain(): void {
    this.#byTurns = false;
    this.#again.clear();
    for (const call of this.#expected.values()) this.#again.add(call);
  }

  /** Whether the call was sent and waits for room to be sent again. */
  waits(call: PendingCall): boolean {
    return this.#again.has(call);
  }

  /** The call that waits for a reply with this XID. */
  of(xid: number): PendingCall | undefined {
    return this.#expected.get(xid);
  }

  /** The call has its answer. */
  answered(call: PendingCall): void {
    this.#window.answered(this.onWire);
    this.#remove(call);
  }

  #remove(call: PendingCall): void {
    this.#expected.delete(call.xid);
    this.#again.delete(call);
  }

  /** The call was settled without an answer, which may still come if it was sent. */
  giveUp(call: PendingCall): void {
    if (!this.#expected.has(call.xid)) {
      this.#queue.drop();
      return;
    }
    this.#remove(call);
    if (call.transmissions === 0) return;
    if (this.#abandoned.size >= MAX_ABANDONED) this.#abandoned.clear();
    this.#abandoned.add(call.xid);
  }

  /** Whether this XID belongs to a call that was given up. True only once for each. */
  isLate(xid: number): boolean {
    return this.#abandoned.delete(xid);
  }

  /** Calls whose major timeout is over, and those sent long enough ago to be sent again. */
  due(now: number): PendingCall[] {
    const due: PendingCall[] = [];
    for (const call of this.#expected.values()) {
      if (now >= call.majorAt || now >= call.resendAt) due.push(call);
    }
    for (const call of this.#queue) if (now >= call.majorAt) due.push(call);
    return due;
  }

  /** All calls, which are forgotten. */
  takeAll(): PendingCall[] {
    const all = [...this.#expected.values()];
    this.#expected.clear();
    this.#again.clear();
    for (let call = this.#queue.shift(); call !== undefined; call = this.#queue.shift()) all.push(call);
    return all;
  }
}
