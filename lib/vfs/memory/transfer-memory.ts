/** The memory that reads and writes of one mount hold, and who gives it back when it gets short. */
import { BufferPool } from './buffer-pool.js';
import type { ByteBudget } from './byte-budget.js';

/** Buffers kept for the next writes: what a stream has between two COMMITs. */
const WRITE_BUFFERS = 48;

/** Somebody whose writes hold memory. */
export interface MemoryHolder {
  /** Gives back what can be given back soon. */
  relieve(): void;
}

export class TransferMemory<Holder extends MemoryHolder = MemoryHolder> {
  readonly readBudget: ByteBudget;
  readonly writeBudget: ByteBudget;
  /** Of wsize, for data on its way out. */
  readonly writeBuffers: BufferPool;
  /** Whose writes hold memory. */
  readonly writers = new Set<Holder>();

  constructor(readBudget: ByteBudget, writeBudget: ByteBudget, wsize: number) {
    this.readBudget = readBudget;
    this.writeBudget = writeBudget;
    this.writeBuffers = new BufferPool(wsize, WRITE_BUFFERS);
    writeBudget.onShortage = () => {
      for (const writer of this.writers) writer.relieve();
    };
  }
}
