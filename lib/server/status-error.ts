/**
 * The errors of the server's operations: an NFS status, which each place derives from the errno that it understands.
 */
import { constants } from 'node:os';
import {
  type ErrorStatus,
  type FileHandle,
  formatFileHandle,
  Status,
  statusName,
} from '../programs/nfs3/index.js';

/** An operation that ends with this status. */
export class NfsError extends Error {
  constructor(
    readonly status: ErrorStatus,
    message: string = statusName(status),
  ) {
    super(message);
    this.name = 'NfsError';
  }
}

/**
 * The object of this handle is not where it was last seen: a local process has renamed it, or the server was restarted.
 * The dispatcher searches for it and runs the operation again, so this is thrown only before anything has changed.
 */
export class ObjectMovedError extends Error {
  constructor(readonly handle: FileHandle) {
    super(`the object of handle ${formatFileHandle(handle)} is not where it was`);
    this.name = 'ObjectMovedError';
  }
}

const E = constants.errno;

const statusOf = new Map<number, ErrorStatus>([
  [E.EPERM, Status.PERM],
  [E.ENOENT, Status.NOENT],
  [E.EIO, Status.IO],
  [E.ENXIO, Status.NXIO],
  [E.EACCES, Status.ACCES],
  [E.EEXIST, Status.EXIST],
  [E.EXDEV, Status.XDEV],
  [E.ENODEV, Status.NODEV],
  [E.ENOTDIR, Status.NOTDIR],
  [E.EISDIR, Status.ISDIR],
  [E.EINVAL, Status.INVAL],
  [E.EFBIG, Status.FBIG],
  [E.ENOSPC, Status.NOSPC],
  [E.EROFS, Status.ROFS],
  [E.EMLINK, Status.MLINK],
  [E.ENAMETOOLONG, Status.NAMETOOLONG],
  [E.ENOTEMPTY, Status.NOTEMPTY],
  [E.EDQUOT, Status.DQUOT],
  [E.ESTALE, Status.STALE],
  // The process has no descriptors or no memory left for the moment: the client should try again later.
  [E.EMFILE, Status.JUKEBOX],
  [E.ENFILE, Status.JUKEBOX],
  [E.ENOMEM, Status.JUKEBOX],
  [E.EAGAIN, Status.JUKEBOX],
  // Waiting does not help: a write to a running program, or the removal of a mount point.
  [E.ETXTBSY, Status.ACCES],
  [E.EBUSY, Status.ACCES],
  [E.ELOOP, Status.INVAL],
  [E.EOPNOTSUPP, Status.NOTSUPP],
  [E.ENOSYS, Status.NOTSUPP],
]);

/** The status for a positive errno. NFS3ERR_IO for those that have no status in NFS. */
export function statusOfErrno(errno: number): ErrorStatus {
  return statusOf.get(errno) ?? Status.IO;
}

/** Returns a result of system-calls-at.ts, or throws the NfsError for its errno. */
export function check(result: number): number {
  if (result < 0) throw new NfsError(statusOfErrno(-result));
  return result;
}

/**
 * The status that an error stands for: an NfsError's own, or that of a system error of Node's fs. Anything else,
 * ObjectMovedError above all, is thrown on.
 */
export function statusOfError(error: unknown): ErrorStatus {
  if (error instanceof NfsError) return error.status;
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number' && 'syscall' in error) {
    return statusOfErrno(-error.errno);
  }
  throw error;
}

/** For an object that may be gone or elsewhere, which is no failure here. Any other error is thrown on. */
export function undefinedIfGone(error: unknown): undefined {
  if (error instanceof NfsError || error instanceof ObjectMovedError) return undefined;
  throw error;
}
