/**
 * One service of a server: where it is and how it is spoken to, and clients of it for one question, for a few, or for
 * good. All that use RPC make their clients here.
 */
import { RpcClient, type RpcClientOptions } from './client.js';

export interface ServiceAddress {
  /** Name or address. */
  readonly host: string;
  /** A function finds the port out. A lasting client calls it again before each reconnection: a server may move. */
  readonly port: number | (() => Promise<number>);
  /** TCP by default. */
  readonly protocol?: 'tcp' | 'udp' | undefined;
  /** Which addresses of `host` to use; both by default. */
  readonly family?: 4 | 6 | undefined;
  /** Try to connect from a source port below 1024. */
  readonly resvport?: boolean | undefined;
}

/** How the service is spoken to: times, recovery, log and the like. */
export type ServiceOptions = Omit<RpcClientOptions, keyof ServiceAddress | 'resolvePort'>;

export class RpcService {
  readonly #address: ServiceAddress;
  readonly #options: ServiceOptions;

  constructor(address: ServiceAddress, options: ServiceOptions = {}) {
    this.#address = address;
    this.#options = options;
  }

  /** Where the service listens. Rejects with what the finding of the port rejects with. */
  async port(): Promise<number> {
    const { port } = this.#address;
    return typeof port === 'number' ? port : port();
  }

  /** A client with a connection made, for a few questions; the caller closes it. Throws RpcConnectError. */
  async connect(): Promise<RpcClient> {
    return RpcClient.connect({ ...this.#options, ...this.#address, port: await this.port() });
  }

  /** Asks over a connection of its own, which is closed afterwards. Throws RpcConnectError, and what `ask` throws. */
  async ask<Answer>(ask: (client: RpcClient) => Promise<Answer>): Promise<Answer> {
    const client = await this.connect();
    try {
      return await ask(client);
    } finally {
      client.close();
    }
  }

  /** A lasting client, which connects with its first call: to `port` first, and where the service is then later. */
  open(port: number): RpcClient {
    const { port: find } = this.#address;
    const resolvePort = typeof find === 'number' ? undefined : find;
    return new RpcClient({ ...this.#options, ...this.#address, port, resolvePort });
  }
}
