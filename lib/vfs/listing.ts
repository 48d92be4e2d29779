/**
 * One pass over a directory: what READDIR or READDIRPLUS answered so far, and where to go on. Owns cookies and
 * verifiers; positions given to the kernel are indexes of ours, since cookies are opaque 64-bit numbers that
 * need not fit a file offset, and may become void in the middle (NFS3ERR_BAD_COOKIE).
 */

import { Errno, FuseError } from '../fuse/errno.js';
import {
  COOKIE_VERIFIER_SIZE,
  type DirectoryEntryPlus,
  type Fattr3,
  type FileHandle,
  oddValues,
  READDIR,
  READDIRPLUS,
  type ReaddirplusResult,
  Status,
} from '../nfs3/index.js';
import type { Caller } from './caller.js';
import type { Inode } from './inode.js';
import { interruptible } from './interruptible.js';
import type { VfsState } from './vfs-state.js';

export interface ListingEntry {
  readonly name: Buffer;
  readonly fileid: bigint;
  /** From READDIRPLUS, and only where the server sent it. */
  readonly handle: FileHandle | undefined;
  readonly type: Fattr3['type'] | undefined;
}

const ZERO_VERIFIER = Buffer.alloc(COOKIE_VERIFIER_SIZE);
/** The first answer is small, so that a small directory costs little; later ones are as large as the server likes. */
const FIRST_COUNT = 64 * 1024;
const LEAST_COUNT = 4 * 1024;
/** What is asked for at the most where a server calls less too small. */
const MOST_COUNT = 1024 * 1024;
/** Restarts for BAD_COOKIE within one pass: a directory that never stands still ends in an error, not a loop. */
const MAX_RESTARTS = 32;

export class Listing {
  readonly entries: ListingEntry[] = [];
  /** The directory's generation and own changes when the pass began. */
  readonly generation: number;
  readonly changes: number;
  complete = false;
  /** Entries were listed with their attributes, last when (Clock.now). */
  plusAt: number | undefined = undefined;
  readonly #vfs: VfsState;
  readonly #inode: Inode;
  readonly #teaches: boolean;
  #cookie = 0n;
  #verifier: Buffer = ZERO_VERIFIER;
  #count: number;
  #loading: Promise<void> | undefined = undefined;
  #restarts = 0;
  /** Cookies that this pass went on from: one that comes again leads round in a circle. */
  readonly #passed = new Set<bigint>();
  /** READDIRPLUS does not fit this directory's entries into any answer. */
  #namesOnly = false;
  /** After a restart: names that were already given out. */
  #seen: Set<string> | undefined = undefined;

  /** `teaches`: once it is complete, names that are not in it are known not to exist, without being asked for. */
  constructor(vfs: VfsState, inode: Inode, teaches = true) {
    this.#vfs = vfs;
    this.#inode = inode;
    this.#teaches = teaches;
    this.generation = inode.generation;
    this.changes = inode.contentChanges;
    this.#count = Math.min(FIRST_COUNT, vfs.limits.dtsize);
  }

  /** Makes sure that entry `index` is there, or the listing complete. */
  async load(index: number, plus: boolean, caller: Caller): Promise<void> {
    while (this.entries.length <= index && !this.complete) {
      const others = this.#loading;
      this.#loading ??= this.#loadMore(plus, caller).finally(() => {
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
    // What fails is asked for again by the one who reads on.
    if (!this.complete) this.load(this.entries.length, plus, caller).catch(() => {});
  }

  async #loadMore(plus: boolean, caller: Caller): Promise<void> {
    // Names alone say no types either, and a reader who then asks for each costs more than READDIRPLUS did:
    // only a huge directory that nobody stats is worth it.
    const withAttributes = plus && this.#vfs.plusSupported && !this.#namesOnly;
    const result = withAttributes ? await this.#plus(caller) : await this.#plain(caller);
    if (result.status === Status.OK) {
      this.#take(result);
      return;
    }
    if (result.status === Status.BAD_COOKIE || result.status === Status.NOT_SYNC) {
      this.#restart();
      return;
    }
    if (result.status === Status.NOTSUPP && withAttributes) {
      this.#vfs.plusSupported = false;
      return;
    }
    if (result.status === Status.TOOSMALL && this.#count < MOST_COUNT) {
      this.#count = Math.min(MOST_COUNT, Math.max(this.#count * 4, this.#vfs.limits.dtsize));
      return;
    }
    if (result.status === Status.TOOSMALL && withAttributes) {
      this.#namesOnly = true;
      return;
    }
    throw this.#vfs.redriver.failure(result, [this.#inode], caller, 'listing');
  }

  #restart(): void {
    if (++this.#restarts > MAX_RESTARTS)
      throw new FuseError(Errno.EIO, 'the directory changes too fast to be listed');
    this.#cookie = 0n;
    this.#verifier = ZERO_VERIFIER;
    this.#passed.clear();
    this.#seen = new Set(this.entries.map(({ name }) => name.toString('latin1')));
  }

  async #plus(caller: Caller): Promise<ReaddirplusResult> {
    const vfs = this.#vfs;
    const inode = this.#inode;
    const { generation, contentChanges } = inode;
    let start = vfs.attributes.start();
    const result = await vfs.redriver.run(inode, caller, (directory) => {
      start = vfs.attributes.start();
      const { cookie, cookieVerifier, count } = this.#position();
      return vfs.nfs.call(
        READDIRPLUS,
        { directory, cookie, cookieVerifier, dircount: count, maxcount: count },
        caller,
      );
    });
    vfs.attributes.observe(inode, result.directoryAttributes, start);
    if (result.status === Status.OK) {
      this.plusAt = start.at;
      for (const entry of result.entries) {
        // A change of ours may have given a name another meaning since.
        if (inode.contentChanges !== contentChanges) break;
        if (isDots(entry.name) || entry.handle === undefined || entry.attributes === undefined) continue;
        // Another file system is mounted there on the server: what READDIRPLUS shows is the covered directory.
        if (entry.attributes.fsid !== vfs.rootFsid && entry.attributes.fsid !== inode.attributes?.fsid)
          continue;
        vfs.bind(inode, entry.name.toString('latin1'), entry.handle, entry.attributes, start, generation);
      }
    }
    return result;
  }

  async #plain(caller: Caller): Promise<ReaddirplusResult> {
    const vfs = this.#vfs;
    let start = vfs.attributes.start();
    const result = await vfs.redriver.run(this.#inode, caller, (directory) => {
      start = vfs.attributes.start();
      return vfs.nfs.call(READDIR, { directory, ...this.#position() }, caller);
    });
    vfs.attributes.observe(this.#inode, result.directoryAttributes, start);
    if (result.status !== Status.OK) return result;
    const entries = result.entries.map((entry) => ({ ...entry, attributes: undefined, handle: undefined }));
    return { ...result, entries };
  }

  #position(): { cookie: bigint; cookieVerifier: Buffer; count: number } {
    return {
      cookie: this.#cookie,
      cookieVerifier: this.#verifier,
      count: Math.max(LEAST_COUNT, this.#count),
    };
  }

  #take(result: ReaddirplusResult & { status: 0 }): void {
    const cookie = result.entries.at(-1)?.cookie ?? this.#cookie;
    this.#passed.add(this.#cookie);
    if (!result.eof && this.#passed.has(cookie)) {
      // Nothing, or a place again that was passed, and no end: such a server would be asked for ever.
      throw new FuseError(Errno.ELOOP, 'the server repeats a directory cookie');
    }
    this.#addAll(result.entries);
    this.#cookie = cookie;
    this.#verifier = result.cookieVerifier;
    this.#count = Math.max(this.#count, this.#vfs.limits.dtsize);
    this.complete = result.eof;
    const inode = this.#inode;
    const current = this.generation === inode.generation && this.changes === inode.contentChanges;
    if (result.eof && current && this.#teaches) {
      this.#vfs.knownNames.learn(inode, new Set(this.entries.map(({ name }) => name.toString('latin1'))));
    }
  }

  /** Their names are copied into memory of their own: slices would keep the whole record alive. */
  #addAll(entries: readonly DirectoryEntryPlus[]): void {
    const names = Buffer.allocUnsafeSlow(entries.reduce((bytes, { name }) => bytes + name.length, 0));
    let at = 0;
    for (const entry of entries) {
      const end = at + entry.name.copy(names, at);
      this.#add(entry, names.subarray(at, end));
      at = end;
    }
  }

  #add(entry: DirectoryEntryPlus, name: Buffer): void {
    if (!isValidName(name)) {
      oddValues.names++;
      this.#vfs.log.warn(`a directory entry with an impossible name was left out (${describeName(name)})`);
      return;
    }
    if (this.#seen !== undefined) {
      const key = name.toString('latin1');
      if (this.#seen.has(key)) return;
      this.#seen.add(key);
    }
    this.entries.push({
      name,
      fileid: entry.fileid,
      handle: entry.handle,
      type: entry.attributes?.type,
    });
  }
}

export function isDots(name: Uint8Array): boolean {
  return (
    (name.length === 1 && name[0] === 0x2e) || (name.length === 2 && name[0] === 0x2e && name[1] === 0x2e)
  );
}

/** FUSE_NAME_MAX: told of a longer name, the kernel fails the whole reply with EIO. */
const MAX_NAME = 1024;

/** An empty name, "/" or NUL in a name is a server's error, not something to pass on. */
function isValidName(name: Buffer): boolean {
  return name.length > 0 && name.length <= MAX_NAME && !name.includes(0x2f) && !name.includes(0);
}

/** For the log. */
function describeName(name: Buffer): string {
  return name.length > MAX_NAME ? `${name.length} bytes long` : name.toString('hex');
}
