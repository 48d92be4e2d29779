/**
 * Ids of volumes, in the form of csi-driver-nfs: `server#share#subDir#uuid#onDelete`. Such an id is all that is known of a
 * volume when it is deleted. Where it would be longer than CSI allows, the path of the volume's note is in place of subDir. Owns
 * that form, and that no id leads out of its share.
 */
import { folderNamesOf } from '../../volume-parts/folder-target.js';
import { CsiError } from '../wire/csi-error.js';
import { MOST_TEXT_BYTES } from '../wire/size-limits.js';

const SEPARATOR = '#';

/** The fate of a volume's folder when the volume is deleted. */
export const DELETE_POLICIES = ['delete', 'retain', 'archive'] as const;
export type DeletePolicy = (typeof DELETE_POLICIES)[number];

export interface VolumeId {
  readonly server: string;
  /** Absolute. */
  readonly share: string;
  /** The folder below the share, as its names; at least one. Undefined: the note of the volume has them. */
  readonly folders: readonly string[] | undefined;
  /** The name of the volume; without folders, that of its note. */
  readonly name: string;
  readonly onDelete: DeletePolicy;
}

/** The folder on a server that holds the driver's notes about volumes; no volume lies in it. */
export const NOTES_FOLDER = '.csi-nfs-fuse';

/**
 * The id of a volume whose note has the path `note`. `isByNote`: it has nothing but that note to tell where the volume is.
 * @throws CsiError INVALID_ARGUMENT if a part of it has the character between parts, or the rest leaves no room for the note
 */
export function formatVolumeId(
  { server, share, folders, name, onDelete }: VolumeId & { readonly folders: readonly string[] },
  note: string,
): { readonly id: string; readonly isByNote: boolean } {
  const place = [server, share.replace(/^\/+|\/+$/g, '')];
  const policy = onDelete === 'delete' ? '' : onDelete;
  const subDir = folders.join('/');
  // Where the folder has the name of the volume, csi-driver-nfs leaves it out, too.
  const id = joined([...place, subDir, name === subDir ? '' : name, policy]);
  if (Buffer.byteLength(id) <= MOST_TEXT_BYTES) return { id, isByNote: false };
  const short = joined([...place, note, '', policy]);
  if (Buffer.byteLength(short) <= MOST_TEXT_BYTES) return { id: short, isByNote: true };
  throw new CsiError(
    'INVALID_ARGUMENT',
    `The id of the volume would be longer than the ${MOST_TEXT_BYTES} bytes that CSI allows.`,
    { remedy: 'Write the address of the server in place of its name, or shorter paths in share and subDir.' },
  );
}

/** @throws CsiError INVALID_ARGUMENT */
function joined(parts: readonly string[]): string {
  const bad = parts.find((part) => part.includes(SEPARATOR));
  if (bad === undefined) return parts.join(SEPARATOR);
  throw new CsiError('INVALID_ARGUMENT', `"${bad}" has the character "${SEPARATOR}".`, {
    remedy: 'It separates the parts of the id of a volume: do without it in server, share, subDir and names.',
  });
}

/**
 * Reads an id. Undefined: it is none of this form, so that there is no such volume.
 * @throws CsiError INVALID_ARGUMENT for one that leads out of its share, or names the share itself
 */
export function parseVolumeId(id: string): VolumeId | undefined {
  const [server = '', share = '', subDir, uuid = '', onDelete = '', ...more] = id.split(SEPARATOR);
  if (server === '' || subDir === undefined || more.length > 0) return undefined;
  const policy =
    onDelete === '' ? 'delete' : DELETE_POLICIES.find((known) => known === onDelete.toLowerCase());
  if (policy === undefined) return undefined;
  const place = { server, share: checkedShare(share), onDelete: policy };
  const [folder, note, ...deeper] = subDir.split('/');
  if (folder === NOTES_FOLDER && note !== undefined && deeper.length === 0 && uuid === '')
    return { ...place, folders: undefined, name: note };
  return { ...place, folders: checkedFolders(subDir), name: uuid === '' ? subDir : uuid };
}

/** An absolute path. @throws CsiError INVALID_ARGUMENT for one with ".." */
export function checkedShare(share: string): string {
  if (!share.split('/').includes('..')) return `/${share.replace(/^\/+/, '')}`;
  throw new CsiError('INVALID_ARGUMENT', `share=${share} has "..".`, {
    remedy: 'Name the exported path itself.',
  });
}

/** The names of a volume's folder. @throws CsiError INVALID_ARGUMENT if it is not below the share */
export function checkedFolders(subDir: string): string[] {
  const names = folderNamesOf(subDir);
  const remedy = 'Write names with "/" between them, such as subDir=team/data, without "..".';
  if (names === undefined)
    throw new CsiError('INVALID_ARGUMENT', `subDir=${subDir} is not a folder below the share.`, { remedy });
  if (names.length === 0)
    throw new CsiError('INVALID_ARGUMENT', 'This names the share itself, and no folder below it.', {
      remedy,
    });
  if (names[0] === NOTES_FOLDER)
    throw new CsiError('INVALID_ARGUMENT', `The driver has its notes in ${NOTES_FOLDER}.`, {
      remedy: 'Name another folder.',
    });
  return names;
}
