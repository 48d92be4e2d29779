/** Why grants of locks cannot be heard. */
import { errorCode } from '../base/log.js';
import { NamedError } from '../base/named-error.js';

/** Another program listens there; the process may not; anything else. */
export type LockListenerProblem = 'taken' | 'not permitted' | 'other';

const PROBLEMS: Readonly<Record<string, LockListenerProblem>> = {
  EADDRINUSE: 'taken',
  EACCES: 'not permitted',
  EPERM: 'not permitted',
};

/** A port cannot be listened on. `cause` is the system's error. */
export class LockListenerError extends NamedError {
  readonly problem: LockListenerProblem;

  constructor(address: string, port: number, cause: unknown) {
    const code = errorCode(cause);
    super(`cannot listen on port ${port} of ${address} for grants of locks: ${code}`, { cause });
    this.problem = PROBLEMS[code] ?? 'other';
  }
}
