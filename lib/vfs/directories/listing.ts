/**
 * One pass over a directory: what READDIR or READDIRPLUS answered so far, and where to go on. Owns cookies and
 * verifiers; positions given to the kernel are indexes of ours, since cookies are opaque 64-bit numbers that
 * need not fit a file offset, and may become void in the middle (NFS3ERR_BAD_COOKIE).
 *
 * Memory is bounded, whatever the directory's size. The entries that came last are held; earlier ones are read again
 * from a cookie if somebody goes back that far. No name is given out twice: servers answer a cookie that has become
 * void by an error, or start again from the beginning without a word (unfs3).
 */

import type { Logger } from '../../base/log.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import {
  COOKIE_VERIFIER_SIZE,
  type DirectoryEntryPlus,
  type FileName,
  type FileType,
  fileNameToBytes,
  isDots,
  oddValues,
} from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import { GivenNames } from './given-names.js';
import { ListingChunk, type ListingEntry } from './listing-chunk.js';
import type { PartsNeeds } from './listing-parts.js';
import { ListingParts, type Part, type Position } from './listing-parts.js';
import type { ListingPlace } from './listing-place.js';

/** The parts of the mount that this needs. */
export interface ListingNeeds extends PartsNeeds {
  readonly log: Logger;
}

const BEGINNING: Position = { cookie: 0n, verifier: Buffer.alloc(COOKIE_VERIFIER_SIZE) };
/** Entries held, in bytes: of usual names, those of some 200 000 files. */
const MOST_HELD = 16 * 1024 * 1024;
/** One entry of so many has its cookie kept. */
const STRIDE = 256;
const MARK_BYTES = 64;
/** Of these, the last so many are told to another process: the kernel gets fewer entries at once than they cover. */
const MARKS_TOLD = 8;
/** Bytes that a listing takes without any entry. */
const OVERHEAD = 1024;
/**
 * Beginnings anew that bring no new name, one after the other: a directory that never stands still ends in an error,
 * not in a loop.
 */
const MAX_RESTARTS = 32;
/** And for servers that begin anew by themselves: entries without a new name, in multiples of the names known. */
const LEAST_REPEATED = 10_000;
/** FUSE_NAME_MAX: told of a longer name, the kernel fails the whole reply with EIO. */
const MAX_NAME = 1024;
/** Impossible names of one listing that the log tells. */
const MAX_LOGGED = 10;

export class Listing {
  /** The directory's generation and own changes when the pass began. */
  readonly generation: number;
  readonly changes: number;
  /** The entries that are held reach to the end of the directory. */
  complete = false;
  /** Entries were listed with their attributes, last when (Clock.now). */
  plusAt: number | undefined = undefined;
  readonly #vfs: ListingNeeds;
  readonly #inode: Inode;
  readonly #parts: ListingParts;
  /** The entries that are held, one behind the other. */
  #chunks: ListingChunk[] = [];
  #start = 0;
  #end = 0;
  #held = 0;
  /** Behind the last of them. */
  #position = BEGINNING;
  /** Of entry n × STRIDE: where it is read again from. */
  readonly #marks: Position[] = [];
  /** Index behind the last entry that there ever was. */
  #top = 0;
  /** Where the entries are that somebody found who went back to an index in a directory that had changed. */
  #moved: { readonly from: number; readonly to: number } | undefined = undefined;
  /** Somebody goes to this entry; the next part begins at the mark before it. */
  #target: { readonly index: number; readonly mark: number } | undefined = undefined;
  #loading: Promise<void> | undefined = undefined;
  /** Names given out; not kept before the second part comes, nor any more when all have come. */
  #given: GivenNames | undefined = undefined;
  /** Cookies that this pass went on from: one that comes again leads round in a circle. */
  readonly #passed = new Set<bigint>();
  /** Since the last new name: restarts, and entries that were known. */
  #restarts = 0;
  #repeated = 0;
  /** New names so far, and how many there were when the server last led in a circle. */
  #news = 0;
  #circledAt = -1;
  #impossible = 0;
  /** How the directory looked when the pass began. */
  readonly #looked: ListingPlace['looked'];
  /** Another process had begun the pass, and the directory has changed since, or may have. */
  #doubted = false;

  constructor(vfs: ListingNeeds, inode: Inode) {
    this.#vfs = vfs;
    this.#inode = inode;
    this.#parts = new ListingParts(vfs, inode);
    this.generation = inode.generation;
    this.changes = inode.contentChanges;
    this.#looked = inode.attributes;
  }

  /** Where this pass is, for another process that may have to go on with it. */
  place(): ListingPlace {
    const marks: { index: number; position: Position }[] = [];
    for (let mark = this.#marks.length - 1; mark >= 0 && marks.length < MARKS_TOLD; mark--) {
      const position = this.#marks[mark];
      if (position !== undefined) marks.push({ index: mark * STRIDE, position });
    }
    return { top: this.#top, looked: this.#looked, marks };
  }

  /** Grows with each entry whose place {@link place} tells. */
  get markCount(): number {
    return this.#marks.length;
  }

  /**
   * Goes on with the pass of another process, which was at `place`. `exactly`: the directory is as it was, so that entries may be
   * counted.
   */
  goOn({ top, marks }: ListingPlace, exactly: boolean): void {
    for (const { index, position } of marks) if (index % STRIDE === 0) this.#marks[index / STRIDE] = position;
    this.#top = Math.max(top, STRIDE);
    this.#doubted = !exactly;
    // Whatever entry is asked for is looked for from a mark on.
    this.#start = Number.POSITIVE_INFINITY;
    this.#end = Number.POSITIVE_INFINITY;
  }

  /** Index behind the last entry that is held. */
  get length(): number {
    return this.#end;
  }

  /** The reader who has come to this entry has used most of the part that came last. */
  nearsEnd(index: number): boolean {
    const last = this.#chunks.at(-1);
    return last !== undefined && (this.#end - index) * 2 < last.count;
  }

  /** All of the directory is held. */
  get isWhole(): boolean {
    return this.complete && this.#start === 0;
  }

  /** Memory that it takes, roughly. */
  get bytes(): number {
    return OVERHEAD + this.#held + this.#marks.length * MARK_BYTES + (this.#given?.bytes ?? 0);
  }

  /** It shows the directory as it is now, as far as the attributes are trusted. */
  get isCurrent(): boolean {
    return this.generation === this.#inode.generation && this.changes === this.#inode.contentChanges;
  }

  /** Undefined: not held, or behind the end. */
  entry(index: number): ListingEntry | undefined {
    if (!this.#holds(index)) return undefined;
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#chunks[middle]?.first ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    const chunk = this.#chunks[low];
    return chunk?.entry(index - chunk.first);
  }

  /** Of the entries that are held, those of a type; "." and ".." are left out. */
  *ofType(type: FileType): Generator<ListingEntry> {
    for (const chunk of this.#chunks)
      for (const entry of chunk.ofType(type)) if (!isDots(entry.name)) yield entry;
  }

  /** The directory has no entry `index`, nor any behind it. */
  endsBefore(index: number): boolean {
    return this.complete && index >= this.#end;
  }

  #holds(index: number): boolean {
    return index >= this.#start && index < this.#end;
  }

  /**
   * Makes sure that entry `index` is held, or known to be behind the end. Answers the index that it has by now: another
   * one where entries are read again of a directory that has changed.
   */
  async load(wanted: number, plus: boolean, caller: Caller): Promise<number> {
    for (;;) {
      const index = this.#moved?.from === wanted ? this.#moved.to : wanted;
      if (this.#holds(index) || this.endsBefore(index)) return index;
      const others = this.#loading;
      this.#loading ??= this.#loadMore(index, plus, caller).finally(() => {
        this.#loading = undefined;
      });
      try {
        await interruptible(this.#loading, caller.cancellation);
      } catch (error) {
        // Somebody else was interrupted, who had asked for it first.
        const notOurs = others !== undefined && error instanceof FuseError && error.errno === Errno.EINTR;
        if (!notOurs || caller.cancellation?.cancelled) throw error;
      }
    }
  }

  /** Asks for what follows, for a reader who has come to the end of what is there and is likely to go on. */
  loadAhead(plus: boolean, caller: Caller): void {
    // A failed call is repeated by the program that reads on.
    if (!this.complete) this.load(this.#end, plus, caller).catch(() => {});
  }

  async #loadMore(index: number, plus: boolean, caller: Caller): Promise<void> {
    this.#seek(index);
    const part = await this.#parts.read(this.#position, plus, caller);
    if (part === undefined) this.#restart();
    else this.#take(part);
  }

  /** Goes to an entry that is not held any more, or not yet again. The entries behind it are given out once more. */
  #seek(index: number): void {
    let mark = Math.min(Math.floor(index / STRIDE), this.#marks.length - 1);
    while (mark > 0 && this.#marks[mark] === undefined) mark--;
    if (index >= this.#start && mark * STRIDE <= this.#end) return;
    this.#target = { index, mark };
    this.#moved = undefined;
    this.#position = this.#marks[mark] ?? BEGINNING;
    this.#chunks = [];
    this.#held = 0;
    this.#start = index;
    this.#end = index;
    this.complete = false;
    this.#given = undefined;
    this.#passed.clear();
    this.#circledAt = -1;
  }

  /**
   * The entries that come are numbered. In a directory that is as it was, each has the number that it had. In one that
   * has changed, entries between mark and target may be gone, and counting them would skip others: those that come are
   * given out from the mark on, a few of them once more, and under new numbers, so that the old ones keep their meaning.
   */
  #arrive(exactly: boolean): void {
    const target = this.#target;
    if (target === undefined) return;
    this.#target = undefined;
    this.#start = (exactly ? target.mark : Math.ceil(this.#top / STRIDE)) * STRIDE;
    this.#end = this.#start;
    this.#doubted = false;
    if (!exactly) this.#moved = { from: target.index, to: this.#start };
  }

  #restart(): void {
    this.#arrive(false);
    this.#position = BEGINNING;
    this.#begunAnew();
  }

  #begunAnew(): void {
    if (++this.#restarts > MAX_RESTARTS) this.#giveUp();
    this.#passed.clear();
  }

  #giveUp(): never {
    throw new FuseError(Errno.EIO, 'the directory changes too fast to be listed');
  }

  #take(part: Part): void {
    this.#arrive(this.isCurrent && !this.#doubted);
    const { cookie } = this.#position;
    const last = part.entries.at(-1)?.cookie ?? cookie;
    this.#passed.add(cookie);
    const circle = !part.eof && this.#passed.has(last);
    this.#add(part);
    if (circle) this.#circled();
    this.#position = { cookie: last, verifier: part.verifier };
    this.complete = part.eof;
    if (part.plusAt !== undefined) this.plusAt = part.plusAt;
    if (part.eof) {
      this.#given = undefined;
      this.#passed.clear();
    } else if (this.#repeated > MAX_RESTARTS * this.#news + LEAST_REPEATED) this.#giveUp();
  }

  /**
   * No end, and a place that was passed. A server that began anew by itself comes by once more, or as often as the
   * directory changes; one that does so otherwise would be asked for ever.
   */
  #circled(): void {
    if (this.#news === this.#circledAt && this.isCurrent) {
      throw new FuseError(Errno.ELOOP, 'the server repeats a directory cookie');
    }
    this.#circledAt = this.#news;
    this.#begunAnew();
  }

  #add({ entries, verifier }: Part): void {
    if (this.#chunks.length > 0) this.#given ??= this.#namesHeld();
    let before = this.#position;
    let index = this.#end;
    const fresh: DirectoryEntryPlus[] = [];
    for (const entry of entries) {
      if (this.#isNew(entry.name)) {
        if (index % STRIDE === 0) this.#marks[index / STRIDE] = before;
        index++;
        fresh.push(entry);
      }
      before = { cookie: entry.cookie, verifier };
    }
    if (fresh.length === 0) return;
    this.#news += fresh.length;
    this.#restarts = 0;
    this.#repeated = 0;
    const chunk = new ListingChunk(this.#end, fresh);
    this.#chunks.push(chunk);
    this.#held += chunk.bytes;
    this.#end = index;
    this.#top = Math.max(this.#top, index);
    this.#letGo();
  }

  #isNew(name: FileName): boolean {
    if (!isValidName(name)) {
      this.#leaveOut(name);
      return false;
    }
    if (this.#given === undefined || this.#given.add(name)) return true;
    this.#repeated++;
    return false;
  }

  #leaveOut(name: FileName): void {
    oddValues.names++;
    if (++this.#impossible > MAX_LOGGED) return;
    const shown =
      name.length > MAX_NAME ? `${name.length} bytes long` : fileNameToBytes(name).toString('hex');
    this.#vfs.log.warn(`a directory entry with an impossible name was left out (${shown})`);
  }

  #namesHeld(): GivenNames {
    const given = new GivenNames();
    for (const chunk of this.#chunks) for (let at = 0; at < chunk.count; at++) given.add(chunk.name(at));
    return given;
  }

  /** The part that is being read and the one behind it stay. */
  #letGo(): void {
    while (this.#held > MOST_HELD && this.#chunks.length > 2) {
      this.#held -= this.#chunks.shift()?.bytes ?? 0;
      this.#start = this.#chunks[0]?.first ?? this.#end;
    }
  }
}

/** An empty name, "/" or NUL in a name is a server's error, not something to pass on. */
function isValidName(name: FileName): boolean {
  return name.length > 0 && name.length <= MAX_NAME && !name.includes('/') && !name.includes('\0');
}
