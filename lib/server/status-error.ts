/** How operations of the server fail: an NFS status, found from the errno at the place where it is understood. */
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
 * The object of this handle is not where it was last seen: somebody renamed it behind our back, or the server has
 * been restarted. The dispatcher looks for it and runs the operation again; thrown before anything was changed.
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
  // The whole process is out of descriptors or memory for a moment: the client should come again.
  [E.EMFILE, Status.JUKEBOX],
  [E.ENFILE, Status.JUKEBOX],
  [E.ENOMEM, Status.JUKEBOX],
  [E.EAGAIN, Status.JUKEBOX],
  // Busy for good: a running program that is written to, or a mount point that is removed.
  [E.ETXTBSY, Status.ACCES],
  [E.EBUSY, Status.ACCES],
  [E.ELOOP, Status.INVAL],
  [E.EOPNOTSUPP, Status.NOTSUPP],
  [E.ENOSYS, Status.NOTSUPP],
]);

/** The status for an errno (positive); NFS3ERR_IO for those that NFS has no name for. */
export function statusOfErrno(errno: number): ErrorStatus {
  return statusOf.get(errno) ?? Status.IO;
}

/** Passes a result of system-calls-at.ts on, or throws the NfsError for its errno. */
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
