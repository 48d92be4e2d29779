/** Opcodes of fcntl(2) and flock(2) locks: GETLK, SETLK and SETLKW. */
import { Errno, FuseError } from '../../contract/errno.js';
import type { LockRequest } from '../../contract/operations.js';
import { LK_FLOCK, Opcode, Size } from '../../contract/protocol.js';
import type { RequestBuffer } from '../request-buffer.js';
import { ARGUMENTS, type OpcodeTable, type Serve } from './opcode-handler.js';
import { replyEmpty, replyLock } from './responder.js';

const getlk: Serve = (operations, responder, request, message) => {
  if (operations.getlk === undefined) throw new FuseError(Errno.ENOSYS);
  responder.settle(request, operations.getlk(request, request.nodeid, lockRequest(message)), replyLock);
};

/** SETLK, or SETLKW where `wait` is true. */
function setlkWith(wait: boolean): Serve {
  return (operations, responder, request, message) => {
    if (operations.setlk === undefined) throw new FuseError(Errno.ENOSYS);
    const lock = lockRequest(message);
    responder.settle(request, operations.setlk(request, request.nodeid, lock, wait), replyEmpty);
  };
}

export const lockOpcodes: OpcodeTable = {
  [Opcode.GETLK]: { argumentBytes: Size.LK_IN, serve: getlk },
  [Opcode.SETLK]: { argumentBytes: Size.LK_IN, serve: setlkWith(false) },
  [Opcode.SETLKW]: { argumentBytes: Size.LK_IN, serve: setlkWith(true) },
};

/** Reads struct fuse_lk_in. */
function lockRequest(message: RequestBuffer): LockRequest {
  return {
    fh: message.ownHandle(ARGUMENTS),
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
