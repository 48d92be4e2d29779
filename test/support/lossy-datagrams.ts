/**
 * An NFS server over UDP that loses datagrams: a relay to a server's TCP port, which drops each call that it sees for the
 * first time. A client that does not repeat its calls gets no answer at all.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';

const RECORD_MARK_BYTES = 4;
const LAST_FRAGMENT = 0x8000_0000;

export class LossyDatagrams {
  /** Calls that were not passed on. */
  lost = 0;
  readonly #socket: Socket;
  readonly #upstream: net.Socket;
  readonly #callers = new Map<number, RemoteInfo>();
  readonly #seen = new Set<number>();
  #received = Buffer.alloc(0);

  private constructor(socket: Socket, upstream: net.Socket) {
    this.#socket = socket;
    this.#upstream = upstream;
    socket.on('message', (message, from) => this.#call(message, from));
    upstream.on('data', (data) => this.#replies(data));
    upstream.on('error', () => {});
  }

  /** `upstream`: the server's TCP port on 127.0.0.1. */
  static async start(upstream: number): Promise<LossyDatagrams> {
    const server = net.connect(upstream, '127.0.0.1');
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await Promise.all([once(server, 'connect'), once(socket, 'listening')]);
    return new LossyDatagrams(socket, server);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  close(): void {
    this.#socket.close();
    this.#upstream.destroy();
  }

  #call(message: Buffer, from: RemoteInfo): void {
    const xid = message.readUInt32BE(0);
    if (!this.#seen.has(xid)) {
      this.#seen.add(xid);
      this.lost += 1;
      return;
    }
    this.#callers.set(xid, from);
    const mark = Buffer.alloc(RECORD_MARK_BYTES);
    mark.writeUInt32BE(LAST_FRAGMENT + message.length);
    this.#upstream.write(Buffer.concat([mark, message]));
  }

  /** The embedded server sends each reply as one fragment. */
  #replies(data: Buffer): void {
    this.#received = Buffer.concat([this.#received, data]);
    while (this.#received.length >= RECORD_MARK_BYTES) {
      const end = RECORD_MARK_BYTES + this.#received.readUInt32BE(0) - LAST_FRAGMENT;
      if (this.#received.length < end) return;
      const reply = this.#received.subarray(RECORD_MARK_BYTES, end);
      this.#received = this.#received.subarray(end);
      const to = this.#callers.get(reply.readUInt32BE(0));
      if (to !== undefined) this.#socket.send(reply, to.port, to.address);
    }
  }
}
