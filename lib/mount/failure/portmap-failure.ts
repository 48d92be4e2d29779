/** Explains errors of the portmapper. It is asked first, so an unknown or silent host shows here as well. */
import { UserError } from '../../base/user-error.js';
import { MOUNT_PROGRAM } from '../../programs/mount3/index.js';
import {
  PORTMAP_PORT,
  PortmapUnreachableError,
  ProgramNotRegisteredError,
} from '../../programs/portmap/index.js';
import type { ClientConfig } from '../../vfs/config.js';
import { causes, codeOf, type Explainer, TEMPORARY_CODES } from './explainer.js';
import { LOOKUP_CODES, lookupFailure } from './lookup-failure.js';

const GIVE_PORTS =
  'Without a portmapper, give port= and mountport=, as in -o port=2049,mountport=20048 ' +
  '(with nfs-fuse serve and many others both are the same port).';

export const explainPortmap: Explainer = (error, { config }) => {
  if (error instanceof PortmapUnreachableError) return portmapperFailure(error, config);
  if (error instanceof ProgramNotRegisteredError) return notRegistered(error, config);
  return undefined;
};

function portmapperFailure(error: PortmapUnreachableError, config: ClientConfig): UserError {
  const { host } = config;
  const code = [...causes(error)].map(codeOf).find((name) => name !== undefined) ?? '';
  const fail = (message: string, remedy: string) => new UserError(message, { remedy, cause: error });
  if (LOOKUP_CODES.has(code)) return lookupFailure(host, code, error);
  if (code === 'ECONNREFUSED')
    return fail(`There is no portmapper on ${host} (port ${PORTMAP_PORT} refuses connections).`, GIVE_PORTS);
  if (TEMPORARY_CODES.has(code))
    return fail(`${host} does not answer on port ${PORTMAP_PORT}, the portmapper's (${code}).`, GIVE_PORTS);
  return fail(`The portmapper of ${host} gives no usable answer.`, GIVE_PORTS);
}

function notRegistered(error: ProgramNotRegisteredError, config: ClientConfig): UserError {
  const { host, proto } = config;
  const program =
    error.program === MOUNT_PROGRAM.number
      ? `the MOUNT service (program ${error.program})`
      : `NFS (program ${error.program})`;
  return new UserError(
    `The portmapper of ${host} knows no port of ${program} version ${error.version} over ${proto.toUpperCase()}.`,
    {
      remedy:
        error.program === MOUNT_PROGRAM.number
          ? 'Start rpc.mountd on the server, or give mountport=.'
          : 'Start the NFS server with NFSv3 switched on, or give port=.',
      cause: error,
    },
  );
}
