/**
 * The inodes of a mount, found by node id (the kernel's name for them) and by file handle (the server's). Owns
 * the lookup counts, and how long an inode stays that the kernel has forgotten.
 */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import { type NodeId, ROOT_NODEID } from '../../fuse/contract/operations.js';
import type { FileHandle } from '../../programs/nfs3/index.js';
import { GivenNumbers, type ReserveNumbers } from './given-numbers.js';
import { Inode } from './inode.js';

/**
 * Keeps for the next process of this mount, should there be one, which inodes the kernel holds. To be told before the kernel
 * is.
 */
export interface InodeRecords {
  /** The kernel holds the inode, with the count that it has now. */
  held(inode: Inode): void;
  /** A name, a parent or a handle that is recorded is another one now. */
  moved(inode: Inode): void;
  /** Neither the kernel nor an open file holds the inode. */
  gone(inode: Inode): void;
}

export interface RecordedTable {
  readonly inodes: InodeRecords;
  readonly nodeids: ReserveNumbers;
}

/** An inode as an earlier process of this mount has recorded it. */
export interface RecordedInode {
  readonly nodeid: NodeId;
  readonly handle: FileHandle;
  readonly nlookup: number;
  readonly record: number;
}

/** Inodes that nothing refers to but our caches: enough for a listing to be followed by its stats. */
const DEFAULT_MAX_IDLE = 16_384;

export class InodeTable {
  readonly root: Inode;
  readonly #onDropped: ((inode: Inode) => void)[] = [];
  readonly #byNodeid = new Map<NodeId, Inode>();
  readonly #byHandle = new Map<FileHandle, Inode>();
  /** The longest idle first. A new inode comes and goes at once, for which lru-cache clears all that it has room for. */
  readonly #idle = new Set<Inode>();
  readonly #maxIdle: number;
  /**
   * Goes through the idle inodes while one after the other is dropped: to begin anew each time would pass by all that
   * have gone. Not kept otherwise, since an iterator that rests keeps every state of the set since then in memory.
   */
  #longestIdle: Iterator<Inode> | undefined = undefined;
  readonly nodeids: GivenNumbers;
  readonly #records: InodeRecords | undefined;

  constructor(rootHandle: FileHandle, maxIdle = DEFAULT_MAX_IDLE, records?: RecordedTable) {
    this.#maxIdle = maxIdle;
    this.#records = records?.inodes;
    this.nodeids = new GivenNumbers(ROOT_NODEID + 1, records?.nodeids);
    this.root = new Inode(ROOT_NODEID, rootHandle);
    // The kernel never forgets the root, so that it is neither idle nor dropped.
    this.root.nlookup = 1;
    this.#byNodeid.set(ROOT_NODEID, this.root);
    this.#byHandle.set(rootHandle, this.root);
  }

  get size(): number {
    return this.#byNodeid.size;
  }

  /** `listener` is told of every inode that goes, so that nothing else keeps it. */
  onDropped(listener: (inode: Inode) => void): void {
    this.#onDropped.push(listener);
  }

  values(): Iterable<Inode> {
    return this.#byNodeid.values();
  }

  /** Throws ESTALE for a node id that this mount never gave out or has forgotten. */
  get(nodeid: NodeId): Inode {
    const inode = this.#byNodeid.get(nodeid);
    if (inode === undefined) throw new FuseError(Errno.ESTALE, `unknown node id ${nodeid}`);
    return inode;
  }

  find(nodeid: NodeId): Inode | undefined {
    return this.#byNodeid.get(nodeid);
  }

  findByHandle(handle: FileHandle): Inode | undefined {
    return this.#byHandle.get(handle);
  }

  /** The inode of this handle, made if it is new. Until someone holds it, it may go at any time. */
  intern(handle: FileHandle): Inode {
    const known = this.#byHandle.get(handle);
    if (known !== undefined) return known;
    const inode = new Inode(this.nodeids.next(), handle);
    this.#byNodeid.set(inode.nodeid, inode);
    this.#byHandle.set(handle, inode);
    this.#rest(inode);
    return inode;
  }

  /** The kernel was told of the inode once more. */
  hold(inode: Inode): void {
    if (inode.nlookup++ === 0 && inode.opens === 0) this.#idle.delete(inode);
    if (!inode.isRoot) this.#records?.held(inode);
  }

  forget(nodeid: NodeId, nlookup: number): void {
    const inode = this.#byNodeid.get(nodeid);
    if (inode === undefined || inode.isRoot) return;
    inode.nlookup = Math.max(0, inode.nlookup - nlookup);
    if (inode.record !== 0) this.#records?.held(inode);
    this.release(inode);
  }

  /** Takes up an inode that an earlier process of this mount has given to the kernel. */
  takeUp({ nodeid, handle, nlookup, record }: RecordedInode): Inode {
    const inode = new Inode(nodeid, handle);
    inode.nlookup = nlookup;
    inode.record = record;
    this.#byNodeid.set(nodeid, inode);
    if (!this.#byHandle.has(handle)) this.#byHandle.set(handle, inode);
    return inode;
  }

  /** The inode has another parent or name. */
  moved(inode: Inode): void {
    if (inode.record !== 0) this.#records?.moved(inode);
  }

  /** To be called when `opens` went down: nothing but caches may hold the inode now. */
  release(inode: Inode): void {
    if (inode.nlookup > 0 || inode.opens > 0 || inode.evicted) return;
    if (inode.record !== 0) this.#records?.gone(inode);
    if (inode.stale || inode.attributes?.nlink === 0) this.#drop(inode);
    else this.#rest(inode);
  }

  /** Nothing holds it but caches, as of now. */
  #rest(inode: Inode): void {
    this.#idle.delete(inode);
    this.#idle.add(inode);
    if (this.#idle.size <= this.#maxIdle) {
      this.#longestIdle = undefined;
      return;
    }
    this.#longestIdle ??= this.#idle.values();
    const { value } = this.#longestIdle.next();
    if (value !== undefined) this.#drop(value);
  }

  /** To be called when `opens` went up from 0. */
  pin(inode: Inode): void {
    this.#idle.delete(inode);
  }

  /**
   * The same object has another handle from now on. Where the kernel was already given another node id for that
   * handle, both go on with it: only the other one is found by it.
   */
  rekey(inode: Inode, handle: FileHandle): void {
    const other = this.#byHandle.get(handle);
    if (other === inode) return;
    if (this.#byHandle.get(inode.handle) === inode) this.#byHandle.delete(inode.handle);
    inode.handle = handle;
    this.moved(inode);
    if (other !== undefined && other.nlookup === 0 && other.opens === 0) this.#drop(other);
    if (inode.isRoot || !this.#byHandle.has(handle)) this.#byHandle.set(handle, inode);
  }

  /** The handle is void: should the server ever hand it out again, that is another object. */
  disown(inode: Inode): void {
    if (this.#byHandle.get(inode.handle) === inode && !inode.isRoot) this.#byHandle.delete(inode.handle);
  }

  #drop(inode: Inode): void {
    this.#idle.delete(inode);
    inode.evicted = true;
    this.#byNodeid.delete(inode.nodeid);
    if (this.#byHandle.get(inode.handle) === inode) this.#byHandle.delete(inode.handle);
    for (const listener of this.#onDropped) listener(inode);
  }
}
