/**
 * Names by which the kernel may still know an object, although the cache of names does not: they had no room there, or their
 * meaning became doubtful. Owns these, for as long as the kernel holds the object.
 */
import type { Inode } from './inode.js';

const FIRST_LIMIT = 1024;

export class HeldNames {
  readonly #objects = new Map<string, Inode>();
  #limit = FIRST_LIMIT;

  /** The kernel may know the object by this name. */
  add(key: string, inode: Inode): void {
    this.#objects.set(key, inode);
    if (this.#objects.size > this.#limit) this.#clear();
  }

  /** An object that the kernel may know by this name. Undefined: it knows none. */
  get(key: string): Inode | undefined {
    const inode = this.#objects.get(key);
    if (inode === undefined || isHeld(inode)) return inode;
    this.#objects.delete(key);
    return undefined;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Drops what the kernel does not hold any more. There are at most twice as many names as were held the last time. */
  #clear(): void {
    for (const [key, inode] of this.#objects) if (!isHeld(inode)) this.#objects.delete(key);
    this.#limit = Math.max(FIRST_LIMIT, 2 * this.#objects.size);
  }
}

function isHeld({ nlookup, evicted }: Inode): boolean {
  return nlookup > 0 && !evicted;
}
