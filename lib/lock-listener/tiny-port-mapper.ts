/**
 * A port mapper that knows two programs: itself, and the one that hears of granted locks. It registers nothing for anybody.
 * Servers ask portmap version 2 over IPv4, and rpcbind 4 or 3 over IPv6.
 */
import { NLM_PROGRAM } from '../programs/nlm4/index.js';
import {
  formatUniversalAddress,
  IpProtocol,
  type Mapping,
  PORTMAP_V2,
  portmapProcedures,
  RPCBIND_V3,
  RPCBIND_V4,
  type RpcbEntry,
} from '../programs/portmap/index.js';
import { handle, type Program, type RpcServer } from '../rpc/index.js';

/** The ports at one address. */
export interface ListeningPorts {
  readonly tcp: number;
  readonly udp: number;
}

export interface TinyPortMapperOptions {
  /** The address that is listened on. */
  readonly host: string;
  /** Its own ports, and those of the lock manager's callback. */
  readonly own: ListeningPorts;
  readonly locks: ListeningPorts;
}

/** Offers the port mapper on a server. */
export function offerPortMapper(server: RpcServer, { host, own, locks }: TinyPortMapperOptions): void {
  const { GETPORT, SET, UNSET, DUMP, GETADDR_V3, GETADDR_V4 } = portmapProcedures;
  const portsOf = ({ program, version }: { readonly program: number; readonly version: number }) => {
    const is = (known: Program): boolean => program === known.number && version === known.version;
    return is(NLM_PROGRAM) ? locks : is(PORTMAP_V2) ? own : undefined;
  };
  const portOf = (mapping: Mapping): number => {
    const ports = portsOf(mapping);
    if (mapping.protocol === IpProtocol.TCP) return ports?.tcp ?? 0;
    return mapping.protocol === IpProtocol.UDP ? (ports?.udp ?? 0) : 0;
  };
  const addressOf = (entry: RpcbEntry): string => {
    const [, protocol] = /^(tcp|udp)6?$/.exec(entry.netid) ?? [];
    const port = portOf({
      ...entry,
      protocol: protocol === 'tcp' ? IpProtocol.TCP : IpProtocol.UDP,
      port: 0,
    });
    return protocol === undefined || port === 0 ? '' : formatUniversalAddress({ host, port });
  };
  const list = (): Mapping[] =>
    [PORTMAP_V2, NLM_PROGRAM].flatMap(({ number: program, version }) =>
      [IpProtocol.TCP, IpProtocol.UDP].map((protocol) => {
        const mapping = { program, version, protocol, port: 0 };
        return { ...mapping, port: portOf(mapping) };
      }),
    );
  const never = (): boolean => false;
  server.register(PORTMAP_V2, [
    handle(SET, never),
    handle(UNSET, never),
    handle(GETPORT, portOf),
    handle(DUMP, list),
  ]);
  server.register(RPCBIND_V3, [handle(GETADDR_V3, addressOf)]);
  server.register(RPCBIND_V4, [handle(GETADDR_V4, addressOf)]);
}
