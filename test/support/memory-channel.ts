/** A FUSE channel in memory: builds requests as the kernel lays them out, and keeps the answers. */

import { Opcode } from '../../lib/fuse/contract/protocol.js';
import type { Channel, ChannelHandler, SessionEnd } from '../../lib/fuse/session/channel/channel.js';
import type { ReplyBuffer } from '../../lib/fuse/session/reply.js';
import { RequestBuffer } from '../../lib/fuse/session/request-buffer.js';

/** One message that was written, taken apart. `error` is as on the wire: 0, -errno, or a notification code. */
export interface WrittenMessage {
  readonly unique: bigint;
  readonly error: number;
  readonly payload: Buffer;
}

/** One field of a request's arguments: a name gets its NUL, a Buffer is taken as it is. */
export type Field = { u32: number } | { u64: bigint } | { name: string | Buffer } | { raw: Buffer };

export const u32 = (value: number): Field => ({ u32: value });
export const u64 = (value: bigint | number): Field => ({ u64: BigInt(value) });
export const name = (value: string | Buffer): Field => ({ name: value });
export const raw = (value: Buffer): Field => ({ raw: value });

const SLOT = 1024 * 1024 + 4096;

/** The argument bytes that `fields` make. */
export function pack(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.map((field) => {
      if ('raw' in field) return field.raw;
      if ('name' in field) return Buffer.concat([Buffer.from(field.name), Buffer.alloc(1)]);
      if ('u32' in field) return Buffer.from(new Uint32Array([field.u32]).buffer);
      return Buffer.from(new BigUint64Array([field.u64]).buffer);
    }),
  );
}

export class MemoryChannel implements Channel {
  readonly written: WrittenMessage[] = [];
  readonly fromThread: WrittenMessage[] = [];
  readonly released: RequestBuffer[] = [];
  paused = false;
  /** The session reads nothing any more. */
  stopped = false;
  /** How many times a paused channel was asked for more. */
  steps = 0;
  closed = false;
  maxRequest = 0;
  /** Resolves when the notifications of other threads are written. */
  threadsFlushed: Promise<void> = Promise.resolve();
  /** The errno with which the next write fails. */
  nextErrno = 0;
  #handler: ChannelHandler | undefined;
  #unique = 2n;

  start(handler: ChannelHandler, maxRequest: number): void {
    this.#handler = handler;
    this.maxRequest = maxRequest;
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  step(): void {
    this.steps += 1;
  }
  stop(): void {
    this.stopped = true;
  }
  release(message: RequestBuffer): void {
    this.released.push(message);
  }
  write(reply: ReplyBuffer, length: number): number {
    return this.#take(reply.bytes.subarray(0, length), this.written);
  }
  writePieces(pieces: readonly Uint8Array[]): number {
    return this.#take(Buffer.concat(pieces), this.written);
  }
  writeFromThread(message: Uint8Array): Promise<number> {
    return Promise.resolve(this.#take(Buffer.from(message), this.fromThread));
  }
  flushThreads(): Promise<void> {
    return this.threadsFlushed;
  }
  stopThreads(): undefined {
    return undefined;
  }
  close(): void {
    this.closed = true;
  }

  end(end: SessionEnd): void {
    this.#handler?.ended(end);
  }

  /** Delivers a request; answers its number, and whether the session kept the buffer. */
  deliver(
    opcode: number,
    nodeid: bigint | number,
    fields: readonly Field[] = [],
    unique?: bigint,
  ): { unique: bigint; kept: boolean } {
    const number = unique ?? this.#unique;
    this.#unique += 2n;
    const args = pack(fields);
    const length = 40 + args.length;
    const message = new RequestBuffer(length > 8192 ? SLOT : 8192);
    message.u32[0] = length;
    message.u32[1] = opcode;
    message.u64[1] = number;
    message.u64[2] = BigInt(nodeid);
    message.u32[6] = 1000;
    message.u32[7] = 100;
    message.u32[8] = 4321;
    message.bytes.set(args, 40);
    return { unique: number, kept: this.#handler?.request(message, length) ?? false };
  }

  /** The INIT of a kernel that offers `flags` at protocol 7.`minor`. */
  init(flags = 0xffff_ffff_ffffn, minor = 45, major = 7): WrittenMessage | undefined {
    const { unique } = this.deliver(Opcode.INIT, 0, [
      u32(major),
      u32(minor),
      u32(131072),
      u32(Number(flags & 0xffff_ffffn)),
      u32(Number(flags >> 32n)),
      raw(Buffer.alloc(44)),
    ]);
    return this.answer(unique);
  }

  /** The answer to request `unique`, if there is one yet. */
  answer(unique: bigint): WrittenMessage | undefined {
    return this.written.find((message) => message.unique === unique);
  }

  #take(bytes: Buffer, list: WrittenMessage[]): number {
    const errno = this.nextErrno;
    this.nextErrno = 0;
    if (errno !== 0) return errno;
    if (bytes.readUInt32LE(0) !== bytes.length) throw new Error('the length field is not the length');
    list.push({
      error: bytes.readInt32LE(4),
      unique: bytes.readBigUInt64LE(8),
      payload: Buffer.from(bytes.subarray(16)),
    });
    return 0;
  }
}

/** Lets promise callbacks run. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
