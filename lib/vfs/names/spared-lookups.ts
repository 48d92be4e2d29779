/**
 * Lookups that are not sent, since the call behind them makes the name and the server then says whether it was there: for
 * open(2) with O_CREAT and O_EXCL, mkdir(2), mknod(2), symlink(2) and link(2) (nfs_is_exclusive_create of Linux). Owns when that is
 * harmless, and for which names it was done.
 */
import { LRUCache } from 'lru-cache';
import type { CreationIntents } from '../../fuse/contract/operations.js';
import type { FileName } from '../../programs/nfs3/index.js';
import type { DentryCache } from '../cache/dentry-cache.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { ClientConfig } from '../config.js';
import type { VfsCounters } from '../counters.js';
import { ServerDistance } from './server-distance.js';

/** The parts of the mount that this needs. */
export interface SparedLookupsNeeds {
  readonly config: ClientConfig;
  readonly counters: VfsCounters;
  readonly dentries: DentryCache;
}

const MAX_REMEMBERED = 256;
/** To write and to search, as each of the three kinds of users may have it. */
const WRITE_AND_SEARCH = 3;

export class SparedLookups {
  readonly #vfs: SparedLookupsNeeds;
  readonly #intents: CreationIntents | undefined;
  readonly #distance = new ServerDistance();
  /** The name that a thread is about to make without a lookup. */
  readonly #byThread = new LRUCache<number, { readonly parent: Inode; readonly name: FileName }>({
    max: MAX_REMEMBERED,
  });

  constructor(vfs: SparedLookupsNeeds, intents: CreationIntents | undefined) {
    this.#vfs = vfs;
    this.#intents = vfs.config.directCreate && !vfs.config.readOnly ? intents : undefined;
  }

  /** A lookup that was sent took so many milliseconds. */
  lookupTook(ms: number): void {
    this.#distance.took(ms);
  }

  /** Whether the kernel may be told that the name is not there, without asking the server: it makes the name next. */
  async isSpared(parent: Inode, name: FileName, caller: Caller): Promise<boolean> {
    const uid = caller.request?.uid;
    if (this.#vfs.config.directCreate === 'far' && !this.#distance.isFar) return false;
    if (this.#intents === undefined || uid === undefined || !this.#isHarmless(parent, name, caller))
      return false;
    if (!(await this.#intents.makes({ pid: caller.tid, uid }, parent.nodeid, name))) return false;
    // Meanwhile the name may have become known.
    if (!this.#isHarmless(parent, name, caller)) return false;
    this.#byThread.set(caller.tid, { parent, name });
    this.#vfs.counters.lookupsSpared++;
    return true;
  }

  #isHarmless(parent: Inode, name: FileName, caller: Caller): boolean {
    // The server does not know the directory: a lookup finds out which one has taken its place.
    if (parent.stale || caller.claim !== undefined) return false;
    // The kernel would take a mount away that is on something of this name.
    if (this.#vfs.dentries.mayBeHeld(parent, name)) return false;
    // The kernel would say that nothing may be made there, instead of that it is there.
    return !this.#vfs.config.kernelChecks || mayAdd(parent, caller);
  }

  /** Whether the last lookup that was spared for this thread was this one. Says so once. */
  take(parent: Inode, name: FileName, { tid }: Caller): boolean {
    const spared = this.#byThread.get(tid);
    if (spared?.parent !== parent || spared.name !== name) return false;
    this.#byThread.delete(tid);
    return true;
  }
}

/** By the mode of the directory. */
function mayAdd({ attributes }: Inode, { credential }: Caller): boolean {
  if (attributes === undefined) return false;
  const { uid, gid, groups } = credential;
  if (uid === 0) return true;
  const isMember = attributes.gid === gid || groups.includes(attributes.gid);
  const shift = attributes.uid === uid ? 6 : isMember ? 3 : 0;
  return ((attributes.mode >> shift) & WRITE_AND_SEARCH) === WRITE_AND_SEARCH;
}
