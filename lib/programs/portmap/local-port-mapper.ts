/**
 * The port mapper of this host as a server uses it: it lists, makes and removes registrations, by rpcbind version 4 or by
 * portmap version 2.
 *
 * rpcbind knows a registration by its transport and its whole address. Portmap version 2 knows the port alone, and removes
 * a program over TCP and UDP together.
 */
import { AUTH_NONE } from '../../rpc/auth/auth-none.js';
import type { RpcCaller } from '../../rpc/client/rpc-caller.js';
import type { Program } from '../../rpc/wire/procedure.js';
import { isUnsupported } from './portmap-error.js';
import { DUMP, DUMP_V4, SET, SET_V4, UNSET, UNSET_V4 } from './procedures.js';
import { IpProtocol, type Mapping, type RpcbEntry } from './types.js';
import { formatUniversalAddress, type HostPort, parseUniversalAddress } from './universal-address.js';

const CALL = { credential: AUTH_NONE };

/** A program, and where it listens. */
export interface Registration {
  readonly program: Program;
  /** "tcp", "tcp6". */
  readonly netid: string;
  readonly address: HostPort;
}

/** A registration as it is listed. */
export interface ListedRegistration {
  readonly program: number;
  readonly version: number;
  readonly netid: string;
  readonly port: number;
  /** Undefined: the port mapper does not know it. */
  readonly host: string | undefined;
}

export interface LocalPortMapper {
  list(): Promise<readonly ListedRegistration[]>;
  /** Transports that can be registered. */
  readonly netids: readonly string[];
  /** False: there is another registration in its place, or the port mapper refuses. */
  set(registration: Registration): Promise<boolean>;
  /** Removes this registration and no other of those in `listed`. False: that cannot be done. */
  unset(registration: Registration, listed: readonly ListedRegistration[]): Promise<boolean>;
}

/** Finds out which version the port mapper speaks. Rejects with an RpcError. */
export async function localPortMapper(caller: RpcCaller): Promise<LocalPortMapper> {
  try {
    const rpcbind = rpcbindVersion4(caller);
    await rpcbind.list();
    return rpcbind;
  } catch (error) {
    if (!isUnsupported(error)) throw error;
    return portmapVersion2(caller);
  }
}

function rpcbindVersion4(caller: RpcCaller): LocalPortMapper {
  // The port mapper finds the owner out by itself.
  const entryOf = ({ program, netid, address }: Registration): RpcbEntry => ({
    program: program.number,
    version: program.version,
    netid,
    address: formatUniversalAddress(address),
    owner: '',
  });
  return {
    netids: ['tcp', 'tcp6'],
    list: async () => (await caller.call(DUMP_V4, undefined, CALL)).flatMap(listedEntry),
    set: (registration) => caller.call(SET_V4, entryOf(registration), CALL),
    unset: (registration) => caller.call(UNSET_V4, entryOf(registration), CALL),
  };
}

/** Nothing for an entry without an IP address: that of a local socket, or one that makes no sense. */
function listedEntry({ program, version, netid, address }: RpcbEntry): ListedRegistration[] {
  try {
    return [{ program, version, netid, ...parseUniversalAddress(address) }];
  } catch {
    return [];
  }
}

function portmapVersion2(caller: RpcCaller): LocalPortMapper {
  const mappingOf = ({ program, address }: Registration): Mapping => ({
    program: program.number,
    version: program.version,
    protocol: IpProtocol.TCP,
    port: address.port,
  });
  return {
    netids: ['tcp'],
    list: async () =>
      (await caller.call(DUMP, undefined, CALL)).map(({ program, version, protocol, port }) => ({
        program,
        version,
        netid: protocol === IpProtocol.TCP ? 'tcp' : 'udp',
        port,
        host: undefined,
      })),
    set: (registration) => caller.call(SET, mappingOf(registration), CALL),
    async unset(registration, listed) {
      const { program } = registration;
      const others = listed.filter(
        ({ program: number, version, netid }) =>
          number === program.number && version === program.version && netid !== registration.netid,
      );
      return others.length === 0 && caller.call(UNSET, mappingOf(registration), CALL);
    },
  };
}
