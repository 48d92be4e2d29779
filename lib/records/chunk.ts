/**
 * A chunk of the file: slots of one size. Owns the form of a slot, and which slots are free.
 *
 * A slot begins with four words: what it holds (kind and number of cells, 0 for a free slot), the length of its content in
 * bytes, the checksum, and its stamp, which is higher for what was written later. Then come the cells, which are changed in
 * place, and the content, which is not. The first word is written last: a slot that was being written when the process died
 * is free.
 */
import { checksum, fromCell, toCell } from './checksum.js';
import { RecordsError } from './records-error.js';
import type { MappedPiece } from './shared-file.js';

export const CHUNK_BYTES = 256 * 1024;
/** In front of the slots. */
export const CHUNK_HEADER = 64;
const CHUNK_MAGIC = 0x6e66_7343;
const SLOT_HEADER = 16;
const CELL_BYTES = 8;
const KIND_SHIFT = 8;
const MOST_CELLS = 0xff;

/** Bytes that a slot with so many cells needs besides its content. */
export function slotOverhead(cells: number): number {
  return SLOT_HEADER + cells * CELL_BYTES;
}

/** A record as it is found. */
export interface FoundRecord {
  readonly kind: number;
  readonly stamp: number;
  readonly cells: readonly number[];
  /** In the shared memory: it changes when the record does. */
  readonly content: Buffer;
}

export class Chunk {
  /** Its place in the file, in bytes. */
  readonly base: number;
  readonly #piece: MappedPiece;
  #slotBytes = 0;
  /** The numbers of the free slots; the last is taken first. */
  #free = new Uint16Array(0);
  #freeCount = 0;
  #slots = 0;

  constructor(base: number, piece: MappedPiece) {
    this.base = base;
    this.#piece = piece;
  }

  /** The size of its slots. 0: it has none. */
  get slotBytes(): number {
    return this.#slotBytes;
  }

  get isFull(): boolean {
    return this.#freeCount === 0;
  }

  get isEmpty(): boolean {
    return this.#freeCount === this.#slots;
  }

  /** Divides the chunk into slots, all free. */
  assign(slotBytes: number): void {
    const { u32, i32 } = this.#piece;
    this.#divide(slotBytes);
    for (let slot = this.#slots - 1; slot >= 0; slot--) {
      u32[this.#place(slot) >>> 2] = 0;
      this.#free[this.#freeCount++] = slot;
    }
    u32[1] = slotBytes;
    u32[2] = checksum(i32, 1, 1, CHUNK_MAGIC);
    u32[0] = CHUNK_MAGIC;
  }

  /** All of its records are gone: it has no slots any more. */
  unassign(): void {
    this.#piece.u32[0] = 0;
    this.#divide(0);
  }

  #divide(slotBytes: number): void {
    this.#slotBytes = slotBytes;
    this.#slots = slotBytes === 0 ? 0 : Math.floor((CHUNK_BYTES - CHUNK_HEADER) / slotBytes);
    this.#free = new Uint16Array(this.#slots);
    this.#freeCount = 0;
  }

  /** Takes up what another process has written, and answers its highest stamp. @throws RecordsError */
  adopt(): number {
    const { u32, i32 } = this.#piece;
    if (u32[0] === 0) return 0;
    const slotBytes = u32[1] ?? 0;
    const valid = u32[0] === CHUNK_MAGIC && u32[2] === checksum(i32, 1, 1, CHUNK_MAGIC);
    if (!valid || slotBytes < SLOT_HEADER || slotBytes > CHUNK_BYTES - CHUNK_HEADER || slotBytes % 8 !== 0)
      throw new RecordsError('damaged', `the records from byte ${this.base} on are damaged`);
    this.#divide(slotBytes);
    let stamp = 0;
    for (let slot = this.#slots - 1; slot >= 0; slot--) {
      const at = this.#place(slot);
      if (u32[at >>> 2] === 0) {
        this.#free[this.#freeCount++] = slot;
        continue;
      }
      stamp = Math.max(stamp, this.#verify(at));
    }
    return stamp;
  }

  /** The number of its records. */
  get count(): number {
    return this.#slots - this.#freeCount;
  }

  /** The places of all records. */
  *places(): Generator<number> {
    for (let slot = 0; slot < this.#slots; slot++) {
      const at = this.#place(slot);
      if (this.#piece.u32[at >>> 2] !== 0) yield at;
    }
  }

  #place(slot: number): number {
    return CHUNK_HEADER + slot * this.#slotBytes;
  }

  /** Writes a record of the first `length` bytes of `content` into a free slot. Answers its place in the chunk. */
  write(kind: number, stamp: number, cells: readonly number[], content: Buffer, length: number): number {
    const { bytes, u32, i32, f64 } = this.#piece;
    const at = this.#place(this.#free[--this.#freeCount] ?? 0);
    const word = at >>> 2;
    for (let i = 0; i < cells.length; i++) f64[((at + SLOT_HEADER) >>> 3) + i] = toCell(cells[i] ?? 0);
    const start = at + slotOverhead(cells.length);
    // The last word counts in the checksum as a whole.
    if (length % 4 !== 0) u32[(start + length) >>> 2] = 0;
    content.copy(bytes, start, 0, length);
    const what = (kind << KIND_SHIFT) | cells.length;
    u32[word + 1] = length;
    u32[word + 3] = stamp;
    u32[word + 2] = checksum(i32, start >>> 2, (length + 3) >>> 2, what ^ Math.imul(length, 31) ^ stamp);
    u32[word] = what;
    return at;
  }

  free(at: number): void {
    this.#piece.u32[at >>> 2] = 0;
    this.#free[this.#freeCount++] = (at - CHUNK_HEADER) / this.#slotBytes;
  }

  setCell(at: number, cell: number, value: number): void {
    this.#piece.f64[((at + SLOT_HEADER) >>> 3) + cell] = toCell(value);
  }

  /** The parts of the slot at this place, as its first words say. */
  #form(at: number) {
    const { u32 } = this.#piece;
    const word = at >>> 2;
    const what = u32[word] ?? 0;
    const count = what & MOST_CELLS;
    const start = at + slotOverhead(count);
    return { what, count, start, length: u32[word + 1] ?? 0, sum: u32[word + 2], stamp: u32[word + 3] ?? 0 };
  }

  /** Answers its stamp. @throws RecordsError for a record that is not as it was written. */
  #verify(at: number): number {
    const { i32, f64 } = this.#piece;
    const { what, count, start, length, sum, stamp } = this.#form(at);
    if (start + length > at + this.#slotBytes) throw this.#damaged(at);
    const seed = what ^ Math.imul(length, 31) ^ stamp;
    if (sum !== checksum(i32, start >>> 2, (length + 3) >>> 2, seed)) throw this.#damaged(at);
    const first = (at + SLOT_HEADER) >>> 3;
    for (let i = first; i < first + count; i++)
      if (fromCell(f64[i] ?? Number.NaN) === undefined) throw this.#damaged(at);
    return stamp;
  }

  /** A record of this process, or one that {@link adopt} has verified. @throws RecordsError for a damaged cell. */
  read(at: number): FoundRecord {
    const { bytes, f64 } = this.#piece;
    const { what, count, start, length, stamp } = this.#form(at);
    const cells: number[] = [];
    for (let i = 0; i < count; i++) {
      const value = fromCell(f64[((at + SLOT_HEADER) >>> 3) + i] ?? Number.NaN);
      if (value === undefined) throw this.#damaged(at);
      cells.push(value);
    }
    return { kind: what >>> KIND_SHIFT, stamp, cells, content: bytes.subarray(start, start + length) };
  }

  #damaged(at: number): RecordsError {
    return new RecordsError('damaged', `the record at byte ${this.base + at} is damaged`);
  }
}
