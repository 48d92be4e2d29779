/**
 * Lists directories that a program which walks a tree is about to open, so that it need not wait for each of them. Owns
 * which walks are under way, and the listings that came ahead.
 *
 * Close-to-open forbids it: opendir(3) has to show what another client had changed before. With nocto a listing may be
 * as old as the directory's attributes may be trusted, and then this one is used if it is younger than that, and only by
 * programs that walk there: whoever comes by by chance is answered as if it were not there.
 */
import type { Clock } from '../../base/clock.js';
import { FileType } from '../../programs/nfs3/index.js';
import type { Permission } from '../access/permission.js';
import type { DentryCache } from '../cache/dentry-cache.js';
import type { Inode } from '../cache/inode.js';
import { type Caller, unattended, withGroups } from '../caller/caller.js';
import type { ClientConfig } from '../config.js';
import type { VfsCounters } from '../counters.js';
import type { EarlyListing } from './directory-records.js';
import type { ListingNeeds } from './listing.js';
import { Listing } from './listing.js';
import { type Subdirectory, WalkPattern } from './walk-pattern.js';

/** The parts of the mount that this needs. */
export interface WalkAheadNeeds extends ListingNeeds {
  readonly clock: Clock;
  readonly config: ClientConfig;
  readonly counters: VfsCounters;
  readonly dentries: DentryCache;
}

/** Walks that are followed at the same time. */
const MOST_WALKS = 8;
/** Of the directories that are expected next, those that are listed ahead. */
const WINDOW = 32;
/** Listings that wait for their program, of all walks, and the bytes that they hold or may come to hold. */
const MOST_AHEAD = 128;
const MOST_BYTES = 8 * 1024 * 1024;
/** A listing that has not come yet counts as so many bytes: the first part of a directory is no longer. */
const BYTES_ON_THE_WAY = 64 * 1024;
/** A directory that looks larger than this, in bytes, is not listed ahead: one call would not bring it. */
const LARGEST = 64 * 1024;
/** Of a directory with more entries, it is not asked which of them are directories. */
const MOST_ENTRIES = 50_000;
/** A listing that has waited for longer is not used, in milliseconds. */
const OLDEST = 3_000;

/** A listing that was asked for before its directory was opened. */
export interface ListedAhead extends EarlyListing {
  /** Resolves once it is known what the program may do with the directory. Never rejects. */
  readonly admitted: Promise<void>;
}

interface Ahead extends ListedAhead {
  /** When it was asked for. */
  readonly at: number;
  ended: boolean;
}

interface Walk {
  readonly pattern: WalkPattern;
  /** The thread that opened a directory last. Threads of one program may take turns. */
  tid: number;
  readonly uid: number;
  readonly gid: number;
  readonly ahead: Map<Inode, Ahead>;
}

export class WalkAhead {
  readonly #vfs: WalkAheadNeeds;
  readonly #permission: Permission;
  /** The listing that the program would be given without a call. */
  readonly #kept: (inode: Inode) => Listing | undefined;
  /** The one that went on last comes last. */
  readonly #walks = new Set<Walk>();
  /** Listings that a program was given. */
  readonly #taken = new WeakSet<Listing>();

  constructor(vfs: WalkAheadNeeds, permission: Permission, kept: (inode: Inode) => Listing | undefined) {
    this.#vfs = vfs;
    this.#permission = permission;
    this.#kept = kept;
  }

  get #isEnabled(): boolean {
    const { walkAhead, closeToOpen, attributeCache, rdirplus, lookupCache } = this.#vfs.config;
    if (!walkAhead || closeToOpen || !attributeCache) return false;
    // Without attributes nobody knows which names are directories, and without names the kernel asks for each once more.
    return rdirplus !== 'none' && lookupCache !== 'none' && this.#oldest > 0;
  }

  /** How old a listing may be: what it says of the files in it is to be trusted yet. */
  get #oldest(): number {
    const { acRegMinMs, acDirMinMs } = this.#vfs.config;
    return Math.min(OLDEST, acRegMinMs, acDirMinMs);
  }

  /**
   * A program opens a directory. The directories that it is expected to open next are asked for. Answers the
   * listing of this one, if it was asked for ahead; it may have to be waited for, or the directory may have changed since.
   */
  opened(inode: Inode, caller: Caller): ListedAhead | undefined {
    if (!this.#isEnabled) return undefined;
    const walk = this.#walkOf(inode, caller);
    walk.tid = caller.tid;
    walk.pattern.open(inode);
    this.#dropOld(walk);
    const ahead = this.#take(walk, inode);
    const kept = this.#kept(inode);
    if (kept !== undefined) this.#note(walk, inode, kept);
    this.#goOn(walk, caller);
    return ahead;
  }

  #take(walk: Walk, inode: Inode): Ahead | undefined {
    const ahead = walk.ahead.get(inode);
    if (ahead === undefined) return undefined;
    const { listing } = ahead;
    walk.ahead.delete(inode);
    // One that has not come to the end belongs to one reader.
    if (this.#taken.has(listing) && !listing.isWhole) return undefined;
    this.#taken.add(listing);
    this.#vfs.counters.listedAheadHits++;
    return ahead;
  }

  /** A program reads a directory, and this much of it is known. */
  read(inode: Inode, listing: Listing, caller: Caller): void {
    if (!this.#isEnabled || !listing.isWhole) return;
    for (const walk of this.#walks) {
      if (!isBy(walk, caller) || !walk.pattern.isUnread(inode)) continue;
      this.#note(walk, inode, listing);
      this.#goOn(walk, caller);
    }
  }

  /** The inode is known no longer. */
  forget(inode: Inode): void {
    for (const walk of this.#walks) if (walk.ahead.has(inode)) this.#drop(walk, inode);
  }

  #walkOf(inode: Inode, caller: Caller): Walk {
    let found: Walk | undefined;
    for (const walk of this.#walks) {
      if (!isBy(walk, caller) || !walk.pattern.knows(inode)) continue;
      // Two programs may walk one tree: each goes on with its own walk.
      if (found === undefined || walk.tid === caller.tid) found = walk;
    }
    const { uid, gid } = caller.credential;
    found ??= { pattern: new WalkPattern(inode), tid: caller.tid, uid, gid, ahead: new Map() };
    this.#walks.delete(found);
    this.#walks.add(found);
    const [longestIdle] = this.#walks;
    if (this.#walks.size > MOST_WALKS && longestIdle !== undefined) {
      this.#walks.delete(longestIdle);
      for (const each of longestIdle.ahead.keys()) this.#drop(longestIdle, each);
    }
    return found;
  }

  #drop(walk: Walk, inode: Inode): void {
    walk.ahead.delete(inode);
    walk.pattern.wasInVain();
    this.#vfs.counters.listedAheadWasted++;
  }

  #dropOld(walk: Walk): void {
    const until = this.#vfs.clock.now() - this.#oldest;
    for (const [inode, { at }] of walk.ahead) {
      if (at <= until) this.#drop(walk, inode);
    }
  }

  /** Asks for what comes next, as far as the walk has earned it. */
  #goOn(walk: Walk, caller: Caller): void {
    let all = 0;
    let bytes = 0;
    for (const { ahead } of this.#walks) {
      all += ahead.size;
      for (const { ended, listing } of ahead.values()) bytes += ended ? listing.bytes : BYTES_ON_THE_WAY;
    }
    const { pattern, ahead } = walk;
    const window = Math.min(WINDOW, pattern.credit);
    let looked = 0;
    for (const inode of pattern.expected) {
      if (++looked > window || ahead.size >= pattern.credit) return;
      if (all >= MOST_AHEAD || bytes + BYTES_ON_THE_WAY > MOST_BYTES) return;
      if (ahead.has(inode)) continue;
      const kept = this.#kept(inode);
      if (kept !== undefined) this.#note(walk, inode, kept);
      else if (this.#isWorthIt(inode)) {
        this.#ask(walk, inode, caller);
        all++;
        bytes += BYTES_ON_THE_WAY;
      }
    }
  }

  #isWorthIt(inode: Inode): boolean {
    const { attributes, evicted, stale, own, removing } = inode;
    // Nothing is known that a change could be told by, or this mount is changing it.
    if (attributes === undefined || evicted || stale || own !== undefined || removing !== undefined)
      return false;
    return inode.isDirectory && attributes.size <= LARGEST && this.#vfs.plus.isOfUse(inode);
  }

  #ask(walk: Walk, inode: Inode, caller: Caller): void {
    const { credential, manyGroups, claim } = caller;
    const asker = withGroups({ ...unattended(credential), manyGroups, claim }, inode.attributes?.gid);
    const admitted = this.#permission.learn(inode, asker);
    const others = this.#askedBefore(inode);
    const listing = others?.listing ?? new Listing(this.#vfs, inode);
    const at = others?.at ?? this.#vfs.clock.now();
    const ahead: Ahead = { listing, admitted, at, until: at + this.#oldest, ended: false };
    walk.ahead.set(inode, ahead);
    // Where another walk has asked for it, this waits for the same call.
    listing.load(0, true, asker).then(
      () => {
        ahead.ended = true;
        // The program may have come here before it: then its own read tells what follows.
        if (walk.ahead.get(inode) !== ahead || !listing.isWhole || !this.#walks.has(walk)) return;
        this.#note(walk, inode, listing);
        this.#goOn(walk, asker);
      },
      // The program's own call will say why.
      () => {
        if (walk.ahead.get(inode) === ahead) this.#drop(walk, inode);
      },
    );
  }

  /** Two programs that walk one tree at the same time need one call. */
  #askedBefore(inode: Inode): Ahead | undefined {
    for (const { ahead } of this.#walks) {
      const found = ahead.get(inode);
      if (found?.listing.isCurrent && found.at > this.#vfs.clock.now() - this.#oldest) return found;
    }
    return undefined;
  }

  /** Tells the walk which directories the listing shows. */
  #note({ pattern }: Walk, inode: Inode, listing: Listing): void {
    if (!pattern.isUnread(inode) || listing.length > MOST_ENTRIES) return;
    const children: Subdirectory[] = [];
    for (const { name, handle } of listing.ofType(FileType.DIR)) {
      const child = this.#vfs.dentries.get(inode, name)?.inode;
      if (child !== undefined && child.handle === handle) children.push({ inode: child, name });
    }
    pattern.list(inode, children);
  }
}

/** The same user; which of the groups go along with a call depends on the object. */
function isBy({ uid, gid }: Walk, { credential }: Caller): boolean {
  return credential.uid === uid && credential.gid === gid;
}
