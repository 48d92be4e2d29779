/** Explains why a lock manager cannot be found, on which the user insists. One that does not answer is explained by RPC's errors. */
import { UserError } from '../../base/user-error.js';
import { PortmapUnreachableError, ProgramNotRegisteredError } from '../../programs/portmap/index.js';
import { LockManagerError } from '../../vfs/remote/lock-manager.js';
import type { Explainer } from './explainer.js';

export const explainLockManager: Explainer = (error) => {
  if (!(error instanceof LockManagerError)) return undefined;
  const fail = (remedy: string) => new UserError(`${error.message}.`, { remedy, cause: error });
  if (error.cause instanceof PortmapUnreachableError)
    return fail(
      'Give nlmport= (of nfs-fuse serve it is the port of everything else), or leave lock out, or give nolock.',
    );
  if (error.cause instanceof ProgramNotRegisteredError)
    return fail(
      'Start it on the server (knfsd: lockd; nfs-ganesha: Enable_NLM = true), give nlmport=, or leave lock out.',
    );
  return undefined;
};
