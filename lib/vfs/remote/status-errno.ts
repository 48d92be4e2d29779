/** From what went wrong on the wire to what an application sees. Owns the table of statuses and errnos. */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import { type ErrorStatus, PROCEDURE_NAMES, Status, statusName } from '../../programs/nfs3/index.js';
import { RpcAuthError, RpcCancelledError, RpcTimeoutError } from '../../rpc/rpc-errors.js';

/**
 * NFS status to errno. Statuses that have no errno of their own (Linux gives them numbers above 511, which
 * never leave the kernel) become the nearest one that an application knows.
 */
const ERRNO_OF: Readonly<Record<ErrorStatus, number>> = {
  [Status.PERM]: Errno.EPERM,
  [Status.NOENT]: Errno.ENOENT,
  [Status.IO]: Errno.EIO,
  [Status.NXIO]: Errno.ENXIO,
  [Status.ACCES]: Errno.EACCES,
  [Status.EXIST]: Errno.EEXIST,
  [Status.XDEV]: Errno.EXDEV,
  [Status.NODEV]: Errno.ENODEV,
  [Status.NOTDIR]: Errno.ENOTDIR,
  [Status.ISDIR]: Errno.EISDIR,
  [Status.INVAL]: Errno.EINVAL,
  [Status.FBIG]: Errno.EFBIG,
  [Status.NOSPC]: Errno.ENOSPC,
  [Status.ROFS]: Errno.EROFS,
  [Status.MLINK]: Errno.EMLINK,
  [Status.NAMETOOLONG]: Errno.ENAMETOOLONG,
  [Status.NOTEMPTY]: Errno.ENOTEMPTY,
  [Status.DQUOT]: Errno.EDQUOT,
  // Reached only where no redrive applies; applications see ENOENT or EIO (redrive.ts).
  [Status.STALE]: Errno.ESTALE,
  [Status.BADHANDLE]: Errno.ESTALE,
  // "Too many levels of remote in path" means nothing to a program of today.
  [Status.REMOTE]: Errno.EIO,
  [Status.NOT_SYNC]: Errno.EAGAIN,
  [Status.BAD_COOKIE]: Errno.EIO,
  [Status.NOTSUPP]: Errno.EOPNOTSUPP,
  [Status.TOOSMALL]: Errno.EIO,
  [Status.SERVERFAULT]: Errno.EIO,
  [Status.BADTYPE]: Errno.EOPNOTSUPP,
  [Status.JUKEBOX]: Errno.EAGAIN,
};

export function errnoOfStatus(status: ErrorStatus): number {
  return ERRNO_OF[status];
}

/** The failure of a procedure, as an error for the application. */
export function statusError(status: ErrorStatus): FuseError {
  return new FuseError(errnoOfStatus(status), statusName(status));
}

/** A result of any program that names objects by file handles. */
export interface Reply {
  readonly status: number;
}

/** Whether a result means that the server does not know the handle any more. */
export type Stale = (result: Reply) => boolean;

export function isStale(status: number): boolean {
  return status === Status.STALE || status === Status.BADHANDLE;
}

/** {@link Stale} of NFS version 3. */
export function isStaleReply({ status }: Reply): boolean {
  return isStale(status);
}

/** Procedures with a name that may be missing; all others name their objects by handles alone, or what they are to make. */
const WITH_NAME: ReadonlySet<string> = new Set(['LOOKUP', 'REMOVE', 'RMDIR', 'RENAME']);
/** There is nothing but the object of the handle that could be missing. RFC 1813 lists NFS3ERR_NOENT for none of them. */
const NOTHING_BUT_HANDLES: ReadonlySet<string> = new Set(
  PROCEDURE_NAMES.filter((name) => !WITH_NAME.has(name)),
);

/**
 * Whether the server means NFS3ERR_STALE. Some, nfs-ganesha over GlusterFS among them, answer a handle whose object is
 * gone with NFS3ERR_NOENT; Linux's server so answers LINK of a file without names, and what is made in a directory
 * that is being removed.
 */
export function meansStale(procedure: string, status: Status): boolean {
  return status === Status.NOENT && NOTHING_BUT_HANDLES.has(procedure);
}

/**
 * An error of the RPC layer as an error for the application: EINTR when the caller was interrupted, ETIMEDOUT
 * under softerr, EACCES when the server refuses to look at the call for who sends it (an export that is withdrawn, a
 * credential that it does not take; so does Linux, rpc_decode_header), else EIO. Anything that is no Error of ours is passed through: it is a bug, and logged as one.
 */
export function rpcFailure(error: unknown): unknown {
  if (error instanceof FuseError || !(error instanceof Error)) return error;
  if (error instanceof RpcCancelledError) return new FuseError(Errno.EINTR, error.message, { cause: error });
  if (error instanceof RpcTimeoutError && error.softerr) {
    return new FuseError(Errno.ETIMEDOUT, error.message, { cause: error });
  }
  const errno = error instanceof RpcAuthError ? Errno.EACCES : Errno.EIO;
  return new FuseError(errno, error.message, { cause: error });
}
