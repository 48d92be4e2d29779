/**
 * One client's TCP connection to our server. It takes calls off the stream, checks them (version, credential, program,
 * procedure), carries them out and answers them, a bounded number at a time.
 */
import type { Socket } from 'node:net';
import { XdrError } from '../../xdr/xdr-error.js';
import { XdrReader } from '../../xdr/xdr-reader.js';
import { XdrWriter } from '../../xdr/xdr-writer.js';
import { type AuthSys, decodeAuthSys } from '../auth/auth-sys.js';
import { AuthFlavor } from '../auth/credential.js';
import { AuthStat } from '../rpc-errors.js';
import { resetSocket } from '../transport/reset-socket.js';
import { sealRecord, writeMessages } from '../transport/socket-writer.js';
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
import { RECORD_MARK_BYTES, RecordAssembler } from '../wire/record-mark.js';
import type { ConnectionState } from './connection-limits.js';
import type { CachedCall, DuplicateRequestCache, ReplySink } from './duplicate-request-cache.js';
import type { CallVerdict, Hook, ObservedCall, ServerHooks, ServerProcedure } from './server-procedure.js';

/** With more bytes of unsent replies than this, no calls are read: the client does not read its replies. */
const MAX_UNSENT = 8 * 1024 * 1024;
const REPLY_BYTES = 256;

/** The parts of the server that a connection needs. */
export interface ServerContext {
  readonly maxRecord: number;
  readonly maxOutstanding: number;
  readonly cache: DuplicateRequestCache<ServerConnection>;
  readonly counters: { calls: number; garbage: number };
  readonly hooks: ServerHooks;
  /** The procedure, or what to answer instead. */
  find(call: CallBody): ServerProcedure | ReplyFailure;
  /** A handler threw: our bug, not the client's. */
  onHandlerError(call: ObservedCall, error: unknown): void;
  onClosed(connection: ServerConnection): void;
  /** Milliseconds, monotonic. */
  now(): number;
}

export class ServerConnection implements ReplySink {
  readonly #socket: Socket;
  readonly #context: ServerContext;
  readonly #assembler: RecordAssembler;
  readonly #remoteAddress: string;
  readonly #remotePort: number;
  readonly #peer: string;
  #closed = false;
  #draining = false;
  /** Calls that are carried out. #backlog has calls that arrived with them in one piece and exceed the limit. */
  #running = 0;
  #backlog: Buffer[] = [];
  #servingBacklog = false;
  #outbox: Message[] = [];
  #flushScheduled = false;
  /** The last credential seen, since a client sends the same one most of the time. */
  #lastCredential: Buffer | undefined;
  #lastAuth: AuthSys | undefined;
  /** For {@link state}: see ConnectionState. */
  #everCalled = false;
  #heardAt: number;
  #recordSince = 0;
  #unsent = 0;
  #unsentSince = 0;

  constructor(socket: Socket, context: ServerContext) {
    this.#socket = socket;
    this.#context = context;
    this.#remoteAddress = socket.remoteAddress ?? '';
    this.#remotePort = socket.remotePort ?? 0;
    this.#peer = `${this.#remoteAddress} ${this.#remotePort}`;
    this.#heardAt = context.now();
    this.#assembler = new RecordAssembler(context.maxRecord, (message) => this.#accept(message));
    socket.on('data', (bytes: Buffer) => this.#received(bytes));
    socket.on('drain', () => this.#regulate());
    // 'close' follows each error and does all that has to be done.
    socket.on('error', () => {});
    socket.on('close', () => this.#onClose());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The activity of the connection at this moment. */
  get state(): ConnectionState {
    const unsent = this.#socket.writableLength;
    // Fewer bytes than before: the client has taken some.
    if (unsent < this.#unsent || this.#unsent === 0) this.#unsentSince = this.#context.now();
    this.#unsent = unsent;
    return {
      busy: this.#running > 0 || this.#backlog.length > 0,
      everCalled: this.#everCalled,
      heardAt: this.#heardAt,
      recordSince: this.#assembler.isWithin && !this.#socket.isPaused() ? this.#recordSince : undefined,
      unreadSince: unsent > 0 ? this.#unsentSince : undefined,
    };
  }

  /** Reads no more calls; ends when those being carried out are answered. */
  drain(): void {
    this.#draining = true;
    this.#assembler.stop();
    this.#endIfDrained();
  }

  /** Ends the connection at once, with a reset. */
  destroy(): void {
    this.#closed = true;
    this.#assembler.stop();
    this.#backlog = [];
    resetSocket(this.#socket);
  }

  // ---- calls in

  #received(bytes: Buffer): void {
    if (!this.#assembler.isWithin) this.#recordSince = this.#context.now();
    try {
      this.#assembler.push(bytes);
    } catch {
      this.#garbage();
    }
  }

  #garbage(): void {
    this.#context.counters.garbage += 1;
    this.destroy();
  }

  #accept(message: Buffer): void {
    this.#everCalled = true;
    this.#heardAt = this.#recordSince = this.#context.now();
    if (this.#running < this.#context.maxOutstanding && this.#backlog.length === 0) {
      this.#serve(message);
      return;
    }
    this.#backlog.push(message);
    this.#regulate();
  }

  /** Reads from the client only while there is room for its calls and for the replies. */
  #regulate(): void {
    const crowded = this.#backlog.length > 0 || this.#socket.writableLength > MAX_UNSENT;
    if (crowded !== this.#socket.isPaused()) {
      if (crowded) this.#socket.pause();
      else {
        // While reading was paused, the client could not send: start its time again.
        this.#recordSince = this.#context.now();
        this.#socket.resume();
      }
    }
  }

  #serve(message: Buffer): void {
    const reader = new XdrReader(message);
    let header: ReturnType<typeof decodeCallHeader>;
    try {
      header = decodeCallHeader(reader);
    } catch {
      this.#garbage();
      return;
    }
    this.#context.counters.calls += 1;
    const { xid } = header;
    if (header.rpcVersion !== RPC_VERSION) {
      this.#fail(xid, { kind: 'rpc-mismatch', low: RPC_VERSION, high: RPC_VERSION });
      return;
    }
    const auth = this.#authenticate(header.call);
    if (auth !== undefined && 'kind' in auth) {
      this.#fail(xid, auth);
      return;
    }
    const procedure = this.#context.find(header.call);
    if ('kind' in procedure) {
      this.#fail(xid, procedure);
      return;
    }
    const call: ObservedCall = {
      xid,
      credential: auth,
      remoteAddress: this.#remoteAddress,
      remotePort: this.#remotePort,
      program: procedure.program,
      procedure: procedure.number,
      name: procedure.name,
    };
    this.#running += 1;
    const { before } = this.#context.hooks;
    if (before === undefined) this.#execute(procedure, call, reader, message);
    else this.#judge(before, call, undefined, () => this.#execute(procedure, call, reader, message));
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

  #execute(procedure: ServerProcedure, call: ObservedCall, reader: XdrReader, message: Buffer): void {
    let cached: CachedCall<ServerConnection> | undefined;
    if (!procedure.idempotent) {
      const key = `${procedure.program.number}.${procedure.program.version}.${procedure.number}`;
      const found = this.#context.cache.lookup(this.#peer, call.xid, key, message, this);
      if (found.kind === 'in-progress') {
        this.#done();
        return;
      }
      if (found.kind === 'answered') {
        this.#reply(call, found.reply, this);
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
      this.#failed(call, error, cached);
      return;
    }
    if (outcome instanceof Promise) {
      outcome.then(
        (result: unknown) => this.#succeeded(procedure, call, result, cached),
        (error: unknown) => this.#failed(call, error, cached, true),
      );
    } else this.#succeeded(procedure, call, outcome, cached);
  }

  #succeeded(
    procedure: ServerProcedure,
    call: ObservedCall,
    result: unknown,
    cached: CachedCall<ServerConnection> | undefined,
  ): void {
    const writer = new XdrWriter(REPLY_BYTES, RECORD_MARK_BYTES);
    try {
      encodeAcceptedHeader(writer, call.xid, AcceptStat.SUCCESS);
      procedure.encode(writer, result);
    } catch (error) {
      this.#failed(call, error, cached, true);
      return;
    }
    const reply = writer.finish();
    sealRecord(reply);
    this.#reply(call, reply, cached?.finish(reply) ?? this);
  }

  /** `ran`: the arguments were decoded, so that any error is the server's own fault, also an XdrError. */
  #failed(
    call: ObservedCall,
    error: unknown,
    cached: CachedCall<ServerConnection> | undefined,
    ran = false,
  ): void {
    const garbage = !ran && error instanceof XdrError;
    if (!garbage) this.#context.onHandlerError(call, error);
    const stat = garbage ? AcceptStat.GARBAGE_ARGS : AcceptStat.SYSTEM_ERR;
    const reply = failureMessage(call.xid, { kind: 'unaccepted', stat, low: 0, high: 0 });
    this.#reply(call, reply, cached?.abandon() ?? this);
  }

  /** Asks a hook, and does what it says; `proceed` when it says nothing. */
  #judge(hook: Hook, call: ObservedCall, sink: ServerConnection | undefined, proceed: () => void): void {
    const act = (verdict: CallVerdict): void => {
      if (verdict === undefined) {
        proceed();
        return;
      }
      const target = sink ?? this;
      if (verdict === 'disconnect') target.destroy();
      else if (verdict !== 'drop') target.#write(failureMessage(call.xid, verdict));
      this.#done();
    };
    const fail = (error: unknown): void => {
      this.#context.onHandlerError(call, error);
      this.destroy();
      this.#done();
    };
    try {
      const verdict = hook(call);
      if (verdict instanceof Promise) verdict.then(act).catch(fail);
      else act(verdict);
    } catch (error) {
      fail(error);
    }
  }

  // ---- replies out

  #reply(call: ObservedCall, reply: Message, sink: ServerConnection): void {
    const { after } = this.#context.hooks;
    const send = (): void => {
      sink.#write(reply);
      this.#done();
    };
    if (after === undefined) send();
    else this.#judge(after, call, sink, send);
  }

  /** Answers a call that is refused before its procedure runs. */
  #fail(xid: number, failure: ReplyFailure): void {
    this.#write(failureMessage(xid, failure));
  }

  #write(reply: Message): void {
    if (this.#closed) return;
    this.#outbox.push(reply);
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    process.nextTick(this.#flush);
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false;
    const messages = this.#outbox;
    this.#outbox = [];
    if (this.#closed) return;
    writeMessages(this.#socket, messages);
    this.#regulate();
    this.#endIfDrained();
  };

  #done(): void {
    this.#running -= 1;
    this.#serveBacklog();
    this.#endIfDrained();
  }

  /** Runs in one loop, not from the end of each call: thousands of calls that end at once would overflow the stack. */
  #serveBacklog(): void {
    if (this.#servingBacklog || this.#backlog.length === 0) return;
    this.#servingBacklog = true;
    while (this.#running < this.#context.maxOutstanding) {
      const next = this.#backlog.shift();
      if (next === undefined) break;
      this.#serve(next);
    }
    this.#servingBacklog = false;
    this.#regulate();
  }

  #endIfDrained(): void {
    if (!this.#draining || this.#closed) return;
    if (this.#running === 0 && this.#backlog.length === 0 && this.#outbox.length === 0) this.#socket.end();
  }

  #onClose(): void {
    this.#closed = true;
    this.#assembler.stop();
    this.#backlog = [];
    this.#outbox = [];
    this.#context.onClosed(this);
  }
}

function failureMessage(xid: number, failure: ReplyFailure): Message {
  const writer = new XdrWriter(64, RECORD_MARK_BYTES);
  encodeFailure(writer, xid, failure);
  const message = writer.finish();
  sealRecord(message);
  return message;
}
