/** The folders of volumes on a server: made, found, adapted, put aside and removed by calls of our own, without a mount. */
import { dirname, join } from 'node:path/posix';
import {
  type Fattr3,
  type FileHandle,
  FSSTAT,
  fileNameFromText,
  RENAME,
  SETATTR,
  Status,
} from '../../programs/nfs3/index.js';
import { type ExportAccess, type FoundObject, ServerRefusal } from '../../volume-parts/export-access.js';
import { CsiError } from '../wire/csi-error.js';
import { TreeRemoval } from './tree-removal.js';

/** As mkdir(1) makes folders for root. */
const USUAL_MODE = 0o755;
/** The members of the group may do all there, and what they make is the group's. */
const GROUP_BITS = 0o2070;
/** Before the name of a folder that is put aside, as csi-driver-nfs names it. */
const ARCHIVED = 'archived-';
/** More folders of one name are not put aside beside each other. */
const MOST_ARCHIVED = 1000;

/** Changes of a volume's folder. */
export interface FolderWishes {
  /** Permission bits. Undefined: those that it has. */
  readonly mode: number | undefined;
  /** A group whose members are to use it. */
  readonly group?: number | undefined;
}

/** Makes what is missing of a volume's folder, and gives it its permissions. @throws ServerRefusal */
export async function makeFolder(
  access: ExportAccess,
  folders: readonly string[],
  wishes: FolderWishes,
): Promise<void> {
  let folder = access.root;
  for (const name of folders)
    folder = await access.needFolder(folder.handle, fileNameFromText(name), USUAL_MODE);
  await adaptFolder(access, folder, wishes);
}

/** The folder of these names. Undefined: there is none. @throws ServerRefusal */
export async function findFolder(
  access: ExportAccess,
  folders: readonly string[],
): Promise<FoundObject | undefined> {
  let folder: FoundObject | undefined = access.root;
  for (const name of folders) {
    folder = await access.findFolder(folder.handle, fileNameFromText(name));
    if (folder === undefined) return undefined;
  }
  return folder;
}

/** Gives a folder the permissions and the group that are wished for, where it has others. @throws ServerRefusal */
export async function adaptFolder(
  access: ExportAccess,
  { handle, attributes }: FoundObject,
  { mode, group }: FolderWishes,
): Promise<void> {
  const isGroups = group === undefined || attributes.gid === group;
  const wanted = (mode ?? attributes.mode) | (group === undefined ? 0 : GROUP_BITS);
  if (isGroups && wanted === attributes.mode) return;
  // The group first: a change of it may take the bit away that gives it to what is made there.
  if (!isGroups) await change(access, handle, { gid: group });
  await change(access, handle, { mode: wanted });
}

async function change(
  access: ExportAccess,
  object: FileHandle,
  attributes: Partial<Pick<Fattr3, 'mode' | 'gid'>>,
): Promise<void> {
  await access.must(SETATTR, { object, attributes, guard: undefined });
}

/** Removes a volume's folder with all that is in it; the folders around it stay. Nothing to do if there is none. */
export async function removeFolder(
  access: ExportAccess,
  folders: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const parent = await findFolder(access, folders.slice(0, -1));
  if (parent === undefined) return;
  const name = fileNameFromText(folders.at(-1) ?? '');
  const found = await access.findFolder(parent.handle, name);
  if (found === undefined) return;
  const removal = new TreeRemoval(access, found.attributes.fsid, signal);
  await removal.remove({ parent: parent.handle, name, handle: found.handle });
}

/**
 * Puts a volume's folder aside, as `archived-` and its path. If there is one of that name already, a number follows: nothing is
 * ever written over. Nothing to do if there is no folder.
 */
export async function archiveFolder(access: ExportAccess, folders: readonly string[]): Promise<void> {
  const parent = await findFolder(access, folders.slice(0, -1));
  const name = fileNameFromText(folders.at(-1) ?? '');
  if (parent === undefined || (await access.findFolder(parent.handle, name)) === undefined) return;
  const wanted = `${ARCHIVED}${folders.join('/')}`;
  const around = dirname(wanted) === '.' ? [] : dirname(wanted).split('/');
  let place = access.root;
  for (const folder of around)
    place = await access.needFolder(place.handle, fileNameFromText(folder), USUAL_MODE);
  for (let number = 1; number <= MOST_ARCHIVED; number++) {
    const free = fileNameFromText(join('/', wanted).split('/').at(-1) + (number === 1 ? '' : `-${number}`));
    if ((await access.find(place.handle, free)) !== undefined) continue;
    const { status } = await access.call(RENAME, {
      from: { directory: parent.handle, name },
      to: { directory: place.handle, name: free },
    });
    if (status === Status.OK) return;
    // A call that was sent twice has succeeded the first time.
    if (status === Status.NOENT && (await access.find(place.handle, free)) !== undefined) return;
    if (status !== Status.EXIST && status !== Status.NOTEMPTY) throw new ServerRefusal(status, name);
  }
  throw new CsiError('RESOURCE_EXHAUSTED', `There are ${MOST_ARCHIVED} folders ${wanted} already.`, {
    remedy: 'Remove some of them.',
  });
}

/** The bytes that are free for this machine's users. */
export async function freeBytes(access: ExportAccess): Promise<bigint> {
  const { availableBytes } = await access.must(FSSTAT, { object: access.root.handle });
  return availableBytes;
}
