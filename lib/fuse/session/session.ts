/**
 * One FUSE connection from INIT to unmount: receives requests, keeps account of those under way, sends their
 * answers, handles interrupts, and reports the end. The handlers of the opcodes stand in opcodes/.
 */

import { Errno, errnoName, FuseError } from '../contract/errno.js';
import type { ConnectionInfo, FuseNotifier, FuseOperations, MaybePromise } from '../contract/operations.js';
import { InitFlag, MAX_ERRNO, Opcode, opcodeName, Size } from '../contract/protocol.js';
import type { Channel, ChannelHandler, SessionEnd } from './channel/channel.js';
import { KernelChannel } from './channel/device.js';
import { FuseDump } from './dump.js';
import { HeldPayloads } from './held-payloads.js';
import { Interrupts, type SessionTimers, systemTimers } from './interrupts.js';
import { DEFAULT_MAX_WRITE, encodeInit, negotiate, parseInit } from './negotiate.js';
import { KernelNotifier } from './notifier.js';
import { dispatch } from './opcodes/dispatch.js';
import type { Responder } from './opcodes/responder.js';
import { ListingBuffers, ReplyBuffer } from './reply.js';
import { FuseRequest } from './request.js';
import type { RequestBuffer } from './request-buffer.js';
import { type SessionCounters, SessionCounts } from './session-counters.js';
import type { SessionOptions } from './session-options.js';

/** A reply of at most this many bytes of data is copied behind its header, which costs less than writev(2). */
const COPY_LIMIT = 16 * 1024;
const SCRATCH_BYTES = 64 + COPY_LIMIT;
const REQUEST_HEADROOM = 4096;

export class FuseSession implements ChannelHandler, Responder {
  readonly scratch: ReplyBuffer = new ReplyBuffer(SCRATCH_BYTES);
  readonly listings = new ListingBuffers();
  readonly notifier: FuseNotifier;
  /** Resolves once INIT is done, at once for a connection that is resumed; rejects if the connection ends before. */
  readonly ready: Promise<ConnectionInfo>;
  /** Resolves when the connection is over: operations may still be under way. Never rejects. */
  readonly over: Promise<void>;
  /** Resolves when the connection is over and `destroy` was called. Never rejects. */
  readonly closed: Promise<SessionEnd>;

  readonly #operations: FuseOperations;
  readonly #options: SessionOptions;
  readonly #channel: Channel;
  readonly #notifier: KernelNotifier;
  readonly #log: (line: string) => void;
  readonly #dump: FuseDump | undefined;
  readonly #timers: SessionTimers;
  readonly #interrupts: Interrupts;
  readonly #payloads: HeldPayloads;
  readonly #inFlight = new Map<number, FuseRequest>();
  readonly #counts = new SessionCounts();
  #connection: ConnectionInfo | undefined = undefined;
  #end: SessionEnd | undefined = undefined;
  #aborting = false;
  #destroyed = false;
  #drainTimer: unknown = undefined;
  #idleWaiters: (() => void)[] = [];
  #resolveReady: (connection: ConnectionInfo) => void = () => {};
  #rejectReady: (error: Error) => void = () => {};
  #resolveOver: () => void = () => {};
  #resolveClosed: (end: SessionEnd) => void = () => {};

  /**
   * Serves `operations` over `channel`, or over a descriptor of a mounted /dev/fuse, which then belongs to the
   * session. Requests are delivered from a later turn of the event loop on; the event loop stays alive until
   * the connection is over.
   */
  constructor(channel: Channel | number, operations: FuseOperations, options: SessionOptions = {}) {
    this.#operations = operations;
    this.#options = options;
    this.#log = options.log ?? ((line) => process.stderr.write(`${line}\n`));
    this.#dump = options.debug === undefined ? undefined : new FuseDump(options.debug);
    this.#timers = options.timers ?? systemTimers;
    this.#interrupts = new Interrupts(this.#timers, options.interruptGraceMs ?? 300, (request) =>
      this.#cancel(request),
    );
    this.#channel = typeof channel === 'number' ? new KernelChannel(channel) : channel;
    this.#payloads = new HeldPayloads(this.#channel, this.#timers);
    this.#notifier = new KernelNotifier(this.#channel, this.#log, options.debug);
    this.notifier = this.#notifier;
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.ready.catch(() => {}); // A rejection needs no listener: `closed` reports the same.
    this.over = new Promise((resolve) => {
      this.#resolveOver = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    const { resumed } = options;
    if (resumed !== undefined) this.#connected(resumed);
    const maxWrite = Math.max(options.maxWrite ?? DEFAULT_MAX_WRITE, resumed?.maxWrite ?? 0);
    this.#channel.start(this, maxWrite + REQUEST_HEADROOM);
    if (((resumed?.flags ?? 0n) & InitFlag.HAS_RESEND) !== 0n) this.#notifier.resend();
  }

  /** The agreement of INIT; undefined before. */
  get connection(): ConnectionInfo | undefined {
    return this.#connection;
  }

  get counters(): SessionCounters {
    return this.#counts.counters(this.#inFlight.size);
  }

  /** Resolves as soon as no operation is under way. */
  idle(): Promise<void> {
    if (this.#inFlight.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /**
   * Ends the connection from this side, at once: callers that wait in the kernel get ECONNABORTED or ENOTCONN,
   * and the mount point stays behind, dead, until it is unmounted.
   */
  abort(): void {
    if (this.#end !== undefined || this.#aborting) return;
    this.#aborting = true;
    this.#notifier.close();
    const threads = this.#channel.stopThreads();
    if (threads === undefined) {
      this.ended('aborted');
      return;
    }
    // A notification waits in the kernel for a page or a directory that some request holds. The descriptor cannot be
    // closed before it has come through. So all requests are answered until then, also those that still arrive.
    this.#payloads.resume();
    for (const request of this.#inFlight.values()) this.sendError(request, Errno.ECONNABORTED);
    threads.then(
      () => this.ended('aborted'),
      () => this.ended('aborted'),
    );
  }

  // The channel calls these two.

  request(message: RequestBuffer, length: number): boolean {
    const opcode = message.word(4);
    if (length < Size.IN_HEADER || message.word(0) !== length) {
      this.ended(new Error(`the kernel sent a malformed request (${length} bytes, opcode ${opcode})`));
      return false;
    }
    if (this.#end !== undefined) return false;
    this.#counts.request(opcode);
    this.#dump?.request(message, length);
    switch (opcode) {
      case Opcode.FORGET:
        this.#forget(message.wide(16), message.wide(Size.IN_HEADER));
        return false;
      case Opcode.BATCH_FORGET:
        this.#batchForget(message, length);
        return false;
      case Opcode.INTERRUPT:
        this.#interrupts.interrupt(this.#inFlight, message.unique(Size.IN_HEADER));
        return false;
      case Opcode.NOTIFY_REPLY:
        return false;
      default:
    }
    const request = new FuseRequest(message);
    if (this.#aborting) {
      this.sendError(request, Errno.ECONNABORTED);
      return false;
    }
    try {
      if (opcode === Opcode.INIT) this.#init(request, message, length);
      else if (opcode === Opcode.DESTROY) this.send(request, Size.OUT_HEADER);
      else dispatch(this.#operations, this, request, message, length);
    } catch (error) {
      this.#fail(request, error);
    }
    return request.payload === message;
  }

  ended(end: SessionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#resolveOver();
    this.#dump?.end(end);
    this.#notifier.close();
    this.#payloads.close();
    this.#channel.close();
    // Nobody waits for these any more. Cancel them, except those that move data: they should still finish.
    for (const request of this.#inFlight.values()) if (!movesData(request.opcode)) this.#cancel(request);
    if (this.#inFlight.size === 0) this.#destroy();
    else this.#drainTimer = this.#timers.set(() => this.#destroy(), this.#options.drainMs ?? 5000);
  }

  // Dispatch calls the following.

  settle<T>(
    request: FuseRequest,
    result: MaybePromise<T>,
    reply: (responder: Responder, request: FuseRequest, value: T) => void,
  ): void {
    if (!(result instanceof Promise)) {
      reply(this, request, result);
      this.#finished(request);
      return;
    }
    const { unique } = request;
    this.#inFlight.set(unique, request);
    this.#interrupts.begun(request, unique);
    result.then(
      (value) => {
        try {
          reply(this, request, value);
          this.#finished(request);
        } catch (error) {
          this.#fail(request, error);
        }
      },
      (error: unknown) => this.#fail(request, error),
    );
  }

  send(request: FuseRequest, length: number, buffer: ReplyBuffer = this.scratch): void {
    if (this.#end !== undefined) return;
    buffer.header(length, 0, request.uniqueLow, request.uniqueHigh);
    this.#dump?.reply(request, buffer, length);
    this.#written(request, this.#channel.write(buffer, length));
  }

  sendError(request: FuseRequest, errno: number): void {
    if (this.#end !== undefined) return;
    this.#counts.error(errno);
    const { scratch } = this;
    scratch.header(Size.OUT_HEADER, errno, request.uniqueLow, request.uniqueHigh);
    this.#dump?.error(request, errno);
    this.#channel.write(scratch, Size.OUT_HEADER);
  }

  sendData(request: FuseRequest, data: Uint8Array | readonly Uint8Array[], limit: number): void {
    const pieces = data instanceof Uint8Array ? undefined : data;
    let total = 0;
    if (pieces === undefined) total = (data as Uint8Array).length;
    else for (const piece of pieces) total += piece.length;
    if (total > limit) throw new RangeError(`${total} bytes of data in answer to a request for ${limit}`);
    const length = Size.OUT_HEADER + total;
    const { scratch } = this;
    if (total <= COPY_LIMIT) {
      if (pieces === undefined) scratch.bytes.set(data as Uint8Array, Size.OUT_HEADER);
      else {
        let at: number = Size.OUT_HEADER;
        for (const piece of pieces) {
          scratch.bytes.set(piece, at);
          at += piece.length;
        }
      }
      this.send(request, length);
      return;
    }
    if (this.#end !== undefined) return;
    scratch.header(length, 0, request.uniqueLow, request.uniqueHigh);
    this.#dump?.reply(request, scratch, length);
    const header = scratch.bytes.subarray(0, Size.OUT_HEADER);
    const message = pieces === undefined ? [header, data as Uint8Array] : [header, ...pieces];
    this.#written(request, this.#channel.writePieces(message));
  }

  holdPayload(request: FuseRequest, message: RequestBuffer, offset: number, length: number): Uint8Array {
    return this.#payloads.hold(request, message, offset, length);
  }

  #written(request: FuseRequest, errno: number): void {
    // ENOENT: the kernel has given the request up (aborted). ENODEV and the like: unmounted, as read(2) reports as
    // well.
    if (errno === 0 || errno === Errno.ENOENT || errno === Errno.ENODEV || errno === Errno.ECONNABORTED)
      return;
    if (errno === Errno.EPERM || errno === Errno.EBADF) return;
    throw new Error(`the kernel refused the answer: ${errnoName(errno)}`, { cause: request.opcode });
  }

  /** The error answer to a request, and a line in the log where the file system is at fault. */
  #fail(request: FuseRequest, error: unknown): void {
    if (
      error instanceof FuseError &&
      Number.isInteger(error.errno) &&
      error.errno > 0 &&
      error.errno <= MAX_ERRNO
    )
      this.sendError(request, error.errno);
    else {
      this.#counts.faults += 1;
      const name = request.name === undefined ? '' : ` name ${JSON.stringify(request.name.toString())}`;
      const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#log(`fuse: ${opcodeName(request.opcode)} of node ${request.nodeid}${name} failed: ${detail}`);
      this.sendError(request, Errno.EIO);
    }
    this.#finished(request);
  }

  /** Forgets a request that was answered, and gives back what it held. */
  #finished(request: FuseRequest): void {
    if (request.graceTimer !== undefined) this.#interrupts.ended(request);
    const wasInFlight = this.#inFlight.delete(request.unique);
    if (request.payloadBytes > 0) this.#payloads.giveBack(request, wasInFlight);
    if (wasInFlight && this.#inFlight.size === 0) {
      const waiters = this.#idleWaiters;
      this.#idleWaiters = [];
      for (const resolve of waiters) resolve();
      if (this.#end !== undefined) this.#destroy();
    }
  }

  #init(request: FuseRequest, message: RequestBuffer, length: number): void {
    const offer = parseInit(message, length);
    const { resumed, agreed } = this.#options;
    if (resumed !== undefined) {
      // The process before this one had noted its agreement, and died before it answered.
      this.send(request, encodeInit(this.scratch, resumed, this.#options));
      return;
    }
    if (this.#connection !== undefined) throw new FuseError(Errno.EIO, 'INIT came twice');
    let connection: ConnectionInfo;
    try {
      connection = negotiate(offer, this.#operations.capabilities, this.#options);
    } catch (error) {
      this.sendError(request, Errno.EPROTO);
      this.ended(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    agreed?.(connection);
    this.send(request, encodeInit(this.scratch, connection, this.#options));
    this.#connected(connection);
  }

  /** Requests may come from now on. */
  #connected(connection: ConnectionInfo): void {
    this.#connection = connection;
    this.#notifier.connected(connection);
    this.#operations.init?.(connection, this.notifier);
    this.#resolveReady(connection);
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

  #batchForget(message: RequestBuffer, length: number): void {
    const count = message.word(Size.IN_HEADER);
    let at = Size.IN_HEADER + Size.BATCH_FORGET_IN;
    for (let i = 0; i < count && at + Size.FORGET_ONE <= length; i++, at += Size.FORGET_ONE)
      this.#forget(message.wide(at), message.wide(at + 8));
  }

  #cancel(request: FuseRequest): void {
    try {
      request.cancel();
    } catch (error) {
      this.#counts.faults += 1;
      this.#log(`fuse: cancelling ${opcodeName(request.opcode)} failed: ${String(error)}`);
    }
  }

  #destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    if (this.#drainTimer !== undefined) this.#timers.clear(this.#drainTimer);
    const end = this.#end ?? 'aborted';
    this.#rejectReady(end instanceof Error ? end : new Error(`${end} before the kernel sent INIT`));
    try {
      this.#operations.destroy?.();
    } catch (error) {
      this.#log(`fuse: ending the file system failed: ${String(error)}`);
    }
    this.#resolveClosed(end);
  }
}

function movesData(opcode: number): boolean {
  return (
    opcode === Opcode.WRITE ||
    opcode === Opcode.FLUSH ||
    opcode === Opcode.FSYNC ||
    opcode === Opcode.RELEASE ||
    opcode === Opcode.SETATTR
  );
}
