/** All mounts of a user, in every mount namespace that this process may look into. */
import { FILE_SYSTEM_TYPE, listMounts, type MountEntry } from '../../fuse/index.js';
import { otherMountTables } from './mount-tables.js';
import { ownUid } from './runtime-folder.js';

/**
 * The mounts that nfs-fuse has made for this user; for root, those of all users. A file system that is mounted at several
 * places is named once: by its place here, if it has one.
 */
export async function allMounts(): Promise<MountEntry[]> {
  const isRoot = ownUid() === 0;
  const found = new Map<string, MountEntry>();
  const add = (entry: MountEntry): void => {
    const device = `${entry.major}:${entry.minor}`;
    if (!found.has(device)) found.set(device, entry);
  };
  const isOwn = ({ superOptions }: MountEntry) =>
    isRoot || superOptions.split(',').includes(`user_id=${ownUid()}`);
  const here = await listMounts();
  here.filter(isOwn).forEach(add);
  // Seen from its own user namespace, the user of a mount is another number there. Those that are here as well, and are
  // somebody else's, are no more ours for being there.
  const foreign = new Set(here.map(({ major, minor }) => `${major}:${minor}`));
  for (const { entries } of otherMountTables())
    entries
      .filter(({ type, major, minor }) => type === FILE_SYSTEM_TYPE && !foreign.has(`${major}:${minor}`))
      .forEach(add);
  return [...found.values()];
}
