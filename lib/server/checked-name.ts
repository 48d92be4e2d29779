/** Names that come from clients. Owns which of them are refused before they reach the file system. */
import { type ErrorStatus, type FileName, isDots, Status } from '../programs/nfs3/index.js';
import { NfsError } from './status-error.js';
import { cString } from './system-calls-at.js';

export interface Name {
  readonly text: FileName;
  /** For the kernel. */
  readonly cString: Buffer;
}

/**
 * One component of a path. Throws NFS3ERR_INVAL for an empty name, NFS3ERR_ACCES for one that holds a slash or a
 * zero byte (RFC 1813 3.2), and `dots` for "." and "..".
 */
export function parseName(name: FileName, dots: ErrorStatus): Name {
  if (name.length === 0) throw new NfsError(Status.INVAL);
  if (name.includes('/') || name.includes('\0')) throw new NfsError(Status.ACCES);
  if (isDots(name)) throw new NfsError(dots);
  return { text: name, cString: cString(name) };
}
