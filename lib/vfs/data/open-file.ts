/** An open file: the kernel's `fh`, who opened it, and what its reads and writes need to remember. */

import type { Inode } from '../cache/inode.js';
import type { UserCredential } from '../caller/caller.js';
import type { ReadAhead } from './read-ahead.js';
import { writerOf } from './write-behind.js';

const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_APPEND = 0o2000;
const O_DSYNC = 0o10000;
/** __FMODE_EXEC of the kernel's include/linux/fs.h: opened by execve(2). */
const FMODE_EXEC = 0x20;

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
    return (this.flags & O_APPEND) !== 0;
  }
}

export function opensForWriting(flags: number): boolean {
  const mode = flags & O_ACCMODE;
  return mode === O_WRONLY || mode === O_RDWR;
}

export function opensForReading(flags: number): boolean {
  return (flags & O_ACCMODE) !== O_WRONLY;
}

export function opensForExecution(flags: number): boolean {
  return (flags & FMODE_EXEC) !== 0;
}

export function opensForAppending(flags: number): boolean {
  return (flags & O_APPEND) !== 0;
}

/** O_SYNC contains O_DSYNC. */
export function writesThrough(flags: number): boolean {
  return (flags & O_DSYNC) !== 0;
}
