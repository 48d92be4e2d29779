/** Opcodes of open files: OPEN, READ, WRITE, FLUSH, FSYNC and RELEASE. */
import { Errno, FuseError } from '../../contract/errno.js';
import type { BorrowedData, FuseOperations, NodeId, RequestContext } from '../../contract/operations.js';
import {
  DIRECT_LOCKOWNER,
  FSYNC_FDATASYNC,
  Opcode,
  RELEASE_FLOCK_UNLOCK,
  Size,
  WRITE_CACHE,
} from '../../contract/protocol.js';
import type { FuseRequest } from '../request.js';
import { ARGUMENTS, type OpcodeTable, type Serve } from './opcode-handler.js';
import { type Responder, replyEmpty, replyOpen, replyWritten } from './responder.js';

/** Byte offsets are exact as numbers up to here. */
const OFFSET_LIMIT = 2 ** 53;

const open: Serve = (operations, responder, request, message) => {
  responder.settle(request, operations.open(request, request.nodeid, message.word(ARGUMENTS)), replyOpen);
};

const read: Serve = (operations, responder, request, message) => {
  const { nodeid } = request;
  const fh = message.ownHandle(ARGUMENTS);
  const size = message.word(ARGUMENTS + 16);
  const reply = (to: Responder, of: FuseRequest, data: ReadData): void => replyData(to, of, data, size);
  if (!message.isSafe(ARGUMENTS + 8)) {
    const beyond = readBeyondLimit(operations, request, nodeid, fh, message.big(ARGUMENTS + 8));
    responder.settle(request, beyond, reply);
    return;
  }
  const offset = message.wide(ARGUMENTS + 8);
  const flags = message.word(ARGUMENTS + 32);
  const direct = (message.word(ARGUMENTS + 20) & DIRECT_LOCKOWNER) !== 0;
  const readBytes = (bytes: number) =>
    operations.read(request, nodeid, { fh, offset, size: bytes, flags, direct });
  const data =
    offset + size <= OFFSET_LIMIT
      ? readBytes(size)
      : requireEndBelowLimit(operations, request, nodeid, fh).then(() => readBytes(OFFSET_LIMIT - offset));
  responder.settle(request, data, reply);
};

type ReadData = Uint8Array | readonly Uint8Array[] | BorrowedData;

/** Sends the data of a READ, and gives back what was borrowed for it. */
function replyData(responder: Responder, request: FuseRequest, data: ReadData, size: number): void {
  if (!('release' in data)) {
    responder.sendData(request, data, size);
    return;
  }
  // After the write, also after one that fails, the kernel no longer uses the memory.
  try {
    responder.sendData(request, data.pieces, size);
  } finally {
    data.release();
  }
}

/**
 * A read that crosses 2^53 gets the part below it. That is right only for a file that ends there: a short answer
 * means the end of the file. For a longer file the error makes the kernel ask for the pages one by one.
 * @throws FuseError EFBIG for a file that goes on beyond 2^53.
 */
async function requireEndBelowLimit(
  operations: FuseOperations,
  context: RequestContext,
  nodeid: NodeId,
  fh: number,
): Promise<void> {
  const { attributes } = await operations.getattr(context, nodeid, fh);
  if (attributes.size > BigInt(OFFSET_LIMIT)) throw new FuseError(Errno.EFBIG);
}

/**
 * A read that begins at 2^53 or beyond, which {@link FuseOperations.read} has no number for. It gets no bytes where
 * the file ends before `offset`.
 * @throws FuseError EFBIG for a longer file.
 */
async function readBeyondLimit(
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

const write: Serve = (operations, responder, request, message, length) => {
  const { nodeid } = request;
  const size = message.word(ARGUMENTS + 16);
  const start = ARGUMENTS + Size.WRITE_IN;
  if (size > length - start) throw new FuseError(Errno.EINVAL);
  if (!message.isSafe(ARGUMENTS + 8)) throw new FuseError(Errno.EFBIG);
  const fh = message.ownHandle(ARGUMENTS);
  const offset = message.wide(ARGUMENTS + 8);
  const flags = message.word(ARGUMENTS + 32);
  const kind = message.word(ARGUMENTS + 20);
  const fromPageCache = (kind & WRITE_CACHE) !== 0;
  const direct = !fromPageCache && (kind & DIRECT_LOCKOWNER) !== 0;
  const data = responder.holdPayload(request, message, start, size);
  const result = operations.write(request, nodeid, { fh, offset, data, flags, fromPageCache, direct });
  responder.settle(request, result, replyWritten);
};

const flush: Serve = (operations, responder, request, message) => {
  const fh = message.ownHandle(ARGUMENTS);
  const owner = message.big(ARGUMENTS + 16);
  responder.settle(request, operations.flush(request, request.nodeid, fh, owner), replyEmpty);
};

const fsync: Serve = (operations, responder, request, message) => {
  const fh = message.ownHandle(ARGUMENTS);
  const datasync = (message.word(ARGUMENTS + 8) & FSYNC_FDATASYNC) !== 0;
  responder.settle(request, operations.fsync(request, request.nodeid, fh, datasync), replyEmpty);
};

const release: Serve = (operations, responder, request, message) => {
  const fh = message.ownHandle(ARGUMENTS);
  const unlock = (message.word(ARGUMENTS + 12) & RELEASE_FLOCK_UNLOCK) !== 0;
  const owner = unlock ? message.big(ARGUMENTS + 16) : undefined;
  responder.settle(request, operations.release(request, request.nodeid, fh, owner), replyEmpty);
};

export const fileOpcodes: OpcodeTable = {
  [Opcode.OPEN]: { argumentBytes: Size.OPEN_IN, serve: open },
  [Opcode.READ]: { argumentBytes: Size.READ_IN, serve: read },
  [Opcode.WRITE]: { argumentBytes: Size.WRITE_IN, serve: write },
  [Opcode.FLUSH]: { argumentBytes: Size.FLUSH_IN, serve: flush },
  [Opcode.FSYNC]: { argumentBytes: Size.FSYNC_IN, serve: fsync },
  [Opcode.RELEASE]: { argumentBytes: Size.RELEASE_IN, serve: release },
};
