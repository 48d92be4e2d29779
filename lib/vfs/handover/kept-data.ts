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
import type { TakenData } from '../write-behind/write-record.js';
import { KeptRecords } from './kept-records.js';
import { RecordKind, RecordReader, type RecordText } from './record-text.js';

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
  readonly credential: UserCredential;
}

interface Copy {
  readonly sequence: number;
  readonly offset: number;
  length: number;
  readonly buffer: SharedBuffer;
  readonly ref: RecordRef;
}

/** The copies of one file. */
export interface FileCopies {
  /** Keeps a copy. False: there is no memory for it. */
  keep(taken: TakenData): boolean;
  /** Copies with lower numbers are of no use any more. */
  dropBelow(sequence: number): void;
  /** The file has so many bytes: those behind must not come back, of writes up to this number. */
  cutTo(size: number, upTo: number): void;
}

export class KeptData extends KeptRecords {
  readonly #buffers: SharedBuffers;
  /** By file: the copy of an earlier process whose data is being written again. It goes on to be the copy. */
  readonly #again = new Map<number, Pick<Copy, 'buffer' | 'ref'>>();

  constructor(memory: RecordMemory, text: RecordText) {
    super(memory, text);
    this.#buffers = new SharedBuffers(memory);
  }

  of(nodeid: number): FileCopies {
    const copies: Copy[] = [];
    const drop = ({ ref, buffer }: Copy): void => {
      this.memory.free(ref);
      this.#buffers.give(buffer);
    };
    return {
      keep: (taken) => {
        const copy = this.#copy(nodeid, taken);
        if (copy !== undefined) copies.push(copy);
        return copy !== undefined;
      },
      dropBelow: (sequence) => {
        for (const copy of copies.splice(0)) {
          if (copy.sequence < sequence) drop(copy);
          else copies.push(copy);
        }
      },
      cutTo: (size, upTo) => {
        for (const copy of copies.splice(0)) {
          const cut = copy.sequence <= upTo ? size - copy.offset : copy.length;
          const length = Math.min(copy.length, cut);
          if (length <= 0) {
            drop(copy);
            continue;
          }
          if (length < copy.length) this.memory.setCell(copy.ref, LENGTH, length);
          copy.length = length;
          copies.push(copy);
        }
      },
    };
  }

  #copy(nodeid: number, { sequence, offset, data, credential }: TakenData): Copy | undefined {
    const known = this.#again.get(nodeid);
    if (known !== undefined) {
      this.#again.delete(nodeid);
      return { ...known, sequence, offset, length: data.length };
    }
    const buffer = this.#buffers.take(data.length);
    if (buffer === undefined) return undefined;
    buffer.bytes.set(data);
    const text = this.text.begin().number(nodeid).number(sequence).number(offset);
    text.number(buffer.place).u32(buffer.size);
    text.credential(credential);
    const ref = this.memory.put(RecordKind.DATA, [data.length], text.bytes, text.length);
    if (ref !== 0) return { sequence, offset, length: data.length, buffer, ref };
    this.#buffers.give(buffer);
    return undefined;
  }

  /**
   * The data of copies that an earlier process has made. To be called with all of them before any is made: their places are taken.
   * Undefined for one whose place is none.
   */
  takeAgain(found: CopyFound): SharedBuffer | undefined {
    return this.#buffers.takeAgain(found.place, found.size);
  }

  /** Runs `write`, which writes the data of this copy again: no other copy is made of it. */
  async again(copy: CopyFound, buffer: SharedBuffer, write: () => Promise<void>): Promise<void> {
    this.#again.set(copy.nodeid, { ref: copy.ref, buffer });
    await write();
    // It went straight to stable storage.
    if (this.#again.delete(copy.nodeid)) this.drop(copy, buffer);
  }

  /** A copy of an earlier process is of no use any more. */
  drop({ ref }: CopyFound, buffer: SharedBuffer | undefined): void {
    this.memory.free(ref);
    if (buffer !== undefined) this.#buffers.give(buffer);
  }
}

export function readCopy({ ref, stamp, cells, content }: KeptRecord, credentials: Credentials): CopyFound {
  const reader = new RecordReader(content);
  const [nodeid, sequence, offset] = [reader.number(), reader.number(), reader.number()] as const;
  const [place, size] = [reader.number(), reader.u32()] as const;
  const length = Math.min(cells[LENGTH] ?? 0, size);
  const credential = reader.credential(credentials);
  return { ref, stamp, nodeid, sequence, offset, length, place, size, credential };
}
