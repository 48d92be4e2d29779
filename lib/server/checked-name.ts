/** Names that come from clients. Owns which of them are refused before they reach the file system. */
import { type ErrorStatus, Status } from '../programs/nfs3/index.js';
import { NfsError } from './status-error.js';
import { cString } from './system-calls-at.js';

export interface Name {
  /** One character per byte. */
  readonly text: string;
  /** For the kernel. */
  readonly cString: Buffer;
}

const SLASH = 0x2f;

/**
 * One component of a path. Throws NFS3ERR_INVAL for an empty name, NFS3ERR_ACCES for one that holds a slash or a
 * zero byte (RFC 1813 3.2), and `dots` for "." and "..".
 */
export function parseName(bytes: Uint8Array, dots: ErrorStatus): Name {
  if (bytes.length === 0) throw new NfsError(Status.INVAL);
  if (bytes.includes(SLASH) || bytes.includes(0)) throw new NfsError(Status.ACCES);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  if (text === '.' || text === '..') throw new NfsError(dots);
  return { text, cString: cString(text) };
}
