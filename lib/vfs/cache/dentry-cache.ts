/**
 * Names in directories as last seen, positive and negative. A dentry is good while the directory's generation
 * is the one that was read before the LOOKUP was sent (Linux nfs_check_verifier); whether the directory itself
 * is still to be trusted is the attribute cache's to say.
 */
import { LRUCache } from 'lru-cache';
import type { KnownEntry, NodeId } from '../../fuse/contract/operations.js';
import { type FileName, fileNameToBytes } from '../../programs/nfs3/index.js';
import { HeldNames } from './held-names.js';
import type { Inode } from './inode.js';

/** A name in a directory. */
export interface DentryKey {
  readonly parent: Inode;
  readonly name: FileName;
}

export interface Dentry {
  /** Undefined: the name does not exist. */
  readonly inode: Inode | undefined;
  readonly generation: number;
  /** The inode's namesGeneration. */
  readonly namesGeneration: number;
  /** Until when the kernel was told that it need not ask. */
  kernelTrustsUntil: number;
}

export interface DentryLimits {
  readonly present: number;
  /** Names that do not exist belong to nothing that goes away and takes them along. */
  readonly absent: number;
}

const DEFAULT_LIMITS: DentryLimits = { present: 100_000, absent: 10_000 };

function keyOf(parent: Inode, name: FileName): string {
  return `${parent.nodeid}/${name}`;
}

/** The parts of a key. Its first slash ends the node id: names have none. */
function partsOf(key: string): { parent: NodeId; name: FileName } {
  const slash = key.indexOf('/');
  return { parent: Number(key.slice(0, slash)), name: key.slice(slash + 1) as FileName };
}

/** A directory that was moved above its former parent by another client: the parent's own hint is void. */
function breakCircle(inode: Inode, parent: Inode): void {
  for (let at: Inode | undefined = parent; at !== undefined; at = at.parent) {
    if (at.parent !== inode) continue;
    at.parent = undefined;
    return;
  }
}

/** No name has this key. */
const PLACEHOLDER = '/';
const NOTHING: Dentry = { inode: undefined, generation: 0, namesGeneration: 0, kernelTrustsUntil: 0 };

/**
 * A cache that is never empty: when its last entry goes, lru-cache clears all that it has room for,
 * which takes longer than to make a file.
 */
function neverEmpty(max: number, onGone: (key: string, dentry: Dentry) => void): LRUCache<string, Dentry> {
  // A dentry that takes the place of another leaves the name where it is.
  const dispose = (dentry: Dentry, key: string, reason: string): void => {
    if (reason !== 'set' && key !== PLACEHOLDER) onGone(key, dentry);
  };
  const disposeAfter = (_dentry: Dentry, key: string): void => {
    if (key === PLACEHOLDER) cache.set(PLACEHOLDER, NOTHING);
  };
  const cache = new LRUCache<string, Dentry>({ max: max + 1, dispose, disposeAfter });
  cache.set(PLACEHOLDER, NOTHING);
  return cache;
}

export class DentryCache {
  readonly #present: LRUCache<string, Dentry>;
  readonly #absent: LRUCache<string, Dentry>;
  /** The names of each directory that are in one of the two. */
  readonly #byDirectory = new Map<NodeId, Set<FileName>>();
  readonly #held = new HeldNames();

  /** Called when an inode was seen under another name, or in another directory, than before. */
  onMoved: (inode: Inode) => void = () => {};

  constructor({ present, absent }: DentryLimits = DEFAULT_LIMITS) {
    const leave = (key: string, { inode }: Dentry): void => {
      this.#leaveIndex(key);
      if (inode !== undefined) this.#held.add(key, inode);
    };
    this.#present = neverEmpty(present, leave);
    this.#absent = neverEmpty(absent, leave);
  }

  /** The kernel is told what the name stands for, and need not ask again until then. `inode`: that of the reply. */
  told(parent: Inode, name: FileName, until: number, inode?: Inode): void {
    const key = keyOf(parent, name);
    const present = this.#present.peek(key);
    const dentry = present ?? this.#absent.peek(key);
    if (dentry !== undefined) dentry.kernelTrustsUntil = until;
    if (inode !== undefined && present === undefined) this.#held.add(key, inode);
  }

  /**
   * Whether the kernel may know an object by this name, rightly or not. If not, there is nothing that it would drop if it were
   * told that the name is not there: no mount on the object, and nobody's working directory.
   */
  mayBeHeld(parent: Inode, name: FileName): boolean {
    return this.heldAs(parent, name) !== undefined;
  }

  /** An object that the kernel may know by this name, rightly or not. Undefined: it knows none. */
  heldAs(parent: Inode, name: FileName): Inode | undefined {
    const key = keyOf(parent, name);
    return this.#present.peek(key)?.inode ?? this.#held.get(key);
  }

  /** The kernel has renamed something, most probably `inode`. */
  kernelMoved(from: DentryKey, to: DentryKey, inode: Inode): void {
    this.#held.add(keyOf(to.parent, to.name), this.#held.get(keyOf(from.parent, from.name)) ?? inode);
  }

  /** The names in `directory` that the kernel need not ask for after `now`. From now on it has to. */
  takeTrusted(directory: Inode, now: number): KnownEntry[] {
    const entries: KnownEntry[] = [];
    for (const name of this.#byDirectory.get(directory.nodeid) ?? []) {
      const key = keyOf(directory, name);
      const dentry = this.#present.peek(key) ?? this.#absent.peek(key);
      if (dentry === undefined || dentry.kernelTrustsUntil <= now) continue;
      dentry.kernelTrustsUntil = 0;
      entries.push({ name: fileNameToBytes(name), exists: dentry.inode !== undefined });
    }
    return entries;
  }

  #enterIndex(parent: NodeId, name: FileName): void {
    const names = this.#byDirectory.get(parent);
    if (names === undefined) this.#byDirectory.set(parent, new Set([name]));
    else names.add(name);
  }

  #leaveIndex(key: string): void {
    const { parent, name } = partsOf(key);
    const names = this.#byDirectory.get(parent);
    if (names?.delete(name) && names.size === 0) this.#byDirectory.delete(parent);
  }

  /** Names of objects that it holds at the most. */
  get room(): number {
    return this.#present.max - 1;
  }

  get size(): number {
    return this.#present.size + this.#absent.size - 2;
  }

  /** The meaning of the name while the directory was as it is now. */
  get(parent: Inode, name: FileName): Dentry | undefined {
    const dentry = this.getUnverified(parent, name);
    if (dentry === undefined || dentry.generation !== parent.generation) return undefined;
    const { inode } = dentry;
    if (inode === undefined) return dentry;
    const doubted = inode.evicted || inode.stale || dentry.namesGeneration !== inode.namesGeneration;
    return doubted ? undefined : dentry;
  }

  /** The last known meaning of the name, even if the directory has changed since. */
  getUnverified(parent: Inode, name: FileName): Dentry | undefined {
    const key = keyOf(parent, name);
    return this.#present.get(key) ?? this.#absent.get(key);
  }

  /**
   * The inode was seen there last. Ways up never form a circle, whatever the server says: a directory that contains itself
   * keeps the way it had. True: it was last seen elsewhere.
   */
  place(parent: Inode, name: FileName, inode: Inode): boolean {
    if (inode === parent || inode.isRoot) return false;
    // Only a new place makes a circle, and only of what may be a directory. A listing sets thousands that are neither.
    const mayHoldNames = inode.attributes === undefined || inode.isDirectory;
    if (inode.parent !== parent && mayHoldNames) breakCircle(inode, parent);
    const hasMoved = inode.parent !== parent || inode.name !== name;
    inode.parent = parent;
    inode.name = name;
    inode.parentEpoch = parent.epoch;
    return hasMoved;
  }

  /** `generation` is the directory's from before the call whose reply says so. */
  set(parent: Inode, name: FileName, inode: Inode | undefined, generation: number): void {
    if (inode !== undefined && this.place(parent, name, inode)) this.onMoved(inode);
    const key = keyOf(parent, name);
    const [into, other] = inode === undefined ? [this.#absent, this.#present] : [this.#present, this.#absent];
    const known = into.peek(key) ?? other.peek(key);
    other.delete(key);
    const namesGeneration = inode?.namesGeneration ?? 0;
    // The kernel goes on to believe what it was told before.
    const kernelTrustsUntil = known?.kernelTrustsUntil ?? 0;
    into.set(key, { inode, generation, namesGeneration, kernelTrustsUntil });
    this.#enterIndex(parent.nodeid, name);
  }

  /** The meaning of the name is not known any more. */
  delete(parent: Inode, name: FileName): void {
    const key = keyOf(parent, name);
    this.#present.delete(key);
    this.#absent.delete(key);
  }

  /** The inode is gone from the inode table: the name that it was last seen under no longer leads to it. */
  forget({ parent, name, nodeid }: Inode): void {
    if (parent === undefined) return;
    const key = keyOf(parent, name);
    if (this.#present.peek(key)?.inode?.nodeid === nodeid) this.#present.delete(key);
  }
}
