/**
 * One UDP socket towards a server. Owns the choice of sender: the socket is connected, so that the kernel passes on
 * only datagrams from the server's address and port, as Linux's client does it.
 */
import type dgram from 'node:dgram';
import dns from 'node:dns';
import net from 'node:net';
import type { Timer } from '../../base/clock.js';
import { RpcConnectError, type RpcError } from '../rpc-errors.js';
import { RECORD_MARK_BYTES } from '../wire/record-mark.js';
import { messageLength } from './socket-writer.js';
import { SourcePorts } from './source-ports.js';
import type { Message, OpeningOptions, Transport, TransportListener } from './transport.js';

/** The largest UDP payload over IPv4, with the four bytes that are reserved for a record mark and not sent. */
export const MAX_DATAGRAM = 65507 + RECORD_MARK_BYTES;
/**
 * Bytes of the socket's receive buffer that a long reply may take: 32 KiB, the most that is read or written in one call
 * over UDP, and as much again for how the kernel keeps it.
 */
const REPLY_MEMORY = 2 * 32 * 1024;
export interface UdpTransportOptions extends OpeningOptions {
  /** Long replies that the socket should have room for. The kernel gives less to a process without privilege. */
  readonly wantedReplyRoom: number;
  readonly createSocket: (type: dgram.SocketType) => dgram.Socket;
}

export class UdpTransport implements Transport {
  readonly #listener: TransportListener;
  readonly #options: UdpTransportOptions;
  readonly #sourcePorts: SourcePorts;
  #socket: dgram.Socket | undefined;
  #timer: Timer | undefined;
  #localPort: number | undefined;
  #replyRoom = 1;
  #connected = false;
  #ended = false;

  constructor(listener: TransportListener, options: UdpTransportOptions) {
    this.#listener = listener;
    this.#options = options;
    this.#sourcePorts = new SourcePorts(options);
    this.#timer = options.clock.after(options.connectTimeout, () =>
      this.#fail('no answer to the name lookup', 'ETIMEDOUT'),
    );
    dns.lookup(options.host, { family: options.family ?? 0 }, (error, address) => {
      if (this.#ended) return;
      if (error !== null) this.#fail(error.message, error.code ?? 'ENOTFOUND', error);
      else this.#bind(address);
    });
  }

  get localPort(): number | undefined {
    return this.#localPort;
  }

  get replyRoom(): number {
    return this.#replyRoom;
  }

  /** Datagrams are copied: they are small, and the socket may keep them for a while. */
  send(messages: readonly Message[]): boolean {
    for (const message of messages) {
      // An error here means that the datagram is lost. The call will be sent again.
      this.#socket?.send(datagramOf(message), () => {});
    }
    return true;
  }

  destroy(error: RpcError): void {
    this.#end(error);
  }

  #bind(address: string): void {
    const socket = this.#options.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4');
    const localPort = this.#sourcePorts.next();
    this.#socket = socket;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // On a connected socket an error is an ICMP message: nothing listens at that port now. It counts as a loss.
      if (this.#socket !== socket || this.#connected) return;
      if (localPort === undefined || !this.#sourcePorts.mayTryNext(error)) {
        this.#fail(error.message, error.code ?? 'EIO', error);
        return;
      }
      socket.close();
      this.#bind(address);
    });
    socket.on('message', (message) => {
      if (!this.#ended) this.#listener.message(message);
    });
    socket.once('connect', () => {
      if (this.#ended) return;
      this.#timer?.cancel();
      this.#connected = true;
      this.#localPort = socket.address().port;
      this.#replyRoom = Math.max(
        1,
        Math.floor(widen(socket, this.#options.wantedReplyRoom * REPLY_MEMORY) / REPLY_MEMORY),
      );
      this.#listener.ready();
    });
    socket.once('listening', () => {
      if (!this.#ended) socket.connect(this.#options.port, address);
    });
    socket.bind(localPort ?? 0);
  }

  #fail(reason: string, code: string, cause?: Error): void {
    const { host, port } = this.#options;
    const options = cause === undefined ? {} : { cause };
    this.#end(
      new RpcConnectError(`cannot send to ${host} port ${port}: ${reason}`, code, host, port, options),
    );
  }

  #end(error: RpcError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#timer?.cancel();
    this.#socket?.close();
    this.#listener.disconnected(error);
  }
}

/** A copy of a message in one piece, without the record mark that its first bytes are reserved for. */
export function datagramOf(message: Message): Buffer {
  const datagram = Buffer.allocUnsafe(messageLength(message));
  let position = 0;
  for (const piece of message) {
    datagram.set(piece, position);
    position += piece.length;
  }
  return datagram.subarray(RECORD_MARK_BYTES);
}

/** Enlarges the receive buffer to `bytes`, or as far as the kernel lets us, and returns its size in bytes. */
function widen(socket: dgram.Socket, bytes: number): number {
  try {
    if (socket.getRecvBufferSize() < bytes) socket.setRecvBufferSize(bytes);
  } catch {
    // The socket is used as it is.
  }
  try {
    return socket.getRecvBufferSize();
  } catch {
    return 0;
  }
}
