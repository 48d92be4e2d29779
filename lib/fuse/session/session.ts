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
import { Forgets } from './forgets.js';
import { HeldPayloads } from './held-payloads.js';
import { Interrupts, type SessionTimers, systemTimers, within } from './interrupts.js';
import { agreedBefore, DEFAULT_MAX_WRITE, encodeInit, negotiate, parseInit } from './negotiate.js';
import { KernelNotifier } from './notifier.js';
import { dispatch } from './opcodes/dispatch.js';
import type { Responder } from './opcodes/responder.js';
import { ListingBuffers, ReplyBuffer } from './reply.js';
import { FuseRequest } from './request.js';
import { REQUEST_HEADROOM, RequestBuffer } from './request-buffer.js';
import { RequestsUnderWay } from './requests-under-way.js';
import { type SessionCounters, SessionCounts } from './session-counters.js';
import type { DetachOptions, HandedOver, SessionOptions } from './session-options.js';

/** A reply of at most this many bytes of data is copied behind its header, which costs less than writev(2). */
const COPY_LIMIT = 16 * 1024;
const SCRATCH_BYTES = 64 + COPY_LIMIT;

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
  readonly #underWay = new RequestsUnderWay();
  readonly #counts = new SessionCounts();
  readonly #forgets: Forgets;
  #connection: ConnectionInfo | undefined = undefined;
  #end: SessionEnd | undefined = undefined;
  #aborting = false;
  #isRepeating = false;
  #destroyed = false;
  #drainTimer: unknown = undefined;
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
    this.#forgets = new Forgets(operations, this.#counts, this.#log);
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
    const { resumed, restarted, requests } = options;
    const handedOver = requests?.map((bytes) => RequestBuffer.holding(bytes));
    if (resumed !== undefined) this.#connected(resumed, handedOver);
    const maxWrite = Math.max(options.maxWrite ?? DEFAULT_MAX_WRITE, resumed?.maxWrite ?? 0);
    this.#channel.start(this, maxWrite + REQUEST_HEADROOM);
    if (restarted === true || ((resumed?.flags ?? 0n) & InitFlag.HAS_RESEND) !== 0n) this.#notifier.resend();
    this.#isRepeating = true;
    for (const message of handedOver ?? []) this.request(message, message.word(0));
    this.#isRepeating = false;
  }

  /** The agreement of INIT; undefined before. */
  get connection(): ConnectionInfo | undefined {
    return this.#connection;
  }

  /** The connection is over, or another process's. The descriptor belongs to nobody any more. */
  get isOver(): boolean {
    return this.#end !== undefined;
  }

  get counters(): SessionCounters {
    return this.#counts.counters(this.#underWay.size);
  }

  /** Resolves as soon as no operation is under way. */
  idle(): Promise<void> {
    return this.#underWay.idle();
  }

  /**
   * Ends the connection from this side, at once: callers that wait in the kernel get ECONNABORTED or ENOTCONN,
   * and the mount point stays behind, dead, until it is unmounted.
   */
  abort(): void {
    if (this.#end !== undefined || this.#aborting) return;
    this.#aborting = true;
    this.#notifier.close();
    const end = (): void => this.ended('aborted');
    const threads = this.#channel.stopThreads();
    if (threads === undefined) end();
    else {
      // A notification waits in the kernel for a page or a directory that some request holds. The descriptor cannot be
      // closed before it has come through. So all requests are answered until then, also those that still arrive.
      this.#payloads.resume();
      for (const request of this.#underWay.all.values()) this.sendError(request, Errno.ECONNABORTED);
      threads.then(end, end);
    }
  }

  /**
   * Lets go of the connection, with which another process goes on: it has a duplicate of the descriptor. Nothing is read
   * any more, from the call on. The operations under way get time to end. Those that then still wait are cancelled, unless
   * they move data, and fail without an answer: they are left to the other process; a lock that waits is so at once. It must not begin before this resolves.
   * Notifications that the kernel has not taken by then are dropped. Resolves, when the descriptor is closed, with what is
   * left. Undefined: the connection has ended meanwhile. `destroy` of the operations is not called.
   */
  async detach({ patienceMs = 5000, cancelMs = 2000 }: DetachOptions = {}): Promise<HandedOver | undefined> {
    if (this.#end !== undefined || this.#aborting) return undefined;
    this.#channel.stop();
    // The unlock that one waits for may be one of the requests that are not read any more.
    for (const request of this.#underWay.all.values())
      if (request.opcode === Opcode.SETLKW) this.#leave(request);
    await within(patienceMs, this.#timers, this.idle());
    for (const request of this.#underWay.all.values()) this.#leave(request);
    await within(cancelMs, this.#timers, Promise.all([this.idle(), this.#channel.flushThreads()]));
    if (this.#end !== undefined || this.#aborting) return undefined;
    const handedOver = this.#underWay.handOver();
    this.ended('detached');
    return handedOver;
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
      case Opcode.BATCH_FORGET:
        this.#underWay.forget(message.unique(8));
        this.#forgets.deliver(message, length);
        return false;
      case Opcode.INTERRUPT:
        this.#interrupts.interrupt(this.#underWay.all, message.unique(Size.IN_HEADER));
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
    if (this.#isRepeating) request.resent = true;
    this.#underWay.read(request);
    try {
      if (opcode === Opcode.INIT) this.#init(request, message, length);
      else if (opcode === Opcode.DESTROY) this.send(request, Size.OUT_HEADER);
      else dispatch(this.#operations, this, request, message, length);
    } catch (error) {
      this.#fail(request, error);
    }
    this.#underWay.dispatched(request, message, length);
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
    for (const request of this.#underWay.all.values()) if (!request.movesData) this.#cancel(request);
    if (this.#underWay.size === 0) this.#destroy();
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
    this.#underWay.begun(request);
    this.#interrupts.begun(request, request.unique);
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
      request.left &&
      this.#end === undefined &&
      error instanceof FuseError &&
      error.errno === Errno.EINTR
    ) {
      this.#underWay.leave(request);
      return;
    }
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
    this.#counts.answered(request.opcode, performance.now() - request.arrivedAt);
    if (request.graceTimer !== undefined) this.#interrupts.ended(request);
    const wasUnderWay = this.#underWay.finished(request, this.#end === undefined);
    if (request.payloadBytes > 0) this.#payloads.giveBack(request, wasUnderWay);
    if (wasUnderWay && this.#underWay.size === 0 && this.#end !== undefined) this.#destroy();
  }

  #init(request: FuseRequest, message: RequestBuffer, length: number): void {
    const { resumed, agreed } = this.#options;
    const isNew = resumed === undefined;
    if (isNew && this.#connection !== undefined) throw new FuseError(Errno.EIO, 'INIT came twice');
    let connection: ConnectionInfo;
    try {
      const offer = parseInit(message, length);
      connection = isNew
        ? negotiate(offer, this.#operations.capabilities, this.#options)
        : agreedBefore(resumed, request.resent);
    } catch (error) {
      this.sendError(request, Errno.EPROTO);
      this.ended(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if (isNew) agreed?.(connection);
    this.send(request, encodeInit(this.scratch, connection, this.#options));
    if (isNew) this.#connected(connection);
  }

  /** Requests may come from now on. */
  #connected(connection: ConnectionInfo, handedOver?: readonly RequestBuffer[]): void {
    this.#connection = connection;
    this.#notifier.connected(connection);
    this.#underWay.connected(connection, this.#options, handedOver, this.#channel);
    this.#operations.init?.(connection, this.notifier);
    this.#resolveReady(connection);
  }

  #leave(request: FuseRequest): void {
    if (!request.cancelled) request.left = true;
    if (!request.movesData) this.#cancel(request);
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
      if (end !== 'detached') this.#operations.destroy?.();
    } catch (error) {
      this.#log(`fuse: ending the file system failed: ${String(error)}`);
    }
    this.#resolveClosed(end);
  }
}
