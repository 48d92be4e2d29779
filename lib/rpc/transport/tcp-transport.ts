/**
 * One TCP connection to a server: opening it (source port, time limit, socket options), record marking both
 * ways, and its end. Reconnecting is the business of RpcConnection, which opens the next one.
 */
import type net from 'node:net';
import type { Clock, Timer } from '../../base/clock.js';
import { RpcConnectError, type RpcError, RpcGarbageError } from '../rpc-errors.js';
import { RecordAssembler } from '../wire/record-mark.js';
import type { RecordPool } from '../wire/record-pool.js';
import { resetSocket } from './reset-socket.js';
import { writeMessages } from './socket-writer.js';
import type { Message, Transport, TransportListener } from './transport.js';

/** Linux's range of reserved source ports (sunrpc min_resvport and max_resvport), tried from the top. */
const FIRST_RESERVED_PORT = 1023;
const LAST_RESERVED_PORT = 665;
const NOTHING = new Uint8Array(0);

export interface TcpTransportOptions {
  /** Name or address. A name is looked up for every connection. */
  readonly host: string;
  readonly port: number;
  readonly family: 4 | 6 | undefined;
  /** Tried first: servers know a client that comes back by its address and port (duplicate request cache). */
  readonly localPort: number | undefined;
  /** Try ports 1023 down to 665, for servers that export `secure`; an ordinary port where none can be had. */
  readonly resvport: boolean;
  /** Milliseconds for all of lookup and handshake. */
  readonly connectTimeout: number;
  /** Milliseconds of silence before TCP probes the peer. */
  readonly keepAlive: number;
  /** A longer reply ends the connection. */
  readonly maxRecord: number;
  /** Where the memory of large replies comes from. */
  readonly records: RecordPool;
  readonly clock: Clock;
  readonly connectSocket: (options: net.TcpNetConnectOpts) => net.Socket;
  readonly log: (message: string) => void;
}

export class TcpTransport implements Transport {
  readonly #listener: TransportListener;
  readonly #options: TcpTransportOptions;
  /** TCP itself holds back what there is no room for. */
  readonly replyRoom = Number.POSITIVE_INFINITY;
  /** Source ports still to be tried, the last first. Undefined: let the kernel choose. */
  readonly #localPorts: (number | undefined)[];
  readonly #assembler: RecordAssembler;
  #socket: net.Socket | undefined;
  #connectTimer: Timer | undefined;
  #connected = false;
  #ended = false;

  constructor(listener: TransportListener, options: TcpTransportOptions) {
    this.#listener = listener;
    this.#options = options;
    const deliver = (message: Buffer): void => listener.message(message);
    this.#assembler = new RecordAssembler(options.maxRecord, deliver, options.records);
    this.#localPorts = [undefined];
    if (options.resvport) {
      for (let port = LAST_RESERVED_PORT; port <= FIRST_RESERVED_PORT; port++) this.#localPorts.push(port);
    }
    if (options.localPort !== undefined) this.#localPorts.push(options.localPort);
    this.#connectTimer = options.clock.after(options.connectTimeout, () => {
      const seconds = options.connectTimeout / 1000;
      this.#end(this.#connectError(`no connection within ${seconds} s`, 'ETIMEDOUT'), true);
    });
    this.#open();
  }

  get localPort(): number | undefined {
    return this.#socket?.localPort;
  }

  send(messages: readonly Message[]): boolean {
    const socket = this.#socket;
    // Without a socket disconnected() was said; the calls are sent again on the next connection.
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
    const { host, port, family, keepAlive, connectSocket } = this.#options;
    const localPort = this.#localPorts.pop();
    const socket = connectSocket({
      host,
      port,
      ...(family === undefined ? {} : { family }),
      ...(localPort === undefined ? {} : { localPort }),
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAlive,
      onread: {
        buffer: () => this.#assembler.readBuffer(),
        callback: (count) => {
          this.#received(socket, count);
          return true;
        },
      },
    });
    this.#socket = socket;
    socket.once('connect', () => {
      if (this.#socket !== socket || this.#ended) return;
      this.#connectTimer?.cancel();
      this.#connected = true;
      this.#listener.connected();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#socket !== socket) return;
      if (!this.#connected && localPort !== undefined && this.#tryNextPort(error)) this.#open();
      else this.#end(this.#socketError(error), false);
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

  /** Whether another source port may do what `error` says this one cannot. */
  #tryNextPort(error: NodeJS.ErrnoException): boolean {
    if (error.code === 'EADDRINUSE' || error.code === 'EADDRNOTAVAIL') {
      if (this.#localPorts.length === 1 && this.#options.resvport) {
        this.#options.log('no reserved source port is free; connecting from an ordinary one');
      }
      return true;
    }
    if (error.code !== 'EACCES' && error.code !== 'EPERM') return false;
    this.#options.log(
      'no permission to use a reserved source port (resvport); connecting from an ordinary one',
    );
    this.#localPorts.length = 1;
    return true;
  }

  #received(socket: net.Socket, count: number): void {
    if (this.#socket !== socket || this.#ended) return;
    try {
      this.#assembler.received(count);
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
    const what = this.#connected
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
    const socket = this.#socket;
    if (socket !== undefined) {
      if (abrupt && this.#connected) resetSocket(socket);
      else socket.destroy();
    }
    this.#listener.disconnected(error);
  }
}
