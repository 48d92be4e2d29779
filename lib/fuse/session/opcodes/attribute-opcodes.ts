/** Opcodes that ask for or change what is known of one object, and of the file system: GETATTR, SETATTR, ACCESS and others. */
import type { FuseTime, SetAttributes } from '../../contract/operations.js';
import { GETATTR_FH, Opcode, SetattrValid, Size } from '../../contract/protocol.js';
import type { RequestBuffer } from '../request-buffer.js';
import { ARGUMENTS, type OpcodeTable, type Serve } from './opcode-handler.js';
import { replyAttributes, replyEmpty, replyLink, replyStatfs } from './responder.js';

const getattr: Serve = (operations, responder, request, message) => {
  const fh = (message.word(ARGUMENTS) & GETATTR_FH) !== 0 ? message.ownHandle(ARGUMENTS + 8) : undefined;
  responder.settle(request, operations.getattr(request, request.nodeid, fh), replyAttributes);
};

const setattr: Serve = (operations, responder, request, message) => {
  const changes = setAttributes(message);
  responder.settle(request, operations.setattr(request, request.nodeid, changes), replyAttributes);
};

const readlink: Serve = (operations, responder, request) => {
  responder.settle(request, operations.readlink(request, request.nodeid), replyLink);
};

const access: Serve = (operations, responder, request, message) => {
  const mask = message.word(ARGUMENTS);
  responder.settle(request, operations.access(request, request.nodeid, mask), replyEmpty);
};

const statfs: Serve = (operations, responder, request) => {
  responder.settle(request, operations.statfs(request, request.nodeid), replyStatfs);
};

export const attributeOpcodes: OpcodeTable = {
  [Opcode.GETATTR]: { argumentBytes: Size.GETATTR_IN, serve: getattr },
  [Opcode.SETATTR]: { argumentBytes: Size.SETATTR_IN, serve: setattr },
  [Opcode.READLINK]: { argumentBytes: 0, serve: readlink },
  [Opcode.ACCESS]: { argumentBytes: Size.ACCESS_IN, serve: access },
  [Opcode.STATFS]: { argumentBytes: 0, serve: statfs },
};

/** Reads struct fuse_setattr_in. */
function setAttributes(message: RequestBuffer): SetAttributes {
  const valid = message.word(ARGUMENTS);
  const has = (bit: number): boolean => (valid & bit) !== 0;
  const time = (seconds: number, nanoseconds: number): FuseTime => ({
    seconds: message.signed(ARGUMENTS + seconds),
    nanoseconds: message.word(ARGUMENTS + nanoseconds),
  });
  return {
    fh: has(SetattrValid.FH) ? message.ownHandle(ARGUMENTS + 8) : undefined,
    size: has(SetattrValid.SIZE) ? message.big(ARGUMENTS + 16) : undefined,
    atime: has(SetattrValid.ATIME_NOW) ? 'now' : has(SetattrValid.ATIME) ? time(32, 56) : undefined,
    mtime: has(SetattrValid.MTIME_NOW) ? 'now' : has(SetattrValid.MTIME) ? time(40, 60) : undefined,
    mode: has(SetattrValid.MODE) ? message.word(ARGUMENTS + 68) : undefined,
    uid: has(SetattrValid.UID) ? message.word(ARGUMENTS + 76) : undefined,
    gid: has(SetattrValid.GID) ? message.word(ARGUMENTS + 80) : undefined,
  };
}
