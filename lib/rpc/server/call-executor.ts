/**
 * The way of one call through the server, over whatever it has come: it is checked (version, credential, program,
 * procedure), looked up among the replies that are kept, carried out, and answered.
 */
import { XdrError } from '../../xdr/xdr-error.js';
import { XdrReader } from '../../xdr/xdr-reader.js';
import { XdrWriter } from '../../xdr/xdr-writer.js';
import { type AuthSys, decodeAuthSys } from '../auth/auth-sys.js';
import { AuthFlavor } from '../auth/credential.js';
import { AuthStat } from '../rpc-errors.js';
import { sealRecord } from '../transport/socket-writer.js';
import type { Message } from '../transport/transport.js';
import {
  AcceptStat,
  type CallBody,
  decodeCallHeader,
  encodeAcceptedHeader,
  encodeFailure,
  type ReplyFailure,
  RPC_VERSION,
} from '../wire/message.js';
import { RECORD_MARK_BYTES } from '../wire/record-mark.js';
import type { CachedCall, DuplicateRequestCache, ReplySink } from './duplicate-request-cache.js';
import type { CallVerdict, Hook, ObservedCall, ServerHooks, ServerProcedure } from './server-procedure.js';

const REPLY_BYTES = 256;

/** Where a call has come from, and where its reply goes: a TCP connection, or the sender of a datagram. */
export interface CallOrigin extends ReplySink {
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Tells origins apart for the cache of replies; the same again for the same client at the same port. */
  readonly peer: string;
  /** A call has passed the checks. callEnded() follows, whether or not there is a reply. */
  callBegins(): void;
  callEnded(): void;
  /** Sends a reply, or does nothing once it is closed. */
  write(reply: Message): void;
  /** Ends it at once, without a reply. */
  destroy(): void;
}

/** The parts of the server that a call needs. */
export interface CallContext {
  readonly cache: DuplicateRequestCache<CallOrigin>;
  readonly counters: { calls: number; garbage: number };
  readonly hooks: ServerHooks;
  /** The procedure, or what to answer instead. */
  find(call: CallBody): ServerProcedure | ReplyFailure;
  /** A handler threw: our bug, not the client's. */
  onHandlerError(call: ObservedCall, error: unknown): void;
}

export class CallExecutor {
  readonly #context: CallContext;
  /** The last credential seen, since a client sends the same one most of the time. */
  #lastCredential: Buffer | undefined;
  #lastAuth: AuthSys | undefined;

  constructor(context: CallContext) {
    this.#context = context;
  }

  /** Carries out a call and answers it, now or later. Throws XdrError for a message that is none. */
  serve(message: Buffer, origin: CallOrigin): void {
    const reader = new XdrReader(message);
    const header = decodeCallHeader(reader);
    this.#context.counters.calls += 1;
    const { xid } = header;
    if (header.rpcVersion !== RPC_VERSION) {
      origin.write(failureMessage(xid, { kind: 'rpc-mismatch', low: RPC_VERSION, high: RPC_VERSION }));
      return;
    }
    const auth = this.#authenticate(header.call);
    if (auth !== undefined && 'kind' in auth) {
      origin.write(failureMessage(xid, auth));
      return;
    }
    const procedure = this.#context.find(header.call);
    if ('kind' in procedure) {
      origin.write(failureMessage(xid, procedure));
      return;
    }
    const call: ObservedCall = {
      xid,
      credential: auth,
      remoteAddress: origin.remoteAddress,
      remotePort: origin.remotePort,
      program: procedure.program,
      procedure: procedure.number,
      name: procedure.name,
    };
    origin.callBegins();
    const { before } = this.#context.hooks;
    if (before === undefined) this.#execute(procedure, call, reader, message, origin);
    else
      this.#judge(before, call, origin, origin, () =>
        this.#execute(procedure, call, reader, message, origin),
      );
  }

  /** AUTH_NONE and AUTH_SYS are taken. Returns why not, or what the credential says. */
  #authenticate(call: CallBody): AuthSys | undefined | ReplyFailure {
    if (call.flavor === AuthFlavor.NONE) return undefined;
    if (call.flavor !== AuthFlavor.SYS) {
      // This server never hands out AUTH_SHORT credentials, so this one is not valid here.
      const authStat = call.flavor === AuthFlavor.SHORT ? AuthStat.REJECTEDCRED : AuthStat.TOOWEAK;
      return { kind: 'auth-error', authStat };
    }
    if (this.#lastCredential?.equals(call.credential)) return this.#lastAuth;
    try {
      const auth = decodeAuthSys(call.credential);
      this.#lastCredential = Buffer.from(call.credential);
      this.#lastAuth = auth;
      return auth;
    } catch {
      return { kind: 'auth-error', authStat: AuthStat.BADCRED };
    }
  }

  // ---- carrying out

  #execute(
    procedure: ServerProcedure,
    call: ObservedCall,
    reader: XdrReader,
    message: Buffer,
    origin: CallOrigin,
  ): void {
    let cached: CachedCall<CallOrigin> | undefined;
    if (!procedure.idempotent) {
      const key = `${procedure.program.number}.${procedure.program.version}.${procedure.number}`;
      const found = this.#context.cache.lookup(origin.peer, call.xid, key, message, origin);
      if (found.kind === 'in-progress') {
        origin.callEnded();
        return;
      }
      if (found.kind === 'answered') {
        this.#reply(call, found.reply, origin, origin);
        return;
      }
      cached = found.call;
    }
    let outcome: unknown;
    try {
      const args = procedure.decode(reader);
      reader.expectEnd();
      outcome = procedure.run(args, call);
    } catch (error) {
      this.#failed(call, error, origin, cached);
      return;
    }
    if (outcome instanceof Promise) {
      outcome.then(
        (result: unknown) => this.#succeeded(procedure, call, result, origin, cached),
        (error: unknown) => this.#failed(call, error, origin, cached, true),
      );
    } else this.#succeeded(procedure, call, outcome, origin, cached);
  }

  #succeeded(
    procedure: ServerProcedure,
    call: ObservedCall,
    result: unknown,
    origin: CallOrigin,
    cached: CachedCall<CallOrigin> | undefined,
  ): void {
    const writer = new XdrWriter(REPLY_BYTES, RECORD_MARK_BYTES);
    try {
      encodeAcceptedHeader(writer, call.xid, AcceptStat.SUCCESS);
      procedure.encode(writer, result);
    } catch (error) {
      this.#failed(call, error, origin, cached, true);
      return;
    }
    const reply = writer.finish();
    sealRecord(reply);
    this.#reply(call, reply, origin, cached?.finish(reply) ?? origin);
  }

  /** `ran`: the arguments were decoded, so that any error is the server's own fault, also an XdrError. */
  #failed(
    call: ObservedCall,
    error: unknown,
    origin: CallOrigin,
    cached: CachedCall<CallOrigin> | undefined,
    ran = false,
  ): void {
    const garbage = !ran && error instanceof XdrError;
    if (!garbage) this.#context.onHandlerError(call, error);
    const stat = garbage ? AcceptStat.GARBAGE_ARGS : AcceptStat.SYSTEM_ERR;
    const reply = failureMessage(call.xid, { kind: 'unaccepted', stat, low: 0, high: 0 });
    this.#reply(call, reply, origin, cached?.abandon() ?? origin);
  }

  /** Asks a hook, and does what it says to `target`, which gets the reply; `proceed` when it says nothing. */
  #judge(hook: Hook, call: ObservedCall, origin: CallOrigin, target: CallOrigin, proceed: () => void): void {
    const act = (verdict: CallVerdict): void => {
      if (verdict === undefined) {
        proceed();
        return;
      }
      if (verdict === 'disconnect') target.destroy();
      else if (verdict !== 'drop') target.write(failureMessage(call.xid, verdict));
      origin.callEnded();
    };
    const fail = (error: unknown): void => {
      this.#context.onHandlerError(call, error);
      origin.destroy();
      origin.callEnded();
    };
    try {
      const verdict = hook(call);
      if (verdict instanceof Promise) verdict.then(act).catch(fail);
      else act(verdict);
    } catch (error) {
      fail(error);
    }
  }

  /** `target` is `origin`, or the connection over which the client has sent the call again. */
  #reply(call: ObservedCall, reply: Message, origin: CallOrigin, target: CallOrigin): void {
    const { after } = this.#context.hooks;
    const send = (): void => {
      target.write(reply);
      origin.callEnded();
    };
    if (after === undefined) send();
    else this.#judge(after, call, origin, target, send);
  }
}

function failureMessage(xid: number, failure: ReplyFailure): Message {
  const writer = new XdrWriter(64, RECORD_MARK_BYTES);
  encodeFailure(writer, xid, failure);
  const message = writer.finish();
  sealRecord(message);
  return message;
}
