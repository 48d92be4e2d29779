/** AUTH_NONE (RFC 5531 10.1): the caller does not say who it is. */
import { AuthFlavor, type Credential } from './credential.js';
import { unprotectedCredential } from './unprotected.js';

export const AUTH_NONE: Credential = unprotectedCredential(AuthFlavor.NONE, new Uint8Array(0));
