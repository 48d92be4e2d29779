/** Makes the folder of a volume with subdir=, through the export's root: a server that knows it from us lets it be mounted. */
import { UserError } from '../base/user-error.js';
import { fileNameFromText } from '../programs/nfs3/index.js';
import { ExportAccess, ServerRefusal } from '../volume-parts/export-access.js';
import type { VolumeSettings } from './volume-options.js';

/** As mkdir(1) makes folders; who may write to it is for its owner to say. */
const MODE = 0o755;

/**
 * Makes what is missing of the folder. A symbolic link in its place is refused: it could lead out of the export.
 * @throws UserError if the server cannot be reached, or refuses
 */
export async function makeSubFolder({ target, folders, options }: VolumeSettings): Promise<void> {
  const access = await ExportAccess.open(target, options);
  try {
    let folder = access.root;
    for (const name of folders) {
      try {
        folder = await access.needFolder(folder.handle, fileNameFromText(name), MODE);
      } catch (error) {
        throw error instanceof ServerRefusal ? refused(folders.join('/'), name, error.why) : error;
      }
    }
  } finally {
    await access.close();
  }
}

function refused(path: string, name: string, why: string): UserError {
  return new UserError(`The folder "${name}" of subdir=${path} cannot be made: ${why}.`, {
    remedy: 'Make it on the server, or let this machine write to the export (uid=, gid=, no_root_squash).',
  });
}
