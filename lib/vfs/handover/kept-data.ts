/**
 * Copies of data that programs have written and that is not on stable storage. Should this process die, the next one writes it
 * again, in the same order. Owns when a copy goes: one that stays too long would overwrite what others have written since.
 */
import {
  type KeptRecord,
  type RecordMemory,
  type RecordRef,
  type SharedBuffer,
  SharedBuffers,
} from '../../records/index.js';
import type { Credentials, UserCredential } from '../caller/caller.js';
import type { Room, TakenData } from '../write-behind/write-record.js';
import { KeptRecords, RecordKind, RecordReader, type RecordText } from './record-text.js';

const LENGTH = 0;

/** A copy as it was recorded. */
export interface CopyFound {
  readonly ref: RecordRef;
  readonly stamp: number;
  readonly nodeid: number;
  readonly sequence: number;
  readonly offset: number;
  readonly length: number;
  readonly place: number;
  readonly size: number;
  /** Where it begins in its place. */
  readonly at: number;
  readonly credential: UserCredential;
}

/** A place that has data, in which several copies may lie. */
class Held implements Room {
  readonly #buffer: SharedBuffer;
  readonly #empty: (buffer: SharedBuffer) => void;
  #holders = 0;

  /** `empty` is called when nobody holds it any more. */
  constructor(buffer: SharedBuffer, empty: (buffer: SharedBuffer) => void) {
    this.#buffer = buffer;
    this.#empty = empty;
  }

  get bytes(): Buffer {
    return this.#buffer.bytes;
  }

  get place(): number {
    return this.#buffer.place;
  }

  get size(): number {
    return this.#buffer.size;
  }

  hold(): this {
    this.#holders++;
    return this;
  }

  letGo(): void {
    if (--this.#holders === 0) this.#empty(this.#buffer);
  }
}

/** The bytes from `at` on of a place. */
interface Copy {
  /** Of the last data that needs it. */
  sequence: number;
  readonly offset: number;
  length: number;
  readonly held: Held;
  readonly at: number;
  /** 0: what gathers here, as a whole, holds the place. */
  readonly ref: RecordRef;
}

/** A copy of an earlier process, while its data is written again. */
interface Again {
  readonly found: Omit<Copy, 'sequence'>;
  /** Undefined: nothing has taken its data so far. */
  copy: Copy | undefined;
}

/** The copies of one file. */
export interface FileCopies {
  /** Keeps a copy. False: there is no memory for it. */
  keep(taken: TakenData): boolean;
  /** A place in which data with this number will gather. Undefined: there is no memory for it. */
  room(length: number, sequence: number): Room | undefined;
  /** Copies in this place are of no use any more. */
  left(room: Room): void;
  /** Copies with lower numbers are of no use any more. */
  dropBelow(sequence: number): void;
  /** The file has so many bytes: those behind must not come back, of writes up to this number. */
  cutTo(size: number, upTo: number): void;
}

export class KeptData extends KeptRecords {
  readonly #buffers: SharedBuffers;
  /** By file: the copy of an earlier process whose data is being written again. It goes on to be the copy. */
  readonly #again = new Map<number, Again>();
  /** By place: those that an earlier process had taken. */
  readonly #found = new Map<number, Held>();
  #readers = 0;
  /** Places that nobody holds any more, while somebody may still read them. */
  #left: SharedBuffer[] = [];

  constructor(memory: RecordMemory, text: RecordText) {
    super(memory, text);
    this.#buffers = new SharedBuffers(memory);
  }

  of(nodeid: number): FileCopies {
    let copies: Copy[] = [];
    const dropWhere = (isUseless: (copy: Copy) => boolean): void => {
      const useless = copies.filter(isUseless);
      if (useless.length === 0) return;
      copies = copies.filter((copy) => !isUseless(copy));
      for (const { ref, held } of useless) {
        this.memory.free(ref);
        held.letGo();
      }
    };
    return {
      keep: (taken) => {
        const again = this.#again.get(nodeid);
        if (again !== undefined) {
          // Data that goes out in several pieces keeps its one record. A new one would count after all that was written later.
          if (again.copy === undefined) {
            again.copy = { ...again.found, sequence: taken.sequence };
            copies.push(again.copy);
          } else again.copy.sequence = taken.sequence;
          return true;
        }
        if (this.#goesOn(copies.at(-1), taken)) return true;
        const copy = this.#copy(nodeid, taken);
        if (copy !== undefined) copies.push(copy);
        return copy !== undefined;
      },
      room: (length, sequence) => {
        // Data that is written again has its place.
        const held = this.#again.has(nodeid) ? undefined : this.#take(length);
        if (held !== undefined)
          copies.push({ sequence, offset: 0, length: 0, held: held.hold(), at: 0, ref: 0 });
        return held;
      },
      left: (room) => dropWhere(({ held }) => held === room),
      dropBelow: (sequence) => dropWhere((copy) => copy.sequence < sequence),
      cutTo: (size, upTo) => {
        const lengthOf = ({ sequence, offset, length }: Copy): number =>
          sequence <= upTo ? Math.min(length, size - offset) : length;
        dropWhere((copy) => copy.ref !== 0 && lengthOf(copy) <= 0);
        for (const copy of copies) this.#setLength(copy, lengthOf(copy));
      },
    };
  }

  #setLength(copy: Copy, length: number): void {
    if (copy.ref === 0 || copy.length === length) return;
    copy.length = length;
    this.memory.setCell(copy.ref, LENGTH, length);
  }

  /** Whether the data lies where `copy` ends, or within it: then it is recorded with it. */
  #goesOn(copy: Copy | undefined, { sequence, offset, data, room }: TakenData): boolean {
    if (copy === undefined || copy.ref === 0 || copy.held !== room || copy.sequence !== sequence)
      return false;
    const from = offset - copy.offset;
    if (from < 0 || from > copy.length || placeIn(room, data) !== copy.at + from) return false;
    this.#setLength(copy, Math.max(copy.length, from + data.length));
    return true;
  }

  #copy(nodeid: number, { sequence, offset, data, credential, room }: TakenData): Copy | undefined {
    const own = room instanceof Held ? undefined : this.#take(data.length);
    const held = room instanceof Held ? room : own;
    if (held === undefined) return undefined;
    held.hold();
    own?.bytes.set(data);
    const at = own === undefined ? placeIn(held, data) : 0;
    const text = this.text.begin().number(nodeid).number(sequence).number(offset);
    text.number(held.place).u32(held.size).u32(at);
    text.credential(credential);
    const ref = this.memory.put(RecordKind.DATA, [data.length], text.bytes, text.length);
    if (ref !== 0) return { sequence, offset, length: data.length, held, at, ref };
    held.letGo();
    return undefined;
  }

  #take(length: number): Held | undefined {
    const buffer = this.#buffers.take(length);
    return buffer && new Held(buffer, this.#give);
  }

  readonly #give = (buffer: SharedBuffer): void => {
    this.#found.delete(buffer.place);
    if (this.#readers > 0) this.#left.push(buffer);
    else this.#buffers.give(buffer);
  };

  /** Until {@link endReading}, places keep their data although nobody holds them. */
  beginReading(): void {
    this.#readers++;
  }

  endReading(): void {
    this.#readers--;
    if (this.#readers > 0 || this.#left.length === 0) return;
    for (const buffer of this.#left) this.#buffers.give(buffer);
    this.#left = [];
  }

  /** Nothing is being written: memory for the next data need not be kept ready. */
  trim(): void {
    this.#buffers.trim();
  }

  /**
   * The bytes of a copy that an earlier process has made. To be called with all of them before any is made: their places are taken.
   * Undefined for one whose place is none.
   */
  takeAgain({ place, size, at, length }: CopyFound): Buffer | undefined {
    const known = this.#found.get(place);
    const buffer = known === undefined ? this.#buffers.takeAgain(place, size) : undefined;
    const held = known ?? (buffer && new Held(buffer, this.#give));
    if (held === undefined || held.size !== size) return undefined;
    this.#found.set(place, held.hold());
    return held.bytes.subarray(at, at + length);
  }

  /** Runs `write`, which writes the data of this copy again: no other copy is made of it. Rejects as `write` does. */
  async again(copy: CopyFound, write: () => Promise<void>): Promise<void> {
    const { nodeid, offset, length, at, ref } = copy;
    const held = this.#found.get(copy.place);
    if (held === undefined) throw new RangeError(`there is no place ${copy.place}`);
    const again: Again = { found: { offset, length, held, at, ref }, copy: undefined };
    this.#again.set(nodeid, again);
    try {
      await write();
    } finally {
      this.#again.delete(nodeid);
    }
    // It went straight to stable storage, or is lost.
    if (again.copy === undefined) this.drop(copy, true);
  }

  /** A copy of an earlier process is of no use any more. `isHeld`: {@link takeAgain} has found it. */
  drop({ ref, place }: CopyFound, isHeld: boolean): void {
    this.memory.free(ref);
    if (isHeld) this.#found.get(place)?.letGo();
  }
}

/** Where `data` begins in the room in which it lies. */
function placeIn(room: Room, data: Uint8Array): number {
  return data.byteOffset - room.bytes.byteOffset;
}

export function readCopy({ ref, stamp, cells, content }: KeptRecord, credentials: Credentials): CopyFound {
  const reader = new RecordReader(content);
  const [nodeid, sequence, offset] = [reader.number(), reader.number(), reader.number()] as const;
  const [place, size, at] = [reader.number(), reader.u32(), reader.u32()] as const;
  const length = Math.max(0, Math.min(cells[LENGTH] ?? 0, size - at));
  const credential = reader.credential(credentials);
  return { ref, stamp, nodeid, sequence, offset, length, place, size, at, credential };
}
