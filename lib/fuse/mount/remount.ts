/** Changing the kernel's flags of a mount that is there: mount(2) with MS_REMOUNT. */
import { errnoName } from '../contract/errno.js';
import { MountFlag, mount } from '../system-calls.js';
import { MountError } from './mount-error.js';
import { bitsOf, type KernelFlag } from './mount-flags.js';
import { FILE_SYSTEM_TYPE, type MountEntry } from './mountinfo.js';
import { PinnedDirectory } from './pinned-directory.js';

/**
 * Gives exactly these flags to the mount and to its file system, as far as each has them. Becoming read-only, the
 * kernel hands over its dirty pages first, and refuses if a file is open for writing. Blocks until the mount has
 * answered that, so the process that serves it must not call this.
 * @throws MountError 'busy', 'refused', or 'failed' if the mount is not where it was.
 */
export function remountKernel({ id, mountpoint }: MountEntry, flags: readonly KernelFlag[]): void {
  const place = mountpoint.toString();
  // Held during the remount: the path may lead elsewhere by then.
  let root: PinnedDirectory | undefined;
  try {
    root = PinnedDirectory.open(place);
    if (root?.mountId !== id)
      throw new MountError('failed', `${place} is covered by another mount, or is not mounted any more`);
    const target = Buffer.from(root.target());
    const result = mount('none', target, FILE_SYSTEM_TYPE, MountFlag.REMOUNT | bitsOf(flags), '');
    if (result !== 0) throw remountError(errnoName(-result), place);
  } finally {
    root?.close();
  }
}

function remountError(errno: string, place: string): MountError {
  switch (errno) {
    case 'EBUSY':
      return new MountError(
        'busy',
        `${place} cannot become read-only: files on it are open for writing`,
        'see who has them open with "fuser -vm"',
      );
    case 'EPERM':
    case 'EACCES':
      return new MountError(
        'refused',
        `the kernel refused to remount ${place} (${errno})`,
        'it takes the capability SYS_ADMIN in the namespace that has mounted it',
      );
    default:
      return new MountError('failed', `remounting ${place} failed: ${errno}`);
  }
}
