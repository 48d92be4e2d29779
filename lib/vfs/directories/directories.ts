/** Reading directories: opendir with its revalidation, listings shared while nothing changed, readdir(plus). */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../base/clock.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { DirectorySink, EntryReply, OpenReply } from '../../fuse/contract/operations.js';
import { Access, fileNameToBytes, isDots, sameTime } from '../../programs/nfs3/index.js';
import type { Permission } from '../access/permission.js';
import type { CurrentAttributes } from '../attributes/current-attributes.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { DentryCache } from '../cache/dentry-cache.js';
import { GivenNumbers, type ReserveNumbers } from '../cache/given-numbers.js';
import type { Inode } from '../cache/inode.js';
import type { InodeTable } from '../cache/inode-table.js';
import type { OpenObjects } from '../cache/open-objects.js';
import { type Caller, unattended } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { ClientConfig } from '../config.js';
import type { VfsCounters } from '../counters.js';
import { direntType, inodeNumber } from '../kernel/fuse-attributes.js';
import type { KernelReplies } from '../kernel/kernel-replies.js';
import type { KernelView } from '../kernel/kernel-view.js';
import type { Lookup } from '../names/lookup.js';
import type { SillyRenames } from '../names/silly-rename.js';
import { type DirectoryRecords, type EarlyListing, OpenDirectory } from './directory-records.js';
import type { ListingNeeds } from './listing.js';
import { Listing } from './listing.js';
import type { ListingEntry } from './listing-chunk.js';
import type { ListingPlace } from './listing-place.js';
import { WalkAhead } from './walk-ahead.js';

/** The parts of the mount that this needs. */
export interface DirectoriesNeeds extends ListingNeeds {
  readonly attributes: AttributeCache;
  readonly clock: Clock;
  readonly config: ClientConfig;
  readonly counters: VfsCounters;
  readonly current: CurrentAttributes;
  readonly dentries: DentryCache;
  readonly inodes: InodeTable;
  readonly kernel: KernelView;
  readonly open: OpenObjects;
  readonly replies: KernelReplies;
  readonly records: { readonly directories: DirectoryRecords; readonly fhs: ReserveNumbers } | undefined;
}

/** Kept of listings that nobody is reading, in bytes. */
const MAX_CACHED = 64 * 1024 * 1024;
/** From so many entries on, a directory is read by names alone unless the kernel asks for attributes. */
const HUGE = 10_000;
/** Directories that were opened and read, one after the other, before the next is expected to be. */
const WALK = 2;
/** A listing that was asked for with the opening serves a read that comes within so long, in milliseconds. */
const EARLY_MS = 3_000;
const DT_UNKNOWN = 0;

/** Whom entries are given to, and in which form. */
interface Giving {
  readonly sink: DirectorySink;
  readonly plus: boolean;
  readonly withAttributes: (index: number) => boolean;
}

export class Directories {
  readonly #vfs: DirectoriesNeeds;
  readonly #permission: Permission;
  readonly #lookup: Lookup;
  readonly #silly: SillyRenames;
  readonly #ahead: WalkAhead;
  readonly #open = new Map<number, OpenDirectory>();
  readonly #listings = new LRUCache<number, Listing>({
    maxSize: MAX_CACHED,
    sizeCalculation: (listing) => listing.bytes,
  });
  readonly fhs: GivenNumbers;
  /** How many directories were read since one was opened and not read. */
  #walked = 0;

  constructor(vfs: DirectoriesNeeds, permission: Permission, lookup: Lookup, silly: SillyRenames) {
    this.#vfs = vfs;
    this.#permission = permission;
    this.#lookup = lookup;
    this.#silly = silly;
    this.#ahead = new WalkAhead(vfs, permission, (inode) => this.#kept(inode));
    this.fhs = new GivenNumbers(1, vfs.records?.fhs);
    vfs.inodes.onDropped((inode) => {
      this.#listings.delete(inode.nodeid);
      this.#ahead.forget(inode);
    });
  }

  /** Listings kept for whoever reads a directory next. */
  get cachedListings(): number {
    return this.#listings.size;
  }

  async open(inode: Inode, caller: Caller): Promise<OpenReply> {
    this.#vfs.open.open(inode);
    let early: EarlyListing | undefined;
    try {
      await interruptible(this.#silly.settleWithin(inode), caller.cancellation);
      early = await this.#listed(inode, caller);
      const { namesGeneration } = inode;
      await this.#permission.admit(inode, caller, (granted) => (granted & Access.READ) !== 0);
      if (inode.namesGeneration !== namesGeneration) await this.#lookup.confirm(inode, caller);
      await this.#vfs.kernel.notified();
    } catch (error) {
      this.#vfs.open.close(inode);
      throw error;
    }
    const { records } = this.#vfs;
    const { request } = caller;
    if (request?.resent) this.#dropUntold(request.unique ?? 0);
    const directory = new OpenDirectory(this.fhs.next(), inode, request?.unique ?? 0, early);
    this.#open.set(directory.fh, directory);
    records?.directories.opened(directory);
    return { fh: directory.fh, openFlags: 0 };
  }

  /** The same request had opened the directory before, and the kernel was never told: nobody would close it. */
  #dropUntold(unique: number): void {
    for (const directory of this.#open.values())
      if (directory.takenUp && directory.unique === unique) this.release(directory.fh);
  }

  /** Takes up a directory that an earlier process of this mount has opened. `place`: where its listing was. */
  takeUp(directory: OpenDirectory, place: ListingPlace | undefined): void {
    const { inode, fh } = directory;
    this.#vfs.open.open(inode);
    directory.takenUp = true;
    this.#open.set(fh, directory);
    directory.lookedBefore = place;
  }

  /** The beginning of a listing that serves the first read, where the directory is as its opening finds it. */
  async #listed(inode: Inode, caller: Caller): Promise<EarlyListing | undefined> {
    const ahead = this.#ahead.opened(inode, caller);
    if (ahead !== undefined) {
      await interruptible(ahead.admitted, caller.cancellation);
      if (ahead.listing.isCurrent) return ahead;
    }
    return this.#walked >= WALK ? this.#listEarly(inode, caller) : undefined;
  }

  /**
   * A program that walks a tree reads each directory that it opens: the first entries are asked for together with the right to read them.
   * They are used if they are of the directory as the opening finds it. Undefined: they are known, or nothing is
   * known that a change could be told by.
   */
  #listEarly(inode: Inode, caller: Caller): EarlyListing | undefined {
    if (inode.attributes === undefined || this.#kept(inode) !== undefined) return undefined;
    const listing = new Listing(this.#vfs, inode);
    const until = this.#vfs.clock.now() + EARLY_MS;
    // A failed call is repeated by the program's own read.
    listing.load(0, this.#vfs.config.rdirplus !== 'none', unattended(caller.credential)).catch(() => {});
    return { listing, until };
  }

  /** All of the directory as it is now, with attributes, if that is known. */
  #kept(inode: Inode): Listing | undefined {
    const known = this.#listings.get(inode.nodeid);
    return known?.isWhole && known.isCurrent && this.#isUseful(known, true) ? known : undefined;
  }

  release(fh: number): void {
    const directory = this.#open.get(fh);
    if (directory === undefined) return;
    this.#open.delete(fh);
    this.#vfs.records?.directories.closed(directory);
    const { inode, listing } = directory;
    if (listing === undefined) this.#walked = 0;
    else this.#keep(inode, listing);
    this.#vfs.open.close(inode);
  }

  /**
   * For those who read the directory next, and for a server that exports this mount: it opens the directory anew for
   * each part, and goes on where the last part ended, whatever has changed since.
   */
  #keep(inode: Inode, listing: Listing): void {
    const kept = this.#listings.peek(inode.nodeid);
    if (listing.isWhole && listing.isCurrent) this.#listings.set(inode.nodeid, listing);
    else if (!(kept?.isWhole && kept.isCurrent)) this.#listings.set(inode.nodeid, listing);
  }

  async read(fh: number, offset: bigint, sink: DirectorySink, plus: boolean, caller: Caller): Promise<void> {
    const directory = this.#open.get(fh);
    if (directory === undefined) throw new FuseError(Errno.EBADF, `unknown directory handle ${fh}`);
    const { rdirplus } = this.#vfs.config;
    if (directory.lookedBefore !== undefined) await this.#goOnWith(directory, directory.lookedBefore, caller);
    // rewinddir(3) shows what opendir would (POSIX).
    const rewound = offset === 0n && directory.listing !== undefined;
    if (rewound) {
      await interruptible(this.#silly.settleWithin(directory.inode), caller.cancellation);
      await this.#vfs.current.fetch(directory.inode, caller, 'listing');
    }
    this.#vfs.kernel.doubts(directory.inode);
    if (directory.listing === undefined) this.#walked++;
    const listing = this.#listingFor(directory, offset === 0n, plus);
    const withAttributes = (index: number): boolean =>
      rdirplus === 'force' || (rdirplus === 'auto' && (plus || index < HUGE));
    try {
      await this.#give(directory, listing, Number(offset), { sink, plus, withAttributes }, caller);
    } finally {
      this.#recordPlace(directory, listing);
    }
    this.#ahead.read(directory.inode, listing, caller);
  }

  async #give(
    { inode }: OpenDirectory,
    listing: Listing,
    from: number,
    { sink, plus, withAttributes }: Giving,
    caller: Caller,
  ): Promise<void> {
    for (let index = from; ; index++) {
      let entry = listing.entry(index);
      while (entry === undefined && !listing.endsBefore(index)) {
        index = await listing.load(index, withAttributes(index), caller);
        // The entries may have shown that files were changed elsewhere.
        await this.#vfs.kernel.pagesDropped();
        // The server is busy with the next part while this one goes to the reader.
        if (index > 0) listing.loadAhead(withAttributes(listing.length), unattended(caller.credential));
        entry = listing.entry(index);
      }
      if (entry === undefined) return;
      if (this.#emit(inode, entry, BigInt(index + 1), sink, plus)) continue;
      if (listing.nearsEnd(index))
        listing.loadAhead(withAttributes(listing.length), unattended(caller.credential));
      return;
    }
  }

  /** The kernel is about to get entries: whoever goes on with this mount has to know where to go on. */
  #recordPlace(directory: OpenDirectory, listing: Listing): void {
    const { records } = this.#vfs;
    if (records === undefined || listing.markCount === directory.marked) return;
    directory.marked = listing.markCount;
    records.directories.read(directory, listing.place());
  }

  /** Goes on with the listing of an earlier process. Entries are counted only if the directory looks as it did then. */
  async #goOnWith(directory: OpenDirectory, place: ListingPlace, caller: Caller): Promise<void> {
    const { inode } = directory;
    const { mtime, ctime } = await this.#vfs.current.fetch(inode, caller, 'listing');
    // Another request may have come here first.
    if (directory.lookedBefore !== place) return;
    directory.lookedBefore = undefined;
    const { looked } = place;
    const isSame = looked !== undefined && sameTime(looked.mtime, mtime) && sameTime(looked.ctime, ctime);
    directory.listing = new Listing(this.#vfs, inode);
    directory.listing.goOn(place, isSame);
  }

  #listingFor(directory: OpenDirectory, fromStart: boolean, plus: boolean): Listing {
    const { inode, listing, early } = directory;
    const vfs = this.#vfs;
    if (listing !== undefined && !fromStart) return listing;
    directory.early = undefined;
    const kept = this.#listings.get(inode.nodeid);
    const known = fromStart ? this.#fromStart(kept?.isWhole ? kept : listing, listing, plus) : kept;
    if (known !== undefined) {
      vfs.counters.listings.hits++;
      // One that has not come to the end belongs to one reader.
      if (!known.isWhole) this.#listings.delete(inode.nodeid);
      directory.listing = known;
      return known;
    }
    this.#listings.delete(inode.nodeid);
    vfs.counters.listings.misses++;
    const serves = early?.listing.isCurrent === true && vfs.clock.now() < early.until;
    directory.listing = serves ? early.listing : new Listing(vfs, inode);
    return directory.listing;
  }

  /** Of the listing that is known, what shows all of the directory as it is now: somebody's whole one, or one's own. */
  #fromStart(known: Listing | undefined, own: Listing | undefined, plus: boolean): Listing | undefined {
    if (known === undefined || !known.isCurrent || !this.#isUseful(known, plus)) return undefined;
    return known.isWhole || known === own ? known : undefined;
  }

  /** Where attributes are wanted, a listing whose attributes are old costs more GETATTRs than reading it again. */
  #isUseful(listing: Listing, plus: boolean): boolean {
    if (!this.#vfs.config.attributeCache) return false;
    if (!plus || this.#vfs.config.rdirplus === 'none') return true;
    return (
      listing.plusAt !== undefined && this.#vfs.clock.now() - listing.plusAt < this.#vfs.config.acRegMinMs
    );
  }

  #emit(parent: Inode, entry: ListingEntry, next: bigint, sink: DirectorySink, plus: boolean): boolean {
    const ino = this.#inoOf(parent, entry);
    const type = entry.type === undefined ? DT_UNKNOWN : direntType(entry.type);
    const name = fileNameToBytes(entry.name);
    if (!plus) return sink.add(name, ino, type, next);
    const reply = isDots(entry.name) ? undefined : this.#entryReply(parent, entry);
    if (sink.addPlus(name, ino, type, next, reply)) return true;
    // It did not fit, and will be asked for again: this time the kernel was told nothing.
    if (reply !== undefined) this.#vfs.inodes.forget(reply.nodeid, 1);
    return false;
  }

  #inoOf(parent: Inode, entry: ListingEntry): bigint {
    const attributes =
      entry.handle === undefined ? undefined : this.#vfs.inodes.findByHandle(entry.handle)?.attributes;
    if (attributes !== undefined) return inodeNumber(attributes, this.#vfs.replies.rootFsid);
    return parent.attributes === undefined
      ? entry.fileid
      : inodeNumber({ ...parent.attributes, fileid: entry.fileid }, this.#vfs.replies.rootFsid);
  }

  #entryReply(parent: Inode, entry: ListingEntry): EntryReply | undefined {
    const vfs = this.#vfs;
    if (entry.handle === undefined) return undefined;
    const dentry = vfs.dentries.get(parent, entry.name);
    const inode = dentry?.inode;
    if (dentry === undefined || inode?.attributes === undefined || !vfs.attributes.isFresh(inode))
      return undefined;
    if (inode.handle !== entry.handle) return undefined;
    const validMs = vfs.replies.entryValidity(parent, dentry.generation, true);
    vfs.kernel.tellsDentry(dentry, validMs);
    return vfs.replies.handOverDentry(inode, inode.attributes, validMs);
  }
}
