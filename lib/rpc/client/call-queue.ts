/**
 * Calls that wait for room on the wire, first in, first out. The queue lets go of calls that are given up meanwhile: at
 * most half of what it keeps is such calls, even while the call in front waits. No operation takes longer for a longer
 * queue, except for an occasional clean-up.
 */
import type { PendingCall } from './pending-call.js';

export class CallQueue implements Iterable<PendingCall> {
  #calls: PendingCall[] = [];
  /** Index of the first call in the queue. Those before it have been taken. */
  #first = 0;
  /** How many of the calls from there on are settled. */
  #settled = 0;

  /** Calls that still wait. */
  get length(): number {
    return this.#calls.length - this.#first - this.#settled;
  }

  push(call: PendingCall): void {
    this.#calls.push(call);
  }

  /** Takes the first call, undefined when there is none. */
  shift(): PendingCall | undefined {
    while (this.#first < this.#calls.length) {
      const call = this.#calls[this.#first] as PendingCall;
      this.#first += 1;
      if (call.settled) this.#settled -= 1;
      else {
        this.#tidy();
        return call;
      }
    }
    this.#tidy();
    return undefined;
  }

  /** The owner of the queue calls this for each queued call that is settled. */
  drop(): void {
    this.#settled += 1;
    this.#tidy();
  }

  /** Those that wait, in order. Calls may be dropped meanwhile. */
  *[Symbol.iterator](): Iterator<PendingCall> {
    const calls = this.#calls;
    for (let index = this.#first; index < calls.length; index++) {
      const call = calls[index] as PendingCall;
      if (!call.settled) yield call;
    }
  }

  #tidy(): void {
    const useless = this.#first + this.#settled;
    if (useless * 2 <= this.#calls.length) return;
    this.#calls = this.length === 0 ? [] : this.#calls.slice(this.#first).filter((call) => !call.settled);
    this.#first = 0;
    this.#settled = 0;
  }
}
