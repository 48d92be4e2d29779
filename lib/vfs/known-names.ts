/**
 * Directories all of whose names are known, because this mount made them or has just listed them: that a name
 * does not exist there needs no LOOKUP. Good for one generation of the directory, like a dentry, and for no
 * longer than attributes of directories are trusted without being asked for.
 *
 * Names that may exist are held, not those that do: what is in doubt counts as existing.
 */
import { LRUCache } from 'lru-cache';
import type { NodeId } from '../fuse/operations.js';
import type { Inode } from './inode.js';

interface Known {
  readonly generation: number;
  readonly names: Set<string>;
}

const MAX_DIRECTORIES = 1_000;
/** A larger directory is asked name by name. */
const MAX_NAMES = 20_000;

export class KnownNames {
  readonly #known: LRUCache<NodeId, Known>;

  /** `validMs` is for how long a directory's names are believed after they were learnt. */
  constructor(validMs: number, now: () => number) {
    this.#known = new LRUCache({
      max: MAX_DIRECTORIES,
      ttl: Math.max(1, Math.floor(validMs)),
      perf: { now },
    });
  }

  /** Directories all of whose names are known. */
  get size(): number {
    return this.#known.size;
  }

  /** `names` are all that `directory` has under its present generation. */
  learn(directory: Inode, names: Set<string>): void {
    if (names.size <= MAX_NAMES)
      this.#known.set(directory.nodeid, { generation: directory.generation, names });
  }

  /** The directory is gone from the inode table. */
  forget(directory: Inode): void {
    this.#known.delete(directory.nodeid);
  }

  /** True if the name is known not to exist, as far as the directory's attributes are to be trusted. */
  isAbsent(directory: Inode, name: string): boolean {
    const known = this.#known.get(directory.nodeid);
    return known !== undefined && known.generation === directory.generation && !known.names.has(name);
  }

  /** The name exists, or nobody knows. */
  mayExist(directory: Inode, name: string): void {
    const known = this.#known.peek(directory.nodeid);
    if (known === undefined) return;
    known.names.add(name);
    if (known.names.size > MAX_NAMES) this.#known.delete(directory.nodeid);
  }

  /** The name does not exist, as of a call that was sent under `generation`. */
  isGone(directory: Inode, name: string, generation: number): void {
    const known = this.#known.peek(directory.nodeid);
    if (known !== undefined && known.generation === generation) known.names.delete(name);
  }
}
