/** INIT: what the kernel offers, what is accepted of it and why. Owns no state. */

import type { FuseCapabilities } from '../contract/capabilities.js';
import type { ConnectionInfo } from '../contract/operations.js';
import {
  InitFlag,
  MAX_PAGES,
  PAGE_BYTES,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
  PROTOCOL_MINOR_OLDEST,
  Size,
} from '../contract/protocol.js';
import type { ReplyBuffer } from './reply.js';
import type { RequestBuffer } from './request-buffer.js';

/** Properties of a connection that can be chosen. */
export interface ConnectionOptions {
  /** Largest WRITE in bytes, a multiple of 4096, at most and by default 1 MiB. */
  readonly maxWrite?: number | undefined;
  /** Most bytes that the kernel reads ahead; by default what it offers. */
  readonly maxReadahead?: number | undefined;
  /** Background requests (read-ahead, page write-back) under way at a time; by default 128. */
  readonly maxBackground?: number | undefined;
  /** False: the kernel is not told that requests may be sent again to a process that takes over; by default it is. */
  readonly resend?: boolean | undefined;
}

export const DEFAULT_MAX_WRITE = MAX_PAGES * PAGE_BYTES;
const DEFAULT_MAX_BACKGROUND = 128;

/** The content of struct fuse_init_in. */
export interface InitOffer {
  readonly major: number;
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: bigint;
}

/** Reads an INIT request of `length` bytes. */
export function parseInit(message: RequestBuffer, length: number): InitOffer {
  const at = Size.IN_HEADER;
  const low = BigInt(message.word(at + 12));
  const extended = (low & InitFlag.INIT_EXT) !== 0n && length >= at + Size.INIT_IN_EXT;
  return {
    major: message.word(at),
    minor: message.word(at + 4),
    maxReadahead: message.word(at + 8),
    flags: extended ? low | (BigInt(message.word(at + 16)) << 32n) : low,
  };
}

/**
 * Wanted for every file system.
 *
 * Left out on purpose: ATOMIC_O_TRUNC (truncation comes as SETATTR, ordered like any other), WRITEBACK_CACHE (the
 * kernel would trust its own size and mtime over the server's), AUTO_INVAL_DATA (our own writes move the mtime; the
 * file system invalidates what it knows to be stale), EXPLICIT_INVAL_DATA (a size that changed elsewhere would no
 * longer drop the cached pages, and a file that grew would show zeros behind its old end for as long as the explicit
 * notification takes), DONT_MASK (the kernel applies the umask).
 */
const WANTED_ALWAYS =
  InitFlag.ASYNC_READ |
  InitFlag.BIG_WRITES |
  InitFlag.ASYNC_DIO |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.ABORT_ERROR |
  InitFlag.MAX_PAGES |
  InitFlag.INIT_EXT |
  InitFlag.CREATE_SUPP_GROUP |
  InitFlag.HAS_EXPIRE_ONLY |
  InitFlag.HAS_RESEND |
  InitFlag.DIRECT_IO_ALLOW_MMAP;

/** Wanted of a file system that has the capability. */
const WANTED_FOR: Readonly<Record<keyof FuseCapabilities, bigint>> = {
  posixLocks: InitFlag.POSIX_LOCKS,
  flockLocks: InitFlag.FLOCK_LOCKS,
  readdirplus: InitFlag.DO_READDIRPLUS | InitFlag.READDIRPLUS_AUTO,
  lookupOfDots: InitFlag.EXPORT_SUPPORT,
  clearsSetIdBits: InitFlag.HANDLE_KILLPRIV,
  cachedSymlinks: InitFlag.CACHE_SYMLINKS,
  idmappedMounts: InitFlag.ALLOW_IDMAP,
};

function wantedFlags(capabilities: FuseCapabilities): bigint {
  let wanted = WANTED_ALWAYS;
  for (const [capability, flags] of Object.entries(WANTED_FOR))
    if (capabilities[capability as keyof FuseCapabilities]) wanted |= flags;
  return wanted;
}

/**
 * The offer of the kernel, reduced to the capabilities of the file system and to what we want.
 * @throws Error when the kernel's protocol is older than 7.31 (Linux 5.4).
 */
export function negotiate(
  offer: InitOffer,
  capabilities: FuseCapabilities,
  options: ConnectionOptions,
): ConnectionInfo {
  if (offer.major !== PROTOCOL_MAJOR || offer.minor < PROTOCOL_MINOR_OLDEST)
    throw new Error(
      `this kernel speaks FUSE protocol ${offer.major}.${offer.minor}; ` +
        `${PROTOCOL_MAJOR}.${PROTOCOL_MINOR_OLDEST} or newer is needed (Linux 5.4)`,
    );
  const refused = options.resend === false ? InitFlag.HAS_RESEND : 0n;
  const flags = offer.flags & wantedFlags(capabilities) & ~refused;

  // Without MAX_PAGES a request holds at most 32 pages.
  const most = (flags & InitFlag.MAX_PAGES) !== 0n ? DEFAULT_MAX_WRITE : 32 * PAGE_BYTES;
  const asked = Math.min(options.maxWrite ?? DEFAULT_MAX_WRITE, most);
  return {
    protocolMinor: Math.min(offer.minor, PROTOCOL_MINOR),
    maxWrite: Math.max(PAGE_BYTES, asked - (asked % PAGE_BYTES)),
    maxReadahead: Math.min(offer.maxReadahead, options.maxReadahead ?? offer.maxReadahead),
    flags,
  };
}

/**
 * The answer to an INIT that a process gets which goes on with a connection: the process before it had noted `agreement`, and
 * died before it answered. `isRepeated`: the kernel sends it again.
 * @throws Error for an INIT that nobody has read before: it begins another connection
 */
export function agreedBefore(agreement: ConnectionInfo, isRepeated: boolean): ConnectionInfo {
  if (isRepeated) return agreement;
  throw new Error('This is a new mount, and the state is that of an earlier one.');
}

/** Encodes struct fuse_init_out behind the header of `reply`; answers the length of the message. */
export function encodeInit(
  reply: ReplyBuffer,
  connection: ConnectionInfo,
  options: ConnectionOptions,
): number {
  const start = Size.OUT_HEADER;
  const length = start + Size.INIT_OUT;
  const { u32 } = reply;
  const halves = new Uint16Array(u32.buffer, 0, length / 2);
  u32.fill(0, start / 4, length / 4);
  const background = Math.min(options.maxBackground ?? DEFAULT_MAX_BACKGROUND, 0xffff);
  u32[start / 4] = PROTOCOL_MAJOR;
  u32[start / 4 + 1] = PROTOCOL_MINOR;
  u32[start / 4 + 2] = connection.maxReadahead;
  u32[start / 4 + 3] = Number(connection.flags & 0xffff_ffffn);
  halves[start / 2 + 8] = background;
  halves[start / 2 + 9] = Math.max(1, Math.floor((background * 3) / 4));
  u32[start / 4 + 5] = connection.maxWrite;
  u32[start / 4 + 6] = 1; // time_gran: nanoseconds
  halves[start / 2 + 14] = Math.ceil(connection.maxWrite / PAGE_BYTES);
  u32[start / 4 + 8] = Number(connection.flags >> 32n);
  return length;
}
