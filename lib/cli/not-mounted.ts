/** What is said of a path where nfs-fuse has mounted nothing. */
import { listMounts, type MountEntry } from '../fuse/index.js';
import { UserError } from './user-error.js';

/** `entry`: what else is mounted there. */
export async function notMounted(path: string, entry: MountEntry | undefined): Promise<UserError> {
  const what =
    entry === undefined ? 'is not a mount point' : `is mounted, but not by nfs-fuse (${entry.type})`;
  const mounts = (await listMounts()).map((mount) => mount.mountpoint.toString());
  return new UserError(`${path} ${what}.`, {
    remedy:
      mounts.length === 0
        ? 'Nothing is mounted by nfs-fuse here.'
        : `nfs-fuse has mounted: ${[...new Set(mounts)].join(', ')}`,
  });
}
