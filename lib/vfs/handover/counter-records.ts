/**
 * Numbers that are given out once: node ids and file handles of FUSE. Owns that the next process gives out none that the
 * kernel may still know. They are reserved in blocks, so that few of them need a record.
 */
import { randomInt } from 'node:crypto';
import type { RecordMemory, RecordRef } from '../../records/index.js';
import { RecordKind } from './record-text.js';

const BLOCK = 4096;
const NODEID = 1;
const FH = 2;
const NOTHING = Buffer.alloc(0);

export class CounterRecords {
  readonly #memory: RecordMemory;
  readonly #ref: RecordRef;
  /** Tells the node ids of this mount from those of an earlier one (FUSE generation). */
  readonly generation: number;
  /** Not given out by any earlier process of this mount. */
  readonly firstNodeid: number;
  readonly firstFh: number;
  #fhs: number;

  /** `found`: the cells of an earlier process. */
  constructor(memory: RecordMemory, found?: { readonly ref: RecordRef; readonly cells: readonly number[] }) {
    this.#memory = memory;
    const [generation = randomInt(1, 2 ** 31), nodeid = 2, fh = 1] = found?.cells ?? [];
    this.generation = generation;
    this.firstNodeid = nodeid;
    this.firstFh = fh;
    this.#fhs = fh;
    this.#ref = found?.ref ?? memory.put(RecordKind.COUNTERS, [generation, nodeid, fh], NOTHING);
  }

  /** Answers the first number that is not reserved now. */
  reserveNodeids(from: number): number {
    this.#memory.setCell(this.#ref, NODEID, from + BLOCK);
    return from + BLOCK;
  }

  /** As {@link reserveNodeids}. Files and directories count each for itself: the higher number is recorded. */
  reserveFhs(from: number): number {
    this.#fhs = Math.max(this.#fhs, from + BLOCK);
    this.#memory.setCell(this.#ref, FH, this.#fhs);
    return from + BLOCK;
  }
}
