/**
 * Buffers in memory that outlives the process, for data of up to a mebibyte. Owns which places of the blocks are taken: that is
 * written down nowhere, since whoever records a place takes it again after {@link RecordMemory.adopt}.
 */
import type { DataBlock, RecordMemory } from './record-memory.js';

/** A block is divided into places of one of these sizes. */
const SIZES = [1024, 4 * 1024, 16 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024] as const;
/** Blocks without data that are kept for the next, while data is being written: what a stream has between two COMMITs. */
const MOST_IDLE = 64;
/** And afterwards. */
const IDLE = 16;

/** A place for data. */
export interface SharedBuffer {
  /** In the file, in bytes. */
  readonly place: number;
  /** Of the place, in bytes. */
  readonly size: number;
  readonly bytes: Buffer;
}

interface Divided {
  readonly block: DataBlock;
  readonly size: number;
  /** Free places, from the beginning of the block. */
  readonly free: number[];
  taken: number;
}

export class SharedBuffers {
  readonly #memory: RecordMemory;
  /** By where the block begins. */
  readonly #divided = new Map<number, Divided>();
  /** By size: blocks with a free place. */
  readonly #roomy = new Map<number, Set<Divided>>();
  readonly #idle: DataBlock[] = [];

  constructor(memory: RecordMemory) {
    this.#memory = memory;
  }

  /** A place for so many bytes. Undefined: there is no memory, or that is too much for one place. */
  take(length: number): SharedBuffer | undefined {
    const size = SIZES.find((one) => one >= length);
    if (size === undefined) return undefined;
    const [known] = this.#roomy.get(size) ?? [];
    const divided = known ?? this.#divide(size);
    const at = divided?.free.pop();
    if (divided === undefined || at === undefined) return undefined;
    return this.#taken(divided, at);
  }

  /** A place that an earlier process had taken. Undefined: there is no such place. */
  takeAgain(place: number, size: number): SharedBuffer | undefined {
    if (!(SIZES as readonly number[]).includes(size)) return undefined;
    const block = this.#memory.blockWith(place);
    if (block === undefined) return undefined;
    const divided = this.#divided.get(block.base) ?? this.#begin(block, size);
    const index = divided.free.indexOf(place - block.base);
    if (divided.size !== size || index < 0) return undefined;
    divided.free.splice(index, 1);
    return this.#taken(divided, place - block.base);
  }

  give({ place }: SharedBuffer): void {
    const block = this.#memory.blockWith(place);
    const divided = block && this.#divided.get(block.base);
    if (block === undefined || divided === undefined) throw new RangeError(`there is no place ${place}`);
    divided.free.push(place - block.base);
    divided.taken--;
    const roomy = this.#roomy.get(divided.size) ?? new Set();
    this.#roomy.set(divided.size, roomy.add(divided));
    if (divided.taken > 0 || roomy.size < 2) return;
    roomy.delete(divided);
    this.#divided.delete(block.base);
    if (this.#idle.length < MOST_IDLE) this.#idle.push(block);
    else this.#memory.giveBlock(block);
  }

  /** Nothing is being written: a few blocks are enough to begin with again. */
  trim(): void {
    while (this.#idle.length > IDLE) this.#memory.giveBlock(this.#idle.pop() as DataBlock);
  }

  #taken(divided: Divided, at: number): SharedBuffer {
    divided.taken++;
    if (divided.free.length === 0) this.#roomy.get(divided.size)?.delete(divided);
    const { block, size } = divided;
    return { place: block.base + at, size, bytes: block.bytes.subarray(at, at + size) };
  }

  #divide(size: number): Divided | undefined {
    const block = this.#idle.pop() ?? this.#memory.takeBlock();
    return block && this.#begin(block, size);
  }

  #begin(block: DataBlock, size: number): Divided {
    const free = Array.from({ length: block.bytes.length / size }, (_, index) => index * size);
    const divided: Divided = { block, size, free: free.reverse(), taken: 0 };
    this.#memory.isTaken(block);
    this.#divided.set(block.base, divided);
    this.#roomy.set(size, (this.#roomy.get(size) ?? new Set()).add(divided));
    return divided;
  }
}
