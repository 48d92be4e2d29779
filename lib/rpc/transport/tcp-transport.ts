/**
 * One TCP connection to a server: opening it (source port, time limit, socket options, a step before the first call),
 * record marking both ways, and its end. RpcConnection opens the next one when this one has ended.
 */
import type net from 'node:net';
import type { Timer } from '../../base/clock.js';
import { RpcConnectError, type RpcError, RpcGarbageError } from '../rpc-errors.js';
import { RecordAssembler } from '../wire/record-mark.js';
import type { RecordPool } from '../wire/record-pool.js';
import { resetSocket } from './reset-socket.js';
import { writeMessages } from './socket-writer.js';
import { SourcePorts } from './source-ports.js';
import type { Message, OpeningOptions, Transport, TransportListener } from './transport.js';

const NOTHING = new Uint8Array(0);

/**
 * A step between the TCP connection and the first call, where RPC-with-TLS (RFC 9289) probes the server and shakes
 * hands. It has `socket` for itself: it may write, and gets what comes as 'data' events. It resolves with the socket
 * that carries the calls, the same one or one around it; data that arrives on that socket from then on belongs to the
 * transport. If it rejects, the attempt to connect has failed, as with a refused connection. The time limit of
 * connecting covers it.
 */
export type ConnectionStep = (
  socket: net.Socket,
  server: { host: string; port: number },
) => Promise<net.Socket>;

export interface TcpTransportOptions extends OpeningOptions {
  /** Milliseconds of silence before TCP probes the peer. */
  readonly keepAlive: number;
  /** A longer reply ends the connection. */
  readonly maxRecord: number;
  /** Where the memory of large replies comes from. */
  readonly records: RecordPool;
  readonly connectSocket: (options: net.TcpNetConnectOpts) => net.Socket;
  /** Taken after each connection is made. Undefined: the connection carries calls at once. */
  readonly beforeReady?: ConnectionStep | undefined;
  /** Called when a connection is made. */
  readonly onConnected?: (() => void) | undefined;
}

export class TcpTransport implements Transport {
  readonly #listener: TransportListener;
  readonly #options: TcpTransportOptions;
  /** No limit: TCP itself holds back data that there is no room for. */
  readonly replyRoom = Number.POSITIVE_INFINITY;
  readonly #sourcePorts: SourcePorts;
  readonly #assembler: RecordAssembler;
  /** The TCP connection, and the socket that carries the calls: the same one, unless a step has made another. */
  #connection: net.Socket | undefined;
  #socket: net.Socket | undefined;
  #connectTimer: Timer | undefined;
  #connected = false;
  #ready = false;
  #ended = false;

  constructor(listener: TransportListener, options: TcpTransportOptions) {
    this.#listener = listener;
    this.#options = options;
    const deliver = (message: Buffer): void => listener.message(message);
    this.#assembler = new RecordAssembler(options.maxRecord, deliver, options.records);
    this.#sourcePorts = new SourcePorts(options);
    this.#connectTimer = options.clock.after(options.connectTimeout, () => {
      const seconds = options.connectTimeout / 1000;
      const what = this.#connected ? 'the connection was not ready' : 'no connection';
      this.#end(this.#connectError(`${what} within ${seconds} s`, 'ETIMEDOUT'), true);
    });
    this.#open();
  }

  get localPort(): number | undefined {
    return this.#connection?.localPort;
  }

  send(messages: readonly Message[]): boolean {
    const socket = this.#socket;
    // Without a socket, the listener was told disconnected(). The calls are sent again on the next connection.
    if (socket === undefined) return true;
    writeMessages(socket, messages);
    if (socket.writableLength === 0) return true;
    // An empty write is done when everything before it is: unlike 'drain' this does not depend on the high-water mark.
    socket.write(NOTHING, this.#onWritten);
    return false;
  }

  readonly #onWritten = (error?: Error | null): void => {
    if (!this.#ended && (error === undefined || error === null)) this.#listener.writable();
  };

  destroy(error: RpcError, abrupt: boolean): void {
    this.#end(error, abrupt);
  }

  #open(): void {
    const { host, port, family, keepAlive, connectSocket, beforeReady } = this.#options;
    const localPort = this.#sourcePorts.next();
    const socket: net.Socket = connectSocket({
      host,
      port,
      ...(family === undefined ? {} : { family }),
      ...(localPort === undefined ? {} : { localPort }),
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAlive,
      // A step reads by events. Only a socket of our own can be read straight into the memory of records.
      ...(beforeReady === undefined ? { onread: this.#directRead(() => socket) } : {}),
    });
    this.#connection = this.#socket = socket;
    socket.once('connect', () => {
      if (this.#socket !== socket || this.#ended) return;
      this.#connected = true;
      this.#options.onConnected?.();
      if (beforeReady === undefined) this.#nowReady();
      else this.#takeStep(beforeReady, socket);
    });
    this.#watch(socket, (error) => {
      const openNext = !this.#connected && localPort !== undefined && this.#sourcePorts.mayTryNext(error);
      if (openNext) this.#open();
      return openNext;
    });
  }

  /** The end of `socket` ends the transport, unless `recover` does something about its error. */
  #watch(socket: net.Socket, recover: (error: NodeJS.ErrnoException) => boolean = () => false): void {
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#socket === socket && !recover(error)) this.#end(this.#socketError(error), false);
    });
    socket.on('end', () => {
      if (this.#socket === socket)
        this.#end(this.#connectError('the server closed the connection', 'ECONNRESET'), false);
    });
    socket.on('close', () => {
      if (this.#socket === socket)
        this.#end(this.#connectError('the connection was closed', 'ECONNRESET'), false);
    });
  }

  #nowReady(): void {
    this.#connectTimer?.cancel();
    this.#ready = true;
    this.#listener.ready();
  }

  #takeStep(step: ConnectionStep, connection: net.Socket): void {
    const { host, port } = this.#options;
    step(connection, { host, port }).then(
      (socket) => this.#stepTaken(connection, socket),
      (error: unknown) => {
        this.#end(this.#socketError(error instanceof Error ? error : new Error(String(error))), false);
      },
    );
  }

  #stepTaken(connection: net.Socket, socket: net.Socket): void {
    if (this.#ended) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    if (socket !== connection) this.#watch(socket);
    socket.on('data', (bytes: Buffer) => this.#receive(socket, () => this.#assembler.push(bytes)));
    this.#nowReady();
  }

  /** Reads the socket into the memory of records, without a copy. */
  #directRead(socket: () => net.Socket): net.OnReadOpts {
    return {
      buffer: () => this.#assembler.readBuffer(),
      callback: (count) => {
        this.#receive(socket(), () => this.#assembler.received(count));
        return true;
      },
    };
  }

  /** Takes what has come on `socket`. @param assemble hands it to the assembler, which throws for nonsense. */
  #receive(socket: net.Socket, assemble: () => void): void {
    if (this.#socket !== socket || this.#ended) return;
    try {
      assemble();
    } catch (error) {
      const { host, port } = this.#options;
      const reason = error instanceof Error ? error.message : String(error);
      this.#end(
        new RpcGarbageError(`server ${host} port ${port} sent nonsense: ${reason}`, { cause: error }),
        true,
      );
    }
  }

  #socketError(error: NodeJS.ErrnoException): RpcError {
    return this.#connectError(error.message, error.code ?? 'EIO', error);
  }

  #connectError(reason: string, code: string, cause?: Error): RpcError {
    const { host, port } = this.#options;
    const what = this.#ready
      ? `connection to ${host} port ${port} lost`
      : `cannot connect to ${host} port ${port}`;
    return new RpcConnectError(`${what}: ${reason}`, code, host, port, cause === undefined ? {} : { cause });
  }

  /** `abrupt` resets the connection, so that no TIME_WAIT keeps us from using the same port again. */
  #end(error: RpcError, abrupt: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#connectTimer?.cancel();
    this.#assembler.stop();
    const connection = this.#connection;
    if (connection !== undefined) {
      if (abrupt && this.#connected) resetSocket(connection);
      else connection.destroy();
    }
    if (this.#socket !== connection) this.#socket?.destroy();
    this.#listener.disconnected(error);
  }
}
