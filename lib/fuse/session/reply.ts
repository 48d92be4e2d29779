/**
 * Encoding of replies: the buffer that one reply is built in, its structures, and the directory listings that
 * a file system fills entry by entry.
 */

import { encodeDevice } from '../contract/device-number.js';
import type {
  AttributesReply,
  DirectorySink,
  EntryReply,
  FuseAttributes,
  FuseLock,
  FuseStatfs,
  OpenReply,
} from '../contract/operations.js';
import { Size } from '../contract/protocol.js';
import { MessageBuffer, TWO_32 } from './message-buffer.js';

/** A reply under construction: 16 bytes of header, which the session fills in, and the payload after them. */
export class ReplyBuffer extends MessageBuffer {
  /** Stores a whole number, possibly negative, as 64 bits in two's complement. `at` counts 4-byte words. */
  wide(at: number, value: number): void {
    this.u32[at] = value >>> 0;
    this.u32[at + 1] = Math.floor(value / TWO_32) >>> 0;
  }

  /** struct fuse_out_header for a message of `length` bytes; `errno` is 0 or positive. */
  header(length: number, errno: number, uniqueLow: number, uniqueHigh: number): void {
    const { u32 } = this;
    u32[0] = length;
    u32[1] = -errno;
    u32[2] = uniqueLow;
    u32[3] = uniqueHigh;
  }

  /** struct fuse_attr, at word `at` (which is even). */
  attributes(at: number, attributes: FuseAttributes): void {
    const { u32, u64 } = this;
    const at64 = at >>> 1;
    u64[at64] = attributes.ino;
    u64[at64 + 1] = attributes.size;
    u64[at64 + 2] = attributes.blocks;
    this.wide(at + 6, attributes.atime.seconds);
    this.wide(at + 8, attributes.mtime.seconds);
    this.wide(at + 10, attributes.ctime.seconds);
    u32[at + 12] = attributes.atime.nanoseconds;
    u32[at + 13] = attributes.mtime.nanoseconds;
    u32[at + 14] = attributes.ctime.nanoseconds;
    u32[at + 15] = attributes.mode;
    u32[at + 16] = attributes.nlink;
    u32[at + 17] = attributes.uid;
    u32[at + 18] = attributes.gid;
    u32[at + 19] = encodeDevice(attributes.rdevMajor, attributes.rdevMinor);
    u32[at + 20] = attributes.blksize;
    u32[at + 21] = 0;
  }

  /** struct fuse_entry_out at word `at`; undefined encodes "the name alone" of a directory entry. */
  entry(at: number, entry: EntryReply | undefined): void {
    if (entry === undefined) {
      this.u32.fill(0, at, at + Size.ENTRY_OUT / 4);
      return;
    }
    const { u32 } = this;
    this.wide(at, entry.nodeid);
    this.wide(at + 2, entry.generation);
    this.wide(at + 4, wholeSeconds(entry.entryValidMs));
    this.wide(at + 6, wholeSeconds(entry.attrValidMs));
    u32[at + 8] = restNanoseconds(entry.entryValidMs);
    u32[at + 9] = restNanoseconds(entry.attrValidMs);
    this.attributes(at + 10, entry.attributes);
  }

  /** struct fuse_entry_out of a name that does not exist. */
  negativeEntry(at: number, validMs: number): void {
    this.u32.fill(0, at, at + Size.ENTRY_OUT / 4);
    this.wide(at + 4, wholeSeconds(validMs));
    this.u32[at + 8] = restNanoseconds(validMs);
  }

  /** struct fuse_attr_out. */
  attributesReply(at: number, reply: AttributesReply): void {
    this.wide(at, wholeSeconds(reply.attrValidMs));
    this.u32[at + 2] = restNanoseconds(reply.attrValidMs);
    this.u32[at + 3] = 0;
    this.attributes(at + 4, reply.attributes);
  }

  /** struct fuse_open_out. */
  open(at: number, reply: OpenReply): void {
    this.wide(at, reply.fh);
    this.u32[at + 2] = reply.openFlags;
    this.u32[at + 3] = 0;
  }

  /** struct fuse_statfs_out. */
  statfs(at: number, statfs: FuseStatfs): void {
    const { u32, u64 } = this;
    const at64 = at >>> 1;
    u64[at64] = statfs.blocks;
    u64[at64 + 1] = statfs.bfree;
    u64[at64 + 2] = statfs.bavail;
    u64[at64 + 3] = statfs.files;
    u64[at64 + 4] = statfs.ffree;
    u32[at + 10] = statfs.bsize;
    u32[at + 11] = statfs.namelen;
    u32[at + 12] = statfs.frsize;
    u32.fill(0, at + 13, at + 20);
  }

  /** struct fuse_lk_out. */
  lock(at: number, lock: FuseLock): void {
    this.u64[at >>> 1] = lock.start;
    this.u64[(at >>> 1) + 1] = lock.end;
    this.u32[at + 4] = lock.type;
    this.u32[at + 5] = lock.pid;
  }
}

function wholeSeconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}

function restNanoseconds(milliseconds: number): number {
  return Math.floor((milliseconds - Math.floor(milliseconds / 1000) * 1000) * 1e6);
}

/** Collects the entries of one READDIR or READDIRPLUS reply, straight into wire form. */
export class DirectoryReply implements DirectorySink {
  readonly buffer: ReplyBuffer;
  readonly #limit: number;
  readonly #plus: boolean;
  #end: number = Size.OUT_HEADER;
  #count = 0;

  /** `buffer` takes header and entries, of which at most `size` bytes; `plus`: entries in the READDIRPLUS form. */
  constructor(buffer: ReplyBuffer, size: number, plus: boolean) {
    this.buffer = buffer;
    this.#limit = Math.min(buffer.bytes.length, Size.OUT_HEADER + size);
    this.#plus = plus;
  }

  /** Bytes of the whole message, header included. */
  get length(): number {
    return this.#end;
  }

  get count(): number {
    return this.#count;
  }

  add(name: Uint8Array, ino: bigint, type: number, offset: bigint): boolean {
    if (this.#plus) return this.addPlus(name, ino, type, offset, undefined);
    const end = this.#end + ((Size.DIRENT + name.length + 7) & ~7);
    if (end > this.#limit) return false;
    this.#dirent(this.#end, name, ino, type, offset);
    this.#end = end;
    this.#count += 1;
    return true;
  }

  addPlus(
    name: Uint8Array,
    ino: bigint,
    type: number,
    offset: bigint,
    entry: EntryReply | undefined,
  ): boolean {
    // For READDIR the kernel counts no lookups. If we took the entry, the counts of the two sides would differ.
    if (!this.#plus) throw new TypeError('addPlus() called while answering READDIR');
    const end = this.#end + ((Size.DIRENTPLUS + name.length + 7) & ~7);
    if (end > this.#limit) return false;
    this.buffer.entry(this.#end >>> 2, entry);
    this.#dirent(this.#end + Size.ENTRY_OUT, name, ino, type, offset);
    this.#end = end;
    this.#count += 1;
    return true;
  }

  /** struct fuse_dirent at byte `at`, padded to 8 bytes with zeros. */
  #dirent(at: number, name: Uint8Array, ino: bigint, type: number, offset: bigint): void {
    const { bytes, u32, u64 } = this.buffer;
    const length = name.length;
    u64[at >>> 3] = ino;
    u64[(at >>> 3) + 1] = offset;
    u32[(at >>> 2) + 4] = length;
    u32[(at >>> 2) + 5] = type;
    bytes.set(name, at + Size.DIRENT);
    const padded = (length + 7) & ~7;
    if (padded > length) bytes.fill(0, at + Size.DIRENT + length, at + Size.DIRENT + padded);
  }
}

/** How many buffers are kept: a program that walks a tree reads one directory at a time. */
const KEPT_LISTINGS = 4;
/** Each buffer has at least this size, so that the buffers that are kept serve requests of most sizes. */
const LEAST_LISTING = 32 * 1024;

/** Memory of listings, which is used again: new memory for each listing would keep the garbage collector busy. */
export class ListingBuffers {
  readonly #free: ReplyBuffer[] = [];

  /** A buffer of at least `bytes`, which still has its former content. */
  take(bytes: number): ReplyBuffer {
    const last = this.#free.pop();
    if (last !== undefined && last.bytes.length >= bytes) return last;
    return new ReplyBuffer((Math.max(bytes, LEAST_LISTING) + 7) & ~7);
  }

  /** Takes back a buffer that is no longer used. The garbage collector takes those that are not given back. */
  give(buffer: ReplyBuffer): void {
    if (this.#free.length < KEPT_LISTINGS) this.#free.push(buffer);
  }
}
