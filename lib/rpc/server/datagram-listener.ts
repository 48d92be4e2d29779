/**
 * A UDP socket of our server: each datagram is a call, and each reply a datagram. Owns the bound on calls that are carried
 * out at a time; datagrams beyond it are lost, as UDP has it, and clients send them again.
 */
import dgram from 'node:dgram';
import { type AddressInfo, isIPv6 } from 'node:net';
import { XdrError } from '../../xdr/xdr-error.js';
import type { Message } from '../transport/transport.js';
import { datagramOf } from '../transport/udp-transport.js';
import { CallExecutor, type CallOrigin } from './call-executor.js';
import type { ServerContext } from './server-connection.js';

export class DatagramListener {
  readonly #socket: dgram.Socket;
  readonly #context: ServerContext;
  readonly #executor: CallExecutor;
  #running = 0;
  #closed = false;

  /** Rejects with the system's error if it cannot listen there. */
  static open(
    { host, port }: { readonly host: string; readonly port: number },
    context: ServerContext,
  ): Promise<DatagramListener> {
    const socket = dgram.createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    return new Promise((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        reject(error);
      });
      socket.bind(port, host, () => {
        socket.removeAllListeners('error');
        resolve(new DatagramListener(socket, context));
      });
    });
  }

  private constructor(socket: dgram.Socket, context: ServerContext) {
    this.#socket = socket;
    this.#context = context;
    this.#executor = new CallExecutor(context);
    // Errors concern single datagrams: their clients send them again.
    socket.on('error', () => {});
    socket.on('message', (message, sender) => this.#received(message, sender));
  }

  get address(): AddressInfo {
    return this.#socket.address();
  }

  close(): Promise<void> {
    this.#closed = true;
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }

  #received(message: Buffer, sender: dgram.RemoteInfo): void {
    const { admits, counters, maxOutstanding, maxRecord } = this.#context;
    if (!admits(sender.address) || this.#running >= maxOutstanding) return;
    try {
      if (message.length > maxRecord) throw new XdrError(`datagram of ${message.length} bytes`);
      this.#executor.serve(message, this.#originOf(sender));
    } catch (error) {
      if (!(error instanceof XdrError)) throw error;
      counters.garbage += 1;
    }
  }

  #originOf({ address, port }: dgram.RemoteInfo): CallOrigin {
    const isClosed = (): boolean => this.#closed;
    return {
      get closed() {
        return isClosed();
      },
      remoteAddress: address,
      remotePort: port,
      peer: `udp ${address} ${port}`,
      callBegins: () => {
        this.#running += 1;
      },
      callEnded: () => {
        this.#running -= 1;
      },
      write: (reply: Message) => {
        if (!this.#closed) this.#socket.send(datagramOf(reply), port, address, () => {});
      },
      destroy: () => {},
    };
  }
}
