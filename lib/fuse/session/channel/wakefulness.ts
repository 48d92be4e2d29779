/**
 * Keeps the event loop awake for a moment after work. Waking an idle core costs 50 to 100 µs on a small virtual
 * machine, more than most requests, and a program that makes one call after the other would pay that for each. The
 * moment is short and counts from the last work, so that an idle mount uses no processor time. If other programs want
 * the core, they get it: the core is then not idle, and waking up costs little.
 */

export interface WakefulnessOptions {
  /** Milliseconds, monotonic, with fractions. */
  readonly now?: (() => number) | undefined;
  /** Calls `turn` in the next turn of the event loop, which does not sleep before it. */
  readonly nextTurn?: ((turn: () => void) => void) | undefined;
}

/** Milliseconds after the last work: enough for a program's next call and for the reply of a server nearby. */
export const AWAKE_MS = 0.1;
/** A turn without work takes some microseconds. If it took longer than this, another program has run meanwhile. */
export const INTERRUPTED_MS = 0.05;
/** Milliseconds for which the core is then left to other programs. */
export const REST_MS = 20;

export class Wakefulness {
  readonly #now: () => number;
  readonly #nextTurn: (turn: () => void) => void;
  /** When work was last done, and when the event loop last had a turn. */
  #worked = Number.NEGATIVE_INFINITY;
  #turned = 0;
  #restUntil = Number.NEGATIVE_INFINITY;
  #awake = false;

  constructor(options: WakefulnessOptions = {}) {
    this.#now = options.now ?? (() => performance.now());
    this.#nextTurn = options.nextTurn ?? ((turn) => void setImmediate(turn));
  }

  /** Work was done that is likely to be followed by more. */
  touch(): void {
    const now = this.#now();
    this.#worked = now;
    this.#turned = now;
    if (this.#awake || now < this.#restUntil) return;
    this.#awake = true;
    this.#nextTurn(this.#turn);
  }

  readonly #turn = (): void => {
    const now = this.#now();
    if (now - this.#turned >= INTERRUPTED_MS) this.#restUntil = now + REST_MS;
    this.#turned = now;
    if (now - this.#worked < AWAKE_MS && now >= this.#restUntil) this.#nextTurn(this.#turn);
    else this.#awake = false;
  };
}
