/**
 * The lock manager of a server: whether there is one, and the way to it. It is asked for when the export is mounted, so that
 * a program never finds out by an error in the middle of its work.
 */
import type { Logger } from '../../base/log.js';
import { NamedError } from '../../base/named-error.js';
import { lockProcedures, NLM_PROGRAM } from '../../programs/nlm4/index.js';
import { PortmapUnreachableError } from '../../programs/portmap/index.js';
import { programService } from '../../programs/program-service.js';
import type { RpcClient, ServiceOptions } from '../../rpc/index.js';
import { ownCredential } from '../caller/own-identity.js';
import type { ClientConfig } from '../config.js';
import type { ServerRestarts } from './server-restarts.js';

/** Mounting does not wait longer than 2 s, twice, for a service that it can do without. */
const OPTIONAL_RPC = { timeo: 20, retrans: 1, recovery: 'soft', connectTimeout: 4_000 } as const;

/** The server's lock manager cannot be reached: the message says so, `cause` how that was noticed. */
export class LockManagerError extends NamedError {}

/** A lasting connection with the lock manager of a server. */
export interface LockManager {
  readonly rpc: RpcClient;
  /** Where it was found. */
  readonly port: number;
}

interface LockManagerDependencies {
  readonly log: Logger;
  readonly restarts: ServerRestarts;
  /** Further options of every RPC connection. */
  readonly rpc?: ServiceOptions | undefined;
}

/** Whether locks of this mount go to the server at all. */
export function wantsLockManager({ locks, localLock }: ClientConfig): boolean {
  return locks !== 'none' && localLock !== 'all';
}

/** The lock manager at this port, whether it answers now or not: calls wait for it as long as those of the mount do. */
export function openLockManager(
  config: ClientConfig,
  dependencies: LockManagerDependencies,
  port: number,
): LockManager {
  const { host, proto: protocol, resvport, recovery, retrans, timeoMs } = config;
  const options: ServiceOptions = {
    ...dependencies.rpc,
    recovery,
    retrans,
    timeo: Math.max(1, Math.round(timeoMs / 100)),
    called: `lock manager of ${host}`,
    log: (message) => dependencies.log.warn(message),
    onConnected: dependencies.restarts.watching(1),
  };
  return { rpc: programService(NLM_PROGRAM, { host, port, protocol, resvport }, options).open(port), port };
}

/**
 * Finds the lock manager, and sees that it answers.
 * @throws LockManagerError
 */
export async function reachLockManager(
  config: ClientConfig,
  dependencies: LockManagerDependencies,
): Promise<LockManager> {
  const { host, lockPort, proto, resvport } = config;
  const portmap = { rpc: OPTIONAL_RPC };
  const address = { host, port: lockPort, protocol: proto, resvport, portmap };
  let port = lockPort;
  try {
    port = await programService(NLM_PROGRAM, address).port();
    const credential = ownCredential(config.identity);
    const probe = programService(NLM_PROGRAM, { ...address, port }, { ...dependencies.rpc, ...OPTIONAL_RPC });
    await probe.ask((rpc) => rpc.call(lockProcedures.NULL, undefined, { credential }));
    return openLockManager(config, dependencies, port);
  } catch (error) {
    throw new LockManagerError(lockManagerLack(host, port, error), { cause: error });
  }
}

/** `port` is undefined: it was not found. */
function lockManagerLack(host: string, port: number | undefined, error: unknown): string {
  if (port !== undefined) return `The lock manager of ${host} does not answer on port ${port}`;
  if (error instanceof PortmapUnreachableError)
    return `The portmapper of ${host} cannot be asked for the lock manager, whose port nlmport= can name`;
  return `${host} offers no lock manager`;
}
