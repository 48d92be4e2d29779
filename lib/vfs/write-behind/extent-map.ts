/**
 * Extents of one file that do not overlap, in the order of their offsets, so that thousands of small ones cost little:
 * what was written and is not on stable storage. Owns the order and the sums.
 */
import type { Extent } from './extent.js';

export class ExtentMap {
  readonly #extents: Extent[] = [];
  #bytes = 0;

  get size(): number {
    return this.#extents.length;
  }

  /** Bytes in all extents. */
  get bytes(): number {
    return this.#bytes;
  }

  /** No byte lies beyond; 0 without extents. */
  get end(): number {
    return this.#extents.at(-1)?.end ?? 0;
  }

  /** In the order of their offsets. */
  [Symbol.iterator](): Iterator<Extent> {
    return this.#extents.values();
  }

  /** `extent` overlaps none: {@link cut} makes room. */
  add(extent: Extent): void {
    this.#extents.splice(this.#firstBehind(extent.offset), 0, extent);
    this.#bytes += extent.length;
  }

  /** The lowest number of them; infinite without any. */
  get oldest(): number {
    return this.#extents.reduce(
      (oldest, { sequence }) => Math.min(oldest, sequence),
      Number.POSITIVE_INFINITY,
    );
  }

  /** Whether one was numbered up to `sequence`. */
  hasUpTo(sequence: number): boolean {
    return this.#extents.some((extent) => extent.sequence <= sequence);
  }

  /** Those that have bytes from `offset` up to `end`. */
  within(offset: number, end: number): Extent[] {
    const found: Extent[] = [];
    for (let at = this.#firstBehind(offset); at < this.#extents.length; at++) {
      const extent = this.#extents[at] as Extent;
      if (extent.offset >= end) break;
      found.push(extent);
    }
    return found;
  }

  /** Takes the bytes from `offset` up to `end` out, and answers how many there were. */
  cut(offset: number, end: number): number {
    const from = this.#firstBehind(offset);
    const cut = this.within(offset, end);
    const left = cut.flatMap((extent) => extent.without(offset, end));
    this.#extents.splice(from, cut.length, ...left);
    const bytes = sum(cut) - sum(left);
    this.#bytes -= bytes;
    return bytes;
  }

  /** Takes everything out. */
  take(): readonly Extent[] {
    this.#bytes = 0;
    return this.#extents.splice(0);
  }

  /** The index of the first extent that ends behind `offset`. */
  #firstBehind(offset: number): number {
    let low = 0;
    let high = this.#extents.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#extents[middle] as Extent).end <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function sum(extents: readonly Extent[]): number {
  return extents.reduce((bytes, { length }) => bytes + length, 0);
}
