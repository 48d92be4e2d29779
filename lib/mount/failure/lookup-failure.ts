/** Explains a server's name that has no address. */
import { UserError } from '../../base/user-error.js';

/** Error codes of getaddrinfo(3). */
export const LOOKUP_CODES = new Set(['ENOTFOUND', 'EAI_NONAME', 'EAI_NODATA', 'EAI_AGAIN', 'EAI_FAIL']);

/** `code`: one of {@link LOOKUP_CODES}. */
export function lookupFailure(host: string, code: string, cause: unknown): UserError {
  if (code === 'EAI_AGAIN')
    return new UserError(`The name of the server ${host} cannot be looked up just now.`, {
      remedy: "Check the network and the name server, or give the server's address.",
      cause,
    });
  return new UserError(`The server ${host} is unknown: its name has no address.`, {
    remedy: "Check the spelling, or give the server's address.",
    cause,
  });
}
