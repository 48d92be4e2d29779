/** Makes the folder of a volume with subdir=, through the export's root: a server that knows it from us lets it be mounted. */
import { type Logger, loggerTo } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import { mountFailure } from '../mount/failure/mount-failure.js';
import { parseMountRequest } from '../mount/options/mount-options.js';
import { exportsForExplanation } from '../mount/server/server-exports.js';
import {
  type FileHandle,
  FileType,
  fileNameFromText,
  LOOKUP,
  MKDIR,
  Status,
  statusName,
} from '../programs/nfs3/index.js';
import { Credentials, unattended } from '../vfs/caller/caller.js';
import { ownServerIds } from '../vfs/caller/own-identity.js';
import { openExport } from '../vfs/open-export.js';
import { ExportSession } from '../vfs/remote/export-session.js';
import type { VfsState } from '../vfs/vfs-state.js';
import type { VolumeSettings } from './volume-options.js';

/** As mkdir(1) makes folders; who may write to it is for its owner to say. */
const MODE = 0o755;
const silent: Logger = loggerTo();

/**
 * Makes what is missing of the folder. A symbolic link in its place is refused: it could lead out of the export.
 * @throws UserError if the server cannot be reached, or refuses
 */
export async function makeSubFolder({ target, folders, options }: VolumeSettings): Promise<void> {
  const { client: asked } = parseMountRequest(target, options);
  // A volume waits for ever, but making its folder may fail: the next attempt to mount repeats it.
  const client = { ...asked, recovery: 'soft', locks: 'none' } as const;
  let session: ExportSession;
  try {
    session = await ExportSession.connect(client, { log: silent });
  } catch (error) {
    throw await mountFailure(error, client, () => exportsForExplanation(client));
  }
  try {
    const vfs = openExport(session, client, { log: silent });
    let folder = session.rootHandle;
    for (const name of folders) folder = await enter(vfs, session, folder, name, folders.join('/'));
  } finally {
    await session.close();
  }
}

async function enter(
  vfs: VfsState,
  { machineName }: ExportSession,
  directory: FileHandle,
  text: string,
  path: string,
): Promise<FileHandle> {
  const { uid, gid, groups } = ownServerIds(vfs.identity);
  const caller = unattended(new Credentials({ machineName, now: vfs.clock.now }).of(uid, gid, groups));
  const where = { directory, name: fileNameFromText(text) };
  let found = await vfs.nfs.call(LOOKUP, where, caller);
  if (found.status === Status.NOENT) {
    const made = await vfs.nfs.call(MKDIR, { where, attributes: { mode: MODE } }, caller);
    // Another machine may have made it at the same time.
    if (made.status !== Status.OK && made.status !== Status.EXIST)
      throw refused(path, text, statusName(made.status));
    found = await vfs.nfs.call(LOOKUP, where, caller);
  }
  if (found.status !== Status.OK) throw refused(path, text, statusName(found.status));
  if (found.attributes !== undefined && found.attributes.type !== FileType.DIR)
    throw refused(path, text, 'it exists, and is no folder');
  return found.object;
}

function refused(path: string, name: string, why: string): UserError {
  return new UserError(`The folder "${name}" of subdir=${path} cannot be made: ${why}.`, {
    remedy: 'Make it on the server, or let this machine write to the export (uid=, gid=, no_root_squash).',
  });
}
