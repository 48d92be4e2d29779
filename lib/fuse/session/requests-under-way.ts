/**
 * The account of the requests that were read and are not answered yet: who waits until there are none, which of them the
 * next process has to know of, and their bytes where the kernel cannot repeat them.
 */
import type { ConnectionInfo } from '../contract/operations.js';
import { InitFlag, Opcode, Size } from '../contract/protocol.js';
import type { Channel } from './channel/channel.js';
import type { FuseRequest } from './request.js';
import { RequestBuffer } from './request-buffer.js';
import type { HandedOver, SessionOptions } from './session-options.js';
import { UnderWayNotes } from './under-way-notes.js';

export class RequestsUnderWay {
  readonly #requests = new Map<number, FuseRequest>();
  /** Cancelled for the sake of the next process, which carries them out. */
  readonly #left: FuseRequest[] = [];
  #notes: UnderWayNotes | undefined = undefined;
  #keepsBytes = false;
  #idleWaiters: (() => void)[] = [];

  /**
   * The connection is up, or taken over; then what its former process has left is ended, unless it is `handedOver`. Before
   * the first request is read.
   */
  connected(
    { flags }: ConnectionInfo,
    { underWay, resumed }: SessionOptions,
    handedOver: readonly RequestBuffer[] | undefined,
    channel: Channel,
  ): void {
    if ((flags & InitFlag.HAS_RESEND) !== 0n) return;
    this.#keepsBytes = true;
    if (underWay === undefined) return;
    const notes = new UnderWayNotes(underWay);
    this.#notes = notes;
    if (resumed !== undefined && handedOver === undefined) notes.endLeft(channel);
    else notes.keep((handedOver ?? []).filter(isNoInterrupt).map((message) => message.unique(8)));
  }

  /** Operations that have not answered yet, by the number of their request. */
  get all(): ReadonlyMap<number, FuseRequest> {
    return this.#requests;
  }

  get size(): number {
    return this.#requests.size;
  }

  /** Resolves as soon as no operation is under way. */
  idle(): Promise<void> {
    if (this.#requests.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** A request was read that has to be answered. */
  read(request: FuseRequest): void {
    if (this.#notes !== undefined) request.noteCell = this.#notes.begun(request.unique);
  }

  /** A FORGET was read, which has no answer. */
  forget(unique: number): void {
    this.#notes?.forget(unique);
  }

  /** The operation has not answered at once. */
  begun(request: FuseRequest): void {
    this.#requests.set(request.unique, request);
  }

  /** The operation was called for a message of `length` bytes, which the channel now gets back unless the request keeps it. */
  dispatched(request: FuseRequest, message: RequestBuffer, length: number): void {
    if (!this.#keepsBytes || !this.#requests.has(request.unique)) return;
    const bytes = message.bytes.subarray(0, length);
    request.bytes = request.payload === message ? bytes : Buffer.from(bytes);
  }

  /**
   * The operation has answered; `isSent`: the kernel has the answer. True: it had not answered at once. False as well for
   * one that had.
   */
  finished(request: FuseRequest, isSent: boolean): boolean {
    if (isSent && request.noteCell !== 0) {
      this.#notes?.ended(request.noteCell);
      request.noteCell = 0;
    }
    if (!this.#requests.delete(request.unique)) return false;
    if (this.#requests.size === 0) this.#tellIdle();
    return true;
  }

  /** The operation was given up without an answer: the next process carries it out. */
  leave(request: FuseRequest): void {
    this.#left.push(request);
    this.#requests.delete(request.unique);
    if (this.#requests.size === 0) this.#tellIdle();
  }

  /** All that the next process has to go on with. */
  handOver(): HandedOver {
    const unanswered = [...this.#left, ...this.#requests.values()];
    const requests: Uint8Array[] = [];
    for (const { bytes, interrupted } of unanswered)
      if (bytes !== undefined) requests.push(bytes, ...(interrupted ? [interruptOf(bytes)] : []));
    return { requests, unanswered: unanswered.length };
  }

  #tellIdle(): void {
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const resolve of waiters) resolve();
  }
}

function isNoInterrupt(message: RequestBuffer): boolean {
  return message.word(4) !== Opcode.INTERRUPT;
}

/** The INTERRUPT of a request, as the kernel sends it once. */
export function interruptOf(request: Uint8Array): Uint8Array {
  const length = Size.IN_HEADER + Size.INTERRUPT_IN;
  const message = new RequestBuffer(length);
  const [unique = 0n] = RequestBuffer.holding(request.subarray(8, 16)).u64;
  message.u32[0] = length;
  message.u32[1] = Opcode.INTERRUPT;
  message.u64[1] = unique | 1n;
  message.u64[Size.IN_HEADER / 8] = unique;
  return message.bytes;
}
