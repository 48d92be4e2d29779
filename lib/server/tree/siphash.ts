/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash of 64 bits for short messages. Without the key nobody can
 * compute the value of a message, even if many values of other messages are known. It runs for every entry of a
 * directory that is listed, and Node's HMAC would take ten times as long.
 */

/** Bytes of a key. */
export const SIPHASH_KEY_BYTES = 16;

export class SipHash {
  /** The last value, as two unsigned numbers of 32 bits. */
  high = 0;
  low = 0;
  readonly #k0: readonly [number, number];
  readonly #k1: readonly [number, number];

  constructor(key: Uint8Array) {
    if (key.length !== SIPHASH_KEY_BYTES) throw new RangeError(`a key has ${SIPHASH_KEY_BYTES} bytes`);
    const view = new DataView(key.buffer, key.byteOffset, key.length);
    const word = (at: number): [number, number] => [view.getInt32(at + 4, true), view.getInt32(at, true)];
    this.#k0 = word(0);
    this.#k1 = word(8);
  }

  /** Sets {@link high} and {@link low} for the first `length` bytes. */
  update(bytes: DataView, length: number): void {
    const [k0h, k0l] = this.#k0;
    const [k1h, k1l] = this.#k1;
    let [ah, al] = [k0h ^ 0x736f6d65, k0l ^ 0x70736575];
    let [bh, bl] = [k1h ^ 0x646f7261, k1l ^ 0x6e646f6d];
    let [ch, cl] = [k0h ^ 0x6c796765, k0l ^ 0x6e657261];
    let [dh, dl] = [k1h ^ 0x74656462, k1l ^ 0x79746573];
    let t = 0;
    const whole = length & ~7;
    for (let at = 0; at <= whole + 8; at += 8) {
      let mh = 0;
      let ml = 0;
      let rounds = 2;
      if (at < whole) {
        ml = bytes.getInt32(at, true);
        mh = bytes.getInt32(at + 4, true);
      } else if (at === whole) {
        // The rest, and the length in the last byte.
        for (let i = length - 1; i >= whole; i--) {
          mh = (mh << 8) | (ml >>> 24);
          ml = (ml << 8) | bytes.getUint8(i);
        }
        mh |= length << 24;
      } else {
        cl ^= 0xff;
        rounds = 4;
      }
      dh ^= mh;
      dl ^= ml;
      for (; rounds > 0; rounds--) {
        // a += b; b = b <<< 13 ^ a; a = a <<< 32
        t = (al >>> 0) + (bl >>> 0);
        ah = (ah + bh + (t > 0xffffffff ? 1 : 0)) | 0;
        al = t | 0;
        t = (bh << 13) | (bl >>> 19);
        bl = ((bl << 13) | (bh >>> 19)) ^ al;
        bh = t ^ ah;
        t = ah;
        ah = al;
        al = t;
        // c += d; d = d <<< 16 ^ c
        t = (cl >>> 0) + (dl >>> 0);
        ch = (ch + dh + (t > 0xffffffff ? 1 : 0)) | 0;
        cl = t | 0;
        t = (dh << 16) | (dl >>> 16);
        dl = ((dl << 16) | (dh >>> 16)) ^ cl;
        dh = t ^ ch;
        // a += d; d = d <<< 21 ^ a
        t = (al >>> 0) + (dl >>> 0);
        ah = (ah + dh + (t > 0xffffffff ? 1 : 0)) | 0;
        al = t | 0;
        t = (dh << 21) | (dl >>> 11);
        dl = ((dl << 21) | (dh >>> 11)) ^ al;
        dh = t ^ ah;
        // c += b; b = b <<< 17 ^ c; c = c <<< 32
        t = (cl >>> 0) + (bl >>> 0);
        ch = (ch + bh + (t > 0xffffffff ? 1 : 0)) | 0;
        cl = t | 0;
        t = (bh << 17) | (bl >>> 15);
        bl = ((bl << 17) | (bh >>> 15)) ^ cl;
        bh = t ^ ch;
        t = ch;
        ch = cl;
        cl = t;
      }
      ah ^= mh;
      al ^= ml;
    }
    this.high = (ah ^ bh ^ ch ^ dh) >>> 0;
    this.low = (al ^ bl ^ cl ^ dl) >>> 0;
  }
}
