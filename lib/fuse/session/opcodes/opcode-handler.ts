/**
 * The shape of a handler, and how its arguments are read. There is one handler for each opcode: it reads the opcode's
 * arguments, calls the operation of the file system and names the shape of the reply. Owns no state.
 */
import type { FuseOperations } from '../../contract/operations.js';
import { Size } from '../../contract/protocol.js';
import type { FuseRequest } from '../request.js';
import type { RequestBuffer } from '../request-buffer.js';
import type { Responder } from './responder.js';

/** Arguments begin here, in bytes from the start of a message. */
export const ARGUMENTS = Size.IN_HEADER;

/**
 * Serves one request. `length` is that of the whole message, in bytes. A handler has positional parameters, since it
 * runs for every request.
 * @throws what the operation throws synchronously, and FuseError for malformed arguments.
 */
export type Serve = (
  operations: FuseOperations,
  responder: Responder,
  request: FuseRequest,
  message: RequestBuffer,
  length: number,
) => void;

/** How one opcode is served. */
export interface OpcodeHandler {
  /** Size of the structure that the arguments begin with, in bytes. A shorter message is answered with EINVAL. */
  readonly argumentBytes: number;
  readonly serve: Serve;
}

/** The handlers of one kind of opcodes, by opcode. */
export type OpcodeTable = Readonly<Record<number, OpcodeHandler>>;

/** Reads the name at byte `offset` of `message`, and lets `request` keep it for the log. @throws FuseError EINVAL */
export function nameAt(request: FuseRequest, message: RequestBuffer, offset: number, length: number): Buffer {
  const name = message.name(offset, length);
  request.name = name;
  return name;
}
