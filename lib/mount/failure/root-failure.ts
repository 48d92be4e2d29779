/** Explains that mountd granted the export, but the NFS server itself does not show its root. */
import { UserError } from '../../base/user-error.js';
import { Errno, errnoName, FuseError } from '../../fuse/index.js';
import type { ClientConfig } from '../../vfs/config.js';
import { type Explainer, RESERVED_PORT } from './explainer.js';

export const explainRoot: Explainer = (error, { config }) =>
  error instanceof FuseError ? rootFailure(error, config) : undefined;

function rootFailure(error: FuseError, config: ClientConfig): UserError {
  const path = config.exportPath.toString('utf8');
  const fail = (message: string, remedy: string) => new UserError(message, { remedy, cause: error });
  switch (error.errno) {
    case Errno.EPERM:
    case Errno.EACCES:
      return fail(
        `${config.host} lets this machine mount ${path}, but not look at it (${error.message}).`,
        config.resvport ? 'Check who may enter the exported directory on the server.' : RESERVED_PORT,
      );
    case Errno.ENOTDIR:
      return fail(`${path} on ${config.host} is not a directory.`, 'Mount the directory that it is in.');
    default:
      return fail(
        `The exported directory ${path} on ${config.host} cannot be used (${error.message || errnoName(error.errno)}).`,
        'Export it again on the server (exportfs -r); its log may say more.',
      );
  }
}
