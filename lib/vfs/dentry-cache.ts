/**
 * Names in directories as last seen, positive and negative. A dentry is good while the directory's generation
 * is the one that was read before the LOOKUP was sent (Linux nfs_check_verifier); whether the directory itself
 * is still to be trusted is the attribute cache's to say.
 */
import { LRUCache } from 'lru-cache';
import type { Inode } from './inode.js';
import type { KnownNames } from './known-names.js';

export interface Dentry {
  /** Undefined: the name does not exist. */
  readonly inode: Inode | undefined;
  readonly generation: number;
}

export interface DentryLimits {
  readonly present: number;
  /** Names that do not exist belong to nothing that goes away and takes them along. */
  readonly absent: number;
}

const DEFAULT_LIMITS: DentryLimits = { present: 100_000, absent: 10_000 };

function keyOf(parent: Inode, name: string): string {
  return `${parent.nodeid}/${name}`;
}

/** A directory that was moved above its former parent by another client: the parent's own hint is void. */
function breakCircle(inode: Inode, parent: Inode): void {
  for (let at: Inode | undefined = parent; at !== undefined; at = at.parent) {
    if (at.parent !== inode) continue;
    at.parent = undefined;
    return;
  }
}

/** Names here are strings of one character per byte. */
export class DentryCache {
  readonly #present: LRUCache<string, Dentry>;
  readonly #absent: LRUCache<string, Dentry>;
  readonly #known: KnownNames | undefined;

  /** `known` is kept in step with every name that is set or deleted here. */
  constructor(known?: KnownNames, { present, absent }: DentryLimits = DEFAULT_LIMITS) {
    this.#present = new LRUCache({ max: present });
    this.#absent = new LRUCache({ max: absent });
    this.#known = known;
  }

  get size(): number {
    return this.#present.size + this.#absent.size;
  }

  /** What the name stood for while the directory was as it is now. */
  get(parent: Inode, name: string): Dentry | undefined {
    const dentry = this.getUnverified(parent, name);
    if (dentry === undefined || dentry.generation !== parent.generation) return undefined;
    return dentry.inode?.evicted === true || dentry.inode?.stale === true ? undefined : dentry;
  }

  /** What the name last stood for, even if the directory has changed since. */
  getUnverified(parent: Inode, name: string): Dentry | undefined {
    const key = keyOf(parent, name);
    return this.#present.get(key) ?? this.#absent.get(key);
  }

  /**
   * `generation` is the directory's from before the call whose reply says so. Ways up never form a circle, whatever
   * the server says: a directory that contains itself keeps the way it had.
   */
  set(parent: Inode, name: string, inode: Inode | undefined, generation: number): void {
    if (inode !== undefined && inode !== parent && !inode.isRoot) {
      // What is not known to be something else may be a directory.
      const mayHoldNames = inode.attributes === undefined || inode.isDirectory;
      if (inode.parent !== parent && mayHoldNames) breakCircle(inode, parent);
      inode.parent = parent;
      inode.name = name;
      inode.parentEpoch = parent.epoch;
    }
    const key = keyOf(parent, name);
    const [into, other] = inode === undefined ? [this.#absent, this.#present] : [this.#present, this.#absent];
    other.delete(key);
    into.set(key, { inode, generation });
    if (inode === undefined) this.#known?.isGone(parent, name, generation);
    else this.#known?.mayExist(parent, name);
  }

  /** What the name stands for is not known any more. */
  delete(parent: Inode, name: string): void {
    const key = keyOf(parent, name);
    this.#present.delete(key);
    this.#absent.delete(key);
    this.#known?.mayExist(parent, name);
  }

  /** The inode is gone from the inode table: the name that it was last seen under no longer leads to it. */
  forget({ parent, name, nodeid }: Inode): void {
    if (parent === undefined) return;
    const key = keyOf(parent, name);
    if (this.#present.peek(key)?.inode?.nodeid === nodeid) this.#present.delete(key);
  }
}
