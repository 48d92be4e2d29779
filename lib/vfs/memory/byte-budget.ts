/** A bound on bytes of memory: takers of more than is left wait their turn, first come first served. */
import type { Cancellation } from '../../rpc/client/rpc-caller.js';
import { interruptible } from '../caller/interruptible.js';

interface Waiter {
  readonly bytes: number;
  readonly resolve: () => void;
}

export class ByteBudget {
  readonly limit: number;
  /** Called when somebody has to wait: who holds memory that can be given back should see to it. */
  onShortage: () => void = () => {};
  #used = 0;
  readonly #waiters: Waiter[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /** Takes the bytes if they fit. One taker always fits, however much it wants. */
  tryTake(bytes: number): boolean {
    if (this.#waiters.length > 0 || !this.#fits(bytes)) return false;
    this.#used += bytes;
    return true;
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.limit;
  }

  /** Takes the bytes as soon as they fit. Throws EINTR, having taken nothing, when the caller stops waiting. */
  async take(bytes: number, cancellation?: Cancellation): Promise<void> {
    if (this.tryTake(bytes)) return;
    let resolve = (): void => {};
    const granted = new Promise<void>((done) => {
      resolve = done;
    });
    const waiter = { bytes, resolve };
    this.#waiters.push(waiter);
    this.onShortage();
    try {
      await interruptible(granted, cancellation);
    } catch (error) {
      const at = this.#waiters.indexOf(waiter);
      // Granted in the same moment: it goes back.
      if (at < 0) this.give(bytes);
      else this.#waiters.splice(at, 1);
      this.#grant();
      throw error;
    }
  }

  give(bytes: number): void {
    this.#used -= bytes;
    this.#grant();
  }

  #grant(): void {
    for (;;) {
      const next = this.#waiters[0];
      if (next === undefined || !this.#fits(next.bytes)) return;
      this.#waiters.shift();
      this.#used += next.bytes;
      next.resolve();
    }
  }
}
