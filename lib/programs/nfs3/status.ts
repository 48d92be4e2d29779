/** nfsstat3 on the wire, and the shape that every result has. */
import type { XdrReader } from '../../xdr/xdr-reader.js';
import { type ErrorStatus, isStatus, Status } from './constants.js';

/** The result of a procedure: `Ok` with NFS3_OK, `Fail` with any other status. */
export type Result<Ok, Fail = unknown> =
  | (Ok & { readonly status: typeof Status.OK })
  | (Fail & { readonly status: ErrorStatus });

/** The result of a procedure that has the same fields after a success and after a failure. */
export type UniformResult<Body> = Body & { readonly status: Status };

/**
 * A status that RFC 1813 does not name counts as NFS3ERR_SERVERFAULT: all failures of a procedure have the same body.
 */
export function decodeStatus(reader: XdrReader): Status {
  const value = reader.uint32();
  return isStatus(value) ? value : Status.SERVERFAULT;
}
