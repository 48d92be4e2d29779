/** The sending side of a session as the opcodes see it, and one reply function for each shape of answer. */

import type {
  AttributesReply,
  EntryReply,
  FuseLock,
  FuseStatfs,
  MaybePromise,
  NegativeEntryReply,
  OpenReply,
} from '../../contract/operations.js';
import { Size } from '../../contract/protocol.js';
import type { ListingBuffers, ReplyBuffer } from '../reply.js';
import type { FuseRequest } from '../request.js';
import type { RequestBuffer } from '../request-buffer.js';

const PAYLOAD = Size.OUT_HEADER;
const PAYLOAD_WORD = PAYLOAD / 4;

/** The sending side of a session, as the opcodes use it. */
export interface Responder {
  /** The buffer that a short reply is encoded in, behind the first 16 bytes. Free again after each send. */
  readonly scratch: ReplyBuffer;
  /** Sends the first `length` bytes of {@link scratch}, or of `buffer`, with the header filled in. */
  send(request: FuseRequest, length: number, buffer?: ReplyBuffer): void;
  sendError(request: FuseRequest, errno: number): void;
  sendData(request: FuseRequest, data: Uint8Array | readonly Uint8Array[], limit: number): void;
  /** Sends `reply` of the result, or the error it failed with, now or once the promise settles. */
  settle<T>(
    request: FuseRequest,
    result: MaybePromise<T>,
    reply: (responder: Responder, request: FuseRequest, value: T) => void,
  ): void;
  /**
   * The payload of the WRITE being dispatched, `length` bytes at `offset` of `message`, in memory that stays
   * valid until the request's answer.
   */
  holdPayload(request: FuseRequest, message: RequestBuffer, offset: number, length: number): Uint8Array;
  /** Where listings are built. */
  readonly listings: ListingBuffers;
}

export function replyEmpty(responder: Responder, request: FuseRequest): void {
  responder.send(request, PAYLOAD);
}

export function replyEntry(
  responder: Responder,
  request: FuseRequest,
  entry: EntryReply | NegativeEntryReply,
): void {
  if ('attributes' in entry) responder.scratch.entry(PAYLOAD_WORD, entry);
  else responder.scratch.negativeEntry(PAYLOAD_WORD, entry.entryValidMs);
  responder.send(request, PAYLOAD + Size.ENTRY_OUT);
}

export function replyAttributes(responder: Responder, request: FuseRequest, reply: AttributesReply): void {
  responder.scratch.attributesReply(PAYLOAD_WORD, reply);
  responder.send(request, PAYLOAD + Size.ATTR_OUT);
}

export function replyOpen(responder: Responder, request: FuseRequest, reply: OpenReply): void {
  responder.scratch.open(PAYLOAD_WORD, reply);
  responder.send(request, PAYLOAD + Size.OPEN_OUT);
}

export function replyCreate(
  responder: Responder,
  request: FuseRequest,
  reply: { entry: EntryReply; open: OpenReply },
): void {
  responder.scratch.entry(PAYLOAD_WORD, reply.entry);
  responder.scratch.open(PAYLOAD_WORD + Size.ENTRY_OUT / 4, reply.open);
  responder.send(request, PAYLOAD + Size.ENTRY_OUT + Size.OPEN_OUT);
}

export function replyWritten(responder: Responder, request: FuseRequest, count: number): void {
  responder.scratch.wide(PAYLOAD_WORD, count);
  responder.send(request, PAYLOAD + Size.WRITE_OUT);
}

export function replyLink(responder: Responder, request: FuseRequest, target: Uint8Array): void {
  responder.sendData(request, target, target.length);
}

export function replyStatfs(responder: Responder, request: FuseRequest, statfs: FuseStatfs): void {
  responder.scratch.statfs(PAYLOAD_WORD, statfs);
  responder.send(request, PAYLOAD + Size.STATFS_OUT);
}

export function replyLock(responder: Responder, request: FuseRequest, lock: FuseLock): void {
  responder.scratch.lock(PAYLOAD_WORD, lock);
  responder.send(request, PAYLOAD + Size.LK_OUT);
}
