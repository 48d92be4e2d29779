/** fattr3, sattr3 and weak cache consistency data (RFC 1813 2.5, 2.6), with their codecs. */
import { XdrError } from '../../xdr/xdr-error.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import { FileType, TimeHow } from './constants.js';
import { oddValues } from './odd-values.js';

/** nfstime3: seconds since the epoch, unsigned 32-bit on the wire, and nanoseconds. */
export interface NfsTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface Fattr3 {
  readonly type: FileType;
  /** Permission bits only, with setuid, setgid and sticky. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: bigint;
  /** Bytes of disk space. */
  readonly used: bigint;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
  readonly fsid: bigint;
  readonly fileid: bigint;
  readonly atime: NfsTime;
  readonly mtime: NfsTime;
  readonly ctime: NfsTime;
}

/** wcc_attr: what a server remembers of an object from before an operation. */
export interface WccAttributes {
  readonly size: bigint;
  readonly mtime: NfsTime;
  readonly ctime: NfsTime;
}

/** wcc_data: before and after; either may be missing. */
export interface WccData {
  readonly before: WccAttributes | undefined;
  readonly after: Fattr3 | undefined;
}

/** sattr3; what is undefined stays as it is. 'server': the server's clock. */
export interface Sattr3 {
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly size?: bigint | undefined;
  readonly atime?: NfsTime | 'server' | undefined;
  readonly mtime?: NfsTime | 'server' | undefined;
}

const FATTR3_SIZE = 84;

export function sameTime(a: NfsTime, b: NfsTime): boolean {
  return a.seconds === b.seconds && a.nanoseconds === b.nanoseconds;
}

/** Negative, 0 or positive as `a` is before, at or after `b`. */
export function compareTime(a: NfsTime, b: NfsTime): number {
  return a.seconds - b.seconds || a.nanoseconds - b.nanoseconds;
}

const LAST_NANOSECOND = 999_999_999;

/**
 * A time in a reply. Some servers have garbage in the nanoseconds. Such a time still has a valid second, and is decoded
 * in the same way each time.
 */
function readTime(buffer: Buffer, at: number): NfsTime {
  let nanoseconds = buffer.readUInt32BE(at + 4);
  if (nanoseconds > LAST_NANOSECOND) {
    oddValues.nanoseconds++;
    nanoseconds = LAST_NANOSECOND;
  }
  return { seconds: buffer.readUInt32BE(at), nanoseconds };
}

function decodeShownTime(reader: XdrReader): NfsTime {
  return readTime(reader.buffer, reader.claim(8));
}

/** A time in the arguments of a call. Throws XdrError for a second or more of nanoseconds. */
function decodeTime(reader: XdrReader): NfsTime {
  const seconds = reader.uint32();
  const nanoseconds = reader.uint32();
  if (nanoseconds > LAST_NANOSECOND) throw new XdrError(`${nanoseconds} nanoseconds in a time`);
  return { seconds, nanoseconds };
}

function encodeTime(writer: XdrWriter, time: NfsTime): void {
  writer.uint32(time.seconds);
  writer.uint32(time.nanoseconds);
}

/** Undefined: the server names a file type that does not exist, so that the object cannot be used. */
export function decodeFattr3(reader: XdrReader): Fattr3 | undefined {
  const at = reader.claim(FATTR3_SIZE);
  const buffer = reader.buffer;
  const type = buffer.readUInt32BE(at);
  if (type < FileType.REG || type > FileType.FIFO) {
    oddValues.fileTypes++;
    return undefined;
  }
  return {
    type: type as FileType,
    // Some servers also send the S_IFMT bits, which are not part of mode3.
    mode: buffer.readUInt32BE(at + 4) & 0o7777,
    nlink: buffer.readUInt32BE(at + 8),
    uid: buffer.readUInt32BE(at + 12),
    gid: buffer.readUInt32BE(at + 16),
    size: buffer.readBigUInt64BE(at + 20),
    used: buffer.readBigUInt64BE(at + 28),
    rdevMajor: buffer.readUInt32BE(at + 36),
    rdevMinor: buffer.readUInt32BE(at + 40),
    fsid: buffer.readBigUInt64BE(at + 44),
    fileid: buffer.readBigUInt64BE(at + 52),
    atime: readTime(buffer, at + 60),
    mtime: readTime(buffer, at + 68),
    ctime: readTime(buffer, at + 76),
  };
}

export function encodeFattr3(writer: XdrWriter, a: Fattr3): void {
  writer.uint32(a.type);
  writer.uint32(a.mode);
  writer.uint32(a.nlink);
  writer.uint32(a.uid);
  writer.uint32(a.gid);
  writer.uint64(a.size);
  writer.uint64(a.used);
  writer.uint32(a.rdevMajor);
  writer.uint32(a.rdevMinor);
  writer.uint64(a.fsid);
  writer.uint64(a.fileid);
  encodeTime(writer, a.atime);
  encodeTime(writer, a.mtime);
  encodeTime(writer, a.ctime);
}

/** post_op_attr. Attributes that make no sense count as not sent. */
export function decodePostOpAttributes(reader: XdrReader): Fattr3 | undefined {
  return reader.bool() ? decodeFattr3(reader) : undefined;
}

export function encodePostOpAttributes(writer: XdrWriter, attributes: Fattr3 | undefined): void {
  writer.bool(attributes !== undefined);
  if (attributes !== undefined) encodeFattr3(writer, attributes);
}

export function decodeWccData(reader: XdrReader): WccData {
  const before = reader.bool()
    ? { size: reader.uint64(), mtime: decodeShownTime(reader), ctime: decodeShownTime(reader) }
    : undefined;
  return { before, after: decodePostOpAttributes(reader) };
}

export function encodeWccData(writer: XdrWriter, wcc: WccData): void {
  writer.bool(wcc.before !== undefined);
  if (wcc.before !== undefined) {
    writer.uint64(wcc.before.size);
    encodeTime(writer, wcc.before.mtime);
    encodeTime(writer, wcc.before.ctime);
  }
  encodePostOpAttributes(writer, wcc.after);
}

function encodeOptional32(writer: XdrWriter, value: number | undefined): void {
  writer.bool(value !== undefined);
  if (value !== undefined) writer.uint32(value);
}

function encodeSetTime(writer: XdrWriter, time: NfsTime | 'server' | undefined): void {
  if (time === undefined) writer.uint32(TimeHow.DONT_CHANGE);
  else if (time === 'server') writer.uint32(TimeHow.SET_TO_SERVER_TIME);
  else {
    writer.uint32(TimeHow.SET_TO_CLIENT_TIME);
    encodeTime(writer, time);
  }
}

function decodeSetTime(reader: XdrReader): NfsTime | 'server' | undefined {
  switch (reader.enumeration(TimeHow.DONT_CHANGE, TimeHow.SET_TO_CLIENT_TIME, 'time_how')) {
    case TimeHow.SET_TO_SERVER_TIME:
      return 'server';
    case TimeHow.SET_TO_CLIENT_TIME:
      return decodeTime(reader);
    default:
      return undefined;
  }
}

export function encodeSattr3(writer: XdrWriter, a: Sattr3): void {
  encodeOptional32(writer, a.mode);
  encodeOptional32(writer, a.uid);
  encodeOptional32(writer, a.gid);
  writer.bool(a.size !== undefined);
  if (a.size !== undefined) writer.uint64(a.size);
  encodeSetTime(writer, a.atime);
  encodeSetTime(writer, a.mtime);
}

export function decodeSattr3(reader: XdrReader): Sattr3 {
  const mode = reader.bool() ? reader.uint32() : undefined;
  const uid = reader.bool() ? reader.uint32() : undefined;
  const gid = reader.bool() ? reader.uint32() : undefined;
  const size = reader.bool() ? reader.uint64() : undefined;
  return { mode, uid, gid, size, atime: decodeSetTime(reader), mtime: decodeSetTime(reader) };
}

/** sattrguard3: the ctime that the object must have. */
export function encodeGuard(writer: XdrWriter, guard: NfsTime | undefined): void {
  writer.bool(guard !== undefined);
  if (guard !== undefined) encodeTime(writer, guard);
}

export function decodeGuard(reader: XdrReader): NfsTime | undefined {
  return reader.bool() ? decodeTime(reader) : undefined;
}
