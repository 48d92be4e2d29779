/** Why the records that another process has left cannot be used. */
import { NamedError } from '../base/named-error.js';

/**
 * - `damaged`: some of it is not as it was written, or cut off.
 * - `version`: another version of the program has written it.
 * - `incomplete`: the process that wrote it ran out of memory for it, and says so in it.
 */
export type RecordsFault = 'damaged' | 'version' | 'incomplete';

export class RecordsError extends NamedError {
  readonly fault: RecordsFault;

  constructor(fault: RecordsFault, message: string) {
    super(message);
    this.fault = fault;
  }
}
