/**
 * The data of one file that was written and is not on stable storage (RFC 1813 3.3.7, 3.3.21). Owns the comparison of verifiers:
 * a COMMIT vouches for the data whose WRITE got the verifier that the COMMIT answers with.
 */
import type { Extent } from './extent.js';
import { ExtentMap } from './extent-map.js';

export class UnstableData {
  /** Data that no COMMIT under way covers, and data that one does. No two extents of one map overlap. */
  #waiting = new ExtentMap();
  #covered = new ExtentMap();
  #restarted = false;

  /** Nothing waits for a COMMIT. */
  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** Bytes that wait for a COMMIT. */
  get waiting(): number {
    return this.#waiting.bytes;
  }

  /** Bytes that a server which is lost now would take with it. */
  get bytes(): number {
    return this.#waiting.bytes + this.#covered.bytes;
  }

  /** Where the last of it ends. */
  get end(): number {
    return Math.max(this.#waiting.end, this.#covered.end);
  }

  /** The lowest number of it; infinite if there is nothing. */
  get oldest(): number {
    return Math.min(this.#waiting.oldest, this.#covered.oldest);
  }

  /** The server has shown more than one verifier: some of it is lost, and readers would miss it until it is written again. */
  get restarted(): boolean {
    return this.#restarted;
  }

  add(extent: Extent): void {
    const [other] = this.#waiting;
    this.#waiting.add(extent);
    if (other !== undefined && other.verifier !== extent.verifier) this.#restarted = true;
  }

  within(offset: number, end: number): Extent[] {
    return [...this.#covered.within(offset, end), ...this.#waiting.within(offset, end)];
  }

  /** Whether writes up to this one wait for a COMMIT. */
  hasUpTo(sequence: number): boolean {
    return this.#waiting.hasUpTo(sequence);
  }

  /** A range that is overwritten or cut off must not come back with a rewrite. Answers how many bytes went. */
  cut(offset: number, end: number): number {
    return this.#waiting.cut(offset, end) + this.#covered.cut(offset, end);
  }

  /** A COMMIT for all that waits is about to be sent. Answers one extent of it; undefined: there is nothing. */
  cover(): Extent | undefined {
    const [first] = this.#waiting;
    if (first === undefined) return undefined;
    this.#covered = this.#waiting;
    this.#waiting = new ExtentMap();
    this.#restarted = false;
    return first;
  }

  /** The COMMIT was answered with this verifier. */
  settle(verifier: string): { readonly stable: readonly Extent[]; readonly lost: readonly Extent[] } {
    const stable: Extent[] = [];
    const lost: Extent[] = [];
    for (const extent of this.#covered.take()) (extent.verifier === verifier ? stable : lost).push(extent);
    return { stable, lost };
  }

  /** The COMMIT failed. Answers how many bytes are given up. */
  abandon(): number {
    const { bytes } = this.#covered;
    this.#covered.take();
    return bytes;
  }
}
