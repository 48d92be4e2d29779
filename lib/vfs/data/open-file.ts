/** An open file: the kernel's `fh`, who opened it, and what its reads and writes need to remember. */

import type { Inode } from '../cache/inode.js';
import type { UserCredential } from '../caller/caller.js';
import { opensForAppending } from '../open-flags.js';
import type { ReadAhead } from './read-ahead.js';
import { writerOf } from './write-behind.js';

export class OpenFile {
  readonly fh: number;
  readonly inode: Inode;
  readonly flags: number;
  /** READ, WRITE and COMMIT go out with it, whoever calls: permission was checked at open. */
  readonly credential: UserCredential;
  readonly readAhead: ReadAhead | undefined;
  /** The last write error that was reported through this descriptor (errseq of the kernel). */
  errorsSeen: number;

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

  get appends(): boolean {
    return opensForAppending(this.flags);
  }
}
