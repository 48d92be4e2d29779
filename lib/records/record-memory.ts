/**
 * Records in memory that outlives the process that writes them: whoever has the descriptor can read them when that process
 * has died, however it died. Owns the file's head, the sizes of slots, and where a record goes.
 *
 * To write a record costs no system call. Memory is taken in chunks, and given back when a chunk has become empty. Where
 * there is none left, the file says that it is incomplete, and nobody will go by it.
 *
 * Blocks of data lie between the chunks. The head says which they are: their content is anybody's, and must not be taken for
 * records.
 */
import { CHUNK_BYTES, Chunk, type FoundRecord, slotOverhead } from './chunk.js';
import { HeadFacts } from './head-facts.js';
import { RecordsError } from './records-error.js';
import { type MappedPiece, SharedFile } from './shared-file.js';

/** Names one record as long as it exists; 0 names none. */
export type RecordRef = number;

const MAGIC = 0x6e66_7352;
/** Of the form of records in the file. Programs with another version leave it alone. */
const VERSION = 5;
const HEAD_BYTES = 64 * 1024;
const CUT_OFF = 'the file with the state is cut off, or another file';
const INCOMPLETE_WORD = 2;
/** A bit for each chunk, set for those of blocks. It ends where the facts begin. */
const BLOCK_MAP = 1024;
const MOST_MAPPED = (HeadFacts.BEGIN - BLOCK_MAP) * 8;
const CHUNKS_IN_BLOCK = 4;
/** Sizes of slots. A record goes into the smallest that holds it. */
const SLOT_SIZES: readonly number[] = [64, 96, 128, 160, 192, 256, 384, 512, 768, 1536];

/** The smallest slot for so many bytes. */
function slotFor(need: number): number {
  for (let at = 0; at < SLOT_SIZES.length; at++) {
    const size = SLOT_SIZES[at] ?? 0;
    if (size >= need) return size;
  }
  throw new RangeError(`a record of ${need} bytes`);
}

/** A record that is kept. */
export interface KeptRecord extends FoundRecord {
  readonly ref: RecordRef;
}

/** A piece of the file for data. */
export interface DataBlock {
  /** Where it begins in the file, in bytes. */
  readonly base: number;
  readonly bytes: Buffer;
}

export class RecordMemory {
  readonly #file: SharedFile;
  readonly #head: MappedPiece;
  readonly #facts: HeadFacts;
  /** Undefined where a block lies. */
  readonly #chunks: (Chunk | undefined)[] = [];
  /** By where they begin. */
  readonly #blocks = new Map<number, DataBlock>();
  /** Those of which nothing is used. */
  readonly #freeBlocks = new Map<number, DataBlock>();
  /** By slot size: chunks that have room. */
  readonly #roomy = new Map<number, Chunk[]>();
  readonly #spare: Chunk[] = [];
  #stamp = 0;
  #complete = true;
  #frozen = false;
  #count = 0;
  /** Called once, when there is no memory left for another record. */
  onIncomplete: () => void = () => {};

  private constructor(file: SharedFile, head: MappedPiece) {
    this.#file = file;
    this.#head = head;
    this.#facts = new HeadFacts(head);
  }

  /** In memory without a name. Undefined: this machine gives none. */
  static create(): RecordMemory | undefined {
    const file = SharedFile.inMemory('nfs-fuse-state');
    return file && RecordMemory.#begin(file);
  }

  /** In a file, open for reading and writing, whose content goes. Undefined: its file system is full, or cannot be mapped. */
  static createIn(fd: number): RecordMemory | undefined {
    const file = new SharedFile(fd);
    file.clear();
    return RecordMemory.#begin(file);
  }

  static #begin(file: SharedFile): RecordMemory | undefined {
    if (!file.allocate(0, HEAD_BYTES)) return undefined;
    const head = file.map(0, HEAD_BYTES);
    if (head === undefined) return undefined;
    head.u32[1] = VERSION;
    head.u32[0] = MAGIC;
    return new RecordMemory(file, head);
  }

  /** Takes up what another process has written, and goes on with it. @throws RecordsError */
  static adopt(fd: number): RecordMemory {
    const file = new SharedFile(fd);
    if (file.size < HEAD_BYTES) throw new RecordsError('damaged', CUT_OFF);
    const head = file.map(0, HEAD_BYTES);
    if (head === undefined) throw new RecordsError('damaged', 'the file with the state cannot be mapped');
    const memory = new RecordMemory(file, head);
    memory.adoptAgain();
    return memory;
  }

  /**
   * Takes up what the other process has written since {@link adopt}. To be called when it has stopped to write, and before
   * anything is written here. @throws RecordsError
   */
  adoptAgain(): void {
    const { size } = this.#file;
    const { u32 } = this.#head;
    if ((size - HEAD_BYTES) % CHUNK_BYTES !== 0) throw new RecordsError('damaged', CUT_OFF);
    if (u32[0] !== MAGIC)
      throw new RecordsError('damaged', 'this is not the state of a mount, or it is damaged');
    if (u32[1] !== VERSION)
      throw new RecordsError('version', `the state is of version ${u32[1]}, this program knows ${VERSION}`);
    if (u32[INCOMPLETE_WORD] !== 0)
      throw new RecordsError('incomplete', 'there was no memory left for the whole state');
    for (const known of [this.#roomy, this.#blocks, this.#freeBlocks]) known.clear();
    for (const known of [this.#chunks, this.#spare]) known.length = 0;
    this.#stamp = 0;
    this.#count = 0;
    this.#facts.adopt();
    for (let base = HEAD_BYTES; base < size; base = HEAD_BYTES + this.#chunks.length * CHUNK_BYTES) {
      if (this.#isBlock(this.#chunks.length)) this.#adoptBlock(base, size);
      else this.#adoptChunk(base);
    }
  }

  /** Somebody else goes on with the records: nothing is written here any more, and no memory goes back. */
  freeze(): void {
    this.#frozen = true;
  }

  get isFrozen(): boolean {
    return this.#frozen;
  }

  get fd(): number {
    return this.#file.fd;
  }

  /** False: some records are missing, for which there was no memory. */
  get complete(): boolean {
    return this.#complete;
  }

  get count(): number {
    return this.#count;
  }

  /** Memory that is taken. */
  get bytes(): number {
    const free = this.#spare.length + this.#freeBlocks.size * CHUNKS_IN_BLOCK;
    return HEAD_BYTES + (this.#chunks.length - free) * CHUNK_BYTES;
  }

  /** 512 numbers that belong to no record, zeros at first. */
  get cells(): Float64Array {
    return this.#head.f64.subarray(HeadFacts.END / 8, HEAD_BYTES / 8);
  }

  /** The facts that {@link setFacts} was given last, as JSON keeps them. Undefined: none yet. */
  get facts(): unknown {
    return this.#facts.value;
  }

  /** Few facts that belong to no record, as one JSON text of at most 28 KiB. @throws RangeError for more. */
  setFacts(facts: object): void {
    if (!this.#frozen) this.#facts.set(facts);
  }

  /**
   * Writes a record of the first `length` bytes of `content`, with cells that can be changed in place: whole numbers from 0
   * to 2^41. Answers 0 where there is no memory for it.
   */
  put(kind: number, cells: readonly number[], content: Buffer, length = content.length): RecordRef {
    if (!this.#complete || this.#frozen) return 0;
    const need = slotOverhead(cells.length) + length;
    const slotBytes = slotFor(need);
    const chunk = this.#chunkWithRoom(slotBytes);
    if (chunk === undefined) {
      this.#fail();
      return 0;
    }
    const ref = chunk.base + chunk.write(kind, ++this.#stamp, cells, content, length);
    this.#count++;
    if (chunk.isFull) this.#roomy.get(slotBytes)?.pop();
    return ref;
  }

  /** The record is gone. Of no effect for 0. */
  free(ref: RecordRef): void {
    if (ref === 0 || this.#frozen) return;
    const chunk = this.#chunkOf(ref);
    const { slotBytes } = chunk;
    const wasFull = chunk.isFull;
    chunk.free(ref - chunk.base);
    this.#count--;
    const roomy = this.#roomy.get(slotBytes) ?? [];
    if (wasFull) {
      roomy.push(chunk);
      this.#roomy.set(slotBytes, roomy);
    }
    // One chunk of each size stays, for the records to come.
    if (!chunk.isEmpty || roomy.length < 2) return;
    roomy.splice(roomy.indexOf(chunk), 1);
    chunk.unassign();
    this.#file.release(chunk.base, CHUNK_BYTES);
    this.#spare.push(chunk);
  }

  /** Of no effect for 0. */
  setCell(ref: RecordRef, cell: number, value: number): void {
    if (ref === 0 || this.#frozen) return;
    const chunk = this.#chunkOf(ref);
    chunk.setCell(ref - chunk.base, cell, value);
  }

  /** All records, in no order. Of two that say something of the same, the one with the higher stamp was written later. */
  *records(): Generator<KeptRecord> {
    for (const chunk of this.#chunks) {
      if (chunk === undefined) continue;
      for (const at of chunk.places()) yield { ref: chunk.base + at, ...chunk.read(at) };
    }
  }

  /** A block of a mebibyte for data, of any content. Undefined: there is no memory for it. */
  takeBlock(): DataBlock | undefined {
    if (this.#frozen) return undefined;
    const [free] = this.#freeBlocks.values();
    if (free !== undefined) {
      if (!this.#file.allocate(free.base, free.bytes.length)) return undefined;
      this.#file.populate(free);
      this.#freeBlocks.delete(free.base);
      return free;
    }
    const first = this.#chunks.length;
    if (first + CHUNKS_IN_BLOCK > MOST_MAPPED) return undefined;
    const base = HEAD_BYTES + first * CHUNK_BYTES;
    if (!this.#file.allocate(base, CHUNKS_IN_BLOCK * CHUNK_BYTES)) return undefined;
    const block = this.#mapBlock(base);
    if (block === undefined) return undefined;
    this.#file.populate(block);
    const map = this.#head.bytes;
    for (let chunk = first; chunk < first + CHUNKS_IN_BLOCK; chunk++) {
      const at = BLOCK_MAP + (chunk >>> 3);
      map[at] = (map[at] ?? 0) | (1 << (chunk & 7));
    }
    return block;
  }

  /** The block in which this place of the file lies. */
  blockWith(place: number): DataBlock | undefined {
    const chunk = Math.floor((place - HEAD_BYTES) / CHUNK_BYTES);
    for (let back = 0; back < CHUNKS_IN_BLOCK; back++) {
      const block = this.#blocks.get(HEAD_BYTES + (chunk - back) * CHUNK_BYTES);
      if (block !== undefined) return block;
    }
    return undefined;
  }

  /** A block of an earlier process has data. */
  isTaken({ base }: DataBlock): void {
    this.#freeBlocks.delete(base);
  }

  /** Nothing of the block is used any more: its memory goes back. */
  giveBlock(block: DataBlock): void {
    if (this.#frozen) return;
    this.#freeBlocks.set(block.base, block);
    this.#file.release(block.base, block.bytes.length);
  }

  #isBlock(chunk: number): boolean {
    if (chunk >= MOST_MAPPED) return false;
    return ((this.#head.bytes[BLOCK_MAP + (chunk >>> 3)] ?? 0) & (1 << (chunk & 7))) !== 0;
  }

  #adoptBlock(base: number, size: number): void {
    const whole = base + CHUNKS_IN_BLOCK * CHUNK_BYTES <= size;
    const block = whole ? this.#mapBlock(base) : undefined;
    if (block === undefined) throw new RecordsError('damaged', 'the file with the state is cut off');
    this.#freeBlocks.set(base, block);
  }

  #mapBlock(base: number): DataBlock | undefined {
    const piece = this.#file.map(base, CHUNKS_IN_BLOCK * CHUNK_BYTES);
    if (piece === undefined) return undefined;
    const block = { base, bytes: piece.bytes };
    this.#blocks.set(base, block);
    for (let count = 0; count < CHUNKS_IN_BLOCK; count++) this.#chunks.push(undefined);
    return block;
  }

  #chunkOf(ref: RecordRef): Chunk {
    const chunk = this.#chunks[Math.floor((ref - HEAD_BYTES) / CHUNK_BYTES)];
    if (chunk === undefined) throw new RangeError(`there is no record ${ref}`);
    return chunk;
  }

  #chunkWithRoom(slotBytes: number): Chunk | undefined {
    const roomy = this.#roomy.get(slotBytes);
    const known = roomy?.at(-1);
    if (known !== undefined) return known;
    const chunk = this.#takeSpare() ?? this.#grow();
    if (chunk === undefined) return undefined;
    chunk.assign(slotBytes);
    this.#roomy.set(slotBytes, [chunk]);
    return chunk;
  }

  #takeSpare(): Chunk | undefined {
    const chunk = this.#spare.at(-1);
    if (chunk === undefined || !this.#file.allocate(chunk.base, CHUNK_BYTES)) return undefined;
    return this.#spare.pop();
  }

  #grow(): Chunk | undefined {
    const base = HEAD_BYTES + this.#chunks.length * CHUNK_BYTES;
    if (!this.#file.allocate(base, CHUNK_BYTES)) return undefined;
    return this.#mapChunk(base);
  }

  #mapChunk(base: number): Chunk | undefined {
    const piece = this.#file.map(base, CHUNK_BYTES);
    if (piece === undefined) return undefined;
    const chunk = new Chunk(base, piece);
    this.#chunks.push(chunk);
    return chunk;
  }

  #adoptChunk(base: number): void {
    const chunk = this.#mapChunk(base);
    if (chunk === undefined) throw new RecordsError('damaged', 'the file with the state cannot be mapped');
    this.#stamp = Math.max(this.#stamp, chunk.adopt());
    const { slotBytes } = chunk;
    if (slotBytes === 0) {
      this.#spare.push(chunk);
      return;
    }
    if (!SLOT_SIZES.includes(slotBytes))
      throw new RecordsError('damaged', `the records from byte ${base} on have an unknown size`);
    this.#count += chunk.count;
    if (chunk.isFull) return;
    const roomy = this.#roomy.get(slotBytes) ?? [];
    roomy.push(chunk);
    this.#roomy.set(slotBytes, roomy);
  }

  #fail(): void {
    if (!this.#complete) return;
    this.#complete = false;
    this.#head.u32[INCOMPLETE_WORD] = 1;
    this.onIncomplete();
  }
}
