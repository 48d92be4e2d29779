/**
 * Records of data that is on its way to stable storage. A copy of it lies in memory that outlives the process (kept-data.ts), and
 * the next one writes it again. Where there is no room for a copy, it is recorded which range of the file it was, so that nobody
 * who wrote it goes on to believe that it is there.
 *
 * Ranges are kept as one hull, in blocks: it is set before a program is answered, and only grows until all is settled.
 */
import type { Sattr3 } from '../../programs/nfs3/index.js';
import type { KeptRecord, RecordMemory, RecordRef } from '../../records/index.js';
import type { Inode } from '../cache/inode.js';
import type { UserCredential } from '../caller/caller.js';
import type { LastAppend, Room, TakenData, WriteRecord, WriteRecords } from '../write-behind/write-record.js';
import { KeptAttributes } from './kept-attributes.js';
import { type FileCopies, KeptData } from './kept-data.js';
import { KeptRecords, RecordKind, RecordReader } from './record-text.js';

const BLOCK = 4096;
const VERIFIER_BYTES = 8;
const TWO_32 = 0x1_0000_0000;
const Cell = {
  ERRORS: 0,
  /** Of data that has not reached the server; the end is 0 if there is none. */
  TAKEN_START: 1,
  TAKEN_END: 2,
  /** Of data that has, and of which a COMMIT has not vouched. */
  REACHED_START: 3,
  REACHED_END: 4,
  /** The verifier of its WRITEs; both 0 and {@link VERIFIER_MIXED} 1 if there were several. */
  VERIFIER_HIGH: 5,
  VERIFIER_LOW: 6,
  VERIFIER_MIXED: 7,
  APPEND_UNIQUE: 8,
  APPEND_HIGH: 9,
  APPEND_LOW: 10,
} as const;
const CELLS = 11;

/** A range of a file, in bytes. */
export interface RecordedRange {
  readonly offset: number;
  readonly end: number;
}

/** Data of a file as it was recorded. */
export interface WritesFound {
  readonly ref: RecordRef;
  readonly nodeid: number;
  readonly errors: number;
  readonly taken: RecordedRange | undefined;
  readonly reached: RecordedRange | undefined;
  /** One character per byte. Undefined: there were several. */
  readonly verifier: string | undefined;
  readonly append: LastAppend | undefined;
}

export class KeptWrites extends KeptRecords implements WriteRecords {
  /** Of inodes whose records an earlier process has written. */
  readonly #data = new KeptData(this.memory, this.text);
  readonly #found = new Map<number, Pick<WritesFound, 'ref' | 'append' | 'errors'>>();

  /** Attributes that are to be set after the data. */
  readonly attributes = new KeptAttributes(this.memory, this.text);

  /** The record of this inode goes on to be used. */
  takeUp({ nodeid, ref, append, errors }: WritesFound): void {
    this.#found.set(nodeid, { ref, append, errors });
  }

  /** Copies of data of an earlier process, in the order in which they were made. */
  get data(): KeptData {
    return this.#data;
  }

  beginReading(): void {
    this.#data.beginReading();
  }

  endReading(): void {
    this.#data.endReading();
  }

  trim(): void {
    this.#data.trim();
  }

  of({ nodeid }: Inode): WriteRecord {
    const found = this.#found.get(nodeid);
    this.#found.delete(nodeid);
    const { bytes, length } = this.text.begin().number(nodeid);
    const content = Buffer.from(bytes.subarray(0, length));
    const { attributes } = this;
    return new KeptWrite(this.memory, { nodeid, content, found, attributes, copies: this.#data.of(nodeid) });
  }
}

interface KeptWriteParts {
  readonly nodeid: number;
  readonly content: Buffer;
  /** Undefined: no earlier process has written one. */
  readonly found: Pick<WritesFound, 'ref' | 'append' | 'errors'> | undefined;
  readonly copies: FileCopies;
  readonly attributes: KeptAttributes;
}

class KeptWrite implements WriteRecord {
  readonly #memory: RecordMemory;
  readonly #content: Buffer;
  readonly #copies: FileCopies;
  readonly #nodeid: number;
  readonly #attributes: KeptAttributes;
  #ref: RecordRef;
  #taken = EMPTY;
  #reached = EMPTY;
  #verifier: string | undefined = undefined;
  /** Since all was settled: of some data there is no copy, and the server has answered with several verifiers. */
  #isShort = false;
  #isMixed = false;
  #errors = 0;
  #append: LastAppend | undefined;

  constructor(memory: RecordMemory, { nodeid, content, found, copies, attributes }: KeptWriteParts) {
    this.#memory = memory;
    this.#nodeid = nodeid;
    this.#attributes = attributes;
    this.#content = content;
    this.#copies = copies;
    this.#ref = found?.ref ?? 0;
    this.#append = found?.append;
    this.#errors = found?.errors ?? 0;
  }

  taken(taken: TakenData): void {
    if (this.#copies.keep(taken)) return;
    // It may have reached the server already.
    if (!this.#isShort && this.#reached !== EMPTY) this.#recordReached();
    this.#isShort = true;
    const { offset, data } = taken;
    const grown = cover(this.#taken, offset, offset + data.length);
    if (grown === this.#taken) return;
    this.#taken = grown;
    this.#setRange(Cell.TAKEN_START, Cell.TAKEN_END, grown);
  }

  room(length: number, sequence: number): Room | undefined {
    return this.#copies.room(length, sequence);
  }

  left(room: Room): void {
    this.#copies.left(room);
  }

  stableBelow(sequence: number): void {
    this.#copies.dropBelow(sequence);
  }

  cutTo(size: number, upTo: number): void {
    this.#copies.cutTo(size, upTo);
  }

  reached(offset: number, end: number, verifier: string | undefined): void {
    const hadAny = this.#reached !== EMPTY;
    this.#reached = cover(this.#reached, offset, end);
    const isWhole = verifier?.length === VERIFIER_BYTES;
    this.#isMixed ||= !isWhole || (hadAny && verifier !== this.#verifier);
    this.#verifier = verifier;
    if (this.#isShort) this.#recordReached();
  }

  #recordReached(): void {
    if (this.#isMixed) this.#set(Cell.VERIFIER_MIXED, 1);
    else {
      const bytes = Buffer.from(this.#verifier ?? '', 'latin1');
      this.#set(Cell.VERIFIER_HIGH, bytes.readUInt32BE(0));
      this.#set(Cell.VERIFIER_LOW, bytes.readUInt32BE(4));
    }
    this.#setRange(Cell.REACHED_START, Cell.REACHED_END, this.#reached);
  }

  allReached(): void {
    if (this.#taken === EMPTY) return;
    this.#taken = EMPTY;
    this.#set(Cell.TAKEN_END, 0);
  }

  settled(): void {
    this.#copies.dropBelow(Number.POSITIVE_INFINITY);
    this.#clear();
  }

  told(): void {
    this.#clear();
  }

  /** Nothing is missing of which there is no copy. */
  #clear(): void {
    this.allReached();
    this.#reached = EMPTY;
    this.#isShort = false;
    this.#isMixed = false;
    // A record costs memory, and a file may stay open for months.
    if (this.#errors === 0 && this.#append === undefined) this.#free();
    else {
      this.#set(Cell.TAKEN_END, 0);
      this.#set(Cell.REACHED_END, 0);
      this.#set(Cell.VERIFIER_MIXED, 0);
    }
  }

  errors(count: number): void {
    this.#errors = count;
    this.#set(Cell.ERRORS, count);
  }

  appends({ unique, offset }: LastAppend): void {
    // One that comes again is never without its number, in case this process dies as well.
    if (this.#append?.unique === unique && this.#append.offset === offset) return;
    // In this order, so that a number never stands beside the place of another request.
    this.#set(Cell.APPEND_UNIQUE, 0);
    this.#set(Cell.APPEND_HIGH, Math.floor(offset / TWO_32));
    this.#set(Cell.APPEND_LOW, offset % TWO_32);
    this.#set(Cell.APPEND_UNIQUE, unique);
    // The request may come again until it is answered, although its data is on stable storage by then.
    this.#append = { unique, offset };
  }

  sets(changes: Sattr3 | undefined, credential: UserCredential | undefined): boolean {
    if (changes !== undefined && credential !== undefined)
      return this.#attributes.set(this.#nodeid, changes, credential);
    this.#attributes.drop(this.#nodeid);
    return true;
  }

  ended(): void {
    this.#attributes.drop(this.#nodeid);
    this.#copies.dropBelow(Number.POSITIVE_INFINITY);
    this.#free();
  }

  /** The lower end is in front of the upper one, whenever the process dies. */
  #setRange(start: number, end: number, range: Blocks): void {
    this.#set(start, range.start);
    this.#set(end, range.end);
  }

  #set(cell: number, value: number): void {
    if (this.#ref === 0) this.#ref = this.#memory.put(RecordKind.WRITES, NO_CELLS, this.#content);
    this.#memory.setCell(this.#ref, cell, value);
  }

  #free(): void {
    this.#memory.free(this.#ref);
    this.#ref = 0;
  }
}

/** In blocks. */
interface Blocks {
  readonly start: number;
  readonly end: number;
}

const EMPTY: Blocks = { start: 0, end: 0 };
const NO_CELLS: readonly number[] = Array.from({ length: CELLS }, () => 0);

/** The same object if the range is in it already. */
function cover(known: Blocks, offset: number, end: number): Blocks {
  const first = Math.floor(offset / BLOCK);
  const last = Math.ceil(end / BLOCK);
  if (known.end === 0) return { start: first, end: last };
  if (first >= known.start && last <= known.end) return known;
  return { start: Math.min(known.start, first), end: Math.max(known.end, last) };
}

export function readWrites({ ref, cells, content }: KeptRecord): WritesFound {
  const cell = (which: number): number => cells[which] ?? 0;
  const range = (start: number, end: number): RecordedRange | undefined =>
    cell(end) === 0 ? undefined : { offset: cell(start) * BLOCK, end: cell(end) * BLOCK };
  const unique = cell(Cell.APPEND_UNIQUE);
  const verifier = Buffer.alloc(VERIFIER_BYTES);
  verifier.writeUInt32BE(cell(Cell.VERIFIER_HIGH), 0);
  verifier.writeUInt32BE(cell(Cell.VERIFIER_LOW), 4);
  return {
    ref,
    nodeid: new RecordReader(content).number(),
    errors: cell(Cell.ERRORS),
    taken: range(Cell.TAKEN_START, Cell.TAKEN_END),
    reached: range(Cell.REACHED_START, Cell.REACHED_END),
    verifier: cell(Cell.VERIFIER_MIXED) === 0 ? verifier.toString('latin1') : undefined,
    append:
      unique === 0 ? undefined : { unique, offset: cell(Cell.APPEND_HIGH) * TWO_32 + cell(Cell.APPEND_LOW) },
  };
}
