/**
 * The cache on the local disk (fsc): data that READ brought, for later mounts and for others of the same user. Owns which
 * data may be stored, and which may be handed out.
 *
 * Stored is what certainly belongs to its version, which is size, mtime and ctime: the attributes were the same before the
 * READ was sent and in its reply, the server's clock had left the tick of the ctime, and this mount was not changing the
 * file. Handed out is what belongs to the version that the attribute cache holds, as long as that is trusted: then the
 * kernel's pages are as well. A failing disk, a full one, and damage all end in a READ.
 */
import { atMost, type Clock } from '../../base/clock.js';
import { errorCode, type Logger } from '../../base/log.js';
import type { Fattr3, FileHandle } from '../../programs/nfs3/index.js';
import type { CurrentAttributes } from '../attributes/current-attributes.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import { sameState } from '../cache/picture.js';
import type { Caller } from '../caller/caller.js';
import type { ClientConfig } from '../config.js';
import { DiskCacheCounters, type VfsCounters } from '../counters.js';
import { BlockMemory } from './block-memory.js';
import type { CacheFolder } from './cache-folder.js';
import { BLOCK, type CachedExport, type EntryKey, entryKey } from './entry-format.js';
import { Eviction } from './eviction.js';
import { OpenEntries } from './open-entries.js';
import { StoreQueue } from './store-queue.js';

/** Bytes on their way to the disk, at the least and at the most: as many as may be read ahead. */
const LEAST_QUEUE = 4 * 1024 * 1024;
const MOST_QUEUE = 64 * 1024 * 1024;
/** The end of a mount waits so long for them. */
const CLOSE_MS = 2_000;
/** After a failure to store, nothing is stored for so long. */
const PAUSE_MS = 60_000;
/** Files that are read once more, at the most. */
const MOST_IN_LINE = 256;
/** The next one does not wait for longer: a READ may stay without an answer for ever. */
const TURN_MS = 30_000;
/** A file beyond this part of the limit would push out everything else, and at last itself. */
const LARGEST_PART = 1 / 2;

export interface DiskCacheNeeds {
  readonly attributes: AttributeCache;
  readonly clock: Clock;
  readonly config: ClientConfig;
  readonly counters: VfsCounters;
  readonly current: CurrentAttributes;
  readonly log: Logger;
}

/** The object and its version just before a READ is sent. */
export interface Before {
  readonly handle: FileHandle;
  readonly attributes: Fattr3;
  readonly generation: number;
  readonly contentChanges: number;
}

/** An answer of the disk. */
export interface FromDisk {
  /** Undefined: it has to be read from the server. */
  readonly data: Buffer | undefined;
  /** The data reaches the end of the file. */
  readonly eof: boolean;
  /** Without data: so many bytes are missing. */
  readonly gap: number;
}

interface KnownKey {
  readonly handle: FileHandle;
  readonly attributes: Fattr3;
  readonly key: EntryKey | undefined;
}

export class DiskCache {
  readonly #vfs: DiskCacheNeeds;
  readonly #folder: CacheFolder;
  readonly #of: CachedExport;
  readonly #counters = new DiskCacheCounters();
  readonly #entries: OpenEntries;
  readonly #queue: StoreQueue;
  readonly #eviction: Eviction;
  readonly #memory = new BlockMemory();
  readonly #keys = new WeakMap<Inode, KnownKey>();
  readonly #largest: number;
  #isClosed = false;
  #turn = Promise.resolve();
  #inLine = 0;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  readonly #told = new Set<string>();

  /** `folder` is closed with the cache. */
  constructor(vfs: DiskCacheNeeds, folder: CacheFolder, port: number) {
    this.#vfs = vfs;
    this.#folder = folder;
    vfs.counters.disk = this.#counters;
    const { host, exportPath, diskCacheSize, readAhead } = vfs.config;
    const limit = diskCacheSize ?? folder.standardLimit;
    this.#of = { host, port, exportPath };
    this.#entries = new OpenEntries(folder, vfs.clock);
    // With little memory for the mount, there is little for this as well.
    this.#queue = new StoreQueue(Math.min(MOST_QUEUE, Math.max(readAhead, LEAST_QUEUE)));
    const evicted = (files: number): void => {
      this.#counters.evicted += files;
    };
    this.#eviction = new Eviction(folder, limit, evicted, () => this.#entries.removed());
    this.#largest = limit * LARGEST_PART;
  }

  /**
   * Reads from the disk what it has of the file at `offset`: at most `length` bytes. `isOpening`: the server is being asked for the
   * attributes at this moment, and the data is dropped if they move. Undefined: nothing is known of this file here.
   * @throws FuseError of a server that cannot be asked whether the attributes still are as they were
   */
  async read(
    inode: Inode,
    offset: number,
    length: number,
    caller: Caller,
    isOpening: boolean,
  ): Promise<FromDisk | undefined> {
    if (this.#isClosed || !isQuiet(inode)) return undefined;
    // Linux asks as well when a program reads what is in memory, and the attributes have run out.
    if (!isOpening && !this.#vfs.attributes.isFresh(inode))
      await this.#vfs.current.fetch(inode, caller, 'descriptor');
    const before = this.before(inode);
    const key = before && this.#key(inode, before.handle, before.attributes);
    if (before === undefined || key === undefined || offset >= key.size) return undefined;
    const counters = this.#counters;
    try {
      const kept = await this.#entries.read(key, (entry) => entry.read(offset, length, this.#memory));
      if (kept !== undefined) counters.damaged += kept.damaged;
      if (kept?.data !== undefined && this.#isStill(inode, before)) {
        counters.hits++;
        counters.bytesRead += kept.data.length;
        return { data: kept.data, eof: offset + kept.data.length >= key.size, gap: 0 };
      }
      counters.misses++;
      // A READ that goes beyond the end as it is known here finds out where it is now.
      const goesOn = kept !== undefined && kept.gap > 0 && offset + kept.gap < key.size;
      return { data: undefined, eof: false, gap: goesOn ? kept.gap : length };
    } catch (error) {
      this.#entries.forget(key);
      this.#tellOnce('reading', error, 'the server is asked instead');
      return undefined;
    }
  }

  /** To be called when a READ is about to be sent. Undefined: its data will not be stored. */
  before(inode: Inode): Before | undefined {
    const { attributes, handle, generation, contentChanges } = inode;
    if (attributes === undefined || !isQuiet(inode)) return undefined;
    return { handle, attributes, generation, contentChanges };
  }

  /**
   * Data that a READ has brought, whose reply showed `after`. `isRacy`: the file may have changed again since without a new
   * ctime. Stores the blocks that it covers, some time later; the data may be used otherwise as soon as this returns.
   * Answers whether another READ of it is worth while later: this one came too early, or while too much waited.
   */
  offer(
    inode: Inode,
    before: Before | undefined,
    after: Fattr3 | undefined,
    offset: number,
    data: Uint8Array,
    isRacy: boolean,
  ): boolean {
    if (before === undefined || after === undefined) return false;
    // The server reads, and then looks at the attributes: only what was so before as well is proof.
    if (!sameState(before.attributes, after) || !this.#isStill(inode, before)) return false;
    const key = this.#key(inode, before.handle, before.attributes);
    if (key === undefined) return false;
    const from = Math.ceil(offset / BLOCK) * BLOCK;
    const end = offset + data.length;
    const to = end >= key.size ? key.size : end - (end % BLOCK);
    if (to <= from || to > this.#largest || this.#vfs.clock.now() < this.#pausedUntil) return false;
    if (isRacy) return true;
    const bytes = to - from;
    if (!this.#queue.hasRoom(bytes)) {
      this.#counters.dropped++;
      return true;
    }
    const room = this.#memory.take(bytes);
    const copy = room.subarray(0, bytes);
    copy.set(data.subarray(from - offset, to - offset));
    this.#queue.add(room.length, () => this.#store(key, from, copy));
    return false;
  }

  async #store(key: EntryKey, offset: number, data: Buffer): Promise<void> {
    try {
      const store = () => this.#entries.write(key, (entry) => entry.store(offset, data));
      let written = await store();
      if (written === undefined) {
        // Removed meanwhile, by who needs the room or has seen another version; or somebody only looked for it just now.
        this.#entries.forget(key);
        written = await store();
      }
      if (written === undefined) return;
      this.#counters.stored++;
      this.#counters.bytesStored += data.length;
      this.#eviction.stored(written);
    } catch (error) {
      this.#entries.forget(key);
      this.#pausedUntil = this.#vfs.clock.now() + PAUSE_MS;
      this.#tellOnce('storing', error, 'the mount goes on, and tries again from time to time');
    } finally {
      this.#memory.give(data);
    }
  }

  /** Takes back the memory that `part` is of, if it came from here. */
  recycle(part: Uint8Array): void {
    this.#memory.give(part);
  }

  /** Stores what waits, as far as that takes no longer than two seconds. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#queue.close(this.#vfs.clock, CLOSE_MS);
    await atMost(this.#vfs.clock, CLOSE_MS, this.#entries.removed());
    this.#entries.close();
    await this.#folder.close();
  }

  /**
   * Does something for the cache that nobody waits for: one thing at a time, when nothing waits for the disk. With too many
   * such things to do, this one is left out; one that takes half a minute goes on beside the next. Never rejects.
   */
  async inTurn(work: () => Promise<void>): Promise<void> {
    if (this.#inLine >= MOST_IN_LINE) return;
    this.#inLine++;
    this.#turn = this.#turn
      .then(async () => {
        await this.#queue.settled();
        if (!this.#isClosed) await atMost(this.#vfs.clock, TURN_MS, work());
      })
      .catch(() => {})
      .finally(() => {
        this.#inLine--;
      });
    await this.#turn;
  }

  /** Resolves when all that was offered is stored, and the limit is kept. */
  async settled(): Promise<void> {
    await this.#queue.settled();
    await this.#entries.removed();
    await this.#eviction.settled();
  }

  #isStill(inode: Inode, { generation, contentChanges }: Before): boolean {
    return inode.generation === generation && inode.contentChanges === contentChanges && isQuiet(inode);
  }

  #key(inode: Inode, handle: FileHandle, attributes: Fattr3): EntryKey | undefined {
    const known = this.#keys.get(inode);
    if (
      known !== undefined &&
      known.handle === handle &&
      sameState(known.attributes, attributes) &&
      known.attributes.fileid === attributes.fileid &&
      known.attributes.fsid === attributes.fsid
    )
      return known.key;
    const key = entryKey(this.#of, handle, attributes);
    this.#keys.set(inode, { handle, attributes, key });
    return key;
  }

  /**
   * One line for each kind of failure: a disk that is full stays full for long. None once the mount has ended: what is still under
   * way fails then because the folder is closed.
   */
  #tellOnce(doing: string, error: unknown, what: string): void {
    const code = errorCode(error);
    if (this.#isClosed || this.#told.has(doing + code)) return;
    this.#told.add(doing + code);
    this.#vfs.log.warn(
      `The cache on the local disk, ${this.#folder.path}, fails at ${doing} (${code}): ${what}.`,
    );
  }
}

/** A regular file that this mount is not changing. */
function isQuiet({ isRegular, stale, writer, own, removing }: Inode): boolean {
  return isRegular && !stale && own === undefined && removing === undefined && (writer?.clean ?? true);
}
