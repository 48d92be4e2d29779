/**
 * The headers of RPC version 2 messages (RFC 5531 section 9), both directions. Every enum is checked here. Credentials
 * and verifiers of calls belong to the flavours (auth/), arguments and results to the procedures.
 */
import { XdrError } from '../../xdr/xdr-error.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import { type AuthenticatedCall, MAX_AUTH_BYTES } from '../auth/credential.js';
import { skipVerifier, writeEmptyVerifier } from '../auth/verifier.js';
import {
  RpcAuthError,
  type RpcError,
  RpcGarbageArgumentsError,
  RpcProcedureUnavailableError,
  RpcProgramMismatchError,
  RpcProgramUnavailableError,
  RpcSystemError,
  RpcVersionMismatchError,
} from '../rpc-errors.js';
import type { Program } from './procedure.js';

export const RPC_VERSION = 2;

export const MessageType = { CALL: 0, REPLY: 1 } as const;
const ReplyStat = { ACCEPTED: 0, DENIED: 1 } as const;
const RejectStat = { RPC_MISMATCH: 0, AUTH_ERROR: 1 } as const;
/** auth_stat values end here, with RPCSEC_GSS_CTXPROBLEM (RFC 5531 section 9). */
const LAST_AUTH_STAT = 14;

/** RFC 5531 section 9, accept_stat. */
export const AcceptStat = {
  SUCCESS: 0,
  PROG_UNAVAIL: 1,
  PROG_MISMATCH: 2,
  PROC_UNAVAIL: 3,
  GARBAGE_ARGS: 4,
  SYSTEM_ERR: 5,
} as const;
export type AcceptStat = (typeof AcceptStat)[keyof typeof AcceptStat];

/** A reply that carries no result. */
export type ReplyFailure =
  | { readonly kind: 'unaccepted'; readonly stat: AcceptStat; readonly low: number; readonly high: number }
  | { readonly kind: 'rpc-mismatch'; readonly low: number; readonly high: number }
  | { readonly kind: 'auth-error'; readonly authStat: number };

/** Writes a call's header, which the flavour of `call` completes. The arguments follow. */
export function encodeCallHeader(
  writer: XdrWriter,
  xid: number,
  program: Program,
  procedure: number,
  call: AuthenticatedCall,
): void {
  writer.int32(xid | 0);
  writer.uint32(MessageType.CALL);
  writer.uint32(RPC_VERSION);
  writer.uint32(program.number);
  writer.uint32(program.version);
  writer.uint32(procedure);
  call.credential.operations.marshal(writer, call);
}

/**
 * Reads the header of a reply to `call`, from behind its message type on: the receiver has looked at what comes before.
 * Undefined stands for SUCCESS: the result follows. Throws XdrError for anything that is not a reply.
 */
export function decodeReplyBody(reader: XdrReader, call: AuthenticatedCall): ReplyFailure | undefined {
  if (reader.enumeration(0, 1, 'reply_stat') === ReplyStat.ACCEPTED) {
    call.credential.operations.validate(reader, call);
    const stat = reader.enumeration(0, 5, 'accept_stat') as AcceptStat;
    if (stat === AcceptStat.SUCCESS) return undefined;
    if (stat !== AcceptStat.PROG_MISMATCH) return { kind: 'unaccepted', stat, low: 0, high: 0 };
    return { kind: 'unaccepted', stat, low: reader.uint32(), high: reader.uint32() };
  }
  if (reader.enumeration(0, 1, 'reject_stat') === RejectStat.RPC_MISMATCH) {
    return { kind: 'rpc-mismatch', low: reader.uint32(), high: reader.uint32() };
  }
  return { kind: 'auth-error', authStat: reader.enumeration(0, LAST_AUTH_STAT, 'auth_stat') };
}

/** The error that a failed reply means. `what` names server and procedure. */
export function replyError(failure: ReplyFailure, what: string): RpcError {
  if (failure.kind === 'rpc-mismatch') return new RpcVersionMismatchError(what, failure.low, failure.high);
  if (failure.kind === 'auth-error') return new RpcAuthError(what, failure.authStat);
  switch (failure.stat) {
    case AcceptStat.PROG_UNAVAIL:
      return new RpcProgramUnavailableError(what);
    case AcceptStat.PROG_MISMATCH:
      return new RpcProgramMismatchError(what, failure.low, failure.high);
    case AcceptStat.PROC_UNAVAIL:
      return new RpcProcedureUnavailableError(what);
    case AcceptStat.GARBAGE_ARGS:
      return new RpcGarbageArgumentsError(what);
    default:
      return new RpcSystemError(what);
  }
}

/** A call as the server sees it. Of a foreign RPC version nothing but the XID is known. */
export type CallHeader =
  | { readonly xid: number; readonly rpcVersion: typeof RPC_VERSION; readonly call: CallBody }
  | { readonly xid: number; readonly rpcVersion: 'other' };

export interface CallBody {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly flavor: number;
  /** The credential's bytes, a slice of the message. */
  readonly credential: Buffer;
}

/** Reads a call's header; the arguments follow. Throws XdrError for anything that is not a call. */
export function decodeCallHeader(reader: XdrReader): CallHeader {
  const xid = reader.int32();
  const type = reader.enumeration(0, 1, 'msg_type');
  if (type !== MessageType.CALL) throw new XdrError('a reply arrived where a call was expected');
  if (reader.uint32() !== RPC_VERSION) return { xid, rpcVersion: 'other' };
  const program = reader.uint32();
  const version = reader.uint32();
  const procedure = reader.uint32();
  const flavor = reader.uint32();
  const credential = reader.opaque(MAX_AUTH_BYTES, 'credential');
  skipVerifier(reader);
  return { xid, rpcVersion: RPC_VERSION, call: { program, version, procedure, flavor, credential } };
}

/** Writes the header of an accepted reply with an AUTH_NONE verifier; with SUCCESS the result follows. */
export function encodeAcceptedHeader(writer: XdrWriter, xid: number, stat: AcceptStat): void {
  writer.int32(xid | 0);
  writer.uint32(MessageType.REPLY);
  writer.uint32(ReplyStat.ACCEPTED);
  writeEmptyVerifier(writer);
  writer.uint32(stat);
}

/** Writes a whole reply without a result. */
export function encodeFailure(writer: XdrWriter, xid: number, failure: ReplyFailure): void {
  if (failure.kind === 'unaccepted') {
    encodeAcceptedHeader(writer, xid, failure.stat);
    if (failure.stat === AcceptStat.PROG_MISMATCH) {
      writer.uint32(failure.low);
      writer.uint32(failure.high);
    }
    return;
  }
  writer.int32(xid | 0);
  writer.uint32(MessageType.REPLY);
  writer.uint32(ReplyStat.DENIED);
  if (failure.kind === 'rpc-mismatch') {
    writer.uint32(RejectStat.RPC_MISMATCH);
    writer.uint32(failure.low);
    writer.uint32(failure.high);
  } else {
    writer.uint32(RejectStat.AUTH_ERROR);
    writer.uint32(failure.authStat);
  }
}
