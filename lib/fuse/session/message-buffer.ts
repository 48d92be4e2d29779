/** The memory of one FUSE message, with views of each word size. */

/** Fields are in the byte order of the host, which is that of these views. */
export class MessageBuffer {
  readonly bytes: Buffer;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;

  /** `size` in bytes, header included, a multiple of 8. */
  constructor(size: number) {
    const memory = new ArrayBuffer(size);
    this.bytes = Buffer.from(memory);
    this.u32 = new Uint32Array(memory);
    this.u64 = new BigUint64Array(memory);
  }
}

/** 2^32, for fields of 64 bits that are read and written in two halves. */
export const TWO_32 = 0x1_0000_0000;
