/** The verifiers of flavours that protect nothing. Owns no state. */
import { XdrError } from '../../xdr/xdr-error.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import { AuthFlavor, MAX_AUTH_BYTES } from './credential.js';

/** Writes an empty verifier, of AUTH_NONE. */
export function writeEmptyVerifier(writer: XdrWriter): void {
  writer.uint32(AuthFlavor.NONE);
  writer.uint32(0);
}

/** Reads a verifier of any flavour without a look at its contents. @throws XdrError for one that is too long. */
export function skipVerifier(reader: XdrReader): void {
  reader.uint32();
  const length = reader.uint32();
  if (length === 0) return;
  if (length > MAX_AUTH_BYTES)
    throw new XdrError(`verifier is ${length} bytes long, more than ${MAX_AUTH_BYTES}`);
  reader.claim((length + 3) & ~3);
}
