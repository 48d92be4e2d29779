/**
 * From a request's bytes to a call of {@link FuseOperations}, and from its result to the reply: what each
 * opcode's arguments mean. Owns no state.
 */
import { Errno, FuseError } from '../contract/errno.js';
import type {
  BorrowedData,
  FuseOperations,
  FuseTime,
  LockRequest,
  NodeId,
  RequestContext,
  SetAttributes,
} from '../contract/operations.js';
import {
  DIRECT_LOCKOWNER,
  FSYNC_FDATASYNC,
  GETATTR_FH,
  LK_FLOCK,
  Opcode,
  RELEASE_FLOCK_UNLOCK,
  SetattrValid,
  Size,
  WRITE_CACHE,
} from '../contract/protocol.js';
import type { RequestBuffer } from './message.js';
import { DirectoryReply } from './reply.js';
import type { FuseRequest } from './request.js';
import {
  type Responder,
  replyAttributes,
  replyCreate,
  replyEmpty,
  replyEntry,
  replyLink,
  replyLock,
  replyOpen,
  replyStatfs,
  replyWritten,
} from './responder.js';

const ARGUMENTS = Size.IN_HEADER;
const PAYLOAD = Size.OUT_HEADER;
/** Up to here byte offsets are exact as numbers. */
const OFFSET_LIMIT = 2 ** 53;
/** A listing goes out in answers of at most this size, however much the kernel would take. */
const MAX_LISTING_BYTES = 256 * 1024;

/**
 * Calls the operation that `request` asks for and sees to its reply. FORGET, INTERRUPT, INIT and DESTROY are
 * not for here: they belong to the connection. `length` is that of the whole message.
 * @throws what the operation throws synchronously, and FuseError for a malformed request.
 */
export function dispatch(
  operations: FuseOperations,
  responder: Responder,
  request: FuseRequest,
  message: RequestBuffer,
  length: number,
): void {
  const { nodeid } = request;
  if (Number.isNaN(nodeid)) throw new FuseError(Errno.ESTALE);
  switch (request.opcode) {
    case Opcode.LOOKUP: {
      const name = nameAt(request, message, ARGUMENTS, length);
      responder.settle(request, operations.lookup(request, nodeid, name), replyEntry);
      break;
    }
    case Opcode.GETATTR: {
      need(length, Size.GETATTR_IN);
      const fh = (message.word(ARGUMENTS) & GETATTR_FH) !== 0 ? message.own(ARGUMENTS + 8) : undefined;
      responder.settle(request, operations.getattr(request, nodeid, fh), replyAttributes);
      break;
    }
    case Opcode.SETATTR: {
      need(length, Size.SETATTR_IN);
      const changes = setAttributes(message);
      responder.settle(request, operations.setattr(request, nodeid, changes), replyAttributes);
      break;
    }
    case Opcode.READLINK:
      responder.settle(request, operations.readlink(request, nodeid), replyLink);
      break;
    case Opcode.SYMLINK: {
      const name = nameAt(request, message, ARGUMENTS, length);
      const target = message.name(ARGUMENTS + name.length + 1, length);
      responder.settle(request, operations.symlink(request, nodeid, name, target), replyEntry);
      break;
    }
    case Opcode.MKNOD: {
      need(length, Size.MKNOD_IN);
      const name = nameAt(request, message, ARGUMENTS + Size.MKNOD_IN, length);
      const mode = message.word(ARGUMENTS);
      const rdev = message.word(ARGUMENTS + 4);
      responder.settle(request, operations.mknod(request, nodeid, name, mode, rdev), replyEntry);
      break;
    }
    case Opcode.MKDIR: {
      need(length, Size.MKDIR_IN);
      const name = nameAt(request, message, ARGUMENTS + Size.MKDIR_IN, length);
      const mode = message.word(ARGUMENTS);
      responder.settle(request, operations.mkdir(request, nodeid, name, mode), replyEntry);
      break;
    }
    case Opcode.UNLINK: {
      const name = nameAt(request, message, ARGUMENTS, length);
      responder.settle(request, operations.unlink(request, nodeid, name), replyEmpty);
      break;
    }
    case Opcode.RMDIR: {
      const name = nameAt(request, message, ARGUMENTS, length);
      responder.settle(request, operations.rmdir(request, nodeid, name), replyEmpty);
      break;
    }
    case Opcode.RENAME:
      need(length, Size.RENAME_IN);
      rename(operations, responder, request, message, length, Size.RENAME_IN, 0);
      break;
    case Opcode.RENAME2: {
      need(length, Size.RENAME2_IN);
      const flags = message.word(ARGUMENTS + 8);
      rename(operations, responder, request, message, length, Size.RENAME2_IN, flags);
      break;
    }
    case Opcode.LINK: {
      need(length, Size.LINK_IN);
      const existing = message.own(ARGUMENTS);
      const name = nameAt(request, message, ARGUMENTS + Size.LINK_IN, length);
      responder.settle(request, operations.link(request, existing, nodeid, name), replyEntry);
      break;
    }
    case Opcode.OPEN: {
      need(length, Size.OPEN_IN);
      responder.settle(request, operations.open(request, nodeid, message.word(ARGUMENTS)), replyOpen);
      break;
    }
    case Opcode.CREATE: {
      need(length, Size.CREATE_IN);
      const name = nameAt(request, message, ARGUMENTS + Size.CREATE_IN, length);
      const flags = message.word(ARGUMENTS);
      const mode = message.word(ARGUMENTS + 4);
      responder.settle(request, operations.create(request, nodeid, name, mode, flags), replyCreate);
      break;
    }
    case Opcode.READ:
      need(length, Size.READ_IN);
      read(operations, responder, request, message);
      break;
    case Opcode.WRITE:
      need(length, Size.WRITE_IN);
      write(operations, responder, request, message, length);
      break;
    case Opcode.FLUSH: {
      need(length, Size.FLUSH_IN);
      const fh = message.own(ARGUMENTS);
      const owner = message.big(ARGUMENTS + 16);
      responder.settle(request, operations.flush(request, nodeid, fh, owner), replyEmpty);
      break;
    }
    case Opcode.RELEASE: {
      need(length, Size.RELEASE_IN);
      const fh = message.own(ARGUMENTS);
      const unlock = (message.word(ARGUMENTS + 12) & RELEASE_FLOCK_UNLOCK) !== 0;
      const owner = unlock ? message.big(ARGUMENTS + 16) : undefined;
      responder.settle(request, operations.release(request, nodeid, fh, owner), replyEmpty);
      break;
    }
    case Opcode.FSYNC: {
      need(length, Size.FSYNC_IN);
      const fh = message.own(ARGUMENTS);
      const datasync = (message.word(ARGUMENTS + 8) & FSYNC_FDATASYNC) !== 0;
      responder.settle(request, operations.fsync(request, nodeid, fh, datasync), replyEmpty);
      break;
    }
    case Opcode.OPENDIR:
      need(length, Size.OPEN_IN);
      responder.settle(request, operations.opendir(request, nodeid, message.word(ARGUMENTS)), replyOpen);
      break;
    case Opcode.READDIR:
      need(length, Size.READ_IN);
      readdir(operations, responder, request, message, false);
      break;
    case Opcode.READDIRPLUS:
      need(length, Size.READ_IN);
      readdir(operations, responder, request, message, true);
      break;
    case Opcode.RELEASEDIR: {
      need(length, Size.RELEASE_IN);
      const fh = message.own(ARGUMENTS);
      responder.settle(request, operations.releasedir(request, nodeid, fh), replyEmpty);
      break;
    }
    case Opcode.FSYNCDIR: {
      need(length, Size.FSYNC_IN);
      const fh = message.own(ARGUMENTS);
      const datasync = (message.word(ARGUMENTS + 8) & FSYNC_FDATASYNC) !== 0;
      responder.settle(request, operations.fsyncdir(request, nodeid, fh, datasync), replyEmpty);
      break;
    }
    case Opcode.STATFS:
      responder.settle(request, operations.statfs(request, nodeid), replyStatfs);
      break;
    case Opcode.ACCESS: {
      need(length, Size.ACCESS_IN);
      const mask = message.word(ARGUMENTS);
      responder.settle(request, operations.access(request, nodeid, mask), replyEmpty);
      break;
    }
    case Opcode.GETLK:
      need(length, Size.LK_IN);
      if (operations.getlk === undefined) throw new FuseError(Errno.ENOSYS);
      responder.settle(request, operations.getlk(request, nodeid, lockRequest(message)), replyLock);
      break;
    case Opcode.SETLK:
    case Opcode.SETLKW: {
      need(length, Size.LK_IN);
      if (operations.setlk === undefined) throw new FuseError(Errno.ENOSYS);
      const wait = request.opcode === Opcode.SETLKW;
      const lock = lockRequest(message);
      responder.settle(request, operations.setlk(request, nodeid, lock, wait), replyEmpty);
      break;
    }
    default:
      // ENOSYS makes the kernel emulate the call or refuse it by itself, and not ask again. That is right for
      // all that NFSv3 has no counterpart of: extended attributes, fallocate, copy_file_range, lseek for holes,
      // ioctl, poll, bmap, tmpfile, statx, syncfs.
      throw new FuseError(Errno.ENOSYS);
  }
}

/** @throws FuseError EINVAL when the message is too short for `bytes` of arguments. */
function need(length: number, bytes: number): void {
  if (length < ARGUMENTS + bytes) throw new FuseError(Errno.EINVAL);
}

function nameAt(request: FuseRequest, message: RequestBuffer, offset: number, length: number): Buffer {
  const name = message.name(offset, length);
  request.name = name;
  return name;
}

function rename(
  operations: FuseOperations,
  responder: Responder,
  request: FuseRequest,
  message: RequestBuffer,
  length: number,
  argumentBytes: number,
  flags: number,
): void {
  const newParent = message.own(ARGUMENTS);
  const name = nameAt(request, message, ARGUMENTS + argumentBytes, length);
  const newName = message.name(ARGUMENTS + argumentBytes + name.length + 1, length);
  responder.settle(
    request,
    operations.rename(request, request.nodeid, name, newParent, newName, flags),
    replyEmpty,
  );
}

function setAttributes(message: RequestBuffer): SetAttributes {
  const valid = message.word(ARGUMENTS);
  const has = (bit: number): boolean => (valid & bit) !== 0;
  const time = (seconds: number, nanoseconds: number): FuseTime => ({
    seconds: message.signed(ARGUMENTS + seconds),
    nanoseconds: message.word(ARGUMENTS + nanoseconds),
  });
  return {
    fh: has(SetattrValid.FH) ? message.own(ARGUMENTS + 8) : undefined,
    size: has(SetattrValid.SIZE) ? message.big(ARGUMENTS + 16) : undefined,
    atime: has(SetattrValid.ATIME_NOW) ? 'now' : has(SetattrValid.ATIME) ? time(32, 56) : undefined,
    mtime: has(SetattrValid.MTIME_NOW) ? 'now' : has(SetattrValid.MTIME) ? time(40, 60) : undefined,
    mode: has(SetattrValid.MODE) ? message.word(ARGUMENTS + 68) : undefined,
    uid: has(SetattrValid.UID) ? message.word(ARGUMENTS + 76) : undefined,
    gid: has(SetattrValid.GID) ? message.word(ARGUMENTS + 80) : undefined,
  };
}

function lockRequest(message: RequestBuffer): LockRequest {
  return {
    fh: message.own(ARGUMENTS),
    owner: message.big(ARGUMENTS + 8),
    lock: {
      start: message.big(ARGUMENTS + 16),
      end: message.big(ARGUMENTS + 24),
      type: message.word(ARGUMENTS + 32),
      pid: message.word(ARGUMENTS + 36),
    },
    flock: (message.word(ARGUMENTS + 40) & LK_FLOCK) !== 0,
  };
}

function read(
  operations: FuseOperations,
  responder: Responder,
  request: FuseRequest,
  message: RequestBuffer,
): void {
  const fh = message.own(ARGUMENTS);
  const size = message.word(ARGUMENTS + 16);
  const reply = (
    to: Responder,
    of: FuseRequest,
    data: Uint8Array | readonly Uint8Array[] | BorrowedData,
  ): void => {
    if (!('release' in data)) {
      to.sendData(of, data, size);
      return;
    }
    // Once it was written, or refused, the kernel has no more to do with it.
    try {
      to.sendData(of, data.pieces, size);
    } finally {
      data.release();
    }
  };
  if (!message.isSafe(ARGUMENTS + 8)) {
    const past = readFar(operations, request, request.nodeid, fh, message.big(ARGUMENTS + 8));
    responder.settle(request, past, reply);
    return;
  }
  const offset = message.wide(ARGUMENTS + 8);
  const flags = message.word(ARGUMENTS + 32);
  const direct = (message.word(ARGUMENTS + 20) & DIRECT_LOCKOWNER) !== 0;
  const { nodeid } = request;
  const readBytes = (bytes: number) => operations.read(request, nodeid, fh, offset, bytes, flags, direct);
  const data =
    offset + size <= OFFSET_LIMIT
      ? readBytes(size)
      : endsBelowLimit(operations, request, nodeid, fh).then(() => readBytes(OFFSET_LIMIT - offset));
  responder.settle(request, data, reply);
}

/**
 * Of a read that goes on beyond 2^53, what lies below is all that there is, if the file ends there. Of a longer file it would
 * be taken for the end; after the error, the kernel asks for the pages one by one. @throws FuseError EFBIG
 */
async function endsBelowLimit(
  operations: FuseOperations,
  context: RequestContext,
  nodeid: NodeId,
  fh: number,
): Promise<void> {
  const { attributes } = await operations.getattr(context, nodeid, fh);
  if (attributes.size > BigInt(OFFSET_LIMIT)) throw new FuseError(Errno.EFBIG);
}

/** A read at 2^53 or beyond: nothing where the file ends before, and not expressible otherwise. */
async function readFar(
  operations: FuseOperations,
  context: RequestContext,
  nodeid: NodeId,
  fh: number,
  offset: bigint,
): Promise<Uint8Array> {
  const { attributes } = await operations.getattr(context, nodeid, fh);
  if (offset < attributes.size) throw new FuseError(Errno.EFBIG);
  return Buffer.alloc(0);
}

function write(
  operations: FuseOperations,
  responder: Responder,
  request: FuseRequest,
  message: RequestBuffer,
  length: number,
): void {
  const size = message.word(ARGUMENTS + 16);
  const start = ARGUMENTS + Size.WRITE_IN;
  if (size > length - start) throw new FuseError(Errno.EINVAL);
  if (!message.isSafe(ARGUMENTS + 8)) throw new FuseError(Errno.EFBIG);
  const fh = message.own(ARGUMENTS);
  const offset = message.wide(ARGUMENTS + 8);
  const flags = message.word(ARGUMENTS + 32);
  const kind = message.word(ARGUMENTS + 20);
  const fromPageCache = (kind & WRITE_CACHE) !== 0;
  const direct = !fromPageCache && (kind & DIRECT_LOCKOWNER) !== 0;
  const data = responder.holdPayload(request, message, start, size);
  responder.settle(
    request,
    operations.write(request, request.nodeid, fh, offset, data, flags, fromPageCache, direct),
    replyWritten,
  );
}

function readdir(
  operations: FuseOperations,
  responder: Responder,
  request: FuseRequest,
  message: RequestBuffer,
  plus: boolean,
): void {
  const fh = message.own(ARGUMENTS);
  const offset = message.big(ARGUMENTS + 8);
  const size = Math.min(message.word(ARGUMENTS + 16), MAX_LISTING_BYTES);
  const { listings } = responder;
  const listing = new DirectoryReply(listings.take(PAYLOAD + size), size, plus);
  const result = plus
    ? operations.readdirplus(request, request.nodeid, fh, offset, listing)
    : operations.readdir(request, request.nodeid, fh, offset, listing);
  responder.settle(request, result, (to, of) => {
    to.send(of, listing.length, listing.buffer);
    listings.give(listing.buffer);
  });
}
