/**
 * Many LOOKUPs in one directory, one after the other: a program that walks its names. Then one READDIRPLUS
 * brings what each further LOOKUP would ask for (Linux nfs_advise_use_readdirplus has the same aim).
 */
import { LRUCache } from 'lru-cache';
import type { NodeId } from '../../fuse/contract/operations.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { ClientConfig } from '../config.js';
import type { LookupListener } from '../names/lookup.js';
import type { ListingNeeds } from './listing.js';
import { Listing } from './listing.js';
import type { PlusSupport } from './plus-support.js';

/** The parts of the mount that this needs. */
export interface LookupStormsNeeds extends ListingNeeds {
  readonly config: ClientConfig;
  readonly plus: PlusSupport;
}

/** So many LOOKUPs of a directory as it is are a storm. */
const STORM = 24;
/** In a small one these are: to read a hundred entries takes a server as long as some ten LOOKUPs do. */
const SMALL_STORM = 6;
/** One block of ext4, which holds about a hundred names; other file systems count fewer bytes for as many. */
const SMALL_DIRECTORY_BYTES = 4096n;
/** A directory that looks larger than this in bytes, or lists more names, is not read for a few of its names. */
const MAX_DIRECTORY_BYTES = 1024n * 1024n;
const MAX_ENTRIES = 8_192;
const MAX_WATCHED = 256;

interface Watched {
  readonly generation: number;
  lookups: number;
}

export class LookupStorms implements LookupListener {
  readonly #vfs: LookupStormsNeeds;
  readonly #watched = new LRUCache<NodeId, Watched>({ max: MAX_WATCHED });

  constructor(vfs: LookupStormsNeeds) {
    this.#vfs = vfs;
  }

  /** A LOOKUP in `directory` went to the server. Starts the reading when it is one too many; never rejects. */
  note(directory: Inode, caller: Caller): void {
    const { config, plus } = this.#vfs;
    if (config.rdirplus === 'none' || !config.attributeCache || config.lookupCache === 'none') return;
    const known = this.#watched.get(directory.nodeid);
    if (known === undefined || known.generation !== directory.generation) {
      this.#watched.set(directory.nodeid, { generation: directory.generation, lookups: 1 });
      return;
    }
    const size = directory.attributes?.size ?? 0n;
    const small = size <= SMALL_DIRECTORY_BYTES;
    // Once for each state of the directory.
    if (++known.lookups !== (small ? SMALL_STORM : STORM) || !plus.isOfUse(directory)) return;
    if (size > MAX_DIRECTORY_BYTES) return;
    void this.#read(directory, { ...caller, cancellation: undefined });
  }

  async #read(directory: Inode, caller: Caller): Promise<void> {
    const listing = new Listing(this.#vfs, directory);
    try {
      while (!listing.complete && listing.length < MAX_ENTRIES) {
        await listing.load(listing.length, true, caller);
      }
    } catch {
      // A caller who may search a directory may be forbidden to list it: then each name is looked up, as before.
    }
  }
}
