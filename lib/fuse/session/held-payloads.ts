/**
 * The data of requests that wait for their operation: WRITE's, above all. Where too much of it is held, the channel
 * reads no further, or in steps only, so that a server that takes no data costs a bounded amount of memory.
 */
import type { Channel } from './channel.js';
import type { SessionTimers } from './interrupts.js';
import { DEFAULT_MAX_WRITE } from './negotiate.js';
import type { FuseRequest } from './request.js';
import type { RequestBuffer } from './request-buffer.js';

/** Payloads up to this size are copied out; larger ones keep the buffer they were read into. */
const COPY_LIMIT = 16 * 1024;
/** Bytes held above which requests are read in steps only. */
const BUDGET = 64 * DEFAULT_MAX_WRITE;
/** Above this not even so: writers that many are waited for without a word from anybody else. */
const LIMIT = 4 * BUDGET;
/**
 * Between two steps. Writes that wait for a dead server must not keep interrupts and other callers' requests from
 * being seen.
 */
const STEP_MS = 50;

export class HeldPayloads {
  readonly #channel: Channel;
  readonly #timers: SessionTimers;
  #bytes = 0;
  #paused = false;
  #stepping = false;
  #closed = false;

  constructor(channel: Channel, timers: SessionTimers) {
    this.#channel = channel;
    this.#timers = timers;
  }

  /** Part of a message, to be used until {@link giveBack}; pauses the channel when that makes too much. */
  hold(request: FuseRequest, message: RequestBuffer, offset: number, length: number): Uint8Array {
    const data = message.bytes.subarray(offset, offset + length);
    const held = length <= COPY_LIMIT ? length : message.bytes.length;
    request.payloadBytes = held;
    this.#bytes += held;
    if (this.#bytes > BUDGET && !this.#paused) {
      this.#paused = true;
      this.#channel.pause();
      this.#stepLater();
    }
    if (length <= COPY_LIMIT) return Buffer.from(data);
    request.payload = message;
    return data;
  }

  /** To be called once for a request with data. `kept`: it was answered after its delivery, not during it. */
  giveBack(request: FuseRequest, kept: boolean): void {
    this.#bytes -= request.payloadBytes;
    request.payloadBytes = 0;
    const { payload } = request;
    request.payload = undefined;
    // A request answered while it was being delivered never gave its buffer away.
    if (payload !== undefined && kept) this.#channel.release(payload);
    if (this.#paused && this.#bytes <= BUDGET && !this.#closed) {
      this.#paused = false;
      this.#channel.resume();
    }
  }

  /** Has the channel read on for now, whatever is held. */
  resume(): void {
    if (this.#paused) this.#channel.resume();
  }

  /** The connection is over: the channel is left alone, but for buffers that come back. */
  close(): void {
    this.#closed = true;
  }

  #stepLater(): void {
    if (this.#stepping) return;
    this.#stepping = true;
    this.#timers.set(() => {
      this.#stepping = false;
      if (!this.#paused || this.#closed) return;
      if (this.#bytes <= LIMIT) this.#channel.step();
      if (this.#paused) this.#stepLater();
    }, STEP_MS);
  }
}
