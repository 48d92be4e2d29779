/**
 * The ways in which a remote call can fail. Owns the wording: one message each, which names the server and the
 * procedure where they are known.
 */
import { NamedError } from '../base/named-error.js';

/** The base of all; `cause` is the underlying error where there is one. */
export class RpcError extends NamedError {}

/** A `soft` or `softerr` call had no answer within its major timeout. `cause` is what arrived instead, if anything. */
export class RpcTimeoutError extends RpcError {
  /** True with `softerr`: the caller reports ETIMEDOUT; false with `soft`: EIO (nfs(5)). */
  readonly softerr: boolean;

  constructor(message: string, softerr: boolean, options?: ErrorOptions) {
    super(message, options);
    this.softerr = softerr;
  }
}

/** The caller's Cancellation fired. Whether the server carried out the call is unknown. */
export class RpcCancelledError extends RpcError {}

/** The client was closed, by close() or a forced unmount. */
export class RpcClosedError extends RpcError {}

/** A connection could not be made, or an established one ended. */
export class RpcConnectError extends RpcError {
  /** The errno's name (ECONNREFUSED, ETIMEDOUT, ENOTFOUND ...). */
  readonly code: string;
  readonly host: string;
  readonly port: number;

  constructor(message: string, code: string, host: string, port: number, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.host = host;
    this.port = port;
  }
}

/** A message has arrived that cannot be decoded. */
export class RpcGarbageError extends RpcError {}

/** The call does not fit the transport (UDP). */
export class RpcTooLargeError extends RpcError {}

/** RFC 5531 section 9, auth_stat. */
export const AuthStat = {
  OK: 0,
  BADCRED: 1,
  REJECTEDCRED: 2,
  BADVERF: 3,
  REJECTEDVERF: 4,
  TOOWEAK: 5,
  INVALIDRESP: 6,
  FAILED: 7,
} as const;

const AUTH_STAT_NAMES: Readonly<Record<number, string>> = {
  0: 'AUTH_OK',
  1: 'AUTH_BADCRED',
  2: 'AUTH_REJECTEDCRED',
  3: 'AUTH_BADVERF',
  4: 'AUTH_REJECTEDVERF',
  5: 'AUTH_TOOWEAK',
  6: 'AUTH_INVALIDRESP',
  7: 'AUTH_FAILED',
  8: 'AUTH_KERB_GENERIC',
  9: 'AUTH_TIMEEXPIRE',
  10: 'AUTH_TKT_FILE',
  11: 'AUTH_DECODE',
  12: 'AUTH_NET_ADDR',
  13: 'RPCSEC_GSS_CREDPROBLEM',
  14: 'RPCSEC_GSS_CTXPROBLEM',
};

/** The RFC's name of an auth_stat. */
export function authStatName(authStat: number): string {
  return AUTH_STAT_NAMES[authStat] ?? `auth_stat ${authStat}`;
}

/** MSG_DENIED: the server did not look at the procedure. */
export class RpcDeniedError extends RpcError {}

/** MSG_DENIED, RPC_MISMATCH: the server speaks other versions of the RPC protocol itself. */
export class RpcVersionMismatchError extends RpcDeniedError {
  readonly low: number;
  readonly high: number;

  constructor(what: string, low: number, high: number) {
    super(`${what}: the server speaks RPC versions ${low} to ${high}, not 2`);
    this.low = low;
    this.high = high;
  }
}

/** MSG_DENIED, AUTH_ERROR: the credential was refused. */
export class RpcAuthError extends RpcDeniedError {
  readonly authStat: number;

  constructor(what: string, authStat: number) {
    super(`${what}: the server refused the credential (${authStatName(authStat)})`);
    this.authStat = authStat;
  }

  /** The RFC's name, "AUTH_TOOWEAK". */
  get authStatName(): string {
    return authStatName(this.authStat);
  }
}

/** MSG_ACCEPTED, but not SUCCESS. */
export class RpcUnacceptedError extends RpcError {}

/** The server does not export the program. */
export class RpcProgramUnavailableError extends RpcUnacceptedError {
  constructor(what: string) {
    super(`${what}: the server does not offer this program (PROG_UNAVAIL)`);
  }
}

/** The server exports the program in other versions only. */
export class RpcProgramMismatchError extends RpcUnacceptedError {
  readonly low: number;
  readonly high: number;

  constructor(what: string, low: number, high: number) {
    super(`${what}: the server offers this program only in versions ${low} to ${high} (PROG_MISMATCH)`);
    this.low = low;
    this.high = high;
  }
}

export class RpcProcedureUnavailableError extends RpcUnacceptedError {
  constructor(what: string) {
    super(`${what}: the server does not know this procedure (PROC_UNAVAIL)`);
  }
}

export class RpcGarbageArgumentsError extends RpcUnacceptedError {
  constructor(what: string) {
    super(`${what}: the server could not decode the arguments (GARBAGE_ARGS)`);
  }
}

export class RpcSystemError extends RpcUnacceptedError {
  constructor(what: string) {
    super(`${what}: the server failed for reasons of its own, such as lack of memory (SYSTEM_ERR)`);
  }
}
