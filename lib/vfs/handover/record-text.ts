/** The content of a record: numbers, texts and credentials, one behind the other. Owns the form, for writing and reading. */
import { type RecordMemory, RecordsError } from '../../records/index.js';
import type { Credentials, UserCredential } from '../caller/caller.js';

/** The longest record: a name and a handle with all that belongs to them, or a hundred ranges. */
const MOST_BYTES = 1500;
const LENGTH_BYTES = 2;

/** The record that is being written. One of them serves all: a record is put together and written at once. */
export class RecordText {
  readonly bytes = Buffer.alloc(MOST_BYTES + 64);
  readonly #view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
  length = 0;

  /** Begins a new one. */
  begin(): this {
    this.length = 0;
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.length, value, true);
    this.length += 4;
    return this;
  }

  /** A whole number below 2^53. */
  number(value: number): this {
    this.#view.setFloat64(this.length, value, true);
    this.length += 8;
    return this;
  }

  u64(value: bigint): this {
    this.#view.setBigUint64(this.length, value, true);
    this.length += 8;
    return this;
  }

  /** One character per byte. @throws RangeError where it does not fit. */
  text(value: string): this {
    if (this.length + LENGTH_BYTES + value.length > MOST_BYTES)
      throw new RangeError('the record is too long');
    this.#view.setUint16(this.length, value.length, true);
    this.length += LENGTH_BYTES;
    this.length += this.bytes.write(value, this.length, 'latin1');
    return this;
  }

  credential({ uid, gid, groups }: UserCredential): this {
    this.u32(uid).u32(gid).u32(groups.length);
    for (const group of groups) this.u32(group);
    return this;
  }
}

/** The common part of those who write records: where they write them, and the record that is being put together. */
export abstract class KeptRecords {
  protected readonly memory: RecordMemory;
  protected readonly text: RecordText;

  constructor(memory: RecordMemory, text: RecordText) {
    this.memory = memory;
    this.text = text;
  }
}

/** Reads what {@link RecordText} has written. @throws RecordsError where the record ends before. */
export class RecordReader {
  readonly #content: Buffer;
  #at = 0;

  constructor(content: Buffer) {
    this.#content = content;
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#content.length) throw new RecordsError('damaged', 'a record is too short');
    this.#at += count;
    return at;
  }

  u32(): number {
    return this.#content.readUInt32LE(this.#take(4));
  }

  number(): number {
    return this.#content.readDoubleLE(this.#take(8));
  }

  u64(): bigint {
    return this.#content.readBigUInt64LE(this.#take(8));
  }

  text(): string {
    const length = this.#content.readUInt16LE(this.#take(LENGTH_BYTES));
    const at = this.#take(length);
    return this.#content.toString('latin1', at, at + length);
  }

  credential(credentials: Credentials): UserCredential {
    const uid = this.u32();
    const gid = this.u32();
    const groups = Array.from({ length: Math.min(this.u32(), 32) }, () => this.u32());
    return credentials.of(uid, gid, groups);
  }
}

/** The subjects of records. The numbers are part of the form in the file. */
export const RecordKind = {
  COUNTERS: 1,
  INODE: 2,
  FILE: 3,
  DIRECTORY: 4,
  WRITES: 5,
  SILLY: 6,
  LOCKS: 7,
  LOCK_NOTE: 8,
  REQUEST: 9,
  EXPORT: 10,
  DATA: 11,
  ATTRIBUTES: 12,
} as const;
