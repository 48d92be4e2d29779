/**
 * Listens for grants of locks. A server that grants a lock which waited asks the port mapper of its client for the client's
 * NLM program, and calls that: both are here, for one server.
 *
 * Nothing depends on it. A client that hears of no grant asks again by itself, only later.
 */
import { PORTMAP_PORT } from '../programs/portmap/index.js';
import { RpcServer } from '../rpc/index.js';
import { type CallbackOptions, CallbackProgram } from './callback-program.js';
import { LockListenerError } from './lock-listener-error.js';
import { type ListeningPorts, offerPortMapper } from './tiny-port-mapper.js';

/** The longest call: GRANTED with its three names of 1024 bytes, the handle, and the credential. */
const MAX_CALL = 5 * 1024;
/** One server has few connections, and few calls on each. */
const LIMITS = { maxRecord: MAX_CALL, maxConnections: 16, maxOutstanding: 16, duplicateRequests: 128 };

export interface LockListenerOptions extends CallbackOptions {
  /** The addresses of this machine at which the server sees the client: see ownAddressTowards. */
  readonly addresses: readonly string[];
  /** Whether an address is the server's. Nobody else is heard: connections are ended, and datagrams dropped, unread. */
  readonly isServer: (address: string) => boolean;
  /** Where the port mapper listens: 111, where every server looks for it. */
  readonly portMapperPort?: number | undefined;
}

export class LockListener {
  readonly #servers: readonly RpcServer[];
  readonly #program: CallbackProgram;
  /** Where the program listens that is told of grants, by address. */
  readonly ports: ReadonlyMap<string, ListeningPorts>;

  constructor(
    servers: readonly RpcServer[],
    program: CallbackProgram,
    ports: ReadonlyMap<string, ListeningPorts>,
  ) {
    this.#servers = servers;
    this.#program = program;
    this.ports = ports;
  }

  /** Ends all connections, and listens no more. Answers under way are given up. */
  async close(): Promise<void> {
    this.#program.close();
    await Promise.all(this.#servers.map((server) => server.close(0)));
  }
}

/**
 * Listens over TCP and UDP at all of `addresses`, or at none. Throws LockListenerError where a port cannot be had: another
 * port mapper runs there, or the process may not use ports below 1024.
 */
export async function startLockListener(options: LockListenerOptions): Promise<LockListener> {
  const { addresses, isServer, log, portMapperPort = PORTMAP_PORT } = options;
  const program = new CallbackProgram(options);
  const servers: RpcServer[] = [];
  const newServer = (): RpcServer => {
    const server = new RpcServer({
      ...LIMITS,
      admits: isServer,
      onHandlerError: (call, error) => log.error(`${call.name} of a lock failed: ${String(error)}`),
    });
    servers.push(server);
    return server;
  };
  const ports = new Map<string, ListeningPorts>();
  try {
    for (const host of addresses) {
      const callback = newServer();
      program.offer(callback);
      const locks = await listen(callback, host, 0);
      ports.set(host, locks);
      const portMapper = newServer();
      const own = { tcp: portMapperPort, udp: portMapperPort };
      offerPortMapper(portMapper, { host, own, locks });
      await listen(portMapper, host, portMapperPort);
    }
  } catch (error) {
    await Promise.all(servers.map((server) => server.close(0)));
    throw error;
  }
  return new LockListener(servers, program, ports);
}

async function listen(server: RpcServer, host: string, port: number): Promise<ListeningPorts> {
  try {
    const tcp = await server.listen({ host, port });
    const udp = await server.listenForDatagrams({ host, port });
    return { tcp: tcp.port, udp: udp.port };
  } catch (error) {
    throw new LockListenerError(host, port, error);
  }
}
