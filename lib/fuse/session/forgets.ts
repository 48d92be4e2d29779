/** FORGET and BATCH_FORGET: objects that the kernel no longer knows. They have no answer, so that a fault is only logged. */
import type { FuseOperations } from '../contract/operations.js';
import { Opcode, Size } from '../contract/protocol.js';
import type { RequestBuffer } from './request-buffer.js';
import type { SessionCounts } from './session-counters.js';

export class Forgets {
  readonly #operations: FuseOperations;
  readonly #counts: SessionCounts;
  readonly #log: (line: string) => void;

  constructor(operations: FuseOperations, counts: SessionCounts, log: (line: string) => void) {
    this.#operations = operations;
    this.#counts = counts;
    this.#log = log;
  }

  /** Tells the file system all that this message of `length` bytes says. */
  deliver(message: RequestBuffer, length: number): void {
    if (message.word(4) === Opcode.FORGET) {
      this.#forget(message.wide(16), message.wide(Size.IN_HEADER));
      return;
    }
    const count = message.word(Size.IN_HEADER);
    let at = Size.IN_HEADER + Size.BATCH_FORGET_IN;
    for (let i = 0; i < count && at + Size.FORGET_ONE <= length; i++, at += Size.FORGET_ONE)
      this.#forget(message.wide(at), message.wide(at + 8));
  }

  #forget(nodeid: number, nlookup: number): void {
    try {
      this.#operations.forget(nodeid, nlookup);
    } catch (error) {
      this.#counts.faults += 1;
      const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#log(`fuse: FORGET of node ${nodeid} failed: ${detail}`);
    }
  }
}
