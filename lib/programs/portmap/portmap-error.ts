/** Why there is no port, in words a user can act on. */
import { NamedError } from '../../base/named-error.js';
import {
  RpcProcedureUnavailableError,
  RpcProgramMismatchError,
  RpcProgramUnavailableError,
} from '../../rpc/rpc-errors.js';

export class PortmapError extends NamedError {}

/** The port mapper gave no answer, or none that makes sense; `cause` says why. */
export class PortmapUnreachableError extends PortmapError {}

/** The port mapper answered: there is no such program there. */
export class ProgramNotRegisteredError extends PortmapError {
  readonly program: number;
  readonly version: number;

  constructor(message: string, program: number, version: number) {
    super(message);
    this.program = program;
    this.version = version;
  }
}

/** Whether a call failed because this port mapper speaks an older version only. */
export function isUnsupported(error: unknown): boolean {
  return (
    error instanceof RpcProgramMismatchError ||
    error instanceof RpcProgramUnavailableError ||
    error instanceof RpcProcedureUnavailableError
  );
}
