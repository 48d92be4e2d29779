/**
 * ESTALE and path redrive: when the server no longer knows a handle, the inode's path is resolved again from
 * the root. Owns when that happens, what counts as the same object, and what an application sees of it.
 *
 * It always ends: an operation redrives a handle once, operations on the same inode share one redrive, and
 * each directory on the way up is asked once.
 */
import { Errno, FuseError } from '../fuse/errno.js';
import { type Fattr3, type FileHandle, GETATTR, LOOKUP, Status, sameTime } from '../nfs3/index.js';
import type { AttributeCache } from './attribute-cache.js';
import type { Caller } from './caller.js';
import { unattended } from './caller.js';
import type { Logger } from './config.js';
import type { VfsCounters } from './counters.js';
import { isStale, statusError } from './errors.js';
import { describePath, type Inode } from './inode.js';
import type { InodeTable } from './inode-table.js';
import type { NfsClient } from './nfs-client.js';

/** What an operation was about, which decides what its caller sees when the object is gone. */
export type Operand = 'path' | 'descriptor';

export interface RootFinder {
  /** Asks mountd for the root's handle again. Undefined when it refuses; the reason is logged. */
  findRoot(): Promise<FileHandle | undefined>;
}

export interface RedriverParts {
  readonly nfs: NfsClient;
  readonly inodes: InodeTable;
  readonly attributes: AttributeCache;
  readonly rootFinder: RootFinder;
  readonly counters: VfsCounters;
  readonly log: Logger;
}

/** Threads remembered per inode as having been answered ESTALE. */
const MAX_REPORTED = 256;

export class Redriver {
  readonly #parts: RedriverParts;

  constructor(parts: RedriverParts) {
    this.#parts = parts;
  }

  /**
   * Runs `operation` with the inode's handle and, if the server calls that stale, once more after a redrive
   * that found the object again. The result may still have a stale status: see {@link failure}.
   */
  async run<Result extends { readonly status: Status }>(
    inode: Inode,
    caller: Caller,
    operation: (handle: FileHandle) => Promise<Result>,
  ): Promise<Result> {
    const handle = inode.handle;
    const result = await operation(handle);
    if (!isStale(result.status)) {
      if (inode.stale) this.#revive(inode);
      return result;
    }
    if (!(await this.redrive(inode, handle, caller))) return result;
    return operation(inode.handle);
  }

  /** As {@link run}, for operations that name two directories or a file and a directory. */
  async runTwo<Result extends { readonly status: Status }>(
    first: Inode,
    second: Inode,
    caller: Caller,
    operation: (first: FileHandle, second: FileHandle) => Promise<Result>,
  ): Promise<Result> {
    const handles = [first.handle, second.handle] as const;
    const result = await operation(...handles);
    if (!isStale(result.status)) return result;
    // Which of the two is meant, the server does not say: a redrive of one that is not stale finds it as it was.
    const found =
      (await this.redrive(first, handles[0], caller)) &&
      (first === second || (await this.redrive(second, handles[1], caller)));
    return found ? operation(first.handle, second.handle) : result;
  }

  /** True if the inode has a handle that is worth another try; `staleHandle` is the one that failed. */
  redrive(inode: Inode, staleHandle: FileHandle, caller: Caller): Promise<boolean> {
    if (inode.handle !== staleHandle) return Promise.resolve(true);
    return this.#shared(inode, unattended(caller.credential), new Set());
  }

  #shared(inode: Inode, caller: Caller, visited: Set<Inode>): Promise<boolean> {
    // Hints of where things are may be wrong and go in a circle.
    if (visited.has(inode)) return Promise.resolve(false);
    visited.add(inode);
    inode.redriving ??= this.#attempt(inode, caller, visited)
      .catch((error: unknown) => {
        // The server could not be asked: the operation's own next try says why.
        if (error instanceof FuseError) return false;
        throw error;
      })
      .finally(() => {
        inode.redriving = undefined;
      });
    return inode.redriving;
  }

  async #attempt(inode: Inode, caller: Caller, visited: Set<Inode>): Promise<boolean> {
    const { counters } = this.#parts;
    counters.redrives++;
    this.#distrust(inode);
    const found = inode.isRoot ? await this.#findRoot(inode) : await this.#findByPath(inode, caller, visited);
    if (found) {
      this.#revive(inode);
    } else {
      counters.redrivesFailed++;
      inode.stale = true;
    }
    return found;
  }

  #distrust(inode: Inode): void {
    this.#parts.attributes.expire(inode);
    inode.accessGeneration++;
    inode.generation++;
  }

  #revive(inode: Inode): void {
    inode.stale = false;
    inode.staleReported = undefined;
  }

  async #findRoot(root: Inode): Promise<boolean> {
    const { rootFinder, inodes, counters, log } = this.#parts;
    const handle = await rootFinder.findRoot();
    if (handle === undefined) return false;
    if (handle === root.handle) return true;
    counters.rootRemounts++;
    inodes.rekey(root, handle);
    root.epoch++;
    // The export may be another file system now: nothing of the old root's attributes is evidence.
    root.attributes = undefined;
    root.own?.restart();
    log.info('the root of the export has a new file handle; going on with it');
    return true;
  }

  async #findByPath(inode: Inode, caller: Caller, visited: Set<Inode>): Promise<boolean> {
    const { nfs, inodes, attributes } = this.#parts;
    const { parent, name } = inode;
    if (parent === undefined || name === '') return false;
    const args = { directory: parent.handle, name: Buffer.from(name, 'latin1') };
    let start = attributes.start();
    let result = await nfs.call(LOOKUP, args, caller);
    if (isStale(result.status)) {
      if (parent.handle === args.directory && !(await this.#shared(parent, caller, visited))) return false;
      start = attributes.start();
      result = await nfs.call(LOOKUP, { ...args, directory: parent.handle }, caller);
    }
    if (result.status !== Status.OK) return false;
    let found = result.attributes;
    if (found === undefined) {
      const answer = await nfs.call(GETATTR, { object: result.object }, caller);
      if (answer.status !== Status.OK) return false;
      found = answer.attributes;
    }
    if (!this.#isSameObject(inode, parent, result.object, found)) return false;
    if (result.object !== inode.handle) {
      inodes.rekey(inode, result.object);
      inode.epoch++;
      inode.parentEpoch = parent.epoch;
    }
    attributes.observe(inode, found, start);
    return true;
  }

  /**
   * Fileid and type must agree. That is not enough where a file system gives a deleted file's number to the
   * next one: if the directory's handle still holds and the file's does not, the file was deleted, and only an
   * unchanged ctime proves that the object is the same one under a new handle.
   */
  #isSameObject(inode: Inode, parent: Inode, handle: FileHandle, found: Fattr3): boolean {
    if (handle === inode.handle) return true;
    const known = inode.attributes;
    if (known === undefined || known.fileid !== found.fileid || known.type !== found.type) return false;
    return inode.parentEpoch !== parent.epoch || sameTime(known.ctime, found.ctime);
  }

  /**
   * The error for a failed result. A stale handle that no redrive helped becomes, for an operation on a path,
   * ESTALE the first time that a thread meets it (the kernel's VFS then looks the path up again and repeats the
   * call once, include/linux/namei.h retry_estale) and ENOENT the next; for an open descriptor EIO, with a line
   * in the log the first time.
   */
  failure(
    result: { readonly status: Status },
    operands: readonly [Inode, ...Inode[]],
    caller: Caller,
    operand: Operand = 'path',
  ): FuseError {
    const [first] = operands;
    const { status } = result;
    if (status === Status.OK) throw new Error('not a failure');
    if (!isStale(status)) return statusError(status);
    return this.staleError(operands.find((inode) => inode.stale) ?? first, caller, operand);
  }

  staleError(inode: Inode, caller: Caller, operand: Operand): FuseError {
    if (operand === 'descriptor') {
      if (inode.staleReported === undefined) {
        inode.staleReported = new Set();
        this.#parts.log.warn(
          `${describePath(inode)}: no longer on the server; open descriptors of it fail with EIO`,
        );
      }
      return new FuseError(Errno.EIO, 'stale file handle');
    }
    inode.staleReported ??= new Set();
    const reported = inode.staleReported;
    if (reported.delete(caller.tid) || caller.tid === 0)
      return new FuseError(Errno.ENOENT, 'stale file handle');
    if (reported.size >= MAX_REPORTED) reported.clear();
    reported.add(caller.tid);
    return new FuseError(Errno.ESTALE, 'stale file handle');
  }
}
