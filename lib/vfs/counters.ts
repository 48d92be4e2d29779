/** Counts of the work of caches and of recovery, for tests and for users. Plain numbers, only ever counted up. */

export class CacheCounters {
  hits = 0;
  misses = 0;
  revalidated = 0;
  invalidated = 0;
}

/** The cache on the local disk. Hits and misses are reads of it: each is of one file, and of up to a mebibyte. */
export class DiskCacheCounters {
  hits = 0;
  misses = 0;
  bytesRead = 0;
  /** Pieces that READs brought and that are on the disk now; those that were left out, since too many waited. */
  stored = 0;
  bytesStored = 0;
  dropped = 0;
  /** Blocks that were not as their checksums say. They were read from the server again. */
  damaged = 0;
  /** Files that this mount has removed to keep the cache below its limit. */
  evicted = 0;
}

export class VfsCounters {
  readonly attributes = new CacheCounters();
  readonly dentries = new CacheCounters();
  readonly negativeDentries = new CacheCounters();
  readonly access = new CacheCounters();
  readonly listings = new CacheCounters();
  /** The kernel's page cache, as told at open: kept (hit) or dropped (invalidated). */
  readonly pages = new CacheCounters();
  /** Undefined: there is no cache on the local disk. */
  disk: DiskCacheCounters | undefined = undefined;
  readAheadHits = 0;
  readAheadWasted = 0;
  /** READs that were sent along with an open, and served the first read; the others came to nothing. */
  earlyReadHits = 0;
  earlyReadWasted = 0;
  /** Directories that were listed before a program that walks opened them, and those that it did not come to. */
  listedAheadHits = 0;
  listedAheadWasted = 0;
  /** LOOKUPs that were not sent, since the next call made the name. */
  lookupsSpared = 0;
  redrives = 0;
  redrivesFailed = 0;
  rootRemounts = 0;
  sillyRenames = 0;
  sillyRemoves = 0;
  sillyRemovesFailed = 0;
  jukeboxWaits = 0;
  /** Writes sent again because the server's write verifier changed. */
  rewrites = 0;
  /** Files that lost data of which the program that wrote it could not be told. */
  losses = 0;
  /** Locks that were held again after a restart of the server, and those that somebody else had got meanwhile. */
  locksReclaimed = 0;
  locksLost = 0;
  commits = 0;
  /** READDIRPLUS failed, and READDIR was asked instead. */
  plusFallbacks = 0;
}
