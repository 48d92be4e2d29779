/** A server of this process, and clients that write to it byte by byte. */
import { randomInt } from 'node:crypto';
import net from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { Test } from 'tap';
import { RpcClient } from '../../../lib/rpc/client/client.js';
import { RpcServer, type RpcServerOptions } from '../../../lib/rpc/server/server.js';
import { handle, type ServerProcedure } from '../../../lib/rpc/server/server-procedure.js';
import type { Procedure } from '../../../lib/rpc/wire/procedure.js';
import { RecordSplitter } from '../../support/record-stream.js';
import { Conditions } from './conditions.js';
import { ECHO, TEST_PROGRAM } from './procedures.js';
import { words } from './wire-server.js';

/** A connection that writes bytes and collects records. */
export class RawClient {
  readonly socket: net.Socket;
  readonly replies: Buffer[] = [];
  closed = false;
  readonly #conditions = new Conditions();

  /** From an address that no other program connects from, so that the same port can be had again. */
  constructor(port: number, localAddress: string, localPort = 0) {
    const from = localPort === 0 ? { localAddress } : { localAddress, localPort };
    this.socket = net.connect({ host: '127.0.0.1', port, ...from });
    this.socket.on('error', () => {});
    const records = new RecordSplitter();
    this.socket.on('data', (bytes: Buffer) => {
      this.replies.push(...records.push(bytes).map((record) => record.subarray(4)));
      this.#conditions.changed();
    });
    this.socket.on('close', () => {
      this.closed = true;
      this.#conditions.changed();
    });
  }

  /** Resolves when `condition` holds; looked at whenever something arrives or ends. */
  until(condition: () => boolean): Promise<void> {
    return this.#conditions.until(condition);
  }

  /** False if the connection was refused, as it is while the kernel still remembers the last one. */
  connected(): Promise<boolean> {
    return new Promise((resolve) => {
      this.socket.once('connect', () => resolve(true));
      this.socket.once('close', () => resolve(false));
    });
  }

  send(record: Buffer): void {
    this.socket.write(Buffer.concat([words(0x8000_0000 + record.length), record]));
  }
}

export function callBytes(
  xid: number,
  procedure: Procedure<never, never> | { number: number },
  ...args: number[]
): Buffer {
  return words(xid, 0, 2, TEST_PROGRAM.number, TEST_PROGRAM.version, procedure.number, 0, 0, 0, 0, ...args);
}

export async function serving(
  t: Test,
  procedures: readonly ServerProcedure[],
  options: RpcServerOptions = {},
): Promise<{
  server: RpcServer;
  client: RpcClient;
  port: number;
  raw: () => RawClient;
  rawAgain: (localPort: number) => Promise<RawClient>;
}> {
  const server = new RpcServer(options);
  server.register(TEST_PROGRAM, procedures);
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const client = await RpcClient.connect({ host: '127.0.0.1', port });
  const raws: RawClient[] = [];
  t.teardown(async () => {
    client.close();
    for (const raw of raws) raw.socket.destroy();
    await server.close(0);
  });
  const localAddress = `127.99.${randomInt(1, 255)}.${randomInt(1, 255)}`;
  const raw = (localPort?: number): RawClient => {
    const made = new RawClient(port, localAddress, localPort);
    raws.push(made);
    return made;
  };
  const rawAgain = async (localPort: number): Promise<RawClient> => {
    for (;;) {
      const made = raw(localPort);
      if (await made.connected()) return made;
      await setTimeout(20);
    }
  };
  return { server, client, port, raw: () => raw(), rawAgain };
}

export function gate(): { promise: Promise<void>; open: () => void } {
  let open = (): void => {};
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

/** ECHO as a call that must not be carried out a second time. */
export function onlyOnce(carryOut: (value: number) => number | Promise<number>): ServerProcedure {
  return handle(ECHO, carryOut, { idempotent: false });
}
