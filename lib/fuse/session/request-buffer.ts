/**
 * A request as it lies in memory: a buffer with views of each word size, and how fields are read out of it.
 * Fields are in the byte order of the host, which is that of JavaScript's typed arrays, and every structure
 * is aligned to 8 bytes from the start of the message.
 */
import { Errno, FuseError } from '../contract/errno.js';
import { PAGE_BYTES, UNIQUE_HIGH_MASK } from '../contract/protocol.js';
import { MessageBuffer, TWO_32 } from './message-buffer.js';

/** Words at or above this, as the upper half of a 64-bit field, make it 2^53 or more. */
const UNSAFE_HIGH = 0x20_0000;

/** The kernel reads no request into a buffer that has less room than this besides the data of the largest WRITE. */
export const REQUEST_HEADROOM = 4096;

/** The memory that one read(2) of the device fills. It is used again for later requests. */
export class RequestBuffer extends MessageBuffer {
  /**
   * A buffer of at least `size` bytes for read(2) whose pages are all in memory. If this process is killed while the kernel
   * copies a request, and the next page of the buffer has yet to be made, the copy fails: the kernel then ends the request
   * with EIO, and no later process can have it (seen with Linux 6.18).
   */
  static inMemory(size: number): RequestBuffer {
    const message = new RequestBuffer((size + 7) & ~7);
    for (let at = 0; at < size; at += PAGE_BYTES) message.bytes[at] = 0;
    return message;
  }

  /** A buffer that has a copy of `bytes` at its start. */
  static holding(bytes: Uint8Array): RequestBuffer {
    const message = new RequestBuffer((bytes.length + 7) & ~7);
    message.bytes.set(bytes);
    return message;
  }

  /** The 32-bit field at byte `offset`, a multiple of 4 inside the buffer. */
  word(offset: number): number {
    return this.u32[offset >>> 2] ?? 0;
  }

  /** The signed 64-bit field at byte `offset` as a number, exact within 2^53 (times). */
  signed(offset: number): number {
    return this.word(offset) + (this.word(offset + 4) | 0) * TWO_32;
  }

  /** The 64-bit field at byte `offset`, rounded where it is 2^53 or above. */
  wide(offset: number): number {
    return this.word(offset) + this.word(offset + 4) * TWO_32;
  }

  /** The number of a request at byte `offset`, without the mark of one that is sent again. */
  unique(offset: number): number {
    return this.word(offset) + (this.word(offset + 4) & UNIQUE_HIGH_MASK) * TWO_32;
  }

  /** Whether the 64-bit field at byte `offset` is below 2^53. */
  isSafe(offset: number): boolean {
    return this.word(offset + 4) < UNSAFE_HIGH;
  }

  /** A 64-bit field that can only hold a number of ours. @throws FuseError EINVAL when it is 2^53 or more. */
  ownHandle(offset: number): number {
    if (!this.isSafe(offset)) throw new FuseError(Errno.EINVAL);
    return this.wide(offset);
  }

  /** The 64-bit field at byte `offset`, whole. */
  big(offset: number): bigint {
    return this.u64[offset >>> 3] ?? 0n;
  }

  /**
   * A copy of the NUL-terminated bytes that start at `offset`, without the NUL.
   * @throws FuseError EINVAL when no NUL comes before `end`.
   */
  name(offset: number, end: number): Buffer {
    const nul = this.bytes.indexOf(0, offset);
    if (nul < 0 || nul >= end) throw new FuseError(Errno.EINVAL);
    return Buffer.from(this.bytes.subarray(offset, nul));
  }
}
