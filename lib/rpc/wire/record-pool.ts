/**
 * Memory of large records, used again once nobody holds any part of it. A stream read in megabytes would otherwise
 * spend a third of its time in the garbage collector, and a good part of the rest on pages that the kernel has to
 * clear. What is never given back is the garbage collector's, as ever: to forget is safe, to give too early is not.
 */

/** Room for a reply's header beside the data, of which servers like to send a power of two. */
const HEADROOM = 4 * 1024;
const LEAST_CLASS = 64 * 1024;
/** Bytes kept for the next stream. */
const MOST_KEPT = 12 * 1024 * 1024;

export class RecordPool {
  /** By their size, which is a power of two and {@link HEADROOM}. */
  readonly #free = new Map<number, Buffer[]>();
  #kept = 0;
  /** What was handed out, by the memory itself: any slice of a record leads back to it. */
  readonly #lent = new WeakMap<ArrayBufferLike, Buffer>();

  /** At least `bytes`, of arbitrary content. */
  take(bytes: number): Buffer {
    let size = LEAST_CLASS + HEADROOM;
    while (size < bytes) size = (size - HEADROOM) * 2 + HEADROOM;
    const spare = this.#free.get(size)?.pop();
    if (spare !== undefined) this.#kept -= size;
    const buffer = spare ?? Buffer.allocUnsafeSlow(size);
    this.#lent.set(buffer.buffer, buffer);
    return buffer;
  }

  /** Takes back the record that `part` is a slice of, if it is one of ours. Nobody may hold any part of it. */
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
