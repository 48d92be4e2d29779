/**
 * An open file of the cache on the local disk. Owns the order of its writes, data before the checksum that vouches for it, and
 * that nothing is read from it without its checksum. Several processes may write it at once: they write the same bytes.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { BlockMemory } from './block-memory.js';
import {
  BLOCK,
  blockLength,
  type EntryKey,
  GROUP,
  groupStart,
  HEADER,
  INDEX,
  isIntact,
  isMarked,
  SUM,
  writeSum,
} from './entry-format.js';

const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;

/** Data that is stored in a file that was removed a moment ago is lost, and nothing else. */
const LOOK_MS = 500;
/** Data that begins so early in its group is read together with the index, in one go. */
const NEAR_INDEX = 8 * BLOCK;

/** The part of an entry from a place in the file on. */
export interface Kept {
  /** From that place on. Undefined: the entry does not have it. */
  readonly data: Buffer | undefined;
  /** Without data: so many bytes are missing there, and maybe more. */
  readonly gap: number;
  /** Blocks whose data was not what the index says. */
  readonly damaged: number;
}

export class CacheEntry {
  readonly #handle: FileHandle;
  readonly #key: EntryKey;
  /** The header is there: all else is worth a look. */
  #isWhole: boolean;
  /** When it was last seen to have its name. */
  #seenAt = performance.now();
  readonly lastUsedMs: number;

  private constructor(handle: FileHandle, key: EntryKey, isWhole: boolean, lastUsedMs: number) {
    this.#handle = handle;
    this.#key = key;
    this.#isWhole = isWhole;
    this.lastUsedMs = lastUsedMs;
  }

  /**
   * Opens the file at `path`, or makes it. Undefined: there is none, or something that is no file of a cache.
   * @throws the system's error
   */
  static async open(path: string, key: EntryKey, makes: boolean): Promise<CacheEntry | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | (makes ? O_CREAT : 0), 0o600);
    } catch (error) {
      if (!makes && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const found = await handle.stat();
      if (found.isFile()) {
        const header = Buffer.alloc(HEADER);
        const { bytesRead } = await handle.read(header, 0, HEADER, 0);
        const isWhole = bytesRead === HEADER && header.equals(key.header);
        return new CacheEntry(handle, key, isWhole, found.mtimeMs);
      }
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
    return undefined;
  }

  /** The data that there is from `offset` on: at most `length` bytes, and no more than the rest of the group. */
  async read(offset: number, length: number, memory: BlockMemory): Promise<Kept> {
    const { size, seed } = this.#key;
    const group = Math.floor(offset / GROUP);
    const start = group * GROUP;
    const end = Math.min(offset + length, start + GROUP, size);
    if (!this.#isWhole || end <= offset)
      return { data: undefined, gap: Math.max(0, end - offset), damaged: 0 };
    const first = Math.floor(offset / BLOCK);
    const last = Math.ceil(end / BLOCK);
    const { index, data } = await this.#load(group, first * BLOCK - start, last * BLOCK - start, memory);
    const sumAt = (block: number): number => (block - start / BLOCK) * SUM;
    let block = first;
    let damaged = 0;
    for (; block < last; block++) {
      if (!isMarked(index, sumAt(block), block, seed)) break;
      const from = (block - first) * BLOCK;
      const bytes = data.subarray(from, from + blockLength(block, size));
      if (bytes.length === blockLength(block, size) && isIntact(index, sumAt(block), bytes, block, seed))
        continue;
      damaged = 1;
      break;
    }
    const reached = Math.min(end, block * BLOCK);
    if (reached > offset) {
      const from = offset - first * BLOCK;
      return { data: data.subarray(from, from + reached - offset), gap: 0, damaged };
    }
    memory.give(data);
    for (block++; block < last && !isMarked(index, sumAt(block), block, seed); ) block++;
    return { data: undefined, gap: Math.min(end, block * BLOCK) - offset, damaged };
  }

  /** The group's index and its data from `from` to `to`, shorter where the file is. */
  async #load(
    group: number,
    from: number,
    to: number,
    memory: BlockMemory,
  ): Promise<{ readonly index: Buffer; readonly data: Buffer }> {
    const at = groupStart(group);
    const isNear = from <= NEAR_INDEX;
    const begin = isNear ? 0 : INDEX + from;
    const buffer = memory.take(INDEX + to - begin);
    const [index, { bytesRead }] = await Promise.all([
      isNear ? undefined : this.#index(at),
      this.#handle.read(buffer, 0, INDEX + to - begin, at + begin),
    ]);
    const whole = buffer.subarray(0, bytesRead);
    return {
      index: index ?? whole.subarray(0, INDEX),
      data: isNear ? whole.subarray(INDEX + from) : whole,
    };
  }

  async #index(at: number): Promise<Buffer> {
    const length = (GROUP / BLOCK) * SUM;
    const { bytesRead, buffer } = await this.#handle.read(Buffer.alloc(length), 0, length, at);
    return buffer.subarray(0, bytesRead);
  }

  /**
   * Stores blocks: `offset` is the start of one, and data ends with one or with the file. Resolves with the bytes that
   * were written; undefined if the file was removed meanwhile, and nobody will find it any more.
   * @throws the system's error
   */
  async store(offset: number, data: Uint8Array): Promise<number | undefined> {
    if (await this.#isGone()) return undefined;
    const { header, seed } = this.#key;
    let written = 0;
    if (!this.#isWhole) {
      // The rest of the file can vouch for nothing: its checksums are those of another header.
      written += await this.#write(header, 0);
      this.#isWhole = true;
    }
    for (let done = 0; done < data.length; ) {
      const at = offset + done;
      const group = Math.floor(at / GROUP);
      const piece = data.subarray(done, done + Math.min(data.length - done, (group + 1) * GROUP - at));
      const first = at / BLOCK;
      const sums = Buffer.alloc(Math.ceil(piece.length / BLOCK) * SUM);
      for (let from = 0, block = first; from < piece.length; from += BLOCK, block++)
        writeSum(sums, (block - first) * SUM, piece.subarray(from, from + BLOCK), block, seed);
      written += await this.#write(piece, groupStart(group) + INDEX + (at - group * GROUP));
      written += await this.#write(sums, groupStart(group) + (first - (group * GROUP) / BLOCK) * SUM);
      done += piece.length;
    }
    return written;
  }

  /** Whether the file was removed, as far as that was looked at lately. */
  async #isGone(): Promise<boolean> {
    const now = performance.now();
    if (now - this.#seenAt < LOOK_MS) return false;
    this.#seenAt = now;
    return (await this.#handle.stat()).nlink === 0;
  }

  async #write(bytes: Uint8Array, position: number): Promise<number> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, position + done);
      done += bytesWritten;
    }
    return bytes.length;
  }

  /** Notes that it was used at this time: the entries that were used longest ago go first. */
  async used(now: Date): Promise<void> {
    await this.#handle.utimes(now, now);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}
