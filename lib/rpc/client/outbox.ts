/**
 * The calls that wait to be written to the transport of a connection. Calls of one tick are written together, and none
 * while the kernel takes no more. Owns the knowledge of which calls' bytes the kernel has.
 */
import type { Clock } from '../../base/clock.js';
import { messageLength } from '../transport/socket-writer.js';
import type { Message, Transport } from '../transport/transport.js';
import type { PendingCall } from './pending-call.js';
import type { RetransmissionPolicy } from './retransmission.js';

/** This many calls are written before the end of the tick, to keep the server busy meanwhile. */
const FLUSH_CALLS = 16;

export class Outbox {
  readonly #policy: RetransmissionPolicy;
  readonly #clock: Clock;
  #transport: Transport | undefined;
  #calls = new Set<PendingCall>();
  #flushScheduled = false;
  /** Counts sends. The kernel has the bytes of all sends up to #batchWritten. */
  #batch = 0;
  #batchWritten = 0;

  constructor(policy: RetransmissionPolicy, clock: Clock) {
    this.#policy = policy;
    this.#clock = clock;
  }

  /**
   * From now on calls go to this transport. Undefined: there is none, and calls that were not written are forgotten.
   */
  attach(transport: Transport | undefined): void {
    this.#transport = transport;
    this.#calls.clear();
    this.#batchWritten = this.#batch;
  }

  /** The kernel has taken all that was written. */
  writable(): void {
    this.#batchWritten = this.#batch;
    this.flush();
  }

  /** Queues the call to be written at the end of the tick, so that calls of one tick share a system call. */
  add(call: PendingCall): void {
    this.#calls.add(call);
    if (this.#flushScheduled) {
      if (this.#calls.size >= FLUSH_CALLS) this.flush();
      return;
    }
    this.#flushScheduled = true;
    process.nextTick(this.#flushNow);
  }

  /** The call need not be written any more, if it has not been. */
  delete(call: PendingCall): void {
    this.#calls.delete(call);
  }

  /** Whether the transport still refers to the memory of this call's message. */
  holds(call: PendingCall): boolean {
    return call.transmissions > 0 && call.batch > this.#batchWritten;
  }

  readonly #flushNow = (): void => {
    this.#flushScheduled = false;
    this.flush();
  };

  /** Writes all queued calls now, without waiting for the end of the tick. */
  flush(): void {
    const transport = this.#transport;
    if (transport === undefined || this.#calls.size === 0) return;
    // While the kernel takes no more, calls wait here, where they can still be cancelled.
    if (this.#batchWritten !== this.#batch) return;
    const calls = this.#calls;
    this.#calls = new Set();
    this.#batch += 1;
    const now = this.#clock.now();
    const messages: Message[] = [];
    for (const call of calls) {
      if (call.transmissions > 0) call.encodeAgain();
      messages.push(call.message);
      call.batch = this.#batch;
      call.counters.bytesSent += messageLength(call.message) - 4;
      this.#policy.sent(call, now);
      call.transmissions += 1;
      if (call.transmissions === 1) call.sentAt = now;
      else {
        call.counters.retransmits += 1;
        call.onRetransmit?.();
      }
    }
    if (transport.send(messages)) this.#batchWritten = this.#batch;
  }
}
