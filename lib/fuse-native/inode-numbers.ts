/** Maps inode numbers of 64 bits to the 32 bits that fuse-native has. Two files never get the same number. */
import { LRUCache } from 'lru-cache';

const FIRST_SUBSTITUTE = 2 ** 31;
const LAST_SUBSTITUTE = 2 ** 32 - 1;
/** Files whose substitute is remembered; one that is forgotten gets another, as after a new mount. */
const MAX_SUBSTITUTES = 1 << 18;

/** Small numbers stay as they are, larger ones get a substitute above 2^31, handed out in order. */
export class InodeNumbers {
  readonly #substitutes: LRUCache<bigint, number>;
  #next = FIRST_SUBSTITUTE;

  constructor(max = MAX_SUBSTITUTES) {
    this.#substitutes = new LRUCache({ max });
  }

  of(ino: bigint): number {
    if (ino > 0n && ino < FIRST_SUBSTITUTE) return Number(ino);
    const known = this.#substitutes.get(ino);
    if (known !== undefined) return known;
    const substitute = this.#next;
    this.#next = substitute === LAST_SUBSTITUTE ? FIRST_SUBSTITUTE : substitute + 1;
    this.#substitutes.set(ino, substitute);
    return substitute;
  }
}
