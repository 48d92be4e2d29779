/**
 * Keeps the cache on the local disk below its limit: the entries that were used longest ago go. Owns when it is looked at, and
 * what counts: the room that files take on the disk, whoever has stored them. Several processes may do so at once: they
 * remove the same files.
 */
import { lstat, readdir, unlink } from 'node:fs/promises';
import type { CacheFolder } from './cache-folder.js';
import { ENTRY_NAME } from './entry-format.js';

/** Other processes store as well: after a part of the limit this one looks again. */
const LOOK_PART = 1 / 16;
/** So that not every block that is stored removes a file. */
const DOWN_TO = 0.9;
/** Files looked at at a time: the threads that do it also serve reads. */
const AT_A_TIME = 2;
/** lstat(2) counts in these. */
const SECTOR = 512;

interface Found {
  readonly path: string;
  readonly bytes: number;
  readonly usedMs: number;
}

export class Eviction {
  readonly #folder: CacheFolder;
  readonly #limit: number;
  readonly #evicted: (files: number) => void;
  readonly #removed: () => Promise<void>;
  /** Since the folder was looked at last. The first store looks: other mounts had other limits. */
  #stored = Number.POSITIVE_INFINITY;
  #looking: Promise<void> | undefined;

  /**
   * `limit`: bytes of disk. `evicted` is told how many files went. `removed` resolves when what is to go in any case is gone: nothing
   * else has to go for it.
   */
  constructor(
    folder: CacheFolder,
    limit: number,
    evicted: (files: number) => void,
    removed: () => Promise<void>,
  ) {
    this.#folder = folder;
    this.#limit = limit;
    this.#evicted = evicted;
    this.#removed = removed;
  }

  /** `bytes` more have been written. */
  stored(bytes: number): void {
    this.#stored += bytes;
    if (this.#stored < this.#limit * LOOK_PART || this.#looking !== undefined) return;
    this.#stored = 0;
    this.#looking = this.#evict()
      // A folder that cannot be read is seen by those who store in it.
      .catch(() => {})
      .finally(() => {
        this.#looking = undefined;
      });
  }

  /** Resolves when a look that is under way has ended. */
  async settled(): Promise<void> {
    await this.#looking;
  }

  async #evict(): Promise<void> {
    await this.#removed();
    const files: Found[] = [];
    let total = 0;
    const { entries } = this.#folder;
    for (const shard of await readdir(entries)) {
      const names = (await readdir(`${entries}/${shard}`).catch(() => [])).filter((name) =>
        ENTRY_NAME.test(name),
      );
      for (let from = 0; from < names.length; from += AT_A_TIME) {
        const paths = names.slice(from, from + AT_A_TIME).map((name) => `${entries}/${shard}/${name}`);
        for (const found of await Promise.all(paths.map(look))) {
          if (found === undefined) continue;
          files.push(found);
          total += found.bytes;
        }
      }
    }
    if (total <= this.#limit) return;
    files.sort((a, b) => a.usedMs - b.usedMs);
    let gone = 0;
    for (const { path, bytes } of files) {
      if (total <= this.#limit * DOWN_TO) break;
      // Another process was faster, or it cannot be removed: either way the next one goes.
      if (
        await unlink(path).then(
          () => true,
          () => false,
        )
      )
        gone++;
      total -= bytes;
    }
    this.#evicted(gone);
  }
}

async function look(path: string): Promise<Found | undefined> {
  try {
    const { blocks, mtimeMs } = await lstat(path);
    return { path, bytes: blocks * SECTOR, usedMs: mtimeMs };
  } catch {
    return undefined;
  }
}
