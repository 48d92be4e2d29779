/** Errors of one file that came too late for the calls that caused them. Owns their count, by which each open file is told once. */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { WriteRecord } from './write-record.js';

export class WriteErrors {
  count = 0;
  last: FuseError | undefined = undefined;

  /** One more. Answers it as programs are told of it. */
  met(error: unknown, record: WriteRecord | undefined): FuseError {
    this.count++;
    record?.errors(this.count);
    const last =
      error instanceof FuseError ? error : new FuseError(Errno.EIO, 'write failed', { cause: error });
    this.last = last;
    return last;
  }

  /** An earlier process of this mount has met so many. */
  takeUp(count: number): void {
    this.count = count;
    if (count > 0) this.last = new FuseError(Errno.EIO, 'an earlier write failed');
  }
}
