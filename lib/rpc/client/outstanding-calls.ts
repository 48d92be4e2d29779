/**
 * The calls of one connection without an answer: which of them a reply may come for, and which are to be sent as soon
 * as the window lets them. Owns that order: on a new transport everything in the order made; what is lost on it goes by
 * turns with what queues.
 */
import { CallQueue } from './call-queue.js';
import type { PendingCall } from './pending-call.js';

/** XIDs of given-up calls that are remembered, to tell a late reply from a wrong one. */
const MAX_ABANDONED = 1024;

/** How many calls may be on the wire at a time. */
export interface SendWindow {
  readonly size: number;
  /** A reply came while so many calls were on the wire. */
  answered(onWire: number): void;
  /** Calls were not answered in time. */
  lost(): void;
}

/** For transports that look after congestion themselves. */
export function fixedWindow(size: number): SendWindow {
  return { size, answered: () => {}, lost: () => {} };
}

export class OutstandingCalls {
  readonly #window: SendWindow;
  /** Calls that were handed out to be sent, in the order made. */
  readonly #expected = new Map<number, PendingCall>();
  /** Those of them that are to be handed out once more. They take no room. */
  readonly #again = new Set<PendingCall>();
  /** Whether calls that queue have their turn between those. */
  #byTurns = false;
  /** What was handed out last was one of those. */
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

  /** Those that were sent, or are just being sent, and not given up for lost. */
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
   * These, which were handed out, seem to be lost and have to go out again, behind what already has to, by turns with
   * what queues.
   */
  lost(calls: readonly PendingCall[]): void {
    if (calls.length === 0) return;
    this.#window.lost();
    // In a window of one, a call that is lost each time would let nobody else get through.
    this.#byTurns = true;
    for (const call of calls) this.#again.add(call);
  }

  /** All that was handed out has to go out again, in the order made and before what queues. */
  sendAllAgain(): void {
    this.#byTurns = false;
    this.#again.clear();
    for (const call of this.#expected.values()) this.#again.add(call);
  }

  /** Whether it was sent, and waits for room to be sent again. */
  waits(call: PendingCall): boolean {
    return this.#again.has(call);
  }

  /** Who waits for a reply with this XID. */
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

  /** Whether this XID was that of a call given up. True only once. */
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
