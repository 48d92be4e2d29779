/**
 * Memory of large records, which is used again once no part of it is in use. Otherwise a program that streams megabytes
 * spends a third of its time in the garbage collector, and much of the rest while the kernel clears pages. Memory that
 * is never given back goes to the garbage collector: forgetting to give it back is safe, giving it back too early is
 * not.
 */

/** Room for a reply's header. The data beside it is often a power of two. */
const HEADROOM = 4 * 1024;
const LEAST_CLASS = 64 * 1024;
/** At most this many bytes are kept for later records. */
const MOST_KEPT = 12 * 1024 * 1024;

export class RecordPool {
  /** Free buffers by size. Each size is a power of two plus {@link HEADROOM}. */
  readonly #free = new Map<number, Buffer[]>();
  #kept = 0;
  /** Buffers that are in use, by their ArrayBuffer, which every slice of a record shares. */
  readonly #lent = new WeakMap<ArrayBufferLike, Buffer>();

  /** A buffer of at least `bytes`, with arbitrary content. */
  take(bytes: number): Buffer {
    let size = LEAST_CLASS + HEADROOM;
    while (size < bytes) size = (size - HEADROOM) * 2 + HEADROOM;
    const spare = this.#free.get(size)?.pop();
    if (spare !== undefined) this.#kept -= size;
    const buffer = spare ?? Buffer.allocUnsafeSlow(size);
    this.#lent.set(buffer.buffer, buffer);
    return buffer;
  }

  /** Takes back the record that `part` is a slice of, if it came from this pool. No part of it may still be in use. */
  give(part: Uint8Array): void {
    const buffer = this.#lent.get(part.buffer);
    if (buffer === undefined) return;
    this.#lent.delete(part.buffer);
    if (this.#kept + buffer.length > MOST_KEPT) return;
    this.#kept += buffer.length;
    const spares = this.#free.get(buffer.length);
    if (spares === undefined) this.#free.set(buffer.length, [buffer]);
    else spares.push(buffer);
  }
}
