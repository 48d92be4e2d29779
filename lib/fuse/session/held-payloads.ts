/**
 * The data of requests whose operation is under way, mostly of WRITEs. When too much of it is held, the channel stops
 * reading, or reads in steps, so that a server that takes no data costs a bounded amount of memory.
 */
import type { Channel } from './channel/channel.js';
import type { SessionTimers } from './interrupts.js';
import { DEFAULT_MAX_WRITE } from './negotiate.js';
import type { FuseRequest } from './request.js';
import type { RequestBuffer } from './request-buffer.js';

/** Payloads up to this size are copied out; larger ones keep the buffer they were read into. */
const COPY_LIMIT = 16 * 1024;
/** Bytes held above which requests are read in steps only. */
const BUDGET = 64 * DEFAULT_MAX_WRITE;
/** Above this many bytes, nothing is read until data is given back: other requests then wait as well. */
const LIMIT = 4 * BUDGET;
/**
 * Milliseconds between two steps. While writes wait for a dead server, interrupts and the requests of other callers
 * must still be read.
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

  /** Holds a part of a message until {@link giveBack}. Pauses the channel if too much is then held. */
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

  /** Called once for each request with data. `kept`: it was answered after its delivery, not during it. */
  giveBack(request: FuseRequest, kept: boolean): void {
    this.#bytes -= request.payloadBytes;
    request.payloadBytes = 0;
    const { payload } = request;
    request.payload = undefined;
    // The channel still has the buffer of a request that was answered during its delivery.
    if (payload !== undefined && kept) this.#channel.release(payload);
    if (this.#paused && this.#bytes <= BUDGET && !this.#closed) {
      this.#paused = false;
      this.#channel.resume();
    }
  }

  /** Lets the channel read on for now, without regard to what is held. */
  resume(): void {
    if (this.#paused) this.#channel.resume();
  }

  /** The connection is over: the channel only gets its buffers back from now on. */
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
