/**
 * The sizes for which volumes were made. A folder has no size, but CSI wants a second request of the same name and another
 * size to be refused, also by a driver that was started since. So the share has a note for each volume: a symbolic link in a
 * folder beside the volumes, whose text is the size. A link is made in one step, with its text or not at all.
 */
import { createHash } from 'node:crypto';
import {
  type FileHandle,
  fileNameFromText,
  READLINK,
  REMOVE,
  Status,
  SYMLINK,
} from '../../programs/nfs3/index.js';
import { type ExportAccess, ServerRefusal } from '../../volume-parts/export-access.js';
import { NOTES_FOLDER } from '../volume/volume-id.js';

/** Nobody but the driver has business there. */
const FOLDER_MODE = 0o700;
const LINK_MODE = 0o777;
const MOST_PLAIN = 200;

/** The size that is noted of a volume. Undefined: none is. */
export async function notedSize(access: ExportAccess, volume: string): Promise<bigint | undefined> {
  const folder = await access.findFolder(access.root.handle, fileNameFromText(NOTES_FOLDER));
  return folder && readNote(access, folder.handle, volume);
}

/**
 * Notes the size of a volume unless one is noted. Resolves with the size that is noted then, which another driver may have
 * noted at the same time; undefined: this server has no symbolic links.
 */
export async function noteSize(
  access: ExportAccess,
  volume: string,
  bytes: bigint,
): Promise<bigint | undefined> {
  const { handle: root } = access.root;
  const folder = await access.needFolder(root, fileNameFromText(NOTES_FOLDER), FOLDER_MODE);
  const where = { directory: folder.handle, name: noteName(volume) };
  const target = Buffer.from(`bytes=${bytes}`);
  const { status } = await access.call(SYMLINK, { where, attributes: { mode: LINK_MODE }, target });
  if (status === Status.OK) return bytes;
  if (status === Status.EXIST) return readNote(access, folder.handle, volume);
  if (status === Status.NOTSUPP) return undefined;
  throw new ServerRefusal(status, where.name);
}

/** Forgets the size of a volume that is no more. */
export async function forgetSize(access: ExportAccess, volume: string): Promise<void> {
  const folder = await access.findFolder(access.root.handle, fileNameFromText(NOTES_FOLDER));
  if (folder === undefined) return;
  const name = noteName(volume);
  const { status } = await access.call(REMOVE, { directory: folder.handle, name });
  if (status !== Status.OK && status !== Status.NOENT) throw new ServerRefusal(status, name);
}

async function readNote(
  access: ExportAccess,
  folder: FileHandle,
  volume: string,
): Promise<bigint | undefined> {
  const note = await access.find(folder, noteName(volume));
  if (note === undefined) return undefined;
  const { target } = await access.must(READLINK, { symlink: note.handle }, noteName(volume));
  const digits = /^bytes=(\d{1,19})$/.exec(Buffer.from(target).toString('latin1'))?.[1];
  return digits === undefined ? undefined : BigInt(digits);
}

/** Names of volumes may have any character, and those of files may not. */
function noteName(volume: string) {
  const isPlain = /^\w[\w.-]*$/.test(volume) && volume.length <= MOST_PLAIN;
  return fileNameFromText(isPlain ? volume : `+${createHash('sha256').update(volume).digest('hex')}`);
}
