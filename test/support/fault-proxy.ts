/**
 * A bad network between client and server: a TCP proxy on 127.0.0.1 that understands records and does to them
 * what a plan says (fault-plan.ts). Counts what it did.
 *
 * It spares the client one fault, which no NFSv3 client can survive: a call that the server has received on a
 * connection which is then cut is finished before anything passes on a later connection. Otherwise a WRITE could be
 * carried out after the one that replaced it, and nothing in the protocol would tell.
 */
import { once } from 'node:events';
import net from 'node:net';
import { type Clock, systemClock } from '../../lib/base/clock.js';
import { resetSocket } from '../../lib/rpc/transport/reset-socket.js';
import { type FaultPlan, NO_FAULTS } from './fault-plan.js';
import { ProxyLink } from './proxy-link.js';

export interface FaultProxyOptions {
  /** The server's port on 127.0.0.1. */
  readonly upstream: number;
  readonly plan?: FaultPlan;
  /** The port to listen on; by default any free one. */
  readonly port?: number;
  readonly clock?: Clock;
  /** A line for every fault. */
  readonly log?: (line: string) => void;
}

/** Counts of what a proxy has seen and done. */
export interface ProxyCounters {
  connections: number;
  refused: number;
  calls: number;
  replies: number;
  dropped: number;
  delayed: number;
  duplicated: number;
  reordered: number;
  truncated: number;
  corrupted: number;
  /** Bytes that were no record. */
  garbage: number;
  cut: number;
  paused: number;
}

export class FaultProxy {
  readonly counters: ProxyCounters = {
    connections: 0,
    refused: 0,
    calls: 0,
    replies: 0,
    dropped: 0,
    delayed: 0,
    duplicated: 0,
    reordered: 0,
    truncated: 0,
    corrupted: 0,
    garbage: 0,
    cut: 0,
    paused: 0,
  };
  /** May be replaced at any time; connections ask the plan that is there at the moment. */
  plan: FaultPlan;
  /** The server's port; a change counts for new connections. */
  upstream: number;
  readonly clock: Clock;
  readonly log: (line: string) => void;
  readonly #listener: net.Server;
  readonly #links = new Set<ProxyLink>();
  #port = 0;
  #refuseUntil = Number.NEGATIVE_INFINITY;
  /** Pauses under way. */
  #pauses = 0;
  #held = false;
  #refusing = false;

  private constructor(options: FaultProxyOptions) {
    this.plan = options.plan ?? NO_FAULTS;
    this.upstream = options.upstream;
    this.clock = options.clock ?? systemClock;
    this.log = options.log ?? (() => undefined);
    this.#listener = net.createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  static async start(options: FaultProxyOptions): Promise<FaultProxy> {
    const proxy = new FaultProxy(options);
    proxy.#listener.listen(options.port ?? 0, '127.0.0.1');
    await once(proxy.#listener, 'listening');
    const address = proxy.#listener.address();
    if (address !== null && typeof address === 'object') proxy.#port = address.port;
    return proxy;
  }

  /** The port that clients connect to. */
  get port(): number {
    return this.#port;
  }

  /** Connections that clients have now. */
  get open(): number {
    return [...this.#links].filter((link) => !link.cut).length;
  }

  /** Nothing passes now. */
  get paused(): boolean {
    return this.#held || this.#pauses > 0;
  }

  /** Nothing passes, and nothing is lost, until {@link release}. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    for (const link of this.#links) link.pump();
  }

  /** Nothing passes for `ms` milliseconds. */
  pause(ms: number): void {
    this.counters.paused += 1;
    this.#pauses += 1;
    this.clock.after(ms, () => {
      this.#pauses -= 1;
      for (const link of this.#links) link.pump();
    });
  }

  /** New connections are reset for `ms` milliseconds. */
  refuse(ms: number): void {
    this.#refuseUntil = Math.max(this.#refuseUntil, this.clock.now() + ms);
  }

  /** New connections are reset, until told otherwise. */
  set refusing(refusing: boolean) {
    this.#refusing = refusing;
  }

  /** Resets all connections; what was on its way is lost. */
  cutAll(): void {
    for (const link of this.#links) link.breakOff();
  }

  #accept(socket: net.Socket): void {
    socket.on('error', () => undefined);
    if (this.#refusing || this.clock.now() < this.#refuseUntil) {
      this.counters.refused += 1;
      resetSocket(socket);
      return;
    }
    const before = [...this.#links].filter((link) => link.cut).map((link) => link.settled);
    const link = new ProxyLink(this, socket, this.counters.connections);
    this.counters.connections += 1;
    this.#links.add(link);
    void link.settled.then(() => this.#links.delete(link));
    void Promise.all(before).then(() => link.connect());
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    const closed = once(this.#listener, 'close');
    this.#listener.close();
    for (const link of this.#links) link.destroy();
    await closed;
  }
}
