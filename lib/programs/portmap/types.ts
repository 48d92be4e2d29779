/** Constants and types of the port mapper: portmap version 2 (RFC 1833 section 3) and rpcbind 3 and 4 (section 2). */
import type { Program } from '../../rpc/wire/procedure.js';

/** Where the port mapper listens, everywhere. */
export const PORTMAP_PORT = 111;

export const PORTMAP_V2: Program = { number: 100000, version: 2, name: 'PORTMAP' };
export const RPCBIND_V3: Program = { number: 100000, version: 3, name: 'RPCBIND' };
export const RPCBIND_V4: Program = { number: 100000, version: 4, name: 'RPCBIND' };

/** As portmap version 2 numbers protocols: those of IP. */
export const IpProtocol = { TCP: 6, UDP: 17 } as const;

/** One registration, portmap version 2. */
export interface Mapping {
  readonly program: number;
  readonly version: number;
  /** An IpProtocol, or something that we do not use. */
  readonly protocol: number;
  readonly port: number;
}

/** One registration, rpcbind 3 and 4. All texts are ASCII on the wire. */
export interface RpcbEntry {
  readonly program: number;
  readonly version: number;
  /** "tcp", "udp", "tcp6", "udp6". */
  readonly netid: string;
  /** The universal address; empty in a question. */
  readonly address: string;
  readonly owner: string;
}
