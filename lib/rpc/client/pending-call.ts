/** One call from the moment it is made until it is answered or given up. */
import { XdrReader } from '../../xdr/xdr-reader.js';
import { RpcGarbageError } from '../rpc-errors.js';
import type { Message } from '../transport/transport.js';
import { decodeReplyBody, replyError } from '../wire/message.js';
import type { Procedure } from '../wire/procedure.js';
import type { ProcedureCounters } from './call-counters.js';
import type { CallTimes } from './retransmission.js';

/** Replies with undecodable headers that one call may provoke before it fails instead of being sent again. */
const MAX_GARBAGE_REPLIES = 3;
/** Bytes of XID and message type, which the receiver has checked. */
const REPLY_BODY = 8;

/** A reply that cannot be decoded. */
export interface Nonsense {
  readonly error: RpcGarbageError;
  /** Its header cannot be: the sender is not to be trusted with anything. */
  readonly inHeader: boolean;
}

/** What the connection needs to know of a call, whatever its types. */
export interface PendingCall extends CallTimes {
  readonly xid: number;
  /** The encoded call: sent again as it is. */
  readonly message: Message;
  readonly counters: ProcedureCounters;
  readonly onRetransmit: (() => void) | undefined;
  /** How often it was handed to a transport. */
  transmissions: number;
  /** When it was first sent; the round trip counts from here. */
  sentAt: number;
  /** The number of the send that carried it last, to know whether the kernel has its bytes. */
  batch: number;
  /** True once the caller has an answer or an error. */
  settled: boolean;
  /**
   * Decodes a reply and settles; returns what is wrong with it, if something is. Not settled then: the header makes no
   * sense, and the call may be sent again.
   */
  reply(message: Buffer): Nonsense | undefined;
  fail(error: Error): void;
}

export class TypedCall<Arguments, Result> implements PendingCall {
  madeAt = 0;
  transmissions = 0;
  sentAt = 0;
  lastSentAt = 0;
  interval = 0;
  resendAt = 0;
  majorAt = 0;
  batch = 0;
  settled = false;
  #garbageReplies = 0;
  readonly #procedure: Procedure<Arguments, Result>;
  readonly #server: string;
  readonly #resolve: (result: Result) => void;
  readonly #reject: (error: Error) => void;

  constructor(
    readonly xid: number,
    readonly message: Message,
    readonly counters: ProcedureCounters,
    readonly onRetransmit: (() => void) | undefined,
    procedure: Procedure<Arguments, Result>,
    server: string,
    resolve: (result: Result) => void,
    reject: (error: Error) => void,
  ) {
    this.#procedure = procedure;
    this.#server = server;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  reply(message: Buffer): Nonsense | undefined {
    const reader = new XdrReader(message, REPLY_BODY);
    let result: Result;
    let inHeader = true;
    try {
      const failure = decodeReplyBody(reader);
      inHeader = false;
      if (failure !== undefined) {
        this.fail(replyError(failure, this.what));
        return undefined;
      }
      result = this.#procedure.decodeResult(reader);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const error = new RpcGarbageError(`${this.what}: the reply cannot be decoded: ${reason}`, { cause });
      this.#garbageReplies += 1;
      if (!inHeader || this.#garbageReplies >= MAX_GARBAGE_REPLIES) this.fail(error);
      return { error, inHeader };
    }
    this.settled = true;
    this.#resolve(result);
    return undefined;
  }

  fail(error: Error): void {
    if (this.settled) return;
    this.settled = true;
    this.counters.errors += 1;
    this.#reject(error);
  }

  /** For messages: "NFS LOOKUP on server". */
  get what(): string {
    return `${this.#procedure.program.name} ${this.#procedure.name} on ${this.#server}`;
  }
}
