/**
 * What the server lets whom do (ACCESS, RFC 1813 3.3.4), kept per inode and credential. The server decides:
 * mode bits are never asked, since root squash and ACLs show only here.
 */
import { LRUCache } from 'lru-cache';
import type { UserCredential } from './caller.js';
import type { Inode } from './inode.js';

interface Granted {
  readonly asked: number;
  readonly granted: number;
  readonly accessGeneration: number;
}

const DEFAULT_MAX = 50_000;

export class AccessCache {
  readonly #granted: LRUCache<string, Granted>;

  constructor(max = DEFAULT_MAX) {
    this.#granted = new LRUCache({ max });
  }

  get size(): number {
    return this.#granted.size;
  }

  /** The ACCESS bits granted, if all of `wanted` were asked for since the permissions last changed. */
  get(inode: Inode, credential: UserCredential, wanted: number): number | undefined {
    const known = this.#granted.get(`${inode.nodeid}:${credential.id}`);
    if (known === undefined || known.accessGeneration !== inode.accessGeneration) return undefined;
    return (known.asked & wanted) === wanted ? known.granted : undefined;
  }

  /** `accessGeneration` is the inode's that the answer is good for. */
  set(
    inode: Inode,
    credential: UserCredential,
    asked: number,
    granted: number,
    accessGeneration: number,
  ): void {
    this.#granted.set(`${inode.nodeid}:${credential.id}`, { asked, granted, accessGeneration });
  }
}
