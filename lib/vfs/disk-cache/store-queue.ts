/**
 * Data on its way to the cache on the local disk. Owns its bound in memory: what does not fit is not stored, and no read waits
 * for it.
 */
import { atMost, type Clock } from '../../base/clock.js';

/** The four threads that write also serve reads. */
const AT_A_TIME = 3;

export class StoreQueue {
  readonly #limit: number;
  readonly #waiting: (() => Promise<void>)[] = [];
  #bytes = 0;
  #running = 0;
  #isClosed = false;
  #idle: (() => void)[] = [];

  /** `limit`: bytes that may wait or be under way. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether so many bytes more would be taken. */
  hasRoom(bytes: number): boolean {
    return !this.#isClosed && this.#bytes + bytes <= this.#limit;
  }

  /** `store` is called in turn. It must not reject. */
  add(bytes: number, store: () => Promise<void>): void {
    this.#bytes += bytes;
    this.#waiting.push(async () => {
      await store();
      this.#bytes -= bytes;
    });
    this.#next();
  }

  #next(): void {
    while (this.#running < AT_A_TIME) {
      const work = this.#waiting.shift();
      if (work === undefined) break;
      this.#running++;
      void work().finally(() => {
        this.#running--;
        this.#next();
      });
    }
    if (this.#running > 0) return;
    for (const resolve of this.#idle) resolve();
    this.#idle = [];
  }

  /** Resolves when all that was added is stored, or after so many milliseconds: what waits then is dropped. Nothing more is taken. */
  async close(clock: Clock, milliseconds: number): Promise<void> {
    this.#isClosed = true;
    if (this.#running === 0) return;
    await atMost(clock, milliseconds, this.settled());
    this.#waiting.length = 0;
  }

  /** Resolves when nothing waits and nothing is under way. */
  settled(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
    });
  }
}
