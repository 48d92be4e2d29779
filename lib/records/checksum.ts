/** The checksum of records: it finds what was cut off, overwritten or flipped by accident. It keeps out no forger. */

const PRIME = 0x0100_0193;
const SEED = 0x811c_9dc5;

/** Of `count` words from word `from` on; `seed` goes into it as well. An unsigned 32-bit number, never 0. */
export function checksum(words: Int32Array, from: number, count: number, seed: number): number {
  let sum = Math.imul(SEED ^ seed, PRIME);
  for (let at = from; at < from + count; at++) {
    sum = Math.imul(sum ^ (words[at] ?? 0), PRIME);
    sum ^= sum >>> 15;
  }
  return sum >>> 0 || 1;
}

/** The least significant so many bits of a cell are its check. */
const CHECK_RANGE = 4096;
/** Numbers of cells are below this. */
const CELL_LIMIT = 2 ** 41;

/**
 * A whole number with its own check, as one floating-point number: a store of it is never half done.
 * @throws RangeError for numbers that are not whole, or not from 0 to 2^41.
 */
export function toCell(value: number): number {
  if (!(value >= 0 && value < CELL_LIMIT) || !Number.isInteger(value))
    throw new RangeError(`${value} is no number for a cell`);
  return value * CHECK_RANGE + checkOf(value);
}

/** The number that {@link toCell} was given. Undefined: the cell is damaged. */
export function fromCell(cell: number): number | undefined {
  if (!(cell >= 0) || !Number.isInteger(cell)) return undefined;
  const value = Math.floor(cell / CHECK_RANGE);
  return value < CELL_LIMIT && cell - value * CHECK_RANGE === checkOf(value) ? value : undefined;
}

function checkOf(value: number): number {
  const low = value | 0;
  const high = (value / 0x1_0000_0000) | 0;
  return (Math.imul(low ^ Math.imul(high, PRIME) ^ SEED, PRIME) >>> 20) & (CHECK_RANGE - 1);
}
