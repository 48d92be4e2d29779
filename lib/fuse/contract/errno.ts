/** Errors as the kernel counts them, and the exception that carries one out of a file system operation. */
import { constants } from 'node:os';

/** Linux errno values (asm-generic/errno-base.h, errno.h), those of node:os and the few that it lacks. */
export const Errno = {
  ...constants.errno,
  EUCLEAN: 117,
  EREMOTEIO: 121,
  ESHUTDOWN: 108,
} as const;

const names = new Map<number, string>();
for (const [name, value] of Object.entries(Errno)) if (!names.has(value)) names.set(value, name);

/** "ENOENT" for 2; "errno 999" for what has no name. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/**
 * An operation failed in a way that the application is to see. `errno` is a positive Linux errno below 512
 * (anything above is internal to the kernel and never leaves a FUSE server). Expected traffic (ENOENT, EACCES,
 * …), so it records no stack trace: that would cost more than the operation.
 */
export class FuseError extends Error {
  readonly errno: number;

  constructor(errno: number, message?: string, options?: ErrorOptions) {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(message ?? errnoName(errno), options);
    Error.stackTraceLimit = limit;
    this.name = 'FuseError';
    this.errno = errno;
  }
}

/** Of what a function of node:fs failed with. */
export function errnoOf(error: unknown): number {
  const errno = (error as NodeJS.ErrnoException).errno;
  return errno === undefined ? Errno.EIO : -errno;
}
