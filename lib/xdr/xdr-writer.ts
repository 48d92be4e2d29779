/**
 * Writes XDR (RFC 4506). Owns a growing buffer, and the list of large opaque pieces that go to the socket as
 * they are, without a copy.
 */
import { XdrError } from './xdr-error.js';
import { padding } from './xdr-reader.js';

const TWO_32 = 0x1_0000_0000;
const ZEROS = Buffer.alloc(4);
/** A copy of fewer bytes costs less than one more element of a gather list. */
const REFERENCE_FROM = 4096;

export class XdrWriter {
  #buffer: Buffer;
  #position: number;
  /** Where the part of #buffer starts that is not in #pieces yet. */
  #flushed: number;
  #pieces: Uint8Array[] | undefined;
  #piecesLength = 0;

  /** `reserve` bytes are left free at the start, for a record mark. */
  constructor(initialSize = 512, reserve = 0) {
    this.#buffer = Buffer.allocUnsafe(initialSize);
    this.#position = reserve;
    this.#flushed = 0;
  }

  /** Bytes written so far, the reserved ones included. */
  get length(): number {
    return this.#piecesLength + this.#position - this.#flushed;
  }

  /** Makes room for `length` bytes and returns their offset. May replace #buffer: call it before reading that field. */
  #room(length: number): number {
    const start = this.#position;
    const needed = start + length;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, start);
      // Pieces of the old buffer keep it alive and stay valid: bytes before #flushed never change.
      this.#buffer = grown;
    }
    this.#position = needed;
    return start;
  }

  uint32(value: number): void {
    const start = this.#room(4);
    this.#buffer.writeUInt32BE(value, start);
  }

  int32(value: number): void {
    const start = this.#room(4);
    this.#buffer.writeInt32BE(value, start);
  }

  uint64(value: bigint): void {
    const start = this.#room(8);
    this.#buffer.writeBigUInt64BE(value, start);
  }

  /** A safe integer of 0 or more as an unsigned 64-bit quantity. */
  uint64FromNumber(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new XdrError(`${value} is not an unsigned 64-bit quantity`);
    const start = this.#room(8);
    const low = value % TWO_32;
    this.#buffer.writeUInt32BE((value - low) / TWO_32, start);
    this.#buffer.writeUInt32BE(low, start + 4);
  }

  bool(value: boolean): void {
    this.uint32(value ? 1 : 0);
  }

  /** Fixed opaque data and its padding, copied. */
  opaqueFixed(bytes: Uint8Array): void {
    const pad = padding(bytes.length);
    const start = this.#room(bytes.length + pad);
    this.#buffer.set(bytes, start);
    this.#buffer.fill(0, start + bytes.length, start + bytes.length + pad);
  }

  /** Variable opaque data or a string, copied. */
  opaque(bytes: Uint8Array): void {
    this.uint32(bytes.length);
    this.opaqueFixed(bytes);
  }

  /** The inverse of XdrReader.opaqueAsLatin1. */
  opaqueFromLatin1(bytes: string): void {
    const length = bytes.length;
    const pad = padding(length);
    this.uint32(length);
    const start = this.#room(length + pad);
    this.#buffer.write(bytes, start, length, 'latin1');
    this.#buffer.fill(0, start + length, start + length + pad);
  }

  /**
   * Variable opaque data by reference when it is large: `bytes` must stay unchanged until the message has been
   * sent, and in a call, which may be sent again, until it is answered.
   */
  opaqueByReference(bytes: Uint8Array): void {
    if (bytes.length < REFERENCE_FROM) {
      this.opaque(bytes);
      return;
    }
    this.uint32(bytes.length);
    const head = this.#buffer.subarray(this.#flushed, this.#position);
    this.#flushed = this.#position;
    this.#pieces ??= [];
    this.#pieces.push(head, bytes);
    this.#piecesLength += head.length + bytes.length;
    const pad = padding(bytes.length);
    if (pad > 0) {
      this.#pieces.push(ZEROS.subarray(0, pad));
      this.#piecesLength += pad;
    }
  }

  /** Overwrites four bytes written (or reserved) before the first piece by reference. */
  patchUint32(position: number, value: number): void {
    const first = this.#pieces?.[0];
    const target =
      first === undefined ? this.#buffer : Buffer.from(first.buffer, first.byteOffset, first.length);
    target.writeUInt32BE(value, position);
  }

  /** The message, in one or more pieces. Do not use the writer afterwards. */
  finish(): Uint8Array[] {
    const tail = this.#buffer.subarray(this.#flushed, this.#position);
    if (this.#pieces === undefined) return [tail];
    if (tail.length > 0) this.#pieces.push(tail);
    return this.#pieces;
  }

  /** The message in one piece. */
  toBuffer(): Buffer {
    const pieces = this.finish();
    const only = pieces.length === 1 ? pieces[0] : undefined;
    return only instanceof Buffer ? only : Buffer.concat(pieces);
  }
}
