/** The readable dump of a session's traffic: one line for each message. It exists only if it was asked for. */

import { errnoName } from '../contract/errno.js';
import {
  initFlagNames,
  Opcode,
  opcodeName,
  SetattrValid,
  Size,
  UNIQUE_HIGH_MASK,
} from '../contract/protocol.js';
import type { SessionEnd } from './channel/channel.js';
import type { ReplyBuffer } from './reply.js';
import type { FuseRequest } from './request.js';
import type { RequestBuffer } from './request-buffer.js';

const A = Size.IN_HEADER;

export class FuseDump {
  readonly #line: (line: string) => void;

  constructor(line: (line: string) => void) {
    this.#line = line;
  }

  /** A request of `length` bytes as it arrived. */
  request(message: RequestBuffer, length: number): void {
    const opcode = message.word(4);
    const again = message.word(12) > UNIQUE_HIGH_MASK ? ' again' : '';
    const head = `> ${opcodeName(opcode)} #${message.unique(8)}${again} node=${message.big(16)}`;
    const who = `uid=${message.word(24)} gid=${message.word(28)} pid=${message.word(32)}`;
    const rest = describeArguments(opcode, message, length);
    this.#line(rest === '' ? `${head} ${who}` : `${head} ${who} ${rest}`);
  }

  /** A successful answer, encoded in `reply` (of data only the length is known here). */
  reply(request: FuseRequest, reply: ReplyBuffer, length: number): void {
    const rest = describeReply(request.opcode, reply, length);
    this.#line(`< ${opcodeName(request.opcode)} #${request.unique} ok${rest === '' ? '' : ` ${rest}`}`);
  }

  error(request: FuseRequest, errno: number): void {
    this.#line(`< ${opcodeName(request.opcode)} #${request.unique} ${errnoName(errno)}`);
  }

  end(end: SessionEnd): void {
    this.#line(`the connection ended: ${end instanceof Error ? end.message : end}`);
  }
}

/** A name as JSON shows it; bytes that are not UTF-8 in hexadecimal. */
export function showName(name: Uint8Array): string {
  const text = Buffer.from(name).toString('utf8');
  return Buffer.from(text, 'utf8').equals(name)
    ? JSON.stringify(text)
    : `0x${Buffer.from(name).toString('hex')}`;
}

/** The NUL-terminated names that start at `offset`. */
function names(message: RequestBuffer, offset: number, length: number): string[] {
  const found: string[] = [];
  let at = offset;
  while (at < length) {
    const nul = message.bytes.indexOf(0, at);
    const end = nul < 0 || nul > length ? length : nul;
    found.push(showName(message.bytes.subarray(at, end)));
    at = end + 1;
  }
  return found;
}

function octal(value: number): string {
  return `0${value.toString(8)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function describeArguments(opcode: number, m: RequestBuffer, length: number): string {
  const name = (offset: number): string => `name=${names(m, A + offset, length)[0] ?? ''}`;
  const second = (offset: number): string => names(m, A + offset, length)[1] ?? '';
  switch (opcode) {
    case Opcode.LOOKUP:
    case Opcode.UNLINK:
    case Opcode.RMDIR:
      return name(0);
    case Opcode.SYMLINK:
      return `${name(0)} target=${second(0)}`;
    case Opcode.MKNOD:
      return `${name(Size.MKNOD_IN)} mode=${octal(m.word(A))} rdev=${hex(m.word(A + 4))}`;
    case Opcode.MKDIR:
      return `${name(Size.MKDIR_IN)} mode=${octal(m.word(A))}`;
    case Opcode.RENAME:
      return `${name(Size.RENAME_IN)} to=${m.big(A)} as=${second(Size.RENAME_IN)}`;
    case Opcode.RENAME2:
      return `${name(Size.RENAME2_IN)} to=${m.big(A)} as=${second(Size.RENAME2_IN)} flags=${hex(m.word(A + 8))}`;
    case Opcode.LINK:
      return `${name(Size.LINK_IN)} of=${m.big(A)}`;
    case Opcode.FORGET:
      return `nlookup=${m.big(A)}`;
    case Opcode.BATCH_FORGET:
      return `count=${m.word(A)}`;
    case Opcode.GETATTR:
      return (m.word(A) & 1) !== 0 ? `fh=${m.big(A + 8)}` : '';
    case Opcode.SETATTR:
      return describeSetattr(m);
    case Opcode.OPEN:
    case Opcode.OPENDIR:
      return `flags=${octal(m.word(A))}`;
    case Opcode.CREATE:
      return `${name(Size.CREATE_IN)} mode=${octal(m.word(A + 4))} flags=${octal(m.word(A))}`;
    case Opcode.READ:
    case Opcode.READDIR:
    case Opcode.READDIRPLUS:
      return `fh=${m.big(A)} offset=${m.big(A + 8)} size=${m.word(A + 16)}`;
    case Opcode.WRITE:
      return (
        `fh=${m.big(A)} offset=${m.big(A + 8)} size=${m.word(A + 16)}` +
        ((m.word(A + 20) & 1) !== 0 ? ' from-page-cache' : '')
      );
    case Opcode.FLUSH:
      return `fh=${m.big(A)} owner=${m.big(A + 16).toString(16)}`;
    case Opcode.RELEASE:
    case Opcode.RELEASEDIR:
      return `fh=${m.big(A)} flags=${octal(m.word(A + 8))} release=${hex(m.word(A + 12))}`;
    case Opcode.FSYNC:
    case Opcode.FSYNCDIR:
      return `fh=${m.big(A)}${(m.word(A + 8) & 1) !== 0 ? ' datasync' : ''}`;
    case Opcode.ACCESS:
      return `mask=${m.word(A)}`;
    case Opcode.GETLK:
    case Opcode.SETLK:
    case Opcode.SETLKW:
      return (
        `fh=${m.big(A)} owner=${m.big(A + 8).toString(16)} type=${m.word(A + 32)} ` +
        `start=${m.big(A + 16)} end=${m.big(A + 24)} flock=${m.word(A + 40) & 1}`
      );
    case Opcode.INTERRUPT:
      return `of=#${m.unique(A)}`;
    case Opcode.INIT:
      return (
        `protocol=${m.word(A)}.${m.word(A + 4)} readahead=${m.word(A + 8)} ` +
        `flags=${initFlagNames(BigInt(m.word(A + 12)) | (length >= A + 20 ? BigInt(m.word(A + 16)) << 32n : 0n))}`
      );
    default:
      return length > A ? `${length - A} bytes` : '';
  }
}

function describeSetattr(m: RequestBuffer): string {
  const valid = m.word(A);
  const parts: string[] = [];
  const time = (at: number, nanoseconds: number): string =>
    `${m.signed(A + at)}.${String(m.word(A + nanoseconds)).padStart(9, '0')}`;
  if ((valid & SetattrValid.FH) !== 0) parts.push(`fh=${m.big(A + 8)}`);
  if ((valid & SetattrValid.MODE) !== 0) parts.push(`mode=${octal(m.word(A + 68))}`);
  if ((valid & SetattrValid.UID) !== 0) parts.push(`uid:=${m.word(A + 76)}`);
  if ((valid & SetattrValid.GID) !== 0) parts.push(`gid:=${m.word(A + 80)}`);
  if ((valid & SetattrValid.SIZE) !== 0) parts.push(`size=${m.big(A + 16)}`);
  if ((valid & SetattrValid.ATIME_NOW) !== 0) parts.push('atime=now');
  else if ((valid & SetattrValid.ATIME) !== 0) parts.push(`atime=${time(32, 56)}`);
  if ((valid & SetattrValid.MTIME_NOW) !== 0) parts.push('mtime=now');
  else if ((valid & SetattrValid.MTIME) !== 0) parts.push(`mtime=${time(40, 60)}`);
  return parts.join(' ');
}

function describeReply(opcode: number, reply: ReplyBuffer, length: number): string {
  const big = (word: number): bigint => reply.u64[word >>> 1] ?? 0n;
  const word = (at: number): number => reply.u32[at] ?? 0;
  const attributes = (at: number): string =>
    `ino=${big(at)} mode=${octal(word(at + 15))} nlink=${word(at + 16)} ` +
    `uid=${word(at + 17)} gid=${word(at + 18)} size=${big(at + 2)}`;
  const open = (at: number): string => `fh=${big(at)} open=${hex(word(at + 2))}`;
  const entry = (): string =>
    big(4) === 0n
      ? `no such name, valid=${big(8)}s`
      : `node=${big(4)} ${attributes(14)} valid=${big(8)}s/${big(10)}s`;
  switch (opcode) {
    case Opcode.LOOKUP:
    case Opcode.SYMLINK:
    case Opcode.MKNOD:
    case Opcode.MKDIR:
    case Opcode.LINK:
      return entry();
    case Opcode.CREATE:
      return `${entry()} ${open(4 + Size.ENTRY_OUT / 4)}`;
    case Opcode.GETATTR:
    case Opcode.SETATTR:
      return `${attributes(8)} valid=${big(4)}s`;
    case Opcode.OPEN:
    case Opcode.OPENDIR:
      return open(4);
    case Opcode.WRITE:
      return `${word(4)} bytes`;
    case Opcode.INIT:
      return (
        `protocol=${word(4)}.${word(5)} readahead=${word(6)} max_write=${word(9)} ` +
        `flags=${initFlagNames(BigInt(word(7)) | (BigInt(word(12)) << 32n))}`
      );
    default:
      return length > Size.OUT_HEADER ? `${length - Size.OUT_HEADER} bytes` : '';
  }
}
