/** Reading directories: opendir with its revalidation, listings shared while nothing changed, readdir(plus). */
import { LRUCache } from 'lru-cache';
import { Errno, FuseError } from '../fuse/errno.js';
import type { DirectorySink, EntryReply, OpenReply } from '../fuse/operations.js';
import { Access } from '../nfs3/index.js';
import { type Caller, unattended } from './caller.js';
import { direntType, inodeNumber } from './fuse-attributes.js';
import type { Inode } from './inode.js';
import { interruptible } from './interruptible.js';
import { isDots, Listing, type ListingEntry } from './listing.js';
import type { Permission } from './permission.js';
import type { SillyRenames } from './silly-rename.js';
import type { VfsState } from './vfs-state.js';

/** Entries kept in listings that nobody is reading. */
const MAX_CACHED_ENTRIES = 200_000;
/** What an empty listing takes, in entries. */
const LISTING_OVERHEAD = 16;
/** From so many entries on, a directory is read by names alone unless the kernel asks for attributes. */
const HUGE = 10_000;
/** Directories that were opened and read, one after the other, before the next is expected to be. */
const WALK = 2;
const DT_UNKNOWN = 0;

class OpenDirectory {
  readonly inode: Inode;
  listing: Listing | undefined = undefined;
  /** Begun while the directory was being opened, and not asked for yet. */
  early: Listing | undefined;

  constructor(inode: Inode, early: Listing | undefined) {
    this.inode = inode;
    this.early = early;
  }
}

export class Directories {
  readonly #vfs: VfsState;
  readonly #permission: Permission;
  readonly #silly: SillyRenames;
  readonly #open = new Map<number, OpenDirectory>();
  readonly #listings = new LRUCache<number, Listing>({
    maxSize: MAX_CACHED_ENTRIES,
    sizeCalculation: (listing) => listing.entries.length + LISTING_OVERHEAD,
  });
  #nextFh = 1;
  /** How many directories were read since one was opened and not read. */
  #walked = 0;

  constructor(vfs: VfsState, permission: Permission, silly: SillyRenames) {
    this.#vfs = vfs;
    this.#permission = permission;
    this.#silly = silly;
    vfs.onDrop = (inode) => this.#listings.delete(inode.nodeid);
  }

  /** Listings kept for whoever reads a directory next. */
  get cachedListings(): number {
    return this.#listings.size;
  }

  async open(inode: Inode, caller: Caller): Promise<OpenReply> {
    const { closeToOpen } = this.#vfs.config;
    if (inode.opens++ === 0) this.#vfs.inodes.pin(inode);
    let early: Listing | undefined;
    try {
      await interruptible(this.#silly.settleWithin(inode), caller.cancellation);
      if (this.#walked >= WALK) early = this.#listEarly(inode, caller);
      const granted = closeToOpen
        ? await this.#permission.revalidate(inode, caller)
        : await this.#permission.granted(inode, caller);
      if ((granted & Access.READ) === 0) throw new FuseError(Errno.EACCES);
    } catch (error) {
      this.#unpin(inode);
      throw error;
    }
    const fh = this.#nextFh++;
    this.#open.set(fh, new OpenDirectory(inode, early));
    return { fh, openFlags: 0 };
  }

  /**
   * Whoever walks a tree reads what it opens: the first entries are asked for together with the right to read them.
   * They are used if they are of the directory as the opening finds it. Undefined: they are known, or nothing is
   * known that a change could be told by.
   */
  #listEarly(inode: Inode, caller: Caller): Listing | undefined {
    const known = this.#listings.get(inode.nodeid);
    if (inode.attributes === undefined) return undefined;
    if (known !== undefined && this.#isCurrent(inode, known) && this.#isUseful(known, true)) return undefined;
    const listing = new Listing(this.#vfs, inode);
    // What fails is asked for again by the one who reads.
    listing.load(0, this.#vfs.config.rdirplus !== 'none', unattended(caller.credential)).catch(() => {});
    return listing;
  }

  release(fh: number): void {
    const directory = this.#open.get(fh);
    if (directory === undefined) return;
    this.#open.delete(fh);
    const { inode, listing } = directory;
    if (listing === undefined) this.#walked = 0;
    if (listing?.complete && this.#isCurrent(inode, listing)) this.#listings.set(inode.nodeid, listing);
    this.#unpin(inode);
  }

  #unpin(inode: Inode): void {
    inode.opens--;
    this.#vfs.inodes.release(inode);
  }

  /** The listing shows the directory as it is now, as far as the attributes are trusted. */
  #isCurrent(inode: Inode, listing: Listing): boolean {
    return listing.generation === inode.generation && listing.changes === inode.contentChanges;
  }

  async read(fh: number, offset: bigint, sink: DirectorySink, plus: boolean, caller: Caller): Promise<void> {
    const directory = this.#open.get(fh);
    if (directory === undefined) throw new FuseError(Errno.EBADF, `unknown directory handle ${fh}`);
    const { rdirplus } = this.#vfs.config;
    // rewinddir(3) shows what opendir would (POSIX).
    const rewound = offset === 0n && directory.listing !== undefined;
    if (rewound) {
      await interruptible(this.#silly.settleWithin(directory.inode), caller.cancellation);
      await this.#vfs.fetchAttributes(directory.inode, caller, 'listing');
    }
    if (directory.listing === undefined) this.#walked++;
    const listing = this.#listingFor(directory, offset === 0n, plus);
    const withAttributes = (index: number): boolean =>
      rdirplus === 'force' || (rdirplus === 'auto' && (plus || index < HUGE));
    for (let index = Number(offset); ; index++) {
      if (index >= listing.entries.length) {
        await listing.load(index, withAttributes(index), caller);
        // The server is busy with the next part while this one goes to the reader.
        if (index > 0)
          listing.loadAhead(withAttributes(listing.entries.length), unattended(caller.credential));
      }
      const entry = listing.entries[index];
      if (entry === undefined) return;
      if (!this.#emit(directory.inode, entry, BigInt(index + 1), sink, plus)) return;
    }
  }

  #listingFor(directory: OpenDirectory, fromStart: boolean, plus: boolean): Listing {
    const { inode, listing, early } = directory;
    const vfs = this.#vfs;
    if (listing !== undefined && !fromStart) return listing;
    directory.early = undefined;
    const cached = this.#listings.get(inode.nodeid) ?? listing;
    if (cached !== undefined && this.#isCurrent(inode, cached) && this.#isUseful(cached, plus)) {
      vfs.counters.listings.hits++;
      directory.listing = cached;
      return cached;
    }
    this.#listings.delete(inode.nodeid);
    vfs.counters.listings.misses++;
    const fresh = early !== undefined && this.#isCurrent(inode, early) ? early : new Listing(vfs, inode);
    directory.listing = fresh;
    return fresh;
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
    if (!plus) return sink.add(entry.name, ino, type, next);
    const reply = isDots(entry.name) ? undefined : this.#entryReply(parent, entry);
    if (sink.addPlus(entry.name, ino, type, next, reply)) return true;
    // It did not fit, and will be asked for again: this time the kernel was told nothing.
    if (reply !== undefined) this.#vfs.inodes.forget(reply.nodeid, 1);
    return false;
  }

  #inoOf(parent: Inode, entry: ListingEntry): bigint {
    const attributes =
      entry.handle === undefined ? undefined : this.#vfs.inodes.findByHandle(entry.handle)?.attributes;
    if (attributes !== undefined) return inodeNumber(attributes, this.#vfs.rootFsid);
    return parent.attributes === undefined
      ? entry.fileid
      : inodeNumber({ ...parent.attributes, fileid: entry.fileid }, this.#vfs.rootFsid);
  }

  #entryReply(parent: Inode, entry: ListingEntry): EntryReply | undefined {
    const vfs = this.#vfs;
    if (entry.handle === undefined) return undefined;
    const dentry = vfs.dentries.get(parent, entry.name.toString('latin1'));
    const inode = dentry?.inode;
    if (dentry === undefined || inode?.attributes === undefined || !vfs.attributes.isFresh(inode))
      return undefined;
    if (inode.handle !== entry.handle) return undefined;
    return vfs.entryReply(inode, inode.attributes, vfs.entryValidity(parent, dentry.generation, true));
  }
}
