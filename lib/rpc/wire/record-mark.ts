/**
 * Record marking (RFC 5531 section 11): a stream of fragments, each with a length and a last-fragment bit, put
 * together into messages.
 *
 * Owns the receive memory. Bytes arrive in a chunk that is never written twice, and a message that lies in it
 * whole is handed out as a slice. A message of which only a part has come gets a buffer of its own, and the
 * kernel reads the rest straight into that: the data of a large READ is not copied on its way up.
 */
import type { RecordPool } from './record-pool.js';

/** The last-fragment bit. */
export const LAST_FRAGMENT = 0x8000_0000;
/** Bytes of a fragment's header, which a writer of calls and replies reserves. */
export const RECORD_MARK_BYTES = 4;

const CHUNK_BYTES = 64 * 1024;
/** A chunk with less room than this is replaced: each read into so little room would cost a system call. */
const LEAST_ROOM = 4 * 1024;
/**
 * After a large message the next one is likely large. Read only this much of it into the chunk: it has to be copied.
 */
const NARROW_WINDOW = 4 * 1024;
const LARGE = 32 * 1024;
/** Bytes allocated for a record of push() on the word of its sender, before the bytes have come. */
const ON_CREDIT = 16 * 1024;
/** A record that outgrows its memory gets this many times what has come: few copies, and a bound on the memory. */
const GROWTH = 16;
/** More fragments end the connection: a stream of empty fragments would otherwise never end a message. */
const MAX_FRAGMENTS = 4096;

/** The stream announces what cannot be a record. The receiver ends the connection. */
export class RecordMarkError extends Error {
  override readonly name = 'RecordMarkError';
}

export class RecordAssembler {
  readonly #deliver: (message: Buffer) => void;
  readonly #maxRecord: number;
  readonly #pool: RecordPool | undefined;
  #chunk: Buffer;
  /** Unparsed bytes are #chunk[#start, #end). */
  #start = 0;
  #end = 0;
  #afterLarge = false;
  /** The message being put together, when it does not lie in the chunk whole. */
  #record: Buffer | undefined;
  #filled = 0;
  /** Bytes still to come of the fragment being received into #record. */
  #fragmentLeft = 0;
  #lastFragment = false;
  #fragments = 0;
  #stopped = false;
  /** The stream brings its own memory: a record may have less room than its sender has announced. */
  #pushed = false;

  /**
   * `deliver` gets every message; slices of it stay valid for as long as anyone holds them, or until the memory of a
   * large one is given back to `pool`.
   */
  constructor(maxRecord: number, deliver: (message: Buffer) => void, pool?: RecordPool) {
    this.#pool = pool;
    this.#maxRecord = maxRecord;
    this.#deliver = deliver;
    this.#chunk = Buffer.alloc(0);
  }

  /** A message has begun and has not ended. */
  get isWithin(): boolean {
    return this.#record !== undefined || this.#end > this.#start;
  }

  /** Delivers no further message, not even from bytes that have already arrived. */
  stop(): void {
    this.#stopped = true;
    this.#chunk = Buffer.alloc(0);
    this.#start = this.#end = 0;
    this.#record = undefined;
  }

  /** The memory for the next bytes from the socket. {@link received} then says how many came. */
  readBuffer(): Buffer {
    const record = this.#record;
    if (record !== undefined && this.#fragmentLeft > 0) {
      return record.subarray(this.#filled, this.#filled + this.#fragmentLeft);
    }
    if (this.#chunk.length - this.#end < LEAST_ROOM) this.#newChunk();
    const window = this.#afterLarge ? this.#end + NARROW_WINDOW : this.#chunk.length;
    return this.#chunk.subarray(this.#end, window);
  }

  /** `count` bytes were read into the last {@link readBuffer}. Throws RecordMarkError. */
  received(count: number): void {
    if (this.#stopped) return;
    if (this.#record !== undefined && this.#fragmentLeft > 0) this.#grew(count);
    else {
      this.#end += count;
      this.#parse();
    }
  }

  /**
   * As {@link received}, for a stream that brings its own memory: `bytes` must not be written any more. Throws
   * RecordMarkError.
   */
  push(bytes: Buffer): void {
    if (this.#stopped) return;
    this.#pushed = true;
    const left = this.#end - this.#start;
    this.#chunk = left === 0 ? bytes : Buffer.concat([this.#chunk.subarray(this.#start, this.#end), bytes]);
    this.#start = 0;
    this.#end = this.#chunk.length;
    this.#parse();
  }

  #newChunk(): void {
    const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    // At most a part of a fragment's header is left: all that follows a header has gone to a message.
    this.#end = this.#chunk.copy(chunk, 0, this.#start, this.#end);
    this.#start = 0;
    this.#chunk = chunk;
  }

  #parse(): void {
    while (!this.#stopped) {
      const available = this.#end - this.#start;
      if (this.#record !== undefined && this.#fragmentLeft > 0) {
        if (available === 0) return;
        const count = Math.min(available, this.#fragmentLeft);
        this.#makeRoom(this.#filled + count, this.#filled + this.#fragmentLeft);
        this.#chunk.copy(this.#record, this.#filled, this.#start, this.#start + count);
        this.#start += count;
        this.#grew(count);
        continue;
      }
      if (available < RECORD_MARK_BYTES) return;
      const mark = this.#chunk.readInt32BE(this.#start);
      const last = mark < 0;
      const length = mark & 0x7fff_ffff;
      if (this.#filled + length > this.#maxRecord) {
        throw new RecordMarkError(`record of ${this.#filled + length} bytes, more than ${this.#maxRecord}`);
      }
      this.#start += RECORD_MARK_BYTES;
      if (last && this.#record === undefined && available - RECORD_MARK_BYTES >= length) {
        const message = this.#chunk.subarray(this.#start, this.#start + length);
        this.#start += length;
        this.#afterLarge = length > LARGE;
        this.#deliver(message);
      } else this.#beginFragment(length, last);
    }
  }

  #beginFragment(length: number, last: boolean): void {
    this.#fragments += 1;
    if (this.#fragments > MAX_FRAGMENTS) {
      throw new RecordMarkError(`record in more than ${MAX_FRAGMENTS} fragments`);
    }
    const needed = this.#filled + length;
    if (this.#record === undefined) {
      const size = this.#pushed ? Math.min(needed, ON_CREDIT) : needed;
      this.#record =
        this.#pool === undefined || size <= LARGE ? Buffer.allocUnsafeSlow(size) : this.#pool.take(size);
    } else if (!this.#pushed && this.#record.length < needed) {
      // Doubled, so that a record in thousands of small fragments is not copied thousands of times.
      this.#grow(Math.max(needed, this.#record.length * 2));
    }
    this.#fragmentLeft = length;
    this.#lastFragment = last;
    if (length === 0) this.#grew(0);
  }

  /** For a record with `filled` bytes, of which `announced` are known to come. */
  #makeRoom(filled: number, announced: number): void {
    const room = this.#record?.length ?? 0;
    if (room >= filled) return;
    this.#grow(Math.max(filled, Math.min(announced, room * GROWTH), Math.min(room * 2, this.#maxRecord)));
  }

  #grow(size: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.min(this.#maxRecord, size));
    this.#record?.copy(grown, 0, 0, this.#filled);
    this.#record = grown;
  }

  #grew(count: number): void {
    this.#filled += count;
    this.#fragmentLeft -= count;
    const record = this.#record;
    if (this.#fragmentLeft > 0 || !this.#lastFragment || record === undefined) return;
    const message = this.#filled === record.length ? record : record.subarray(0, this.#filled);
    this.#record = undefined;
    this.#filled = 0;
    this.#fragments = 0;
    this.#lastFragment = false;
    this.#afterLarge = message.length > LARGE;
    this.#deliver(message);
  }
}
