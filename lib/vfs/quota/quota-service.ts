/**
 * The quota service of a server (rquotad): whether there is one, where, and how it is asked. It is looked for when the first question
 * comes, since a mount can do without.
 */
import { NamedError } from '../../base/named-error.js';
import {
  getPort,
  type PortmapOptions,
  PortmapUnreachableError,
  ProgramNotRegisteredError,
} from '../../programs/portmap/index.js';
import { RQUOTA_V1, RQUOTA_V2, RquotaClient } from '../../programs/rquota/index.js';
import {
  type Credential,
  RpcConnectError,
  RpcError,
  RpcProgramUnavailableError,
  RpcService,
  RpcTimeoutError,
  type ServiceOptions,
} from '../../rpc/index.js';
import type { ClientConfig } from '../config.js';

/** A program that waits for df is not kept longer than 1 s, three times, for a service that it can do without. */
const OPTIONAL_RPC = { timeo: 10, retrans: 2, recovery: 'soft', connectTimeout: 3_000 } as const;

/** The server's quota service cannot be asked: the message says so, without a full stop; `cause` how that was noticed. */
export class QuotaServiceError extends NamedError {}

type QuotaServiceConfig = Pick<ClientConfig, 'host' | 'proto' | 'resvport' | 'quotaPort'>;

interface QuotaPlace {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
}

export class QuotaService {
  readonly #config: QuotaServiceConfig;
  readonly #rpc: ServiceOptions;
  /** Where it was, when it answered last. */
  #place: QuotaPlace | undefined;

  /** `rpc`: further options of every connection. */
  constructor(config: QuotaServiceConfig, rpc: ServiceOptions = {}) {
    this.#config = config;
    this.#rpc = { ...rpc, ...OPTIONAL_RPC };
  }

  /**
   * Asks over a connection of its own, in bounded time.
   * @throws QuotaServiceError
   */
  async ask<Answer>(credential: Credential, ask: (quotas: RquotaClient) => Promise<Answer>): Promise<Answer> {
    const known = this.#place;
    if (known !== undefined) {
      try {
        return await this.#askAt(known, credential, ask);
      } catch (error) {
        this.#place = undefined;
        // It may have started anew on another port.
        if (!(error instanceof RpcConnectError)) throw this.#lack(known, error);
      }
    }
    let place: QuotaPlace | undefined;
    try {
      place = await this.#find();
      const answer = await this.#askAt(place, credential, ask);
      this.#place = place;
      return answer;
    } catch (error) {
      throw this.#lack(place, error);
    }
  }

  #askAt<Answer>(
    place: QuotaPlace,
    credential: Credential,
    ask: (quotas: RquotaClient) => Promise<Answer>,
  ): Promise<Answer> {
    const { host, resvport } = this.#config;
    const service = new RpcService({ host, resvport, ...place }, this.#rpc);
    return service.ask((rpc) => ask(new RquotaClient(rpc, credential)));
  }

  /**
   * Throws ProgramNotRegisteredError, PortmapUnreachableError. Many servers have it over UDP only, and some in version 1 only, or
   * each version on a port of its own.
   */
  async #find(): Promise<QuotaPlace> {
    const { host, proto, quotaPort } = this.#config;
    if (quotaPort !== undefined) return { port: quotaPort, protocol: proto };
    const options: PortmapOptions = { rpc: this.#rpc };
    let notThere: unknown;
    for (const protocol of proto === 'tcp' ? (['tcp', 'udp'] as const) : (['udp', 'tcp'] as const)) {
      for (const { number, version } of [RQUOTA_V2, RQUOTA_V1]) {
        try {
          return { port: await getPort(host, number, version, protocol, options), protocol };
        } catch (error) {
          if (!(error instanceof ProgramNotRegisteredError)) throw error;
          notThere = error;
        }
      }
    }
    throw notThere;
  }

  /** `place` is undefined: it was not found. An error of another kind is a bug, and stays. */
  #lack(place: QuotaPlace | undefined, error: unknown): unknown {
    const { host } = this.#config;
    const lack = (message: string) => new QuotaServiceError(message, { cause: error });
    if (error instanceof ProgramNotRegisteredError)
      return lack(
        `${host} offers no quota service: its portmapper knows no rquotad (program ${RQUOTA_V2.number})`,
      );
    if (error instanceof PortmapUnreachableError)
      return lack(
        `The portmapper of ${host} cannot be asked for the quota service, whose port rquotaport= can name`,
      );
    if (!(error instanceof RpcError)) return error;
    const at = place === undefined ? '' : ` on port ${place.port}`;
    if (error instanceof RpcProgramUnavailableError)
      return lack(`${host} offers no quota service${at}: another program answers there`);
    if (error instanceof RpcTimeoutError || error instanceof RpcConnectError)
      return lack(`The quota service of ${host} does not answer${at}`);
    return lack(`The quota service of ${host} gives no usable answer${at}: ${error.message}`);
  }
}
