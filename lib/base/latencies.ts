/** How long things took: their number, their sum, and how many took how long. Counting allocates nothing. */

/**
 * The upper ends of the buckets, in milliseconds, each inclusive. A last bucket has what took longer. Cached answers to the
 * kernel take some 10 µs, a round trip in a machine room 0.1 ms, a disk 10 ms, and a server that is away takes seconds.
 */
export const LATENCY_LIMITS: readonly number[] = [
  0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 60_000,
];

/** The latencies as numbers that JSON can carry. */
export interface LatencyCounts {
  /** The sum of all, in milliseconds. */
  readonly milliseconds: number;
  /** How many fell into each bucket of {@link LATENCY_LIMITS}, and behind its last one; none is counted twice. */
  readonly counts: readonly number[];
}

const LIMITS = Float64Array.from(LATENCY_LIMITS);

/** The latencies of one kind of call. */
export class Latencies {
  #milliseconds = 0;
  // Doubles, which count exactly up to 2^53: 32 bits are full after a day of fast calls.
  readonly #counts = new Float64Array(LIMITS.length + 1);

  add(milliseconds: number): void {
    this.#milliseconds += milliseconds;
    let bucket = 0;
    while (bucket < LIMITS.length && milliseconds > (LIMITS[bucket] as number)) bucket += 1;
    (this.#counts[bucket] as number) += 1;
  }

  /** As they are now. */
  counts(): LatencyCounts {
    return { milliseconds: this.#milliseconds, counts: [...this.#counts] };
  }
}
