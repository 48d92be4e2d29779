/**
 * The names that one pass over a directory has given out, in twelve bytes each: what tells a name that comes again
 * from a new one, without keeping the names of a huge directory.
 *
 * Names are told apart by 96 bits of a keyed hash. The key is random and never leaves the process, so that nobody can
 * choose two names that look like one; by chance, a million names hold such a pair once in 10^17 passes.
 */
import { randomFillSync } from 'node:crypto';
import type { FileName } from '../../programs/nfs3/index.js';

const WORDS = 3;
const FIRST_SLOTS = 1024;
/** 24 MiB. Of a larger directory the names that come first are known, and later ones may be given out twice. */
const MOST_SLOTS = 1 << 21;
/** Of four slots, so many may be full. */
const FULL = 3;

const key = randomFillSync(new Uint32Array(4));
/** The hash of the name last looked at. */
const hash = new Uint32Array(4);

/** HalfSipHash-1-3 with 64 bits of output (Aumasson, Bernstein), into two words of `hash` from `at` on. */
function sip(name: FileName, low: number, high: number, at: number): void {
  let v0 = low | 0;
  let v1 = high ^ 0xee;
  let v2 = low ^ 0x6c796765;
  let v3 = high ^ 0x74656462;
  const round = (): void => {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  };
  const { length } = name;
  let word = 0;
  for (let i = 0; i < length; i++) {
    word |= name.charCodeAt(i) << ((i & 3) << 3);
    if ((i & 3) !== 3) continue;
    v3 ^= word;
    round();
    v0 ^= word;
    word = 0;
  }
  word |= length << 24;
  v3 ^= word;
  round();
  v0 ^= word;
  v2 ^= 0xee;
  for (let i = 0; i < 3; i++) round();
  hash[at] = v1 ^ v3;
  v1 ^= 0xdd;
  for (let i = 0; i < 3; i++) round();
  hash[at + 1] = v1 ^ v3;
}

export class GivenNames {
  #slots = new Uint32Array(FIRST_SLOTS * WORDS);
  #size = 0;

  /** Memory that it takes. */
  get bytes(): number {
    return this.#slots.byteLength;
  }

  /** Names that it knows. */
  get size(): number {
    return this.#size;
  }

  /** Remembers the name; false if it was known. Where there is no room for more, new ones are not remembered. */
  add(name: FileName): boolean {
    sip(name, key[0] ?? 0, key[1] ?? 0, 0);
    sip(name, key[2] ?? 0, key[3] ?? 0, 2);
    // Three words of zeros are an empty slot.
    const first = hash[0] || 1;
    const b = hash[1] ?? 0;
    const c = hash[2] ?? 0;
    let at = this.#find(this.#slots, first, b, c);
    if (this.#slots[at] !== 0) return false;
    if ((this.#size + 1) * 4 > (this.#slots.length / WORDS) * FULL) {
      if (this.#slots.length >= MOST_SLOTS * WORDS) return true;
      this.#grow();
      at = this.#find(this.#slots, first, b, c);
    }
    this.#slots[at] = first;
    this.#slots[at + 1] = b;
    this.#slots[at + 2] = c;
    this.#size++;
    return true;
  }

  /** Where it is, or the empty slot where it belongs. */
  #find(slots: Uint32Array, a: number, b: number, c: number): number {
    const { length } = slots;
    // The number of slots is a power of two.
    let at = (b & (length / WORDS - 1)) * WORDS;
    while (slots[at] !== 0 && (slots[at] !== a || slots[at + 1] !== b || slots[at + 2] !== c)) {
      at += WORDS;
      if (at === length) at = 0;
    }
    return at;
  }

  #grow(): void {
    const old = this.#slots;
    const slots = new Uint32Array(old.length * 2);
    for (let from = 0; from < old.length; from += WORDS) {
      const a = old[from] ?? 0;
      if (a === 0) continue;
      const b = old[from + 1] ?? 0;
      const c = old[from + 2] ?? 0;
      const at = this.#find(slots, a, b, c);
      slots[at] = a;
      slots[at + 1] = b;
      slots[at + 2] = c;
    }
    this.#slots = slots;
  }
}
