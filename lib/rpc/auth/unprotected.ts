/** The operations that AUTH_NONE and AUTH_SYS share: the credential is sent as it is, and nothing is protected. */
import type { Credential, CredentialOperations } from './credential.js';
import { skipVerifier, writeEmptyVerifier } from './verifier.js';

export const UNPROTECTED: CredentialOperations = {
  refresh: () => undefined,
  marshal(writer, { credential }) {
    writer.uint32(credential.flavor);
    writer.opaque(credential.body);
    writeEmptyVerifier(writer);
  },
  wrap(writer, _call, procedure, args) {
    procedure.encodeArguments(writer, args);
  },
  encodesAgain: false,
  // The verifier of a reply proves nothing here, and servers differ in what they send: any is accepted.
  validate: skipVerifier,
  unwrap: (reader) => reader,
};

/** A credential that is sent as it is. `body` is at most 400 bytes long. */
export function unprotectedCredential(flavor: number, body: Uint8Array): Credential {
  return { flavor, body, operations: UNPROTECTED };
}
