/** Counts of the work of caches and of recovery, for tests and for users. Plain numbers, only ever counted up. */

export class CacheCounters {
  hits = 0;
  misses = 0;
  revalidated = 0;
  invalidated = 0;
}

export class VfsCounters {
  readonly attributes = new CacheCounters();
  readonly dentries = new CacheCounters();
  readonly negativeDentries = new CacheCounters();
  readonly access = new CacheCounters();
  readonly listings = new CacheCounters();
  /** The kernel's page cache, as told at open: kept (hit) or dropped (invalidated). */
  readonly pages = new CacheCounters();
  readAheadHits = 0;
  readAheadWasted = 0;
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
