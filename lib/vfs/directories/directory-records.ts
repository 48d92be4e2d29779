/**
 * Records of open directories, for the next process of this mount, should there be one: a listing goes on where it is. Owns
 * the interface; lib/vfs/handover implements it.
 */
import type { Inode } from '../cache/inode.js';
import type { Listing } from './listing.js';
import type { ListingPlace } from './listing-place.js';

/** A listing that was asked for before anybody has read its directory. */
export interface EarlyListing {
  readonly listing: Listing;
  /** A read that begins then (Clock.now), or later, asks the server. */
  readonly until: number;
}

/** A directory that a program has open. */
export class OpenDirectory {
  readonly fh: number;
  readonly inode: Inode;
  /** The kernel's number for the request that opened it. */
  readonly unique: number;
  listing: Listing | undefined = undefined;
  /** Begun while the directory was being opened, and not asked for yet. */
  early: EarlyListing | undefined;
  /** Where it is recorded. 0: nowhere. */
  record = 0;
  /** Marks of the listing that are recorded. */
  marked = 0;
  /** An earlier process of this mount has opened it. */
  takenUp = false;
  /** Where the listing of that process was, until it is known whether the directory still looks as it did. */
  lookedBefore: ListingPlace | undefined = undefined;

  constructor(fh: number, inode: Inode, unique: number, early: EarlyListing | undefined) {
    this.fh = fh;
    this.inode = inode;
    this.unique = unique;
    this.early = early;
  }
}

export interface DirectoryRecords {
  /** To be called before the kernel is told of the open directory. */
  opened(directory: OpenDirectory): void;
  /** To be called before the kernel gets entries. */
  read(directory: OpenDirectory, place: ListingPlace): void;
  closed(directory: OpenDirectory): void;
}
