/**
 * Buffers of one size that are used again: a stream written in megabytes would otherwise spend a third of its
 * time in the garbage collector. While somebody reads from buffers that may come back, none is kept.
 */
/** Kept while nothing is being written. */
const IDLE = 8;

export class BufferPool {
  readonly size: number;
  readonly #most: number;
  readonly #free: Buffer[] = [];
  #readers = 0;

  constructor(size: number, most: number) {
    this.size = size;
    this.#most = most;
  }

  /** Its content is arbitrary. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.size);
  }

  /** Nobody else may hold on to any part of `buffer`, but for readers that said so. */
  give(buffer: Buffer): void {
    if (buffer.length === this.size && this.#readers === 0 && this.#free.length < this.#most) {
      this.#free.push(buffer);
    }
  }

  /** Nothing is being written: a few are enough to begin with again. */
  trim(): void {
    if (this.#free.length > IDLE) this.#free.length = IDLE;
  }

  /** Until {@link endReading}, buffers that are given back are left to the garbage collector. */
  beginReading(): void {
    this.#readers++;
  }

  endReading(): void {
    this.#readers--;
  }
}
