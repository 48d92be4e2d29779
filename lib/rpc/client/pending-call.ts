/** One call from the moment it is made until it is answered or given up: how it is encoded and what its reply means. */
import { XdrReader } from '../../xdr/xdr-reader.js';
import { XdrWriter } from '../../xdr/xdr-writer.js';
import type { AuthenticatedCall, Credential } from '../auth/credential.js';
import { RpcGarbageError } from '../rpc-errors.js';
import { sealRecord } from '../transport/socket-writer.js';
import type { Message } from '../transport/transport.js';
import { decodeReplyBody, encodeCallHeader, replyError } from '../wire/message.js';
import type { Procedure } from '../wire/procedure.js';
import { RECORD_MARK_BYTES } from '../wire/record-mark.js';
import type { ProcedureCounters } from './call-counters.js';
import type { CallTimes } from './retransmission.js';

/** Replies with undecodable headers that one call may provoke before it fails instead of being sent again. */
const MAX_GARBAGE_REPLIES = 3;
/** Bytes of XID and message type, which the receiver has checked. */
const REPLY_BODY = 8;
/** Room for the header, a credential with 16 groups, and the arguments of most procedures. */
const CALL_BYTES = 384;

/** A reply that cannot be decoded. */
export interface Nonsense {
  readonly error: RpcGarbageError;
  /** The header itself cannot be decoded, so that nothing from this sender can be trusted. */
  readonly inHeader: boolean;
}

/** A call without its types, as the connection sees it. */
export interface PendingCall extends CallTimes {
  readonly xid: number;
  /** The encoded call, as it was sent last or will be sent first. */
  readonly message: Message;
  readonly counters: ProcedureCounters;
  readonly onRetransmit: (() => void) | undefined;
  /** How often it was handed to a transport. */
  transmissions: number;
  /** When it was first sent. The round-trip time counts from here. */
  sentAt: number;
  /** The number of the last send that carried it. It shows whether the kernel has its bytes. */
  batch: number;
  /** True once the caller has an answer or an error. */
  settled: boolean;
  /** For messages: "NFS LOOKUP on server". */
  readonly what: string;
  /**
   * Before the call is sent again: encodes it again if its flavour wants that. With all other flavours
   * {@link message} stays the very same bytes.
   */
  encodeAgain(): void;
  /**
   * Decodes a reply and settles the call. Returns what is wrong with the reply, if something is. The call then stays
   * unsettled if the header makes no sense, and may be sent again.
   */
  reply(message: Buffer): Nonsense | undefined;
  fail(error: Error): void;
}

/** How a call ends. */
export interface Settle<Result> {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

export interface NewCall<Arguments, Result> {
  readonly xid: number;
  readonly procedure: Procedure<Arguments, Result>;
  /** They stay unchanged until the call is settled: it may be encoded again. */
  readonly args: Arguments;
  readonly credential: Credential;
  readonly counters: ProcedureCounters;
  readonly onRetransmit: (() => void) | undefined;
  /** For messages. */
  readonly server: string;
  readonly settle: Settle<Result>;
}

export class TypedCall<Arguments, Result> implements PendingCall, AuthenticatedCall {
  readonly xid: number;
  readonly credential: Credential;
  readonly counters: ProcedureCounters;
  readonly onRetransmit: (() => void) | undefined;
  madeAt = 0;
  transmissions = 0;
  sentAt = 0;
  lastSentAt = 0;
  interval = 0;
  resendAt = 0;
  majorAt = 0;
  batch = 0;
  settled = false;
  #message: Message = [];
  #garbageReplies = 0;
  readonly #procedure: Procedure<Arguments, Result>;
  readonly #args: Arguments;
  readonly #server: string;
  readonly #settle: Settle<Result>;

  constructor(call: NewCall<Arguments, Result>) {
    this.xid = call.xid;
    this.credential = call.credential;
    this.counters = call.counters;
    this.onRetransmit = call.onRetransmit;
    this.#procedure = call.procedure;
    this.#args = call.args;
    this.#server = call.server;
    this.#settle = call.settle;
  }

  get message(): Message {
    return this.#message;
  }

  /** Makes {@link message}. Throws what the procedure's encodeArguments throws. */
  encode(): void {
    const { operations } = this.credential;
    const writer = new XdrWriter(CALL_BYTES, RECORD_MARK_BYTES);
    encodeCallHeader(writer, this.xid, this.#procedure.program, this.#procedure.number, this);
    operations.wrap(writer, this, this.#procedure, this.#args);
    this.#message = writer.finish();
    sealRecord(this.#message);
  }

  encodeAgain(): void {
    if (this.credential.operations.encodesAgain) this.encode();
  }

  reply(message: Buffer): Nonsense | undefined {
    const reader = new XdrReader(message, REPLY_BODY);
    let result: Result;
    let inHeader = true;
    try {
      const failure = decodeReplyBody(reader, this);
      inHeader = false;
      if (failure !== undefined) {
        this.fail(replyError(failure, this.what));
        return undefined;
      }
      result = this.#procedure.decodeResult(this.credential.operations.unwrap(reader, this));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const error = new RpcGarbageError(`${this.what}: the reply cannot be decoded: ${reason}`, { cause });
      this.#garbageReplies += 1;
      if (!inHeader || this.#garbageReplies >= MAX_GARBAGE_REPLIES) this.fail(error);
      return { error, inHeader };
    }
    this.settled = true;
    this.#settle.resolve(result);
    return undefined;
  }

  fail(error: Error): void {
    if (this.settled) return;
    this.settled = true;
    this.counters.errors += 1;
    this.#settle.reject(error);
  }

  get what(): string {
    return `${this.#procedure.program.name} ${this.#procedure.name} on ${this.#server}`;
  }
}
