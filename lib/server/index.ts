/** The embedded NFSv3 server. */

export type { ProcedureName } from '../programs/nfs3/index.js';
export { EmbeddedServer, type RestartOptions } from './embedded-server.js';
export type { ActiveFault, Fault, Faults } from './faults.js';
export { type EmbeddedServerOptions, isLoopback } from './options.js';
export {
  CannotSquashError,
  canActAsCallers,
  isRootOutside,
  isUnprivilegedPortFree,
  NOBODY,
} from './trust.js';
