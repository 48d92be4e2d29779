/** A bound on bytes of memory: takers of more than is left wait their turn, first come first served. */

interface Waiter {
  readonly bytes: number;
  readonly resolve: () => void;
}

export class ByteBudget {
  readonly limit: number;
  #used = 0;
  #waiters: Waiter[] = [];

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
    if (this.#waiters.length > 0 || (this.#used > 0 && this.#used + bytes > this.limit)) return false;
    this.#used += bytes;
    return true;
  }

  /** Takes the bytes as soon as they fit. */
  async take(bytes: number): Promise<void> {
    if (this.tryTake(bytes)) return;
    await new Promise<void>((resolve) => {
      this.#waiters.push({ bytes, resolve });
    });
  }

  give(bytes: number): void {
    this.#used -= bytes;
    for (;;) {
      const next = this.#waiters[0];
      if (next === undefined || (this.#used > 0 && this.#used + next.bytes > this.limit)) return;
      this.#waiters.shift();
      this.#used += next.bytes;
      next.resolve();
    }
  }
}
