/**
 * Reading one open file: sequential readers have READs of rsize in flight ahead of them, in a window that
 * doubles as they go on and closes when they jump; random readers cause none, however near to each other they
 * read: what counts is whether most of what lies behind the reader was read. Owns what was read ahead, and
 * drops it when the file changes. Data goes from the network to the kernel without a copy.
 */

import type { Clock } from '../../base/clock.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { BorrowedData } from '../../fuse/contract/operations.js';
import { type Fattr3, type FileHandle, READ, type ReadResult, Status } from '../../programs/nfs3/index.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import { type Caller, type UserCredential, unattended } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { TransferLimits } from '../config.js';
import type { VfsCounters } from '../counters.js';
import type { Before, DiskCache } from '../disk-cache/disk-cache.js';
import type { TransferMemory } from '../memory/transfer-memory.js';
import type { Exchange } from '../remote/exchange.js';
import { ofObject } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import { Patience } from '../remote/patience.js';
import type { Redriver } from '../remote/redrive.js';
import { FirstRead } from './first-read.js';
import { type Collected, type Ended, type Fetched, type Segment, slice } from './segment.js';
import { Unstored } from './unstored.js';

/** The parts of the mount that this needs. */
export interface ReadAheadNeeds {
  readonly attributes: AttributeCache;
  readonly clock: Clock;
  readonly counters: VfsCounters;
  /** Undefined: nothing is kept on the local disk. */
  readonly disk: DiskCache | undefined;
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

export class ReadAhead {
  readonly #vfs: ReadAheadNeeds;
  readonly #inode: Inode;
  #credential: UserCredential;
  readonly #disk: DiskCache | undefined;
  readonly #unstored = new Unstored();
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
  readonly #first = new FirstRead();

  /** `asksDisk`: what is on the local disk will do. */
  constructor(vfs: ReadAheadNeeds, inode: Inode, credential: UserCredential, asksDisk = true) {
    this.#vfs = vfs;
    this.#disk = asksDisk ? vfs.disk : undefined;
    this.#inode = inode;
    this.#credential = credential;
    this.#generation = inode.generation;
    this.#changes = inode.contentChanges;
  }

  /**
   * For a file that is about to be opened: `length` bytes from its start are asked for at once. Serves reads from when
   * {@link opened} is called. `ended` is told whether it did. Undefined where there is no memory for it.
   */
  static early(
    vfs: ReadAheadNeeds,
    inode: Inode,
    credential: UserCredential,
    length: number,
    ended: Ended,
  ): ReadAhead | undefined {
    const readAhead = new ReadAhead(vfs, inode, credential);
    if (!readAhead.#enabled) return undefined;
    if (!readAhead.#start(0, length, ended)) return undefined;
    readAhead.#first.opens(vfs.clock.now());
    readAhead.#window = 1;
    return readAhead;
  }

  /** Until when a first read is served by what was asked for early. */
  get until(): number {
    return this.#first.until;
  }

  /** The open with this credential is about to be answered. */
  opened(credential: UserCredential): void {
    if (!this.#first.opened(this.#vfs.clock.now())) return;
    // The caller turned out to be in a group that counts for the file: the data was asked for without it.
    if (credential.id !== this.#credential.id) this.drop();
    this.#credential = credential;
  }

  /** Up to `size` bytes at `offset`; fewer only at the end of the file. */
  async read(offset: number, size: number, caller: Caller): Promise<BorrowedData> {
    const late = this.#first.comesLate(this.#vfs.clock.now());
    if (late || this.#generation !== this.#inode.generation || this.#changes !== this.#inode.contentChanges)
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
        const fetched = await this.#fetch(offset, size, caller);
        this.#hands(fetched);
        return { pieces: fetched.pieces, release: () => this.#recycle(fetched.pieces) };
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
        this.#hands(fetched);
        into.pieces.push(...fetched.pieces);
        into.fetched.push(...fetched.pieces);
        at += fetched.length;
        if (fetched.eof) break;
        continue;
      }
      segment.holders++;
      into.held.push(segment);
      const fetched = await this.#arrival(segment, caller);
      if (fetched === undefined) continue;
      this.#hands(fetched);
      if (!segment.used) segment.ended?.(fetched);
      segment.used = true;
      const from = at - segment.offset;
      const to = Math.min(end - segment.offset, fetched.length);
      if (from < to) {
        slice(fetched.pieces, from, to, into.pieces);
        at = segment.offset + to;
      }
      if (at >= segment.offset + fetched.length && (fetched.eof || fetched.length < segment.length)) break;
    }
  }

  /** The data goes to the kernel, which may keep it. */
  #hands({ racy }: Fetched): void {
    if (racy) this.#inode.pagesRacy = true;
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
    for (const piece of pieces) {
      this.#vfs.nfs.recycle(piece);
      this.#disk?.recycle(piece);
    }
  }

  /** Undefined: it failed, and this read can ask for itself. */
  async #arrival(segment: Segment, caller: Caller): Promise<Fetched | undefined> {
    try {
      return await interruptible(segment.result, caller.cancellation);
    } catch (error) {
      // A READ that failed may succeed when it is sent again; one that is merely not waited for any more stays.
      if (caller.cancellation?.cancelled) throw error;
      this.#discard(segment);
      if (segment.ended !== undefined) return undefined;
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

  #start(offset: number, length: number, ended?: Ended): boolean {
    const budget = this.#vfs.memory.readBudget;
    if (!budget.tryTake(length)) return false;
    const result = this.#fetch(offset, length, unattended(this.#credential), ended !== undefined);
    // A reader that waits for it gets the error; if none does, the data was not needed.
    result.catch(() => {});
    this.#segments.push({ offset, length, result, ended, used: false, holders: 1 });
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
    else {
      counters.readAheadWasted++;
      segment.ended?.(undefined);
    }
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

  /** The file is closed. Parts of it that the local disk should have and does not are read once more. */
  closed(): void {
    this.drop();
    const disk = this.#disk;
    if (disk === undefined) return;
    const again = async (offset: number, length: number): Promise<void> =>
      this.#recycle((await this.#fetch(offset, length, unattended(this.#credential), true)).pieces);
    const { ctime } = this.#inode.attributes ?? {};
    this.#unstored.closed(this.#vfs.clock, ctime, (work) => disk.inTurn(work), again);
  }

  /**
   * READs until `length` bytes came or the file ended; short reads are continued (RFC 1813 3.3.6). Where a reply that
   * says it was the end also shows a larger file, or the other way round, the size decides.
   */
  async #fetch(offset: number, length: number, caller: Caller, isEarly = false): Promise<Fetched> {
    const pieces: Uint8Array[] = [];
    const patience = new Patience(this.#vfs.clock, 'the server gives only a few bytes with each READ');
    let done = 0;
    let eof = false;
    let racy = false;
    let attributes: Fattr3 | undefined;
    while (done < length && !eof) {
      const at = offset + done;
      const kept =
        this.#disk &&
        (await this.#disk.read(this.#inode, at, length - done, this.#asOpener(caller), isEarly));
      if (kept?.data !== undefined) {
        pieces.push(kept.data);
        done += kept.data.length;
        ({ eof } = kept);
        continue;
      }
      const wanted = Math.min(length - done, this.#vfs.limits.rsize, kept?.gap ?? Number.POSITIVE_INFINITY);
      const { result, isRacy } = await this.#readOnce(at, wanted, caller, isEarly);
      racy ||= isRacy;
      ({ attributes } = result);
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
      // With a server that gives less than it was asked for, the read that follows is as patient as ever.
      if (isEarly && !eof && data.length < wanted) throw new FuseError(Errno.EIO, 'in vain');
      if (!eof && done < length) await patience.after(data.length, wanted, caller.cancellation);
    }
    return { pieces, length: done, eof, racy, attributes };
  }

  async #readOnce(
    offset: number,
    count: number,
    caller: Caller,
    isEarly: boolean,
  ): Promise<{ readonly result: ReadResult & { status: 0 }; readonly isRacy: boolean }> {
    const { attributes, exchange, redriver, nfs } = this.#vfs;
    const inode = this.#inode;
    const asOpener = this.#asOpener(caller);
    let before: Before | undefined;
    const call = (file: FileHandle): Promise<ReadResult> => {
      before = this.#disk?.before(inode);
      return nfs.call(READ, { file, offset, count }, asOpener);
    };
    const { result, start } = await exchange.ask(inode, asOpener, call, ofObject);
    // The open, or the read that follows it, finds out for itself, and reports it to who asked.
    if (isEarly && (result.status !== Status.OK || inode.stale)) throw new FuseError(Errno.EIO, 'in vain');
    if (result.status !== Status.OK) throw redriver.reportFailure(result, [inode], asOpener, 'descriptor');
    if (inode.stale) throw redriver.reportStale(inode, asOpener, 'descriptor');
    const ctime = (result.attributes ?? inode.attributes)?.ctime;
    const isRacy = ctime === undefined || attributes.isRacy(ctime, start);
    if (this.#disk?.offer(inode, before, result.attributes, offset, result.data, isRacy))
      this.#unstored.add(offset, result.data.length);
    return { result, isRacy };
  }

  /** The rights count that the file was opened with. */
  #asOpener(caller: Caller): Caller {
    return caller.credential === this.#credential ? caller : { ...caller, credential: this.#credential };
  }
}
