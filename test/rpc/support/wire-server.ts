/** A TCP server that shows a test every record that comes in and sends what it is told: no RPC of its own. */
import { once } from 'node:events';
import net from 'node:net';
import type { Test } from 'tap';
import { resetSocket } from '../../../lib/rpc/transport/reset-socket.js';
import { RecordSplitter } from '../../support/record-stream.js';
import { Conditions } from './conditions.js';

/** One call as it came in. */
export interface WireCall {
  readonly bytes: Buffer;
  readonly xid: number;
  readonly connection: WireConnection;
}

export class WireConnection {
  readonly socket: net.Socket;
  readonly remotePort: number;
  readonly calls: WireCall[] = [];
  ended = false;

  constructor(socket: net.Socket, onCall: (call: WireCall) => void, onChange: () => void) {
    this.socket = socket;
    this.remotePort = socket.remotePort ?? 0;
    socket.on('error', () => {});
    const records = new RecordSplitter();
    socket.on('close', () => {
      this.ended = true;
      onChange();
    });
    socket.on('data', (bytes: Buffer) => {
      for (const marked of records.push(bytes)) {
        const record = marked.subarray(4);
        const call = { bytes: record, xid: record.readUInt32BE(0), connection: this };
        this.calls.push(call);
        onCall(call);
      }
      onChange();
    });
  }

  /** Sends a record. */
  record(...parts: Buffer[]): void {
    const body = Buffer.concat(parts);
    const mark = Buffer.alloc(4);
    mark.writeUInt32BE(0x8000_0000 + body.length);
    this.socket.write(Buffer.concat([mark, body]));
  }
}

export class WireServer {
  readonly connections: WireConnection[] = [];
  readonly calls: WireCall[] = [];
  port = 0;
  /** Called with each call; by default does nothing. */
  onCall: (call: WireCall) => void = () => {};
  #listener: net.Server | undefined;
  readonly #conditions = new Conditions();

  async listen(port = 0): Promise<void> {
    const listener = net.createServer({ noDelay: true }, (socket) => {
      const onCall = (call: WireCall): void => {
        this.calls.push(call);
        this.onCall(call);
      };
      this.connections.push(new WireConnection(socket, onCall, () => this.#conditions.changed()));
      this.#conditions.changed();
    });
    listener.listen(port, '127.0.0.1');
    await once(listener, 'listening');
    this.#listener = listener;
    const address = listener.address();
    if (address !== null && typeof address === 'object') this.port = address.port;
  }

  /** Resolves when `condition` holds; looked at whenever something arrives or ends. */
  until(condition: () => boolean): Promise<void> {
    return this.#conditions.until(condition);
  }

  /** Resolves when `count` calls have come in, on all connections together. */
  async untilCalls(count: number): Promise<WireCall[]> {
    await this.until(() => this.calls.length >= count);
    return this.calls;
  }

  /** Stops listening; the connections stay. */
  async stopListening(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    if (listener === undefined) return;
    // 'close' waits for the connections; the port is free before that.
    listener.close();
  }

  async close(): Promise<void> {
    await this.stopListening();
    for (const connection of this.connections) resetSocket(connection.socket);
    await this.until(() => this.connections.every((connection) => connection.ended));
  }
}

/** A server, and the client that `connect` makes of its port; both end with the test. */
export async function serverAndClient<Client extends { close(): void }>(
  t: Test,
  connect: (port: number) => Client | Promise<Client>,
): Promise<{ readonly server: WireServer; readonly client: Client }> {
  const server = new WireServer();
  await server.listen();
  const client = await connect(server.port);
  t.teardown(async () => {
    client.close();
    await server.close();
  });
  return { server, client };
}

/** Big-endian words. */
export function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => {
    bytes.writeUInt32BE(value >>> 0, index * 4);
  });
  return bytes;
}

/** The header of an accepted, successful reply. */
export function success(xid: number): Buffer {
  return words(xid, 1, 0, 0, 0, 0);
}

/** The last argument word of a call: what ECHO was asked. */
export function lastWord(call: WireCall): number {
  return call.bytes.readUInt32BE(call.bytes.length - 4);
}

/** Answers ECHO properly. */
export function echo(call: WireCall): void {
  call.connection.record(success(call.xid), words(lastWord(call)));
}
