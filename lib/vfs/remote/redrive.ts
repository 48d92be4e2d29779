/**
 * ESTALE and path redrive: when the server no longer knows a handle, the inode's path is resolved again from
 * the root. Owns when that happens, what counts as the same object, and what an application sees of it.
 *
 * It always ends: an operation redrives a handle once, operations on the same inode share one redrive, and
 * each directory on the way up is asked once.
 */
import { LRUCache } from 'lru-cache';
import type { Logger } from '../../base/log.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import {
  type Fattr3,
  type FileHandle,
  GETATTR,
  LOOKUP,
  Status,
  sameTime,
} from '../../programs/nfs3/index.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import { describePath, type Inode } from '../cache/inode.js';
import type { InodeTable } from '../cache/inode-table.js';
import type { Caller } from '../caller/caller.js';
import { unattended } from '../caller/caller.js';
import type { VfsCounters } from '../counters.js';
import type { NfsClient } from './nfs-client.js';
import { isStale, isStaleReply, type Reply, type Stale, statusError } from './status-errno.js';

/**
 * How an operation came to its object, which decides what its caller sees when the handle stays stale: by a `path`; by the
 * `object` itself, which an open descriptor may stand for (FUSE does not say); by the `descriptor` of an open file,
 * for its content; by that of an open directory, for a `listing` of its entries.
 */
export type ReachedBy = 'path' | 'object' | 'descriptor' | 'listing';

export interface RootFinder {
  /** Asks mountd for the root's handle again. Undefined when it refuses; the reason is logged. */
  findRoot(): Promise<FileHandle | undefined>;
}

export interface RedriveEvents {
  /** The inode's handle is void, and nothing better was found. */
  vanished(inode: Inode): void;
}

export interface RedriverParts {
  readonly nfs: NfsClient;
  readonly inodes: InodeTable;
  readonly attributes: AttributeCache;
  readonly rootFinder: RootFinder;
  readonly counters: VfsCounters;
  readonly log: Logger;
  readonly events: RedriveEvents;
}

/** `found`: the object has a handle to try. `gone`: its path says so. `unknown`: nobody could be asked. */
type Verdict = 'found' | 'gone' | 'unknown';

/** Threads remembered per inode as having been answered ESTALE. */
const MAX_REPORTED = 256;
/** In their place: a line was logged. The kernel's own thread id is never told ESTALE. */
const LOGGED = 0;

/** Directories between an object and the working directory that its path began in. */
const MAX_DEPTH = 4096;
/** Threads whose last ESTALE is remembered. */
const MAX_TOLD = 256;

export class Redriver {
  readonly #parts: RedriverParts;
  /** The object that each thread was last told ESTALE about. */
  readonly #lastTold = new LRUCache<number, Inode>({ max: MAX_TOLD });

  constructor(parts: RedriverParts) {
    this.#parts = parts;
  }

  /**
   * Runs `operation` with the inode's handle and, if the server calls that stale, once more after a redrive
   * that found the object again. The result may still have a stale status: see {@link reportFailure}.
   */
  async run<Result extends Reply>(
    inode: Inode,
    caller: Caller,
    operation: (handle: FileHandle) => Promise<Result>,
    stale: Stale = isStaleReply,
  ): Promise<Result> {
    const { handle, redrives } = inode;
    const result = await operation(handle);
    if (!stale(result)) {
      this.#works(inode);
      return result;
    }
    if (!(await this.#redrive(inode, handle, redrives, caller))) return result;
    const repeated = await operation(inode.handle);
    if (!stale(repeated)) this.#works(inode);
    return repeated;
  }

  /** As {@link run}, for operations that name two directories or a file and a directory. */
  async runTwo<Result extends Reply>(
    first: Inode,
    second: Inode,
    caller: Caller,
    operation: (first: FileHandle, second: FileHandle) => Promise<Result>,
  ): Promise<Result> {
    const both = first === second ? [first] : [first, second];
    const before = both.map((inode) => ({ inode, handle: inode.handle, redrives: inode.redrives }));
    const result = await operation(first.handle, second.handle);
    if (!isStaleReply(result)) {
      for (const inode of both) this.#works(inode);
      return result;
    }
    // Which of the two is meant, the server does not say: a path may be outdated where the handle is not.
    for (const { inode, handle, redrives } of before) {
      if (both.length > 1 && inode.handle === handle && (await this.#isKnown(handle, caller))) continue;
      if (!(await this.#redrive(inode, handle, redrives, caller))) return result;
    }
    const repeated = await operation(first.handle, second.handle);
    if (!isStaleReply(repeated)) for (const inode of both) this.#works(inode);
    return repeated;
  }

  async #isKnown(handle: FileHandle, caller: Caller): Promise<boolean> {
    return !isStale((await this.#parts.nfs.call(GETATTR, { object: handle }, caller)).status);
  }

  /** True if the inode has a handle that is worth another try, instead of `staleHandle`, which failed. */
  #redrive(inode: Inode, staleHandle: FileHandle, redrives: number, caller: Caller): Promise<boolean> {
    if (inode.handle !== staleHandle) return Promise.resolve(true);
    // A redrive ended while the operation was on its way: that one was for this operation, too.
    if (inode.redrives !== redrives) return Promise.resolve(!inode.stale);
    return this.#shared(inode, unattended(caller.credential), new Set());
  }

  #shared(inode: Inode, caller: Caller, visited: Set<Inode>): Promise<boolean> {
    // Hints of where things are may be wrong and go in a circle.
    if (visited.has(inode)) return Promise.resolve(false);
    visited.add(inode);
    inode.redriving ??= this.#attempt(inode, caller, visited)
      .catch((error: unknown): Verdict => {
        // The server could not be asked: the operation's own next try says why.
        if (error instanceof FuseError) return 'unknown';
        throw error;
      })
      .then((verdict) => {
        if (verdict === 'found') {
          inode.revive();
          return true;
        }
        inode.markStale(verdict === 'gone');
        this.#parts.counters.redrivesFailed++;
        this.#parts.events.vanished(inode);
        return false;
      })
      .finally(() => {
        inode.redrives++;
        inode.redriving = undefined;
      });
    return inode.redriving;
  }

  #attempt(inode: Inode, caller: Caller, visited: Set<Inode>): Promise<Verdict> {
    this.#parts.counters.redrives++;
    this.#distrust(inode);
    return inode.isRoot ? this.#findRoot(inode) : this.#findByPath(inode, caller, visited);
  }

  #distrust(inode: Inode): void {
    this.#parts.attributes.expire(inode);
    inode.advanceGeneration();
  }

  /** The server answers for the handle after all. */
  #works(inode: Inode): void {
    inode.revive();
  }

  async #findRoot(root: Inode): Promise<Verdict> {
    const { rootFinder, inodes, counters, log } = this.#parts;
    const handle = await rootFinder.findRoot();
    if (handle === undefined) return 'unknown';
    if (handle === root.handle) return 'found';
    counters.rootRemounts++;
    inodes.rekey(root, handle);
    root.epoch++;
    // The export may be another file system now: nothing of the old root's attributes is evidence.
    this.#parts.attributes.forgetAll(root);
    log.info('the root of the export has a new file handle; going on with it');
    return 'found';
  }

  async #findByPath(inode: Inode, caller: Caller, visited: Set<Inode>): Promise<Verdict> {
    const { nfs, inodes, attributes } = this.#parts;
    const { parent, name } = inode;
    if (parent === undefined) return 'unknown';
    const args = { directory: parent.handle, name };
    let start = attributes.start();
    let result = await nfs.call(LOOKUP, args, caller);
    if (isStale(result.status)) {
      if (parent.handle === args.directory && !(await this.#shared(parent, caller, visited))) {
        return parent.gone ? 'gone' : 'unknown';
      }
      start = attributes.start();
      result = await nfs.call(LOOKUP, { ...args, directory: parent.handle }, caller);
    }
    if (result.status === Status.NOENT || result.status === Status.NOTDIR) return 'gone';
    if (result.status !== Status.OK) return 'unknown';
    let found = result.attributes;
    if (found === undefined) {
      const answer = await nfs.call(GETATTR, { object: result.object }, caller);
      if (answer.status !== Status.OK) return 'unknown';
      found = answer.attributes;
    }
    if (!this.isSameObject(inode, parent, result.object, found)) return 'gone';
    if (result.object !== inode.handle) {
      inode.staleReported = undefined;
      inodes.rekey(inode, result.object);
      inode.epoch++;
      inode.parentEpoch = parent.epoch;
    }
    attributes.observe(inode, found, start);
    return 'found';
  }

  /**
   * Whether what `parent` has under the inode's name is the inode's object. Fileid and type must agree. That is
   * not enough where a file system gives a deleted file's number to the next one: then an unchanged ctime proves
   * it, or that all handles of the file system are new because the server was restarted, which shows in the
   * directory's.
   */
  isSameObject(inode: Inode, parent: Inode, handle: FileHandle, found: Fattr3): boolean {
    const known = inode.attributes;
    if (known === undefined) return handle === inode.handle;
    if (known.fileid !== found.fileid || known.type !== found.type) return false;
    if (handle === inode.handle || sameTime(known.ctime, found.ctime)) return true;
    return inode.parentEpoch !== parent.epoch && known.fsid === found.fsid;
  }

  /**
   * The error for a failed result. A handle that stays stale becomes, for a path, ESTALE the first time that a
   * thread meets it (the kernel's VFS then looks the path up again and repeats the call once, include/linux/namei.h
   * retry_estale), and ENOENT if that look ended at the same object. System calls on descriptors are not repeated: they
   * get ENOENT for what is only about the object, and EIO for its data. LOOKUP has a rule of its own (Lookup.find). A
   * directory that is gone has no more entries: readdir(3) takes ENOENT for its end, as with a local one that was
   * removed.
   */
  reportFailure(
    result: { readonly status: Status },
    operands: readonly [Inode, ...Inode[]],
    caller: Caller,
    reachedBy: ReachedBy = 'path',
  ): FuseError {
    const [first] = operands;
    const { status } = result;
    if (status === Status.OK) throw new Error('not a failure');
    if (!isStale(status)) return statusError(status);
    return this.reportStale(operands.find((inode) => inode.stale) ?? first, caller, reachedBy);
  }

  reportStale(inode: Inode, caller: Caller, reachedBy: ReachedBy): FuseError {
    if (reachedBy === 'descriptor' || (reachedBy === 'listing' && !inode.gone)) {
      this.#logOnce(inode);
      return new FuseError(Errno.EIO, 'stale file handle');
    }
    if (reachedBy !== 'path') return new FuseError(Errno.ENOENT, 'stale file handle');
    const again = new FuseError(Errno.ESTALE, 'stale file handle');
    // Threads that cannot be told apart: a file's names lead elsewhere by now, and so will the kernel's next look. A
    // directory may also be reached without a name, as somebody's working directory.
    if (caller.tid === 0 && inode.gone && !inode.isDirectory) return again;
    inode.staleReported ??= new Set();
    const reported = inode.staleReported;
    if (reported.delete(caller.tid) || caller.tid === 0 || this.#isOnTheWayAgain(inode, caller))
      return new FuseError(Errno.ENOENT, 'stale file handle');
    if (reported.size >= MAX_REPORTED) for (const tid of reported) if (tid !== LOGGED) reported.delete(tid);
    reported.add(caller.tid);
    this.#lastTold.set(caller.tid, inode);
    return again;
  }

  /**
   * The kernel repeats a call of this thread, and meets a directory that is gone above the object that was stale: the
   * caller works in it, for a path from the root would have led elsewhere. There is no third try.
   */
  #isOnTheWayAgain(inode: Inode, caller: Caller): boolean {
    if (!inode.gone || !inode.isDirectory) return false;
    let below = this.#lastTold.get(caller.tid)?.parent;
    for (let depth = 0; below !== undefined && depth < MAX_DEPTH; depth++) {
      if (below === inode) return true;
      below = below.parent;
    }
    return false;
  }

  /** A thread that was told ESTALE for `inode` has looked a name of it up again, and the name leads elsewhere. */
  retryEnded(inode: Inode, caller: Caller): void {
    if (caller.tid !== LOGGED) inode.staleReported?.delete(caller.tid);
  }

  /** One line for each file that fails; none for each where the export is gone, which has its own. */
  #logOnce(inode: Inode): void {
    const { inodes, log } = this.#parts;
    inode.staleReported ??= new Set();
    if (inode.staleReported.has(LOGGED) || inodes.root.stale) return;
    inode.staleReported.add(LOGGED);
    const why = inode.gone ? 'no longer on the server' : 'the server calls its file handle stale';
    log.warn(`${describePath(inode)}: ${why}; open descriptors of it fail with EIO`);
  }
}
