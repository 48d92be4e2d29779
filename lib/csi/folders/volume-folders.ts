/** The folders of volumes on a server: made, found, adapted, put aside and removed by calls of our own, without a mount. */
import { createHash } from 'node:crypto';
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
import { LONGEST_NAME } from '../../volume-parts/folder-target.js';
import { CsiError } from '../wire/csi-error.js';
import { cutText } from '../wire/size-limits.js';
import { TreeRemoval } from './tree-removal.js';

/** As mkdir(1) makes folders for root. */
const USUAL_MODE = 0o755;
/** The members of the group may do all there, and what they make is the group's. */
const GROUP_BITS = 0o2070;
/** Before the name of a folder that is put aside, as csi-driver-nfs names it. */
const ARCHIVED = 'archived-';
/** More folders of one name are not put aside beside each other. */
const MOST_ARCHIVED = 1000;
/** Digits that tell a name that was cut off from others with the same beginning. */
const MARK_DIGITS = 16;

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

/**
 * Gives a folder the permissions and the group that are wished for, where it has others. Resolves with the server's refusal of the
 * group, with which a volume can be used all the same. @throws ServerRefusal if it refuses the permissions that are wished for
 */
export async function adaptFolder(
  access: ExportAccess,
  { handle, attributes }: FoundObject,
  { mode, group }: FolderWishes,
): Promise<ServerRefusal | undefined> {
  const isOthers = group !== undefined && attributes.gid !== group;
  // The group first: a change of it may take the bit away that gives it to what is made there.
  const refusal = isOthers ? await refusalOf(change(access, handle, { gid: group })) : undefined;
  const isGroups = group !== undefined && refusal === undefined;
  const wanted = (mode ?? attributes.mode) | (isGroups ? GROUP_BITS : 0);
  if (wanted === attributes.mode && (!isOthers || refusal !== undefined)) return refusal;
  const changed = change(access, handle, { mode: wanted });
  if (mode === undefined) return refusalOf(changed);
  await changed;
  return refusal;
}

/** The refusal with which some work ends. Undefined: it succeeds. */
async function refusalOf(work: Promise<void>): Promise<ServerRefusal | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof ServerRefusal) return error;
    throw error;
  }
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
 * ever written over. A name that would be too long is cut off. Nothing to do if there is no folder.
 */
export async function archiveFolder(access: ExportAccess, folders: readonly string[]): Promise<void> {
  const parent = await findFolder(access, folders.slice(0, -1));
  const name = fileNameFromText(folders.at(-1) ?? '');
  if (parent === undefined || (await access.findFolder(parent.handle, name)) === undefined) return;
  const wanted = folders.map((folder, at) => (at === 0 ? `${ARCHIVED}${folder}` : folder));
  let place = access.root;
  for (const folder of wanted.slice(0, -1))
    place = await access.needFolder(place.handle, fileNameFromText(fitting(folder)), USUAL_MODE);
  for (let number = 1; number <= MOST_ARCHIVED; number++) {
    const free = fileNameFromText(fitting(wanted.at(-1) ?? '', number === 1 ? '' : `-${number}`));
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
  throw new CsiError(
    'RESOURCE_EXHAUSTED',
    `There are ${MOST_ARCHIVED} folders ${wanted.join('/')} already.`,
    {
      remedy: 'Remove some of them.',
    },
  );
}

/** A name with an end behind it, of which so much is left as a file system takes. */
function fitting(name: string, end = ''): string {
  if (Buffer.byteLength(name + end) <= LONGEST_NAME) return name + end;
  const mark = `~${createHash('sha256').update(name).digest('hex').slice(0, MARK_DIGITS)}${end}`;
  return cutText(name, LONGEST_NAME, mark);
}

/** The bytes that are free for this machine's users. */
export async function freeBytes(access: ExportAccess): Promise<bigint> {
  const { availableBytes } = await access.must(FSSTAT, { object: access.root.handle });
  return availableBytes;
}
