/** Why there is no port, in words a user can act on. */
import { NamedError } from '../../base/named-error.js';

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
