/** An open file: the kernel's `fh`, who opened it, and what its reads and writes need to remember. */

import type { Inode } from '../cache/inode.js';
import type { KernelRequest, UserCredential } from '../caller/caller.js';
import { opensForAppending, opensForWriting } from '../open-flags.js';
import { writerOf } from '../write-behind/write-behind.js';
import type { ReadAhead } from './read-ahead.js';

/** Where it is recorded that errors were reported. */
interface SeenErrors {
  readonly files: { errorsSeen(file: OpenFile): void };
}

/** The kernel's request that is told of errors: it comes again where the process dies before the kernel has the answer. */
export interface ToldRequest {
  readonly unique: number;
  /** {@link OpenFile.errorsSeen} before it was told. */
  readonly before: number;
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
  /** The request that was told of errors last. */
  told: ToldRequest | undefined = undefined;
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

  /** An earlier process may have told this request of errors, and died before the kernel had the answer: it is told again. */
  comesAgain(request: KernelRequest | undefined): void {
    const { told } = this;
    if (!request?.resent || told === undefined || told.unique !== request.unique) return;
    this.errorsSeen = told.before;
    this.owesLoss = true;
  }

  /** `count` errors of the file have been reported through this descriptor, in the answer to `request`. */
  sawErrors(count: number, records: SeenErrors | undefined, request: KernelRequest | undefined): void {
    this.told = { unique: request?.unique ?? 0, before: this.errorsSeen };
    this.errorsSeen = count;
    records?.files.errorsSeen(this);
  }

  /** Data of it was lost, and who has it open for writing does not know yet. */
  get isUntold(): boolean {
    const writer = writerOf(this.inode);
    return writer !== undefined && writer.errors !== this.errorsSeen && this.canWrite;
  }

  get canWrite(): boolean {
    return opensForWriting(this.flags);
  }

  get appends(): boolean {
    return opensForAppending(this.flags);
  }
}
