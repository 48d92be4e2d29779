/** Explains a refusal of the MOUNT protocol, and names what the server exports instead. */
import { shownName } from '../../base/shown-name.js';
import { UserError } from '../../base/user-error.js';
import { MountRefused, MountStatus, mountStatusName } from '../../programs/mount3/index.js';
import {
  type Explainer,
  type ExportSummary,
  type FailureContext,
  lowerFirst,
  RESERVED_PORT,
  sentence,
} from './explainer.js';

export const explainMount3: Explainer = (error, context) =>
  error instanceof MountRefused ? refusedExport(error, context) : undefined;

async function refusedExport(
  error: MountRefused,
  { config, listExports }: FailureContext,
): Promise<UserError> {
  const path = config.exportPath.toString('utf8');
  const fail = (message: string, remedy: string) => new UserError(message, { remedy, cause: error });
  const status = mountStatusName(error.status);
  switch (error.status) {
    case MountStatus.NOTDIR:
      return fail(
        `${path} on ${config.host} is not a directory (${status}).`,
        'Mount the directory that it is in.',
      );
    case MountStatus.NOENT:
      return fail(
        `${config.host} has no directory ${path} to mount (${status}).`,
        exportList(await listExports()) ?? `Ask the server: nfs-fuse exports ${config.host}`,
      );
    case MountStatus.ACCES:
    case MountStatus.PERM: {
      const exports = await listExports();
      const own = exports?.find((entry) => entry.path === path);
      const message = `${config.host} does not let this machine mount ${path} (${status}).`;
      if (own !== undefined) {
        const clients = own.clients.length === 0 ? 'everybody' : own.clients.map(shownName).join(', ');
        return fail(
          message,
          config.resvport
            ? `It exports ${path} to ${clients}: add this machine to them.`
            : `It exports ${path} to ${clients}. If this machine is among them: ${lowerFirst(RESERVED_PORT)}`,
        );
      }
      const list = exportList(exports);
      if (list !== undefined) return fail(message, list);
      return fail(
        message,
        `Add this machine to the clients of the export. If it is among them: ${lowerFirst(RESERVED_PORT)}`,
      );
    }
    default:
      return fail(sentence(error.message), 'The log of the server may say why.');
  }
}

/** The server's exports as one sentence. Undefined: they are not known. */
export function exportList(exports: readonly ExportSummary[] | undefined): string | undefined {
  if (exports === undefined) return undefined;
  if (exports.length === 0) return 'The server exports nothing.';
  return `The server exports: ${exports.map((entry) => shownName(entry.path)).join(', ')}`;
}
