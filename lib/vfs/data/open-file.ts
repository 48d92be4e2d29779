/** An open file: the kernel's `fh`, who opened it, and what its reads and writes need to remember. */

import type { Inode } from '../cache/inode.js';
import type { UserCredential } from '../caller/caller.js';
import { opensForAppending, opensForWriting } from '../open-flags.js';
import { writerOf } from '../write-behind/write-behind.js';
import type { ReadAhead } from './read-ahead.js';

/** Where it is recorded that errors were reported. */
interface SeenErrors {
  readonly files: { errorsSeen(file: OpenFile): void };
}

export class OpenFile {
  readonly fh: number;
  readonly inode: Inode;
  readonly flags: number;
  /** READ, WRITE and COMMIT go out with it, whoever calls: permission was checked at open. */
  readonly credential: UserCredential;
  readonly readAhead: ReadAhead | undefined;
  /** The last write error that was reported through this descriptor (errseq of the kernel). */
  errorsSeen: number;
  /** Where it is recorded for the next process (FileRecords). 0: nowhere. */
  record = 0;
  /** Data of it died with an earlier process of this mount, and its next write, fsync or close is to fail. */
  owesLoss = false;

  constructor(
    fh: number,
    inode: Inode,
    flags: number,
    credential: UserCredential,
    readAhead: ReadAhead | undefined,
  ) {
    this.fh = fh;
    this.inode = inode;
    this.flags = flags;
    this.credential = credential;
    this.readAhead = readAhead;
    this.errorsSeen = writerOf(inode)?.errors ?? 0;
  }

  /** So many errors of the file have been reported through this descriptor. */
  sawErrors(count: number, records: SeenErrors | undefined): void {
    this.errorsSeen = count;
    records?.files.errorsSeen(this);
  }

  get canWrite(): boolean {
    return opensForWriting(this.flags);
  }

  get appends(): boolean {
    return opensForAppending(this.flags);
  }
}
