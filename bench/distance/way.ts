/** The way from a client to its server: as short as loopback is, or through a relay that adds distance (delay.c). */
import { type Background, start, until } from '../../test/support/process.js';

/** The way to every port of the servers. Ends with {@link close}. */
export interface Way {
  /** Added to each round trip, in milliseconds. */
  readonly rttMs: number;
  /** The port of the same address that leads to `port`. */
  to(port: number): Promise<number>;
  close(): Promise<void>;
}

/** No relay at all. */
export const DIRECT: Way = {
  rttMs: 0,
  to: (port) => Promise.resolve(port),
  close: () => Promise.resolve(),
};

/** Through a relay for each port, which delays each way by half of `rttMs`. */
export class DelayedWay implements Way {
  readonly #relays = new Map<number, Promise<{ port: number; relay: Background }>>();

  /** `program`: delay.c's. `everywhere`: the relays listen on all addresses of the network namespace. */
  constructor(
    readonly rttMs: number,
    private readonly program: string,
    private readonly everywhere = false,
  ) {}

  async to(port: number): Promise<number> {
    const found = this.#relays.get(port) ?? this.#start(port);
    this.#relays.set(port, found);
    return (await found).port;
  }

  async #start(target: number): Promise<{ port: number; relay: Background }> {
    const microseconds = Math.round((this.rttMs * 1000) / 2);
    const argv = [this.program, String(target), String(microseconds)];
    const relay = start(this.everywhere ? [...argv, 'everywhere'] : argv);
    await until('the relay listens', () => {
      if (relay.outcome) throw new Error(`the relay ended: ${relay.output}`);
      return relay.output.includes('\n');
    });
    return { port: Number(relay.output), relay };
  }

  async close(): Promise<void> {
    const started = await Promise.allSettled(this.#relays.values());
    this.#relays.clear();
    await Promise.all(
      started.map((one) => (one.status === 'fulfilled' ? one.value.relay.stop() : undefined)),
    );
  }
}
