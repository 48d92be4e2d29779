/** Explains why a server tells no quotas. */
import { UserError } from '../../base/user-error.js';
import { PortmapUnreachableError } from '../../programs/portmap/index.js';
import { QuotaServiceError } from '../../vfs/quota/quota-service.js';

/** An error that is none of the quota service's is a bug, and stays. */
export function quotaFailure(error: unknown): unknown {
  if (!(error instanceof QuotaServiceError)) return error;
  const remedy =
    error.cause instanceof PortmapUnreachableError
      ? 'Mount with rquotaport=, the port of rpc.rquotad on the server.'
      : 'Start it on the server (Linux: rpc.rquotad of the package quota; nfs-ganesha: Enable_RQUOTA = true), let its port ' +
        'through, or mount with rquotaport=.';
  return new UserError(`${error.message}.`, { remedy, cause: error });
}
