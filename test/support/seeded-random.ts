/** Random numbers that a seed determines, for tests that print the seed they failed with. */

/** 32 bits of state and a multiplicative hash of a counter (the "splitmix" construction). */
export class SeededRandom {
  #state: number;

  /** Each list of seeds gives another sequence. */
  constructor(...seeds: readonly number[]) {
    this.#state = 0x2545_f491;
    for (const seed of seeds) this.#state = hash(this.#state ^ hash((seed | 0) + 0x9e37_79b9));
  }

  /** 0 <= n < 2^32. */
  uint32(): number {
    this.#state = (this.#state + 0x9e37_79b9) | 0;
    return hash(this.#state) >>> 0;
  }

  /** 0 <= n < 1. */
  fraction(): number {
    return this.uint32() / 2 ** 32;
  }

  /** 0 <= n < `bound`. */
  below(bound: number): number {
    return Math.floor(this.fraction() * bound);
  }

  /** `least` <= n <= `most`. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  /** An element of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError('nothing to pick from');
    return list[this.below(list.length)] as T;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe((length + 3) & ~3);
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(this.uint32(), at);
    return bytes.subarray(0, length);
  }
}

function hash(value: number): number {
  let mixed = value | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0_aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
  return mixed ^ (mixed >>> 15);
}
