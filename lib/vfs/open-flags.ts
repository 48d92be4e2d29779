/** The flags of open(2), as the kernel passes them on: Linux's numbers on every architecture that Node runs on. */
import { constants } from 'node:fs';

const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_APPEND = 0o2000;
const O_DSYNC = 0o10000;
/** __FMODE_EXEC of the kernel's include/linux/fs.h: opened by execve(2). */
const FMODE_EXEC = 0x20;

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

/** O_DIRECT. */
export function bypassesCache(flags: number): boolean {
  return (flags & constants.O_DIRECT) !== 0;
}

/** O_SYNC contains O_DSYNC. */
export function writesThrough(flags: number): boolean {
  return (flags & O_DSYNC) !== 0;
}
