/**
 * Reading one open file: sequential readers have READs of rsize in flight ahead of them, in a window that
 * doubles as they go on and closes when they jump; random readers cause none, however near to each other they
 * read: what counts is whether most of what lies behind the reader was read. Owns what was read ahead, and
 * drops it when the file changes. Data goes from the network to the kernel without a copy.
 */

import type { Clock } from '../../base/clock.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { BorrowedData } from '../../fuse/contract/operations.js';
import { type FileHandle, READ, type ReadResult, Status } from '../../programs/nfs3/index.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import { type Caller, type UserCredential, unattended } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { TransferLimits } from '../config.js';
import type { VfsCounters } from '../counters.js';
import type { TransferMemory } from '../memory/transfer-memory.js';
import type { Exchange } from '../remote/exchange.js';
import { ofObject } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import { Patience } from '../remote/patience.js';
import type { Redriver } from '../remote/redrive.js';

/** The parts of the mount that this needs. */
export interface ReadAheadNeeds {
  readonly attributes: AttributeCache;
  readonly clock: Clock;
  readonly counters: VfsCounters;
  readonly exchange: Exchange;
  readonly limits: TransferLimits;
  readonly memory: TransferMemory;
  readonly nfs: NfsClient;
  readonly redriver: Redriver;
}

/** READs ahead of a reader, at the most. */
const MAX_WINDOW = 8;
/** The first READ of a file that is read from its start asks for more than the kernel does. */
const FIRST_READ = 256 * 1024;
/** The kernel sends the parts of its own read-ahead at once and not always in order. */
const REORDER_SLACK = 1024 * 1024;

interface Fetched {
  readonly pieces: readonly Uint8Array[];
  readonly length: number;
  /** The file ended here. */
  readonly eof: boolean;
}

interface Segment {
  readonly offset: number;
  readonly length: number;
  readonly result: Promise<Fetched>;
  used: boolean;
  /** The list of segments while it is there, and everybody who waits for the data or has been given parts of it. */
  holders: number;
}

/** The bytes from `from` to `to` of pieces laid end to end, appended to `out`. */
function slice(pieces: readonly Uint8Array[], from: number, to: number, out: Uint8Array[]): void {
  let at = 0;
  for (const piece of pieces) {
    const start = Math.max(0, from - at);
    const end = Math.min(piece.length, to - at);
    if (start < end) out.push(start === 0 && end === piece.length ? piece : piece.subarray(start, end));
    at += piece.length;
    if (at >= to) return;
  }
}

/** The data of one read, piece by piece. */
interface Collected {
  readonly pieces: Uint8Array[];
  /** Segments that some of the pieces are parts of. */
  readonly held: Segment[];
  /** Those of the pieces that came with READs for this read alone. */
  readonly fetched: Uint8Array[];
}

export class ReadAhead {
  readonly #vfs: ReadAheadNeeds;
  readonly #inode: Inode;
  readonly #credential: UserCredential;
  #segments: Segment[] = [];
  #window = 0;
  /** The range that a sequential reader has gone through, and how many bytes of it were read. */
  #origin = 0;
  #expected = 0;
  #bytes = 0;
  /** Where the read-ahead has got to. */
  #ahead = 0;
  #generation: number;
  #changes: number;

  constructor(vfs: ReadAheadNeeds, inode: Inode, credential: UserCredential) {
    this.#vfs = vfs;
    this.#inode = inode;
    this.#credential = credential;
    this.#generation = inode.generation;
    this.#changes = inode.contentChanges;
  }

  /** Up to `size` bytes at `offset`; fewer only at the end of the file. */
  async read(offset: number, size: number, caller: Caller): Promise<BorrowedData> {
    if (this.#generation !== this.#inode.generation || this.#changes !== this.#inode.contentChanges)
      this.drop();
    const near = Math.abs(offset - this.#expected) <= REORDER_SLACK && this.#enabled;
    const end = offset + size;
    if (!near) {
      this.drop();
      this.#origin = offset;
      this.#expected = end;
      this.#bytes = size;
      // A jump to the start is somebody beginning to read the file.
      if (offset !== 0 || !this.#enabled) {
        const { pieces } = await this.#fetch(offset, size, caller);
        return { pieces, release: () => this.#recycle(pieces) };
      }
    } else {
      this.#origin = Math.min(this.#origin, offset);
      this.#expected = Math.max(this.#expected, end);
      this.#bytes += size;
    }
    // Parts of the kernel's own read-ahead come in any order; a reader who leaves most of it out reads at random.
    if (this.#bytes * 2 >= this.#expected - this.#origin) this.#prefetch(offset, end);
    return this.#readThrough(offset, end, caller);
  }

  get #enabled(): boolean {
    return this.#vfs.memory.readBudget.limit > 0;
  }

  /** From what was read ahead, and from the server where that leaves gaps. */
  async #readThrough(offset: number, end: number, caller: Caller): Promise<BorrowedData> {
    const collected: Collected = { pieces: [], held: [], fetched: [] };
    const release = (): void => {
      for (const segment of collected.held) this.#letGo(segment);
      this.#recycle(collected.fetched);
    };
    try {
      await this.#collect(offset, end, caller, collected);
    } catch (error) {
      release();
      throw error;
    }
    this.#retire(offset);
    return { pieces: collected.pieces, release };
  }

  async #collect(offset: number, end: number, caller: Caller, into: Collected): Promise<void> {
    let at = offset;
    while (at < end) {
      const segment = this.#segments.find((one) => one.offset <= at && at < one.offset + one.length);
      if (segment === undefined) {
        const next = this.#segments.find((one) => one.offset > at && one.offset < end);
        const fetched = await this.#fetch(at, (next?.offset ?? end) - at, caller);
        into.pieces.push(...fetched.pieces);
        into.fetched.push(...fetched.pieces);
        at += fetched.length;
        if (fetched.eof) break;
        continue;
      }
      segment.used = true;
      segment.holders++;
      into.held.push(segment);
      const fetched = await this.#arrival(segment, caller);
      const from = at - segment.offset;
      const to = Math.min(end - segment.offset, fetched.length);
      if (from < to) {
        slice(fetched.pieces, from, to, into.pieces);
        at = segment.offset + to;
      }
      if (at >= segment.offset + fetched.length && (fetched.eof || fetched.length < segment.length)) break;
    }
  }

  /** One holder less. The memory is used again when none is left and the READ has ended. */
  #letGo(segment: Segment): void {
    segment.holders--;
    if (segment.holders > 0) return;
    segment.result.then(
      ({ pieces }) => this.#recycle(pieces),
      () => {},
    );
  }

  #recycle(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) this.#vfs.nfs.recycle(piece);
  }

  async #arrival(segment: Segment, caller: Caller): Promise<Fetched> {
    try {
      return await interruptible(segment.result, caller.cancellation);
    } catch (error) {
      // A READ that failed may succeed when it is sent again; one that is merely not waited for any more stays.
      if (!caller.cancellation?.cancelled) this.#discard(segment);
      throw error;
    }
  }

  #discard(segment: Segment): void {
    const at = this.#segments.indexOf(segment);
    if (at < 0) return;
    this.#segments.splice(at, 1);
    this.#release(segment);
  }

  /** Starts the READs that the window allows beyond `end`. */
  #prefetch(offset: number, end: number): void {
    const { rsize } = this.#vfs.limits;
    const size = Number(this.#inode.attributes?.size ?? 0n);
    if (this.#segments.length === 0 && this.#window === 0) {
      // The first read: one READ that covers it, and somewhat more at the start of a file.
      this.#ahead = offset;
      if (offset !== 0 || end >= size) {
        this.#window = 1;
        this.#ahead = end;
        return;
      }
      this.#start(offset, Math.min(rsize, Math.max(end - offset, FIRST_READ), size - offset));
      this.#window = 1;
      return;
    }
    if (this.#ahead < end) this.#ahead = Math.max(this.#ahead, offset);
    // A new READ goes out when the reader has come into the last window's reach.
    const limit = Math.min(size, end + this.#window * rsize);
    if (this.#ahead >= limit || this.#ahead - end > (this.#window * rsize) / 2) return;
    if (this.#window < MAX_WINDOW) this.#window *= 2;
    while (this.#ahead < Math.min(size, end + this.#window * rsize)) {
      // Aligned, so that servers with a page cache read whole pages.
      const length = Math.min(rsize - (this.#ahead % rsize), size - this.#ahead);
      if (length <= 0 || !this.#start(this.#ahead, length)) return;
    }
  }

  #start(offset: number, length: number): boolean {
    const budget = this.#vfs.memory.readBudget;
    if (!budget.tryTake(length)) return false;
    const result = this.#fetch(offset, length, unattended(this.#credential));
    // A reader that waits for it gets the error; if none does, the data was not needed.
    result.catch(() => {});
    this.#segments.push({ offset, length, result, used: false, holders: 1 });
    this.#ahead = offset + length;
    return true;
  }

  /** Segments that lie behind the reader go. */
  #retire(offset: number): void {
    const behind = offset - REORDER_SLACK;
    const kept = this.#segments.filter((segment) => {
      if (segment.offset + segment.length > behind && segment.offset + segment.length > offset) return true;
      if (segment.offset + segment.length > behind && !segment.used) return true;
      this.#release(segment);
      return false;
    });
    this.#segments = kept;
  }

  #release(segment: Segment): void {
    const { counters } = this.#vfs;
    const { readBudget } = this.#vfs.memory;
    if (segment.used) counters.readAheadHits++;
    else counters.readAheadWasted++;
    // The memory is in use until the READ has ended, needed or not.
    const give = (): void => readBudget.give(segment.length);
    segment.result.then(give, give);
    this.#letGo(segment);
  }

  /** Forgets what was read ahead: the reader jumped, the file changed, or it is being closed. */
  drop(): void {
    for (const segment of this.#segments) this.#release(segment);
    this.#segments = [];
    this.#window = 0;
    this.#ahead = 0;
    this.#generation = this.#inode.generation;
    this.#changes = this.#inode.contentChanges;
  }

  /**
   * READs until `length` bytes came or the file ended; short reads are continued (RFC 1813 3.3.6). Where a reply that
   * says it was the end also shows a larger file, or the other way round, the size decides.
   */
  async #fetch(offset: number, length: number, caller: Caller): Promise<Fetched> {
    const pieces: Uint8Array[] = [];
    const patience = new Patience(this.#vfs.clock, 'the server gives only a few bytes with each READ');
    let done = 0;
    let eof = false;
    while (done < length && !eof) {
      const at = offset + done;
      const wanted = Math.min(length - done, this.#vfs.limits.rsize);
      const result = await this.#readOnce(at, wanted, caller);
      const { length: came } = result.data;
      const isMore = came > length - done;
      // More than was asked for is no gift: what lies behind the range belongs to another read.
      const data = isMore ? result.data.subarray(0, length - done) : result.data;
      if (data.length > 0) pieces.push(data);
      done += data.length;
      const size = result.attributes?.size;
      if (data.length === 0) {
        // Neither data nor the end: to take it for the end would cut the file short for the reader.
        if (!result.eof && (size === undefined || size > at))
          throw new FuseError(Errno.EIO, 'the server answered a READ with nothing');
        eof = true;
      } else eof = result.eof && !isMore && !(size !== undefined && size > at + came);
      if (!eof) await patience.after(data.length, wanted, caller.cancellation);
    }
    return { pieces, length: done, eof };
  }

  async #readOnce(offset: number, count: number, caller: Caller): Promise<ReadResult & { status: 0 }> {
    const { attributes, exchange, redriver, nfs } = this.#vfs;
    const inode = this.#inode;
    const asOpener: Caller = { ...caller, credential: this.#credential };
    const call = (file: FileHandle): Promise<ReadResult> => nfs.call(READ, { file, offset, count }, asOpener);
    const { result, start } = await exchange.ask(inode, asOpener, call, ofObject);
    if (result.status !== Status.OK) throw redriver.reportFailure(result, [inode], asOpener, 'descriptor');
    if (inode.stale) throw redriver.reportStale(inode, asOpener, 'descriptor');
    const ctime = (result.attributes ?? inode.attributes)?.ctime;
    if (ctime === undefined || attributes.isRacy(ctime, start)) inode.pagesRacy = true;
    return result;
  }
}
