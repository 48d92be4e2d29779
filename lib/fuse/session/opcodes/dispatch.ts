/**
 * From a request to the handler of its opcode. The handlers stand beside this file, in a table for each kind. Owns no
 * state.
 */
import { Errno, FuseError } from '../../contract/errno.js';
import type { FuseOperations } from '../../contract/operations.js';
import { Opcode } from '../../contract/protocol.js';
import type { FuseRequest } from '../request.js';
import type { RequestBuffer } from '../request-buffer.js';
import { attributeOpcodes } from './attribute-opcodes.js';
import { directoryOpcodes } from './directory-opcodes.js';
import { fileOpcodes } from './file-opcodes.js';
import { lockOpcodes } from './lock-opcodes.js';
import { nameOpcodes } from './name-opcodes.js';
import { ARGUMENTS, type OpcodeHandler, type OpcodeTable } from './opcode-handler.js';
import type { Responder } from './responder.js';

const TABLE: OpcodeTable = {
  ...attributeOpcodes,
  ...nameOpcodes,
  ...fileOpcodes,
  ...directoryOpcodes,
  ...lockOpcodes,
};

/** By opcode, without holes: finding a handler costs no more than a switch does. */
const HANDLERS: readonly (OpcodeHandler | undefined)[] = Array.from(
  { length: 1 + Math.max(...Object.values(Opcode)) },
  (_, opcode) => TABLE[opcode],
);

/**
 * Calls the operation that `request` asks for, and sees to its reply. The session itself serves FORGET, INTERRUPT,
 * INIT and DESTROY, which belong to the connection. `length` is that of the whole message, in bytes.
 * @throws what the operation throws synchronously, and FuseError for a malformed request or an unknown opcode.
 */
export function dispatch(
  operations: FuseOperations,
  responder: Responder,
  request: FuseRequest,
  message: RequestBuffer,
  length: number,
): void {
  if (Number.isNaN(request.nodeid)) throw new FuseError(Errno.ESTALE);
  const handler = HANDLERS[request.opcode];
  // ENOSYS makes the kernel emulate the call or refuse it by itself, and not ask again. That is right for
  // everything that NFSv3 cannot express: extended attributes, fallocate, copy_file_range, lseek for holes,
  // ioctl, poll, bmap, tmpfile, statx, syncfs.
  if (handler === undefined) throw new FuseError(Errno.ENOSYS);
  if (length < ARGUMENTS + handler.argumentBytes) throw new FuseError(Errno.EINVAL);
  handler.serve(operations, responder, request, message, length);
}
