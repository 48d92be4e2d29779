/** The message about a path where nfs-fuse has mounted nothing. */

import { UserError } from '../../base/user-error.js';
import { listMounts, type MountEntry } from '../../fuse/index.js';
import { lastWords } from './journal.js';
import { locate } from './mount-place.js';

/** `entry`: another file system that is mounted there. Adds how the last mount there failed, if it did. */
export async function notMounted(path: string, entry: MountEntry | undefined): Promise<UserError> {
  const what =
    entry === undefined ? 'is not a mount point' : `is mounted, but not by nfs-fuse (${entry.type})`;
  const mounts = (await listMounts()).map((mount) => mount.mountpoint.toString());
  const words = lastWords(await locate(path));
  const last = words === undefined ? '' : ` Of the last mount there: ${words.line}`;
  return new UserError(`${path} ${what}.${last}`, {
    remedy:
      mounts.length === 0
        ? 'Nothing is mounted by nfs-fuse here.'
        : `nfs-fuse has mounted: ${[...new Set(mounts)].join(', ')}`,
  });
}
