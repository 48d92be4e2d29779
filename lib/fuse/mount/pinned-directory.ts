/**
 * A directory that is held by a descriptor (O_PATH, open(2)): it stays the one that was named, also when other users
 * rename, remove or replace it. Owns how such a directory is opened, and how a system call gets to it.
 */
import { closeSync, constants, openSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** Linux's value on every processor that Node runs on; Node has no name for it. */
const O_PATH = 0o10000000;
const { O_DIRECTORY, O_NOFOLLOW } = constants;

export class PinnedDirectory {
  readonly fd: number;
  /** Where it was when it was opened: absolute, without symbolic links. */
  readonly path: string;

  private constructor(fd: number, path: string) {
    this.fd = fd;
    this.path = path;
  }

  /**
   * Opens `path`, which must be absolute and free of symbolic links, without a request to the file system that is
   * mounted there. Undefined: a symbolic link has been put into the path meanwhile.
   * @throws what open(2) complains of; ENOTDIR as well for a symbolic link in the last place.
   */
  static open(path: string): PinnedDirectory | undefined {
    const pinned = new PinnedDirectory(openSync(path, O_PATH | O_DIRECTORY | O_NOFOLLOW), path);
    if (pinned.isInPlace()) return pinned;
    pinned.close();
    return undefined;
  }

  /** A path that leads a system call to the directory, or to `name` in it, also after the directory was renamed. */
  target(name = ''): string {
    const self = `/proc/self/fd/${this.fd}`;
    return name === '' ? self : join(self, name);
  }

  /** The id in mountinfo of the mount on which it lies; of the mount itself for a mount's root. */
  get mountId(): number | undefined {
    return mountIdOfDescriptor(this.fd);
  }

  /** Whether it can still be found under its path. */
  isInPlace(): boolean {
    return readlinkSync(this.target(), { encoding: 'buffer' }).equals(Buffer.from(this.path));
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** The id in mountinfo of the mount on which `path` lies; the last component is not followed if it is a link. */
export function mountIdOf(path: string): number | undefined {
  const fd = openSync(path, O_PATH | O_NOFOLLOW);
  try {
    return mountIdOfDescriptor(fd);
  } finally {
    closeSync(fd);
  }
}

function mountIdOfDescriptor(fd: number): number | undefined {
  const digits = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
  return digits === undefined ? undefined : Number(digits);
}
