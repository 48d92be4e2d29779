/** The port mapper (RFC 1833): portmap version 2, rpcbind 3 and 4. */
export type { Registration } from './local-port-mapper.js';
export { LocalRegistrations, type RefusedRegistration } from './local-registrations.js';
export { dumpPorts, getPort, type PortmapOptions, pingPortmapper } from './portmap-client.js';
export { PortmapError, PortmapUnreachableError, ProgramNotRegisteredError } from './portmap-error.js';
export * as portmapProcedures from './procedures.js';
export * from './types.js';
export { formatUniversalAddress, type HostPort, parseUniversalAddress } from './universal-address.js';
