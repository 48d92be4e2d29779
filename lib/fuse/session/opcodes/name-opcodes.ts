/** Opcodes that look up, make, move or remove a name in a directory. */
import { Opcode, Size } from '../../contract/protocol.js';
import { ARGUMENTS, nameAt, type OpcodeTable, type Serve } from './opcode-handler.js';
import { replyCreate, replyEmpty, replyEntry } from './responder.js';

const lookup: Serve = (operations, responder, request, message, length) => {
  const name = nameAt(request, message, ARGUMENTS, length);
  responder.settle(request, operations.lookup(request, request.nodeid, name), replyEntry);
};

const create: Serve = (operations, responder, request, message, length) => {
  const name = nameAt(request, message, ARGUMENTS + Size.CREATE_IN, length);
  const flags = message.word(ARGUMENTS);
  const mode = message.word(ARGUMENTS + 4);
  responder.settle(request, operations.create(request, request.nodeid, name, mode, flags), replyCreate);
};

const mkdir: Serve = (operations, responder, request, message, length) => {
  const name = nameAt(request, message, ARGUMENTS + Size.MKDIR_IN, length);
  const mode = message.word(ARGUMENTS);
  responder.settle(request, operations.mkdir(request, request.nodeid, name, mode), replyEntry);
};

const mknod: Serve = (operations, responder, request, message, length) => {
  const name = nameAt(request, message, ARGUMENTS + Size.MKNOD_IN, length);
  const mode = message.word(ARGUMENTS);
  const rdev = message.word(ARGUMENTS + 4);
  responder.settle(request, operations.mknod(request, request.nodeid, name, mode, rdev), replyEntry);
};

const symlink: Serve = (operations, responder, request, message, length) => {
  const name = nameAt(request, message, ARGUMENTS, length);
  const target = message.name(ARGUMENTS + name.length + 1, length);
  responder.settle(request, operations.symlink(request, request.nodeid, name, target), replyEntry);
};

const link: Serve = (operations, responder, request, message, length) => {
  const existing = message.ownHandle(ARGUMENTS);
  const name = nameAt(request, message, ARGUMENTS + Size.LINK_IN, length);
  responder.settle(request, operations.link(request, existing, request.nodeid, name), replyEntry);
};

const unlink: Serve = (operations, responder, request, message, length) => {
  const name = nameAt(request, message, ARGUMENTS, length);
  responder.settle(request, operations.unlink(request, request.nodeid, name), replyEmpty);
};

const rmdir: Serve = (operations, responder, request, message, length) => {
  const name = nameAt(request, message, ARGUMENTS, length);
  responder.settle(request, operations.rmdir(request, request.nodeid, name), replyEmpty);
};

/** RENAME and RENAME2. The names follow `argumentBytes` of arguments, and RENAME2 has flags among these. */
function renameWith(argumentBytes: number): Serve {
  const names = ARGUMENTS + argumentBytes;
  const hasFlags = argumentBytes === Size.RENAME2_IN;
  return (operations, responder, request, message, length) => {
    const flags = hasFlags ? message.word(ARGUMENTS + 8) : 0;
    const newParent = message.ownHandle(ARGUMENTS);
    const name = nameAt(request, message, names, length);
    const newName = message.name(names + name.length + 1, length);
    const from = { parent: request.nodeid, name };
    const result = operations.rename(request, from, { parent: newParent, name: newName }, flags);
    responder.settle(request, result, replyEmpty);
  };
}

export const nameOpcodes: OpcodeTable = {
  [Opcode.LOOKUP]: { argumentBytes: 0, serve: lookup },
  [Opcode.CREATE]: { argumentBytes: Size.CREATE_IN, serve: create },
  [Opcode.MKDIR]: { argumentBytes: Size.MKDIR_IN, serve: mkdir },
  [Opcode.MKNOD]: { argumentBytes: Size.MKNOD_IN, serve: mknod },
  [Opcode.SYMLINK]: { argumentBytes: 0, serve: symlink },
  [Opcode.LINK]: { argumentBytes: Size.LINK_IN, serve: link },
  [Opcode.UNLINK]: { argumentBytes: 0, serve: unlink },
  [Opcode.RMDIR]: { argumentBytes: 0, serve: rmdir },
  [Opcode.RENAME]: { argumentBytes: Size.RENAME_IN, serve: renameWith(Size.RENAME_IN) },
  [Opcode.RENAME2]: { argumentBytes: Size.RENAME2_IN, serve: renameWith(Size.RENAME2_IN) },
};
