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
 * An operation failed, and the application sees the errno. `errno` is a positive Linux errno below 512 (larger ones are
 * internal to the kernel, and no FUSE server sends them). These errors are everyday traffic (ENOENT, EACCES, …), so
 * they record no stack trace: that would cost more than the operation.
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

/** The errno of an error that a function of node:fs has thrown. */
export function errnoOf(error: unknown): number {
  const errno = (error as NodeJS.ErrnoException).errno;
  return errno === undefined ? Errno.EIO : -errno;
}
