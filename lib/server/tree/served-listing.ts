/**
 * Directories as READDIR sees them: in the order of a hash of the name, which is also the cookie. A cookie therefore
 * means the same place after entries were added or removed, in every listing of the directory, and even after a restart
 * of the server. The cached listing only saves the reading of the directory for every reply.
 */
import { closeSync, constants } from 'node:fs';
import { LRUCache } from 'lru-cache';
import { type FileHandle, type FileName, type FileType, sameTime } from '../../programs/nfs3/index.js';
import { check } from '../status-error.js';
import { cString, openAt } from '../system-calls-at.js';
import { eachEntry, type RawEntry } from './directory-reader.js';
import type { FileStat } from './file-stat.js';
import type { ServedObject } from './served-object.js';

/** "." and ".." have the cookies 1 and 2. */
const FIRST_COOKIE = 3;
/** Milliseconds for which a listing goes on to be used after its directory has changed. */
const CONTINUE_FOR = 2000;

export interface ListedEntry {
  readonly cookie: number;
  readonly name: FileName;
  readonly fileid: bigint;
  readonly type: FileType | undefined;
}

export interface ServedListing {
  readonly entries: readonly ListedEntry[];
  readonly directory: FileStat;
  readonly builtAt: number;
}

/** 53 bits of the name: FNV-1a twice, with different starts. */
function cookieOf(name: FileName): number {
  let low = 0x811c9dc5;
  let high = 0x01234567;
  for (let i = 0; i < name.length; i++) {
    const byte = name.charCodeAt(i);
    low = Math.imul(low ^ byte, 0x01000193);
    high = Math.imul(high ^ byte, 0x85ebca6b);
    high ^= high >>> 13;
  }
  return (high & 0x1fffff) * 0x1_0000_0000 + (low >>> 0);
}

/** Cookies in order and different from each other; two names with the same hash come in the order of the names. */
function arrange(raw: readonly RawEntry[]): ListedEntry[] {
  const entries = raw.map(({ name, fileid, type }) => ({ cookie: cookieOf(name), name, fileid, type }));
  entries.sort((a, b) => a.cookie - b.cookie || (a.name < b.name ? -1 : 1));
  let last = FIRST_COOKIE - 1;
  for (const entry of entries) {
    if (entry.cookie <= last) entry.cookie = last + 1;
    last = entry.cookie;
  }
  return entries;
}

/** Index of the first entry behind the cookie. */
export function indexAfter(listing: ServedListing, cookie: number): number {
  let low = 0;
  let high = listing.entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((listing.entries[middle]?.cookie ?? 0) <= cookie) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class Listings {
  readonly #cache: LRUCache<FileHandle, ServedListing>;
  readonly #now: () => number;

  /** `maxEntries`: of all cached listings together. */
  constructor(maxEntries: number, now: () => number) {
    this.#now = now;
    this.#cache = new LRUCache({
      maxSize: maxEntries,
      // Keep one listing of any length: reading a long one again for every reply would take too long.
      sizeCalculation: (listing) => Math.min(listing.entries.length + 1, maxEntries),
    });
  }

  /**
   * The listing to answer from. A new one for cookie 0; else the one that was begun, unless the directory has
   * changed and it is getting old. `descriptor` and `stat` are the directory's. Throws NfsError.
   */
  get(inode: ServedObject, descriptor: number, stat: FileStat, isStart: boolean): ServedListing {
    const known = isStart ? undefined : this.#cache.get(inode.handle);
    if (known !== undefined) {
      const unchanged =
        sameTime(known.directory.mtime, stat.mtime) && sameTime(known.directory.ctime, stat.ctime);
      if (unchanged || this.#now() - known.builtAt < CONTINUE_FOR) return known;
    }
    const raw: RawEntry[] = [];
    const readable = check(openAt(descriptor, cString('.'), constants.O_RDONLY | constants.O_DIRECTORY));
    try {
      eachEntry(readable, (entry) => raw.push(entry));
    } finally {
      closeSync(readable);
    }
    const listing = { entries: arrange(raw), directory: stat, builtAt: this.#now() };
    this.#cache.set(inode.handle, listing);
    return listing;
  }
}
