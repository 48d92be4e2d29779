/**
 * Asks a server's port mapper where a program listens. As in Linux (net/sunrpc/rpcb_clnt.c), portmap version 2 is
 * spoken over IPv4. It cannot express IPv6 addresses: over IPv6, rpcbind 4 and then 3 are spoken.
 */
import { lookup } from 'node:dns/promises';
import { AUTH_NONE } from '../../rpc/auth/auth-none.js';
import type { Cancellation, RpcCaller } from '../../rpc/client/rpc-caller.js';
import { RpcService, type ServiceOptions } from '../../rpc/client/service.js';
import { RpcCancelledError } from '../../rpc/rpc-errors.js';
import { isUnsupported, PortmapUnreachableError, ProgramNotRegisteredError } from './portmap-error.js';
import { DUMP, GETADDR_V3, GETADDR_V4, GETPORT, NULL } from './procedures.js';
import { IpProtocol, type Mapping, PORTMAP_PORT } from './types.js';
import { formatUniversalAddress, parseUniversalAddress } from './universal-address.js';

/** Wait 5 s for the port mapper, twice: it answers at once or not at all. */
const TIMEO = 50;
const RETRANS = 1;
const CONNECT_TIMEOUT = 10_000;

const PROGRAM_NAMES: Readonly<Record<number, string>> = {
  100003: 'NFS',
  100005: 'MOUNT',
  100011: 'RQUOTA',
  100021: 'NLM',
  100024: 'NSM',
};

/** The service whose port is asked for. */
interface WantedService {
  readonly program: number;
  readonly version: number;
  readonly protocol: 'tcp' | 'udp';
}

export interface PortmapOptions {
  /** Where the port mapper listens: 111. */
  readonly port?: number | undefined;
  readonly family?: 4 | 6 | undefined;
  /** How to talk to the port mapper itself; TCP by default. */
  readonly transport?: 'tcp' | 'udp' | undefined;
  readonly cancellation?: Cancellation | undefined;
  /** Further options of the connection, for example a clock. */
  readonly rpc?: ServiceOptions | undefined;
}

/**
 * The port where `program` listens for `protocol`. Throws ProgramNotRegisteredError when the port mapper says that
 * there is none, PortmapUnreachableError when it cannot be asked, RpcCancelledError.
 */
export async function getPort(
  host: string,
  program: number,
  version: number,
  protocol: 'tcp' | 'udp',
  options: PortmapOptions = {},
): Promise<number> {
  const service = { program, version, protocol };
  const port = await withPortmapper(host, options, (caller, address, family) =>
    family === 4 ? getPortV2(caller, service, options) : getPortV4(caller, address, service, options),
  );
  if (port !== 0) return port;
  const name = PROGRAM_NAMES[program];
  const what = name === undefined ? `program ${program}` : `${name} (program ${program})`;
  throw new ProgramNotRegisteredError(
    `${host} offers no ${what} version ${version} over ${protocol.toUpperCase()}: its port mapper does not know it`,
    program,
    version,
  );
}

/** All registrations that portmap version 2 lists. Throws PortmapUnreachableError, RpcCancelledError. */
export function dumpPorts(host: string, options: PortmapOptions = {}): Promise<readonly Mapping[]> {
  const call = { credential: AUTH_NONE, cancellation: options.cancellation };
  return withPortmapper(host, options, (caller) => caller.call(DUMP, undefined, call));
}

/** Checks that a port mapper answers. Throws PortmapUnreachableError if not. */
export async function pingPortmapper(host: string, options: PortmapOptions = {}): Promise<void> {
  const call = { credential: AUTH_NONE, cancellation: options.cancellation };
  await withPortmapper(host, options, (caller) => caller.call(NULL, undefined, call));
}

/** GETPORT; 0 when not registered. */
function getPortV2(
  caller: RpcCaller,
  { program, version, protocol }: WantedService,
  options: PortmapOptions,
): Promise<number> {
  const mapping = {
    program,
    version,
    protocol: protocol === 'tcp' ? IpProtocol.TCP : IpProtocol.UDP,
    port: 0,
  };
  return caller.call(GETPORT, mapping, { credential: AUTH_NONE, cancellation: options.cancellation });
}

/** GETADDR, version 4 and then 3; 0 when not registered. */
async function getPortV4(
  caller: RpcCaller,
  address: string,
  { program, version, protocol }: WantedService,
  options: PortmapOptions,
): Promise<number> {
  // The address selects the interface at which we reach the server. Its port has no meaning.
  const entry = {
    program,
    version,
    netid: `${protocol}6`,
    address: formatUniversalAddress({ host: withoutScope(address), port: options.port ?? PORTMAP_PORT }),
    owner: '',
  };
  const call = { credential: AUTH_NONE, cancellation: options.cancellation };
  let answer: string;
  try {
    answer = await caller.call(GETADDR_V4, entry, call);
  } catch (error) {
    if (!isUnsupported(error)) throw error;
    answer = await caller.call(GETADDR_V3, entry, call);
  }
  return answer === '' ? 0 : parseUniversalAddress(answer).port;
}

/** `address` without the interface that a link-local address names behind a %: it means nothing to the server. */
function withoutScope(address: string): string {
  return address.split('%', 1)[0] ?? address;
}

async function withPortmapper<Result>(
  host: string,
  options: PortmapOptions,
  ask: (caller: RpcCaller, address: string, family: number) => Promise<Result>,
): Promise<Result> {
  try {
    const { address, family } = await lookup(host, { family: options.family ?? 0 });
    const portmapper = new RpcService(
      { host: address, port: options.port ?? PORTMAP_PORT, protocol: options.transport },
      { timeo: TIMEO, retrans: RETRANS, connectTimeout: CONNECT_TIMEOUT, recovery: 'soft', ...options.rpc },
    );
    return await portmapper.ask((caller) => ask(caller, address, family));
  } catch (error) {
    if (error instanceof RpcCancelledError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new PortmapUnreachableError(
      `the port mapper of ${host} cannot be asked: ${reason}; with port= and mountport= it is not needed`,
      { cause: error },
    );
  }
}
