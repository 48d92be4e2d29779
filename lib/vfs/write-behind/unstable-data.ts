/**
 * The data of one file that was written and is not on stable storage (RFC 1813 3.3.7, 3.3.21). Owns the comparison of verifiers:
 * a COMMIT vouches for the data whose WRITE got the verifier that the COMMIT answers with.
 */
import type { Extent } from './extent.js';
import { ExtentMap } from './extent-map.js';

/** A COMMIT is due when so much was written. */
const COMMIT_FROM = 32 * 1024 * 1024;
/** At so much the next writes have to wait for the COMMIT that is under way. */
const WAIT_FROM = 4 * COMMIT_FROM;
/** A WRITE counts as at least so much: a copy of few bytes takes memory like one of many. */
const LEAST_COST = 4096;

export class UnstableData {
  /** Data that no COMMIT under way covers, and data that one does. No two extents of one map overlap. */
  #waiting = new ExtentMap();
  #covered = new ExtentMap();
  #restarted = false;
  /** Bytes that were written since the last COMMIT was sent. The copies of overwritten ones go with the next COMMIT, too. */
  #written = 0;

  /** Nothing waits for a COMMIT. */
  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** It is time for a COMMIT. */
  get isDue(): boolean {
    return this.#restarted || (!this.isEmpty && this.#written >= COMMIT_FROM);
  }

  /** More is written than COMMITs can vouch for. */
  get isOverdue(): boolean {
    return this.#written >= WAIT_FROM;
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

  /** `bytes` were written, stable or not. As long as older data waits, a copy of them is kept. */
  wrote(bytes: number): void {
    if (this.bytes > 0) this.#written += Math.max(bytes, LEAST_COST);
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
    this.#written = 0;
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
