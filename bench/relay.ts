/**
 * Counts the RPC calls that a client sends: a TCP relay between client and server that reads the heads of the
 * records that pass. Independent of the client's own counters, and for runs that are not timed, since it is one
 * more hop.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { PROCEDURE_NAMES } from '../lib/programs/nfs3/index.js';
import type { CallCounts } from './model.js';

const NFS_PROGRAM = 100003;

/** xid, message type, RPC version, program, version, procedure. */
const HEAD = 24;
const MARK = 4;
const LAST_FRAGMENT = 0x8000_0000;

/** Follows the record marking of one direction of one connection (RFC 5531, section 11). */
export class CallCounter {
  readonly #small = Buffer.alloc(HEAD);
  /** Bytes in #small: of the next mark, or of the record's head. */
  #have = 0;
  /** Bytes of the present fragment that are still to come; 0: a mark is next. */
  #left = 0;
  #lastFragment = true;
  /** The present record's head has been counted. */
  #counted = false;

  constructor(private readonly count: (program: number, procedure: number) => void) {}

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        at += this.#gather(chunk, at, MARK);
        if (this.#have === MARK) this.#mark(this.#small.readUInt32BE(0));
        continue;
      }
      if (this.#counted) {
        const skipped = Math.min(this.#left, chunk.length - at);
        at += skipped;
        this.#consume(skipped);
        continue;
      }
      const taken = this.#gather(chunk, at, Math.min(HEAD, this.#have + this.#left));
      at += taken;
      if (this.#have === HEAD) {
        this.#counted = true;
        if (this.#small.readUInt32BE(4) === 0) {
          this.count(this.#small.readUInt32BE(12), this.#small.readUInt32BE(20));
        }
      }
      this.#consume(taken);
    }
  }

  #gather(chunk: Buffer, at: number, until: number): number {
    const taken = Math.min(until - this.#have, chunk.length - at);
    chunk.copy(this.#small, this.#have, at, at + taken);
    this.#have += taken;
    return taken;
  }

  #mark(mark: number): void {
    this.#lastFragment = (mark & LAST_FRAGMENT) !== 0;
    this.#left = mark & 0x7fff_ffff;
    this.#have = 0;
    if (this.#left === 0 && this.#lastFragment) this.#counted = false;
  }

  #consume(bytes: number): void {
    this.#left -= bytes;
    if (this.#left > 0) return;
    // Heads are far shorter than any client's fragments: one that is split over fragments is not counted.
    this.#have = 0;
    if (this.#lastFragment) this.#counted = false;
  }
}

export class Relay {
  readonly #counts = new Map<string, number>();
  readonly #sockets = new Set<Socket>();

  private constructor(
    readonly port: number,
    private readonly server: Server,
  ) {}

  /** Listens on a free port of 127.0.0.1 and passes all connections on to `target` there. */
  static async start(target: number): Promise<Relay> {
    const server = createServer({ allowHalfOpen: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const relay = new Relay((server.address() as AddressInfo).port, server);
    server.on('connection', (client) => relay.#pass(client, target));
    return relay;
  }

  #pass(client: Socket, target: number): void {
    const upstream = connect({ port: target, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    client.setNoDelay(true);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => this.#sockets.delete(socket));
    }
    const counter = new CallCounter((program, procedure) => {
      const name = program === NFS_PROGRAM ? PROCEDURE_NAMES[procedure] : undefined;
      const key = name ?? `${program}/${procedure}`;
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    });
    client.on('data', (chunk: Buffer) => counter.push(chunk));
    client.pipe(upstream);
    upstream.pipe(client);
  }

  /** The calls since the last time, most frequent first. */
  take(): CallCounts {
    const sorted = [...this.#counts].sort(([, a], [, b]) => b - a);
    this.#counts.clear();
    return Object.fromEntries(sorted);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}
