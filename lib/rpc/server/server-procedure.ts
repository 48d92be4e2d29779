/** The procedures that a server registers: codecs with the function that carries them out, and hooks around it. */
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import type { AuthSys } from '../auth/auth-sys.js';
import type { ReplyFailure } from '../wire/message.js';
import type { Procedure, Program } from '../wire/procedure.js';

/** The caller, for handlers and hooks. */
export interface ServerCall {
  readonly xid: number;
  /** Undefined with AUTH_NONE. */
  readonly credential: AuthSys | undefined;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

export type Handler<Arguments, Result> = (args: Arguments, call: ServerCall) => Result | Promise<Result>;

/** A procedure with its handler, without their types. Only {@link handle} makes one, and checks that they fit. */
export interface ServerProcedure {
  readonly program: Program;
  readonly number: number;
  readonly name: string;
  readonly idempotent: boolean;
  readonly decode: (reader: XdrReader) => unknown;
  readonly run: (args: unknown, call: ServerCall) => unknown;
  readonly encode: (writer: XdrWriter, result: unknown) => void;
}

/**
 * Ties a handler to its procedure. The result's pieces by reference must stay unchanged until they are sent, so
 * give every call buffers of its own. With `idempotent: false` a call that comes twice is carried out once, and
 * answered twice (duplicate request cache); true by default.
 */
export function handle<Arguments, Result>(
  procedure: Procedure<Arguments, Result>,
  handler: Handler<Arguments, Result>,
  options: { readonly idempotent?: boolean } = {},
): ServerProcedure {
  return {
    program: procedure.program,
    number: procedure.number,
    name: procedure.name,
    idempotent: options.idempotent ?? true,
    decode: (reader) => procedure.decodeArguments(reader),
    run: (args, call) => handler(args as Arguments, call),
    encode: (writer, result) => procedure.encodeResult(writer, result as Result),
  };
}

/** A call as the hooks see it. */
export interface ObservedCall extends ServerCall {
  readonly program: Program;
  readonly procedure: number;
  /** As the RFC spells it: "LOOKUP". */
  readonly name: string;
}

/**
 * The decision of a hook: nothing (go on), no reply at all, the end of the connection, or a reply of its own. A hook
 * that returns a promise delays the call until it resolves.
 */
export type CallVerdict = undefined | 'drop' | 'disconnect' | ReplyFailure;
export type Hook = (call: ObservedCall) => CallVerdict | Promise<CallVerdict>;

/** For tests and fault injection. */
export interface ServerHooks {
  /** Runs before the call is looked up among those answered lately, and before it is carried out. */
  readonly before?: Hook | undefined;
  /** Runs when the call was carried out, before the reply goes out. */
  readonly after?: Hook | undefined;
}
