/** Makes the folder of a volume with subdir=, through the export's root: a server that knows it from us lets it be mounted. */
import { UserError } from '../base/user-error.js';
import { unlessAborted } from '../mount/waiting.js';
import { fileNameFromText } from '../programs/nfs3/index.js';
import { ExportAccess, ServerRefusal } from '../volume-parts/export-access.js';
import type { VolumeSettings } from './volume-options.js';

/** As mkdir(1) makes folders; who may write to it is for its owner to say. */
const MODE = 0o755;

/**
 * Makes what is missing of the folder. A symbolic link in its place is refused: it could lead out of the export.
 * @throws UserError if the server cannot be reached, or refuses; the reason of `signal` as soon as that is aborted
 */
export async function makeSubFolder(
  { target, folders, options }: VolumeSettings,
  signal: AbortSignal,
): Promise<void> {
  const opening = ExportAccess.open(target, options);
  let access: ExportAccess;
  try {
    access = await unlessAborted(opening, signal);
  } catch (error) {
    // A server that answers at last gets a good-bye.
    opening.then(
      (late) => late.close(),
      () => {},
    );
    throw error;
  }
  const making = makeAll(access, folders, signal).finally(() => access.close());
  await unlessAborted(making, signal);
}

async function makeAll(access: ExportAccess, folders: readonly string[], signal: AbortSignal): Promise<void> {
  let folder = access.root;
  for (const name of folders) {
    signal.throwIfAborted();
    try {
      folder = await access.needFolder(folder.handle, fileNameFromText(name), MODE);
    } catch (error) {
      throw error instanceof ServerRefusal ? refused(folders.join('/'), name, error.why) : error;
    }
  }
}

function refused(path: string, name: string, why: string): UserError {
  return new UserError(`The folder "${name}" of subdir=${path} cannot be made: ${why}.`, {
    remedy: 'Make it on the server, or let this machine write to the export (uid=, gid=, no_root_squash).',
  });
}
