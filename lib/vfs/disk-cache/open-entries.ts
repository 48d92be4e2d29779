/**
 * The files of the cache that are open: each once, for as long as it is in use and a little longer. Owns their number, and
 * that old versions of an object go when a new one is made. Nobody waits for that: to remove a large file takes seconds.
 */
import { mkdir, readdir, unlink } from 'node:fs/promises';
import type { Clock, Timer } from '../../base/clock.js';
import { errorCode } from '../../base/log.js';
import { CacheEntry } from './cache-entry.js';
import type { CacheFolder } from './cache-folder.js';
import type { EntryKey } from './entry-format.js';

/** A file that another process removes takes room until it is closed here. */
const IDLE_MS = 5_000;
/** More than a few streams at a time are no reason to hold more descriptors. */
const MOST_IDLE = 64;
/** The time of use is written no more often than this: order within it does not matter. */
const USE_STEP_MS = 60_000;

interface OpenEntry {
  readonly opening: Promise<CacheEntry | undefined>;
  users: number;
  idleSince: number;
}

export class OpenEntries {
  readonly #folder: CacheFolder;
  readonly #clock: Clock;
  readonly #unlink: (path: string) => Promise<void>;
  /** Removals of old versions that are under way. They never reject. */
  readonly #removals = new Set<Promise<void>>();
  /** Those used last stand last. */
  readonly #open = new Map<string, OpenEntry>();
  #timer: Timer | undefined;

  constructor(folder: CacheFolder, clock: Clock, remove: (path: string) => Promise<void> = unlink) {
    this.#folder = folder;
    this.#clock = clock;
    this.#unlink = remove;
  }

  /** Resolves with what `use` makes of the entry; undefined if there is none. Rejects with the errors of the system. */
  read<Result>(key: EntryKey, use: (entry: CacheEntry) => Promise<Result>): Promise<Result | undefined> {
    return this.#use(key, () => this.#find(key, false), use);
  }

  /** As {@link read}; an entry that is missing is made. Undefined: something else has its name. */
  write<Result>(key: EntryKey, use: (entry: CacheEntry) => Promise<Result>): Promise<Result | undefined> {
    return this.#use(key, () => this.#make(key), use);
  }

  async #use<Result>(
    key: EntryKey,
    find: () => Promise<CacheEntry | undefined>,
    use: (entry: CacheEntry) => Promise<Result>,
  ): Promise<Result | undefined> {
    const known = this.#open.get(key.name);
    const open = known ?? { opening: find(), users: 0, idleSince: 0 };
    open.users++;
    this.#open.delete(key.name);
    this.#open.set(key.name, open);
    try {
      const entry = await open.opening;
      if (entry !== undefined) return await use(entry);
      this.#drop(key.name, open);
      // Somebody who only looked has found nothing: who makes it has to try.
      return undefined;
    } catch (error) {
      this.#drop(key.name, open);
      throw error;
    } finally {
      open.users--;
      if (open.users === 0) this.#idle(key.name, open);
    }
  }

  async #find(key: EntryKey, makes: boolean): Promise<CacheEntry | undefined> {
    const entry = await CacheEntry.open(this.#folder.entry(key.name), key, makes);
    const now = Date.now();
    // The entry serves all the same, whether or not its time can be noted.
    if (entry !== undefined && Math.abs(now - entry.lastUsedMs) > USE_STEP_MS)
      entry.used(new Date(now)).catch(() => {});
    return entry;
  }

  async #make(key: EntryKey): Promise<CacheEntry | undefined> {
    try {
      return (await this.#find(key, false)) ?? (await this.#makeNew(key));
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return this.#makeNew(key);
      throw error;
    }
  }

  async #makeNew(key: EntryKey): Promise<CacheEntry | undefined> {
    const shard = this.#folder.shard(key.object);
    try {
      await mkdir(this.#folder.entries, { mode: 0o700 }).catch(ignoreExisting);
      await mkdir(shard, { mode: 0o700 });
    } catch (error) {
      ignoreExisting(error);
    }
    const entry = await this.#find(key, true);
    const names = await readdir(shard);
    const old = names.filter((name) => name.startsWith(`${key.object}-`) && name !== key.name);
    if (old.length === 0) return entry;
    // One after the other. A folder that is closed meanwhile is left as it is.
    const removal = this.#remove(old)
      .catch(() => {})
      .finally(() => void this.#removals.delete(removal));
    this.#removals.add(removal);
    return entry;
  }

  /** Whatever still reads one of them has it open. */
  async #remove(names: readonly string[]): Promise<void> {
    for (const name of names) await this.#unlink(this.#folder.entry(name)).catch(() => {});
  }

  /** Resolves when all old versions that are to go are gone. */
  async removed(): Promise<void> {
    await Promise.all(this.#removals);
  }

  /** The next use opens it anew: it was removed, or is not fit for use. */
  forget(key: EntryKey): void {
    const open = this.#open.get(key.name);
    if (open !== undefined) this.#drop(key.name, open);
  }

  #drop(name: string, open: OpenEntry): void {
    if (this.#open.get(name) === open) this.#open.delete(name);
    if (open.users === 0) close(open);
  }

  #idle(name: string, open: OpenEntry): void {
    if (this.#open.get(name) !== open) {
      close(open);
      return;
    }
    open.idleSince = this.#clock.now();
    if (this.#open.size > MOST_IDLE) {
      for (const [other, candidate] of this.#open) {
        if (candidate.users > 0) continue;
        this.#drop(other, candidate);
        break;
      }
    }
    this.#timer ??= this.#clock.after(IDLE_MS, () => this.#closeIdle());
  }

  #closeIdle(): void {
    this.#timer = undefined;
    const before = this.#clock.now() - IDLE_MS;
    for (const [name, open] of this.#open)
      if (open.users === 0 && open.idleSince <= before) this.#drop(name, open);
    if (this.#open.size > 0) this.#timer = this.#clock.after(IDLE_MS, () => this.#closeIdle());
  }

  /** Closes what is not in use; the rest follows its last use. */
  close(): void {
    this.#timer?.cancel();
    for (const [name, open] of this.#open) this.#drop(name, open);
    this.#open.clear();
  }
}

function close(open: OpenEntry): void {
  open.opening
    .then((entry) => entry?.close())
    .catch(() => {
      // An error of closing says nothing about data that has a checksum.
    });
}

function ignoreExisting(error: unknown): void {
  if (errorCode(error) !== 'EEXIST') throw error;
}
