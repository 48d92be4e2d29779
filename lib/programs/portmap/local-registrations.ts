/**
 * Registers programs with the port mapper of this host, so that clients find them by asking it, and takes away exactly
 * what was registered. Owns the rule that nothing which belongs to somebody else is replaced or removed, and what a
 * registration looks like that a server of this kind has left when it was killed.
 */
import { connect, isIPv6 } from 'node:net';
import type { RpcCaller } from '../../rpc/client/rpc-caller.js';
import { RpcService } from '../../rpc/client/service.js';
import { RpcConnectError } from '../../rpc/rpc-errors.js';
import type { Program } from '../../rpc/wire/procedure.js';
import {
  type ListedRegistration,
  type LocalPortMapper,
  localPortMapper,
  type Registration,
} from './local-port-mapper.js';
import { PortmapUnreachableError } from './portmap-error.js';
import { PORTMAP_PORT } from './types.js';
import type { HostPort } from './universal-address.js';

/** The port mapper of this host answers at once or not at all: wait one second, and two more. */
const TIMES = { timeo: 10, retrans: 1, connectTimeout: 2000, recovery: 'soft' } as const;

/** A connection within this host is refused or made at once. */
const LISTENS_MS = 1_000;

/** A registration that was not made. */
export interface RefusedRegistration extends Registration {
  /** The port that is registered in its place. Undefined: the port mapper refuses, and does not say why. */
  readonly taken: number | undefined;
}

export class LocalRegistrations {
  readonly #portMapper: RpcService;
  #made: readonly Registration[] = [];
  #refused: readonly RefusedRegistration[] = [];
  #replaced: readonly HostPort[] = [];

  /**
   * Registers the programs of a server that listens for TCP connections at `address`. A group of programs is registered
   * whole or not at all, and the next group only if this one was: clients must not find one program at this server and
   * another at somebody else's. Undefined: there is no port mapper at `at`. Throws PortmapUnreachableError for one that
   * gives no answer.
   */
  static async make(
    groups: readonly (readonly Program[])[],
    address: HostPort,
    at: HostPort = { host: '127.0.0.1', port: PORTMAP_PORT },
  ): Promise<LocalRegistrations | undefined> {
    const registrations = new LocalRegistrations(at);
    try {
      const asked = await registrations.#ask((mapper) => registrations.#makeAll(mapper, groups, address));
      return asked ? registrations : undefined;
    } catch (error) {
      await registrations.remove().catch(() => {});
      throw error;
    }
  }

  private constructor(at: HostPort) {
    // From a port below 1024, so that rpcbind takes root for root: it lets nobody else remove root's registrations.
    this.#portMapper = new RpcService({ ...at, resvport: true }, TIMES);
  }

  /** The registrations that were made, and not removed since. */
  get made(): readonly Registration[] {
    return this.#made;
  }

  get refused(): readonly RefusedRegistration[] {
    return this.#refused;
  }

  /** The addresses of servers that do not run any more, and whose registrations were removed to make these. */
  get replaced(): readonly HostPort[] {
    return this.#replaced;
  }

  /**
   * Removes the registrations that were made and are still there: none is if the port mapper has ended. Returns those that
   * cannot be removed, or not without somebody else's. Throws PortmapUnreachableError.
   */
  async remove(): Promise<readonly Registration[]> {
    const left: Registration[] = [];
    if (this.#made.length > 0) {
      await this.#ask(async (mapper) => {
        const listed = await mapper.list();
        for (const registration of this.#made) {
          const found = inPlaceOf(registration, listed);
          if (found === undefined || !mayBe(found, registration)) continue;
          if (!(await mapper.unset(registration, listed))) left.push(registration);
        }
      });
      this.#made = [];
    }
    return left;
  }

  async #makeAll(
    mapper: LocalPortMapper,
    groups: readonly (readonly Program[])[],
    address: HostPort,
  ): Promise<void> {
    let listed = await mapper.list();
    for (const { netid, host } of netidsOf(address.host)) {
      if (!mapper.netids.includes(netid)) continue;
      listed = await this.#clear(mapper, groups, { netid, address: { host, port: address.port } }, listed);
      for (const group of groups) {
        const wanted = group.map((program) => ({ program, netid, address: { host, port: address.port } }));
        if (!(await this.#makeGroup(mapper, wanted, listed))) break;
      }
    }
  }

  /**
   * Removes what a server of this kind has left that was killed: the whole first group is registered at one address, and
   * nothing listens there. Returns what is still listed.
   */
  async #clear(
    mapper: LocalPortMapper,
    groups: readonly (readonly Program[])[],
    { netid, address }: Omit<Registration, 'program'>,
    listed: readonly ListedRegistration[],
  ): Promise<readonly ListedRegistration[]> {
    const [first, ...others] = (groups[0] ?? []).map((program) => inPlaceOf({ program, netid }, listed));
    if (first?.host === undefined) return listed;
    const dead = { host: first.host, port: first.port };
    const isThere = (one: ListedRegistration | undefined): boolean =>
      one?.host === dead.host && one.port === dead.port;
    if (!others.every(isThere)) return listed;
    if ((dead.host === address.host && dead.port === address.port) || !(await isRefused(dead))) return listed;
    let left = listed;
    for (const program of groups.flat()) {
      const found = inPlaceOf({ program, netid }, listed);
      if (found === undefined || !isThere(found)) continue;
      if (await mapper.unset({ program, netid, address: dead }, listed))
        left = left.filter((one) => one !== found);
    }
    if (left !== listed) this.#replaced = [...this.#replaced, dead];
    return left;
  }

  async #makeGroup(
    mapper: LocalPortMapper,
    wanted: readonly Registration[],
    listed: readonly ListedRegistration[],
  ): Promise<boolean> {
    const taken = wanted.flatMap((registration) => {
      const found = inPlaceOf(registration, listed);
      return found === undefined || isSurely(found, registration)
        ? []
        : [{ ...registration, taken: found.port }];
    });
    this.#refused = [...this.#refused, ...taken];
    if (taken.length > 0) return false;
    for (const [index, registration] of wanted.entries()) {
      if (await mapper.set(registration)) {
        this.#made = [...this.#made, registration];
        continue;
      }
      this.#refused = [...this.#refused, { ...registration, taken: undefined }];
      const before = wanted.slice(0, index);
      for (const made of before) await mapper.unset(made, listed);
      this.#made = this.#made.filter((made) => !before.includes(made));
      return false;
    }
    return true;
  }

  /** False: there is no port mapper. Throws PortmapUnreachableError for one that does not answer. */
  async #ask(ask: (mapper: LocalPortMapper) => Promise<void>): Promise<boolean> {
    try {
      await this.#portMapper.ask(async (caller: RpcCaller) => ask(await localPortMapper(caller)));
      return true;
    } catch (cause) {
      if (cause instanceof RpcConnectError && cause.code !== 'ETIMEDOUT') return false;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new PortmapUnreachableError(`the port mapper of this host cannot be asked: ${reason}`, { cause });
    }
  }
}

/** The transports over which a server can be reached that listens at `host`, and its address in each. */
function netidsOf(host: string): { readonly netid: string; readonly host: string }[] {
  if (!isIPv6(host)) return [{ netid: 'tcp', host }];
  const six = { netid: 'tcp6', host };
  return host === '::' ? [{ netid: 'tcp', host: '0.0.0.0' }, six] : [six];
}

/** The registration of the same program and version over the same transport: there is one at most. */
function inPlaceOf(
  { program, netid }: Pick<Registration, 'program' | 'netid'>,
  listed: readonly ListedRegistration[],
): ListedRegistration | undefined {
  return listed.find(
    (one) => one.program === program.number && one.version === program.version && one.netid === netid,
  );
}

/**
 * Whether what is listed is this registration. Nobody else can listen at the same address: it was left by an earlier run of
 * this server.
 */
function isSurely({ host, port }: ListedRegistration, { address }: Registration): boolean {
  return host === address.host && port === address.port;
}

/** Whether what is listed is this registration as far as the port mapper knows. */
function mayBe({ host, port }: ListedRegistration, { address }: Registration): boolean {
  return port === address.port && (host ?? address.host) === address.host;
}

/** Whether certainly nothing listens there: this host itself refuses the connection. */
function isRefused({ host, port }: HostPort): Promise<boolean> {
  const own = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host;
  return new Promise((resolve) => {
    const socket = connect({ host: own, port, timeout: LISTENS_MS });
    const end = (refused: boolean): void => {
      socket.destroy();
      resolve(refused);
    };
    socket.on('connect', () => end(false));
    socket.on('timeout', () => end(false));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code === 'ECONNREFUSED'));
  });
}
