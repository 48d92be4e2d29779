/**
 * Finds objects that are not where they were last seen: renamed by a local process, or known to a client from before
 * the server was restarted. Walks the export in slices, keeps what it saw as an index by inode number for a while,
 * and uses only a small part of the time, also when clients ask for many lost handles.
 */
import { closeSync, constants } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type FileHandle, type FileName, FileType, NO_NAME } from '../../programs/nfs3/index.js';
import { NfsError, undefinedIfGone } from '../status-error.js';
import { cString, openAt } from '../system-calls-at.js';
import { eachEntry } from './directory-reader.js';
import { statAt, statDescriptor } from './file-stat.js';
import type { ObjectIdentity } from './handle.js';
import type { ObjectTable } from './object-table.js';
import type { ServedObject } from './served-object.js';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;

export interface TreeWalkOptions {
  /** A walk gives up after this many entries. */
  readonly maxEntries: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly log: (line: string) => void;
}

/** A directory on the way of the walk. It is not in the table, so that a walk does not displace other objects there. */
interface WalkedDirectory {
  readonly parent: WalkedDirectory | undefined;
  readonly name: FileName;
}

interface Sighting {
  readonly directory: WalkedDirectory;
  readonly name: FileName;
  readonly next: Sighting | undefined;
}

/** One directory that is being read, on the way from the root to where the walk is. */
interface Frame {
  readonly descriptor: number;
  readonly directory: WalkedDirectory;
  readonly subdirectories: FileName[];
}

/** How long one slice may hold up the event loop, in milliseconds. */
const SLICE = 4;
/** After a walk of more milliseconds that found nothing, its result stands for 20 times its duration. */
const CHEAP = 5;
const FRESH_FACTOR = 20;
/** The index is dropped after this many milliseconds without a search. */
const KEEP_INDEX = 30_000;

export class TreeWalk {
  readonly #table: ObjectTable;
  readonly #options: TreeWalkOptions;
  #index = new Map<bigint, Sighting>();
  #walking: Promise<void> | undefined;
  /** Settles at the end of the slice that is under way. */
  #slice: Promise<void> = Promise.resolve();
  #freshUntil = Number.NEGATIVE_INFINITY;
  /** The evictions of the table when the last walk began. Objects that it has forgotten since may be anywhere. */
  #evictions = 0;
  #forget: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(table: ObjectTable, options: TreeWalkOptions) {
    this.#table = table;
    this.#options = options;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#forget);
    this.#index.clear();
  }

  /**
   * Looks for the object of a handle and puts its place into the table. False: it is not in the export any more.
   */
  async find(handle: FileHandle): Promise<boolean> {
    const identity = this.#table.identityOf(handle);
    if (identity === undefined) return false;
    if (this.#findNearby(handle, identity)) return true;
    const isKnown = this.#table.peek(handle) !== undefined;
    let walked = false;
    while (!this.#closed) {
      const sightings = this.#index.has(identity.fileid);
      if (sightings && this.#findInIndex(handle, identity)) {
        this.#keepIndex();
        return true;
      }
      if (this.#walking !== undefined) {
        await this.#slice;
        walked ||= this.#walking === undefined;
        continue;
      }
      // An object that the last walk saw has moved since: walk again.
      const isFresh = this.#options.now() < this.#freshUntil && this.#evictions === this.#table.evictions;
      if (walked || (isFresh && !sightings && !isKnown)) {
        this.#table.forget(handle);
        return false;
      }
      walked = true;
      this.#walking = this.#walk()
        .catch((error: unknown) => this.#options.log(`walking the export failed: ${String(error)}`))
        .finally(() => {
          this.#walking = undefined;
        });
      await this.#slice;
    }
    return false;
  }

  /** Searches only its last directory: the object may have been renamed within it. */
  #findNearby(handle: FileHandle, identity: ObjectIdentity): boolean {
    const inode = this.#table.peek(handle);
    if (inode === undefined) return false;
    for (const link of inode.links) {
      try {
        const descriptor = this.#table.openDirectory(link.directory);
        const names: FileName[] = [];
        const readable = openAt(descriptor, cString('.'), O_RDONLY | O_DIRECTORY);
        if (readable < 0) continue;
        try {
          eachEntry(readable, (entry) => {
            if (entry.fileid === identity.fileid) names.push(entry.name);
          });
        } finally {
          closeSync(readable);
        }
        for (const name of names) if (this.#see(identity, link.directory, name)) return true;
      } catch (error) {
        undefinedIfGone(error);
      }
    }
    return false;
  }

  /** Whether the name leads to the object; then it is in the table. */
  #see(identity: ObjectIdentity, directory: ServedObject, name: FileName): boolean {
    const descriptor = this.#table.openDirectory(directory);
    const cName = cString(name);
    const stat = statAt(descriptor, cName);
    if (typeof stat === 'number' || !this.#table.matches(identity, stat, descriptor, cName)) return false;
    this.#table.intern(stat, directory, descriptor, name, cName);
    return true;
  }

  #findInIndex(handle: FileHandle, identity: ObjectIdentity): boolean {
    for (let seen = this.#index.get(identity.fileid); seen !== undefined; seen = seen.next) {
      const directory = this.#internDirectory(seen.directory);
      try {
        if (directory !== undefined && this.#see(identity, directory, seen.name)) {
          return this.#table.peek(handle) !== undefined;
        }
      } catch (error) {
        undefinedIfGone(error);
      }
    }
    return false;
  }

  #internDirectory(walked: WalkedDirectory): ServedObject | undefined {
    if (walked.parent === undefined) return this.#table.root;
    const parent = this.#internDirectory(walked.parent);
    if (parent === undefined) return undefined;
    try {
      const descriptor = this.#table.openDirectory(parent);
      const cName = cString(walked.name);
      const stat = statAt(descriptor, cName);
      if (typeof stat === 'number' || stat.type !== FileType.DIR) return undefined;
      return this.#table.intern(stat, parent, descriptor, walked.name, cName);
    } catch (error) {
      return undefinedIfGone(error);
    }
  }

  async #walk(): Promise<void> {
    const { now, maxEntries, log } = this.#options;
    const start = now();
    const index = new Map<bigint, Sighting>();
    this.#index = index;
    this.#evictions = this.#table.evictions;
    const stack: Frame[] = [];
    let entries = 0;

    const enter = (descriptor: number, directory: WalkedDirectory): void => {
      if (descriptor < 0) return;
      const subdirectories: FileName[] = [];
      stack.push({ descriptor, directory, subdirectories });
      const note = (fileid: bigint, where: WalkedDirectory, name: FileName): void => {
        index.set(fileid, { directory: where, name, next: index.get(fileid) });
      };
      // The entry of a mount point has the inode number of the directory below the mount. Ask the directory itself.
      const own = statDescriptor(descriptor);
      if (typeof own !== 'number' && directory.parent !== undefined && !index.has(own.fileid)) {
        note(own.fileid, directory.parent, directory.name);
      }
      try {
        eachEntry(descriptor, ({ fileid, name, type }) => {
          entries++;
          note(fileid, directory, name);
          if (type === FileType.DIR || type === undefined) subdirectories.push(name);
        });
      } catch (error) {
        if (!(error instanceof NfsError)) throw error;
      }
    };

    try {
      let sliceStart = start;
      enter(openAt(this.#table.rootDescriptor, cString('.'), O_RDONLY | O_DIRECTORY), {
        parent: undefined,
        name: NO_NAME,
      });
      while (!this.#closed) {
        const frame = stack[stack.length - 1];
        if (frame === undefined) break;
        const name = frame.subdirectories.pop();
        if (name === undefined) {
          closeSync(frame.descriptor);
          stack.pop();
          continue;
        }
        const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
        enter(openAt(frame.descriptor, cString(name), flags), { parent: frame.directory, name });
        if (entries > maxEntries) {
          log(`gave up looking for a lost file handle after ${entries} directory entries`);
          break;
        }
        if (now() - sliceStart >= SLICE) {
          this.#slice = nextTurn();
          await this.#slice;
          sliceStart = now();
        }
      }
    } finally {
      for (const frame of stack) closeSync(frame.descriptor);
    }
    const end = now();
    const duration = end - start;
    this.#freshUntil = duration > CHEAP ? end + FRESH_FACTOR * duration : end;
    this.#keepIndex();
  }

  #keepIndex(): void {
    clearTimeout(this.#forget);
    if (this.#closed) return;
    this.#forget = setTimeout(() => this.#index.clear(), KEEP_INDEX).unref();
  }
}
