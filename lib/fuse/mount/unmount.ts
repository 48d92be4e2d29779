/**
 * Ending a mount: by umount2(2) or by fusermount3. A mount is known by its id in mountinfo, never by its path alone:
 * between two looks at a path another user may have put a symbolic link there.
 */
import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { UmountFlag, unmount } from '../system-calls.js';
import { abortConnection } from './connection.js';
import { fusermountUnmount } from './fusermount.js';
import { MountError } from './mount-error.js';
import { type MountEntry, mountAt, readMountinfo } from './mountinfo.js';
import { mountIdOf, PinnedDirectory } from './pinned-directory.js';
import { mayMount } from './rights.js';

/** 'direct': mount(2); 'fusermount': the setuid helper; 'auto': whichever this process can use. */
export type MountMethod = 'auto' | 'direct' | 'fusermount';

export interface UnmountOptions {
  /** Detach now, end once nobody uses it any more. */
  readonly lazy?: boolean | undefined;
  /** Abort what is waiting (mount(2) only). */
  readonly force?: boolean | undefined;
}

/** Root without the capability also uses umount2(2): the setuid helper could do no more for it. */
export function chooseMethod(wanted: MountMethod | undefined): 'direct' | 'fusermount' {
  if (wanted !== undefined && wanted !== 'auto') return wanted;
  return mayMount() || process.geteuid?.() === 0 ? 'direct' : 'fusermount';
}

/**
 * Unmounts the FUSE mount at `path`, also if another process serves it. Resolves as well if nothing is mounted there.
 * @throws MountError 'busy', 'refused' or what fusermount3 complains of.
 */
export async function unmountKernel(
  path: string,
  options: UnmountOptions & { readonly method?: MountMethod | undefined } = {},
): Promise<void> {
  const place = await resolvePlace(path).catch(() => undefined);
  const entry = place === undefined ? undefined : mountAt(await readMountinfo(), place);
  if (entry !== undefined) await unmountEntry(entry, options);
}

/**
 * Unmounts exactly this mount, wherever it is by now. Resolves as well if it is not there any more.
 * @throws MountError 'busy', 'refused' or what fusermount3 complains of.
 */
export async function unmountEntry(
  { id }: Pick<MountEntry, 'id'>,
  options: UnmountOptions & { readonly method?: MountMethod | undefined } = {},
): Promise<void> {
  const entry = await mountWithId(id);
  if (entry === undefined) return;
  const place = entry.mountpoint.toString();
  if (!entry.type.startsWith('fuse'))
    throw new MountError('not-mounted', `${place} is mounted, but not through FUSE (${entry.type})`);
  const isThere = async () => (await mountWithId(id)) !== undefined;
  const folder = await folderOf(entry);
  if (folder === undefined) {
    if (!(await isThere())) return;
    throw unreachableError(place);
  }
  try {
    if (chooseMethod(options.method) === 'fusermount') {
      try {
        return await fusermountUnmount(place, options.lazy === true);
      } catch (error) {
        if (await isThere()) throw error;
        return; // Somebody else was faster.
      }
    }
    let flags: number = UmountFlag.NOFOLLOW;
    if (options.lazy === true) flags |= UmountFlag.DETACH;
    if (options.force === true) flags |= UmountFlag.FORCE;
    const result = await unmount(Buffer.from(folder.target(basename(place))), flags);
    if (result === 0) return;
  } finally {
    folder.close();
  }
  if (!(await isThere())) return;
  if (!mayMount())
    throw new MountError(
      'refused',
      `unmounting ${place} is not permitted`,
      'it takes the capability SYS_ADMIN, or the user that mounted it and fusermount3',
    );
  throw new MountError('busy', `${place} is in use`, 'see who uses it with "fuser -vm" or unmount lazily');
}

/**
 * Ends the connection of a mount. False: neither /sys nor umount2(2) with MNT_FORCE let us; then only the session that
 * serves it can.
 */
export async function abortMount(
  entry: Pick<MountEntry, 'id' | 'minor'>,
  method: 'direct' | 'fusermount',
): Promise<boolean> {
  if (await abortConnection(entry.minor)) return true;
  if (method !== 'direct') return false;
  // MNT_FORCE aborts first and then unmounts. The unmount may fail because the mount is in use, which does not matter.
  try {
    await unmountEntry(entry, { force: true, method });
    return true;
  } catch {
    return mayMount();
  }
}

async function mountWithId(id: number): Promise<MountEntry | undefined> {
  return (await readMountinfo()).find((entry) => entry.id === id);
}

/**
 * The directory that holds the mount point. While something is mounted on a name in it, the kernel refuses to rename or
 * remove that name (EBUSY), so that directory and name identify the mount as surely as a descriptor of it, which would
 * keep it in use. Undefined: the path leads to another mount, or nowhere.
 */
async function folderOf({ id, mountpoint }: MountEntry): Promise<PinnedDirectory | undefined> {
  const place = mountpoint.toString();
  let folder: PinnedDirectory | undefined;
  try {
    folder = PinnedDirectory.open(dirname(place));
    const name = basename(place);
    const found = name === '' ? folder?.mountId : folder && mountIdOf(folder.target(name));
    if (found === id) return folder;
  } catch {
    // The mount counts as gone.
  }
  folder?.close();
  return undefined;
}

function unreachableError(place: string): MountError {
  return new MountError(
    'busy',
    `the mount on ${place} is covered by another mount, or cannot be reached by that path`,
    `unmount what covers it first (findmnt ${place})`,
  );
}

/**
 * `path` without symbolic links, and without a request to whatever may be mounted there: it may be dead or hung.
 * @throws what realpath(3) complains of.
 */
export async function resolvePlace(path: string): Promise<string> {
  const absolute = resolve(path);
  const inParent = join(await realpath(dirname(absolute)), basename(absolute));
  if (mountAt(await readMountinfo(), inParent) !== undefined) return inParent;
  return realpath(inParent);
}
