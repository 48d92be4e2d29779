/** Memory for data from and to the local disk. Owns that large buffers are used again, and that small ones take no more than they need. */
import { RecordPool } from '../../rpc/wire/record-pool.js';

/** The pool has no smaller buffers. */
const SMALL = 64 * 1024;

export class BlockMemory {
  readonly #pool = new RecordPool();

  /** At least so many bytes, with arbitrary content. */
  take(bytes: number): Buffer {
    return bytes <= SMALL ? Buffer.allocUnsafeSlow(bytes) : this.#pool.take(bytes);
  }

  /** Takes back the buffer that `part` is of, if it came from here. No part of it may still be in use. */
  give(part: Uint8Array): void {
    this.#pool.give(part);
  }
}
