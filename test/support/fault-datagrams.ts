/**
 * A bad network between client and server over UDP: a relay on 127.0.0.1 that does to datagrams what a plan says
 * (fault-plan.ts). Counts what it did, in the words of the fault proxy for TCP.
 *
 * A datagram that is delayed or put aside is overtaken by others, and may arrive when its call was repeated, answered and forgotten
 * long ago. Each socket of a client counts as a connection.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type Direction, type Fault, type FaultPlan, NO_FAULTS } from './fault-plan.js';
import type { ProxyCounters } from './fault-proxy.js';
import { CallTable, type WireRecord } from './record-stream.js';

export interface FaultDatagramsOptions {
  /** The server's UDP port on 127.0.0.1. */
  readonly upstream: number;
  readonly plan?: FaultPlan;
}

export type DatagramCounters = Pick<
  ProxyCounters,
  'calls' | 'replies' | 'dropped' | 'delayed' | 'duplicated' | 'reordered'
>;

/** A datagram that is overtaken by so many more. */
interface Aside {
  overtakers: number;
  readonly pass: () => void;
}

/** The datagrams of one socket of a client, to the server and back. */
class Path {
  readonly calls = new CallTable();
  readonly seen: Record<Direction, number> = { call: 0, reply: 0 };
  readonly aside: Record<Direction, Set<Aside>> = { call: new Set(), reply: new Set() };

  constructor(
    readonly number: number,
    readonly server: Socket,
    readonly client: RemoteInfo,
  ) {}
}

export class FaultDatagrams {
  readonly counters: DatagramCounters = {
    calls: 0,
    replies: 0,
    dropped: 0,
    delayed: 0,
    duplicated: 0,
    reordered: 0,
  };
  /** May be replaced at any time. */
  plan: FaultPlan;
  readonly #upstream: number;
  readonly #socket: Socket;
  readonly #paths = new Map<number, Path>();
  readonly #timers = new Set<NodeJS.Timeout>();

  private constructor({ upstream, plan = NO_FAULTS }: FaultDatagramsOptions, socket: Socket) {
    this.#upstream = upstream;
    this.plan = plan;
    this.#socket = socket;
    socket.on('message', (message, client) => {
      const path = this.#paths.get(client.port) ?? this.#newPath(client);
      this.#arrived(path, 'call', path.calls.call(message, message));
    });
  }

  static async start(options: FaultDatagramsOptions): Promise<FaultDatagrams> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new FaultDatagrams(options, socket);
  }

  /** The port that clients send to. */
  get port(): number {
    return this.#socket.address().port;
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const { server } of this.#paths.values()) server.close();
    this.#socket.close();
  }

  #newPath(client: RemoteInfo): Path {
    const server = createSocket('udp4');
    const path = new Path(this.#paths.size, server, client);
    this.#paths.set(client.port, path);
    server.on('message', (message) => this.#arrived(path, 'reply', path.calls.reply(message, message)));
    // A server that is not there: datagrams to it are lost.
    server.on('error', () => {});
    return path;
  }

  #arrived(path: Path, direction: Direction, { bytes, procedure }: WireRecord): void {
    this.counters[direction === 'call' ? 'calls' : 'replies'] += 1;
    const index = path.seen[direction]++;
    const place = { direction, connection: path.number, index };
    const fault = this.plan.decide({ ...place, procedure, length: bytes.length });
    this.#meet(fault, path, direction, () => this.#pass(path, direction, bytes));
  }

  #meet(fault: Fault | undefined, path: Path, direction: Direction, pass: () => void): void {
    const { counters } = this;
    switch (fault?.kind) {
      case undefined:
        pass();
        break;
      case 'drop':
        counters.dropped += 1;
        break;
      case 'delay':
        counters.delayed += 1;
        this.#later(fault.ms, pass);
        break;
      case 'duplicate':
        counters.duplicated += 1;
        for (let copy = 0; copy < (fault.times ?? 2); copy++) pass();
        break;
      case 'reorder': {
        counters.reordered += 1;
        const aside: Aside = { overtakers: fault.by, pass };
        path.aside[direction].add(aside);
        this.#later(fault.ms, () => {
          if (path.aside[direction].delete(aside)) pass();
        });
        break;
      }
      default:
        throw new Error(`no fault of datagrams: ${fault?.kind}`);
    }
  }

  #later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
  }

  #pass(path: Path, direction: Direction, bytes: Buffer): void {
    if (direction === 'call') {
      path.calls.forwarded(path.calls.call(bytes, bytes));
      path.server.send(bytes, this.#upstream, '127.0.0.1');
    } else this.#socket.send(bytes, path.client.port, path.client.address);
    for (const waiting of [...path.aside[direction]]) {
      waiting.overtakers -= 1;
      if (waiting.overtakers > 0) continue;
      path.aside[direction].delete(waiting);
      waiting.pass();
    }
  }
}
