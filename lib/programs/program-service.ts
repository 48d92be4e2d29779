/** The service of one program of a server. The port mapper is asked for its port where none is given. */
import { RpcService, type ServiceAddress, type ServiceOptions } from '../rpc/client/service.js';
import type { Program } from '../rpc/wire/procedure.js';
import { getPort, type PortmapOptions } from './portmap/index.js';

export interface ProgramAddress extends Omit<ServiceAddress, 'port'> {
  /** Undefined: the port mapper is asked. */
  readonly port: number | undefined;
  /** How the port mapper is asked. */
  readonly portmap?: PortmapOptions | undefined;
}

/**
 * The service whose clients call `program`. If the port mapper has to be asked, they also fail with the errors of
 * {@link getPort}.
 */
export function programService(
  program: Program,
  { port, portmap, ...address }: ProgramAddress,
  options: ServiceOptions = {},
): RpcService {
  const { host, protocol = 'tcp' } = address;
  const find = () => getPort(host, program.number, program.version, protocol, portmap);
  return new RpcService({ ...address, port: port ?? find }, options);
}
