/**
 * One client's TCP connection to our server. It takes calls off the stream, has a bounded number of them carried out at a
 * time, and sends the replies.
 */
import type { Socket } from 'node:net';
import { XdrError } from '../../xdr/xdr-error.js';
import { resetSocket } from '../transport/reset-socket.js';
import { writeMessages } from '../transport/socket-writer.js';
import type { Message } from '../transport/transport.js';
import { RecordAssembler } from '../wire/record-mark.js';
import { type CallContext, CallExecutor, type CallOrigin } from './call-executor.js';
import type { ConnectionState } from './connection-limits.js';

/** With more bytes of unsent replies than this, no calls are read: the client does not read its replies. */
const MAX_UNSENT = 8 * 1024 * 1024;

/** The parts of the server that a connection needs. */
export interface ServerContext extends CallContext {
  readonly maxRecord: number;
  readonly maxOutstanding: number;
  /** Whether a peer with this address is heard. */
  admits(address: string): boolean;
  onClosed(connection: ServerConnection): void;
  /** Milliseconds, monotonic. */
  now(): number;
}

export class ServerConnection implements CallOrigin {
  readonly #socket: Socket;
  readonly #context: ServerContext;
  readonly #assembler: RecordAssembler;
  readonly #executor: CallExecutor;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly peer: string;
  #closed = false;
  #draining = false;
  /** Calls that are carried out. #backlog has calls that arrived with them in one piece and exceed the limit. */
  #running = 0;
  #backlog: Buffer[] = [];
  #servingBacklog = false;
  #outbox: Message[] = [];
  #flushScheduled = false;
  /** For {@link state}: see ConnectionState. */
  #everCalled = false;
  #heardAt: number;
  #recordSince = 0;
  #unsent = 0;
  #unsentSince = 0;

  constructor(socket: Socket, context: ServerContext) {
    this.#socket = socket;
    this.#context = context;
    this.#executor = new CallExecutor(context);
    this.remoteAddress = socket.remoteAddress ?? '';
    this.remotePort = socket.remotePort ?? 0;
    this.peer = `${this.remoteAddress} ${this.remotePort}`;
    this.#heardAt = context.now();
    this.#assembler = new RecordAssembler(context.maxRecord, (message) => this.#accept(message));
    socket.on('data', (bytes: Buffer) => this.#received(bytes));
    socket.on('drain', () => this.#regulate());
    // 'close' follows each error and does all that has to be done.
    socket.on('error', () => {});
    socket.on('close', () => this.#onClose());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The activity of the connection at this moment. */
  get state(): ConnectionState {
    const unsent = this.#socket.writableLength;
    // Fewer bytes than before: the client has taken some.
    if (unsent < this.#unsent || this.#unsent === 0) this.#unsentSince = this.#context.now();
    this.#unsent = unsent;
    return {
      busy: this.#running > 0 || this.#backlog.length > 0,
      everCalled: this.#everCalled,
      heardAt: this.#heardAt,
      recordSince: this.#assembler.isWithin && !this.#socket.isPaused() ? this.#recordSince : undefined,
      unreadSince: unsent > 0 ? this.#unsentSince : undefined,
    };
  }

  /** Reads no more calls; ends when those being carried out are answered. */
  drain(): void {
    this.#draining = true;
    this.#assembler.stop();
    this.#endIfDrained();
  }

  /** Ends the connection at once, with a reset. */
  destroy(): void {
    this.#closed = true;
    this.#assembler.stop();
    this.#backlog = [];
    resetSocket(this.#socket);
  }

  // ---- calls in

  #received(bytes: Buffer): void {
    if (!this.#assembler.isWithin) this.#recordSince = this.#context.now();
    try {
      this.#assembler.push(bytes);
    } catch {
      this.#garbage();
    }
  }

  #garbage(): void {
    this.#context.counters.garbage += 1;
    this.destroy();
  }

  #accept(message: Buffer): void {
    this.#everCalled = true;
    this.#heardAt = this.#recordSince = this.#context.now();
    if (this.#running < this.#context.maxOutstanding && this.#backlog.length === 0) {
      this.#serve(message);
      return;
    }
    this.#backlog.push(message);
    this.#regulate();
  }

  /** Reads from the client only while there is room for its calls and for the replies. */
  #regulate(): void {
    const crowded = this.#backlog.length > 0 || this.#socket.writableLength > MAX_UNSENT;
    if (crowded !== this.#socket.isPaused()) {
      if (crowded) this.#socket.pause();
      else {
        // While reading was paused, the client could not send: start its time again.
        this.#recordSince = this.#context.now();
        this.#socket.resume();
      }
    }
  }

  #serve(message: Buffer): void {
    try {
      this.#executor.serve(message, this);
    } catch (error) {
      if (!(error instanceof XdrError)) throw error;
      this.#garbage();
    }
  }

  // See CallOrigin.

  callBegins(): void {
    this.#running += 1;
  }

  callEnded(): void {
    this.#running -= 1;
    this.#serveBacklog();
    this.#endIfDrained();
  }

  // ---- replies out

  write(reply: Message): void {
    if (this.#closed) return;
    this.#outbox.push(reply);
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    process.nextTick(this.#flush);
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false;
    const messages = this.#outbox;
    this.#outbox = [];
    if (this.#closed) return;
    writeMessages(this.#socket, messages);
    this.#regulate();
    this.#endIfDrained();
  };

  /** Runs in one loop, not from the end of each call: thousands of calls that end at once would overflow the stack. */
  #serveBacklog(): void {
    if (this.#servingBacklog || this.#backlog.length === 0) return;
    this.#servingBacklog = true;
    while (this.#running < this.#context.maxOutstanding) {
      const next = this.#backlog.shift();
      if (next === undefined) break;
      this.#serve(next);
    }
    this.#servingBacklog = false;
    this.#regulate();
  }

  #endIfDrained(): void {
    if (!this.#draining || this.#closed) return;
    if (this.#running === 0 && this.#backlog.length === 0 && this.#outbox.length === 0) this.#socket.end();
  }

  #onClose(): void {
    this.#closed = true;
    this.#assembler.stop();
    this.#backlog = [];
    this.#outbox = [];
    this.#context.onClosed(this);
  }
}
