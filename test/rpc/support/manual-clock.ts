/** A clock that a test turns by hand. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock, Timer } from '../../../lib/base/clock.js';

interface Entry {
  readonly due: number;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  #now = 1000;
  readonly #entries = new Set<Entry>();

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, callback: () => void): Timer {
    const entry = { due: this.#now + milliseconds, callback };
    this.#entries.add(entry);
    return { cancel: () => this.#entries.delete(entry) };
  }

  /** Lets `milliseconds` pass, running what falls due on the way, in order. */
  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      let next: Entry | undefined;
      for (const entry of this.#entries) {
        if (entry.due <= end && (next === undefined || entry.due < next.due)) next = entry;
      }
      if (next === undefined) break;
      this.#entries.delete(next);
      this.#now = Math.max(this.#now, next.due);
      next.callback();
    }
    this.#now = end;
  }

  /** Milliseconds until the next timer, undefined when there is none. */
  get next(): number | undefined {
    const due = [...this.#entries].map((entry) => entry.due - this.#now);
    return due.length === 0 ? undefined : Math.min(...due);
  }
}

/** Turns the clock in steps of `step` milliseconds until `condition` holds, and lets sockets act in between. */
export async function turnUntil(clock: ManualClock, step: number, condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    if (turns > 20_000) throw new Error('the condition never came true');
    clock.advance(step);
    for (let turn = 0; turn < 10; turn++) await nextTurn();
  }
}
