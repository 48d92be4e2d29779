/** The attributes of an object as they are now: from the cache while it is trusted, else from the server. */
import { type Fattr3, GETATTR, Status } from '../../programs/nfs3/index.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { VfsCounters } from '../counters.js';
import { type Exchange, ofObject } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import type { ReachedBy, Redriver } from '../remote/redrive.js';

/** How often attributes are asked for when the replies to two calls contradict each other. */
const MAX_ASKED = 3;

export interface CurrentAttributesParts {
  readonly nfs: NfsClient;
  readonly attributes: AttributeCache;
  readonly redriver: Redriver;
  readonly exchange: Exchange;
  readonly counters: VfsCounters;
  /** Told of each look at the root. */
  readonly sawRoot: (attributes: Fattr3) => void;
}

export class CurrentAttributes {
  readonly #parts: CurrentAttributesParts;

  constructor(parts: CurrentAttributesParts) {
    this.#parts = parts;
  }

  /**
   * Attributes straight from the server, and no older than those that other calls have brought meanwhile.
   * @throws FuseError for the application, by the {@link ReachedBy} that its request was about.
   */
  async fetch(inode: Inode, caller: Caller, reachedBy: ReachedBy = 'path'): Promise<Fattr3> {
    const { nfs, attributes, redriver, exchange, sawRoot } = this.#parts;
    for (let asked = 1; ; asked++) {
      const { result, start } = await exchange.ask(
        inode,
        caller,
        (object) => nfs.call(GETATTR, { object }, caller),
        ofObject,
      );
      if (result.status !== Status.OK) throw redriver.reportFailure(result, [inode], caller, reachedBy);
      // The handle answers for another object now.
      if (inode.stale) throw redriver.reportStale(inode, caller, reachedBy);
      if (inode.isRoot) sawRoot(result.attributes);
      const latest = attributes.latest(inode, result.attributes, start);
      if (latest !== undefined) return latest;
      if (asked === MAX_ASKED) return result.attributes;
    }
  }

  /** Attributes from the cache; undefined once they are no longer trusted. */
  trusted(inode: Inode): Fattr3 | undefined {
    const { attributes, counters } = this.#parts;
    if (inode.attributes !== undefined && attributes.isFresh(inode)) {
      counters.attributes.hits++;
      return inode.attributes;
    }
    counters.attributes.misses++;
    return undefined;
  }

  /** Attributes from the cache while they are trusted, else from the server, as {@link fetch} has them. */
  async fresh(inode: Inode, caller: Caller, reachedBy: ReachedBy = 'path'): Promise<Fattr3> {
    return this.trusted(inode) ?? this.fetch(inode, caller, reachedBy);
  }
}
