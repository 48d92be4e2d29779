/**
 * Writes to the kernel that may block, one after the other, from a thread of libuv's pool. Owns the queue for one kind
 * of writes: those that wait for a page must not queue behind those that wait for a directory.
 */
import { write } from 'node:fs';
import { Errno, errnoOf } from '../../contract/errno.js';

interface Waiting {
  readonly message: Uint8Array;
  readonly done: (errno: number) => void;
}

export class ThreadWriter {
  readonly #fd: number;
  readonly #onIdle: () => void;
  readonly #waiting: Waiting[] = [];
  #busy = false;

  /** `onIdle` is called whenever a write has come back. */
  constructor(fd: number, onIdle: () => void) {
    this.#fd = fd;
    this.#onIdle = onIdle;
  }

  /** A write is under way, and uses the descriptor. */
  get busy(): boolean {
    return this.#busy;
  }

  /** A write is under way, or waits for its turn. */
  get hasWork(): boolean {
    return this.#busy || this.#waiting.length > 0;
  }

  /** 0, or the errno. */
  write(message: Uint8Array): Promise<number> {
    return new Promise((done) => {
      this.#waiting.push({ message, done });
      this.#next();
    });
  }

  /** Gives up writes that have not begun: they resolve with ENODEV. */
  drop(): void {
    for (const { done } of this.#waiting.splice(0)) done(Errno.ENODEV);
  }

  /** Writes one at a time, so that blocked writes can never occupy all of libuv's threads. */
  #next(): void {
    if (this.#busy) return;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#busy = true;
    write(this.#fd, next.message, (error) => {
      this.#busy = false;
      this.#onIdle();
      next.done(error === null ? 0 : errnoOf(error));
      this.#next();
    });
  }
}
