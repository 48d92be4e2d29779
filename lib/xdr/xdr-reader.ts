/**
 * Reads XDR (RFC 4506) from one message. Owns the bounds: every length is checked against what is left and
 * against the protocol's own limit before anything is allocated or sliced.
 */
import { XdrError } from './xdr-error.js';

const TWO_32 = 0x1_0000_0000;

export class XdrReader {
  readonly #buffer: Buffer;
  readonly #end: number;
  #position: number;

  /** Reads `buffer` from `start` on. Slices handed out share its memory. */
  constructor(buffer: Buffer, start = 0) {
    this.#buffer = buffer;
    this.#end = buffer.length;
    this.#position = start;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#end - this.#position;
  }

  get position(): number {
    return this.#position;
  }

  /**
   * Claims `length` bytes and returns the offset at which they start in {@link buffer}: for structures of a
   * fixed size, which are checked once and then read field by field.
   */
  claim(length: number): number {
    const start = this.#position;
    if (length > this.#end - start) {
      throw new XdrError(`message ends early: ${length} bytes wanted at ${start}, ${this.#end - start} left`);
    }
    this.#position = start + length;
    return start;
  }

  /** The message itself, for {@link claim}. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  uint32(): number {
    return this.#buffer.readUInt32BE(this.claim(4));
  }

  int32(): number {
    return this.#buffer.readInt32BE(this.claim(4));
  }

  /** RFC 4506 4.7. */
  uint64(): bigint {
    return this.#buffer.readBigUInt64BE(this.claim(8));
  }

  /** An unsigned 64-bit quantity as a number. Throws where that would lose bits (2^53 and above). */
  uint64AsNumber(): number {
    const start = this.claim(8);
    const high = this.#buffer.readUInt32BE(start);
    if (high >= 0x20_0000) throw new XdrError(`64-bit value at ${start} is 2^53 or more`);
    return high * TWO_32 + this.#buffer.readUInt32BE(start + 4);
  }

  /** RFC 4506 4.4: only 0 and 1 are booleans. */
  bool(): boolean {
    const value = this.uint32();
    if (value > 1) throw new XdrError(`boolean is ${value}`);
    return value === 1;
  }

  /** RFC 4506 4.3, for an enum whose values are `first` to `last`. */
  enumeration(first: number, last: number, name: string): number {
    const value = this.uint32();
    if (value < first || value > last)
      throw new XdrError(`${name} is ${value}, not one of ${first}..${last}`);
    return value;
  }

  /** The number of elements of a variable array, at most `max`. */
  count(max: number, name: string): number {
    const value = this.uint32();
    if (value > max) throw new XdrError(`${name} has ${value} elements, more than ${max}`);
    return value;
  }

  /** Fixed opaque data (RFC 4506 4.9), without a copy. */
  opaqueFixed(length: number): Buffer {
    const start = this.claim(length + padding(length));
    return this.#buffer.subarray(start, start + length);
  }

  /** Variable opaque data or a string (RFC 4506 4.10, 4.11) of at most `max` bytes, without a copy. */
  opaque(max: number, name: string): Buffer {
    const length = this.uint32();
    if (length > max) throw new XdrError(`${name} is ${length} bytes long, more than ${max}`);
    return this.opaqueFixed(length);
  }

  /** As {@link opaque}, one character per byte: lossless, and cheaper to keep and compare than a Buffer. */
  opaqueAsLatin1(max: number, name: string): string {
    const length = this.uint32();
    if (length > max) throw new XdrError(`${name} is ${length} bytes long, more than ${max}`);
    const start = this.claim(length + padding(length));
    return this.#buffer.toString('latin1', start, start + length);
  }

  /** Throws XdrError if bytes are left that no field has taken. */
  expectEnd(): void {
    if (this.#position !== this.#end) throw new XdrError(`${this.remaining} bytes too many`);
  }
}

/** How many zero bytes follow opaque data of this length (RFC 4506 3: units of four). */
export function padding(length: number): number {
  return -length & 3;
}
