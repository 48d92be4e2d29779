/** Puts many messages on a stream socket with as few system calls and copies as possible. */
import type { Socket } from 'node:net';
import { LAST_FRAGMENT, RECORD_MARK_BYTES } from '../wire/record-mark.js';
import type { Message } from './transport.js';

/** Messages of up to this many bytes together are copied into one buffer, which is cheaper than a gather list. */
const GATHER_BYTES = 32 * 1024;

/** Bytes in all pieces. */
export function messageLength(message: Message): number {
  let length = 0;
  for (const piece of message) length += piece.length;
  return length;
}

/** Fills in the record mark of a message that was written with four bytes reserved: the message is one fragment. */
export function sealRecord(message: Message): void {
  const first = message[0];
  if (first === undefined) return;
  const mark = LAST_FRAGMENT + (messageLength(message) - RECORD_MARK_BYTES);
  first[0] = mark >>> 24;
  first[1] = mark >>> 16;
  first[2] = mark >>> 8;
  first[3] = mark;
}

/** Writes sealed messages to the socket at once, in order. */
export function writeMessages(socket: Socket, messages: readonly Message[]): void {
  const first = messages[0];
  if (messages.length === 1 && first?.length === 1) {
    socket.write(first[0] as Uint8Array);
    return;
  }
  let total = 0;
  for (const message of messages) total += messageLength(message);
  if (total <= GATHER_BYTES) {
    const gathered = Buffer.allocUnsafe(total);
    let position = 0;
    for (const message of messages) {
      for (const piece of message) {
        gathered.set(piece, position);
        position += piece.length;
      }
    }
    socket.write(gathered);
    return;
  }
  socket.cork();
  for (const message of messages) for (const piece of message) socket.write(piece);
  socket.uncork();
}
