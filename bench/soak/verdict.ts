/** Whether the memory stayed flat: what counts as flat is stated here, and in the report. */
import type { Sample } from './samples.js';

/** The first quarter is the warm-up: code is compiled, caches fill up to their bounds. */
export const WARM_UP_PART = 1 / 4;
/** The straight line through what follows may rise by so much from its beginning to its end. */
export const MAX_RISE_MIB = 8;
/** The highest point after the warm-up may be so much above the highest point of the warm-up. */
export const MAX_ABOVE_MIB = 24;
/** Fewer samples after the warm-up (ten minutes) say nothing. */
const LEAST_SAMPLES = 60;

const MIB = 1 << 20;

export interface Verdict {
  readonly warmUpSeconds: number;
  /** MiB, over all that was measured after the warm-up. */
  readonly rise: number;
  readonly slopePerHour: number;
  readonly warmUpMax: number;
  readonly laterMax: number;
  /** The same line through the JavaScript heap. */
  readonly heapRise: number;
  /** Undefined: too short to tell. */
  readonly flat: boolean | undefined;
}

/** Samples in the order of time. */
export function judge(samples: readonly Sample[]): Verdict {
  const end = samples.at(-1)?.seconds ?? 0;
  const warmUpSeconds = end * WARM_UP_PART;
  const early = samples.filter(({ seconds }) => seconds <= warmUpSeconds);
  const later = samples.filter(({ seconds }) => seconds > warmUpSeconds);
  const slope = slopeOf(later, ({ resident }) => resident) / MIB;
  const heapSlope = slopeOf(later, ({ heapUsed }) => heapUsed) / MIB;
  const span = end - (later[0]?.seconds ?? end);
  const rise = slope * span;
  const warmUpMax = highest(early);
  const laterMax = highest(later);
  const enough = early.length > 0 && later.length >= LEAST_SAMPLES;
  return {
    warmUpSeconds,
    rise,
    slopePerHour: slope * 3600,
    warmUpMax,
    laterMax,
    heapRise: heapSlope * span,
    flat: enough ? rise <= MAX_RISE_MIB && laterMax - warmUpMax <= MAX_ABOVE_MIB : undefined,
  };
}

function highest(samples: readonly Sample[]): number {
  return Math.max(0, ...samples.map(({ resident }) => resident)) / MIB;
}

/** Per second, of the straight line with the least squares; 0 where there is none. */
function slopeOf(samples: readonly Sample[], value: (sample: Sample) => number): number {
  const mean = (of: (sample: Sample) => number) =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const middle = mean(({ seconds }) => seconds);
  const level = mean(value);
  let above = 0;
  let below = 0;
  for (const sample of samples) {
    const distance = sample.seconds - middle;
    above += distance * (value(sample) - level);
    below += distance * distance;
  }
  return below === 0 ? 0 : above / below;
}
