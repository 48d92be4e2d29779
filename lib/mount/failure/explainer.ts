/** The form of the explainers of all layers, and the helpers that they share. */
import type { UserError } from '../../base/user-error.js';
import type { ClientConfig } from '../../vfs/config.js';

/** Asks the server what it exports, and to whom. Undefined: the server does not say. */
export type ListExports = () => Promise<readonly ExportSummary[] | undefined>;

export interface ExportSummary {
  readonly path: string;
  /** Empty: everybody may mount. */
  readonly clients: readonly string[];
}

/** The mount that failed. */
export interface FailureContext {
  readonly config: ClientConfig;
  readonly listExports: ListExports;
}

/** Turns a typed error of one layer into what the user is told. Undefined: the error is not of this layer. */
export type Explainer = (
  error: unknown,
  context: FailureContext,
) => UserError | Promise<UserError> | undefined;

/** The remedy for a server that answers only to ports that need a privilege. */
export const RESERVED_PORT =
  'The server wants a reserved port (below 1024): export it with `insecure`, or mount with resvport (as root).';

/** Failures that waiting may cure, because the server or the network is not up yet. */
export const TEMPORARY_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
]);

/** The errno's name, or getaddrinfo(3)'s, of a system error. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** The error itself, its cause, the cause of that, and so on. */
export function* causes(error: unknown): Iterable<unknown> {
  for (let cause = error; cause !== undefined; cause = cause instanceof Error ? cause.cause : undefined)
    yield cause;
}

/** `text` with a full stop, and with a capital unless it begins with a path or a name that is no word. */
export function sentence(text: string): string {
  const first = /^[a-z][a-z]*\b(?![./=:-])/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.?!]$/.test(first) ? first : `${first}.`;
}

/** A sentence as it continues another one. */
export function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
