/**
 * The place at which a volume is published: found, made and removed without a request to what is mounted there, which may be
 * dead or hang. Owns also the dead copies that subPath has left of a volume.
 */
import { lstatSync, mkdirSync, rmdirSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import { errorCode } from '../../base/log.js';
import { FILE_SYSTEM_TYPE, type MountEntry, mountAt, readMountinfo, unmountEntry } from '../../fuse/index.js';
import { isDeadMount } from '../../volume-parts/mount-health.js';
import { CsiError } from '../wire/csi-error.js';

/** PATH_MAX of Linux, with the NUL at the end. */
const MOST_PATH_BYTES = 4096;
/** The kubelet makes the folders above it so. */
const MODE = 0o750;
/** The kubelet's layout: POD/volumes/kubernetes.io~csi/VOLUME/mount, POD/volume-subpaths/VOLUME/CONTAINER/NUMBER. */
const OF_KUBELET = /^(.*)\/volumes\/[^/]+\/([^/]+)\/[^/]+$/;
const SUBPATHS = '/volume-subpaths/';

export class PublishTarget {
  private constructor(
    /** Absolute; without symbolic links above the last component. */
    readonly path: string,
  ) {}

  /**
   * The target at `path`, as a request names it in its field `field`. Undefined: the folder that it should be in is not there.
   * @throws CsiError INVALID_ARGUMENT
   */
  static async at(path: string, field: string): Promise<PublishTarget | undefined> {
    checkPath(path, field);
    const plain = normalize(path).replace(/(.)\/+$/, '$1');
    try {
      return new PublishTarget(join(await realpath(dirname(plain)), basename(plain)));
    } catch (error) {
      const code = errorCode(error);
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw cannot('looked at', path, error);
    }
  }

  /** The same; makes the folder that it should be in. @throws CsiError */
  static async in(path: string, field: string): Promise<PublishTarget> {
    checkPath(path, field);
    try {
      mkdirSync(dirname(normalize(path)), { recursive: true, mode: MODE });
    } catch (error) {
      throw cannot('made', path, error);
    }
    const target = await PublishTarget.at(path, field);
    if (target !== undefined) return target;
    throw new CsiError('INTERNAL', `${dirname(path)} was removed at this moment.`);
  }

  /** The mount that is on top here. */
  async entry(): Promise<MountEntry | undefined> {
    return mountAt(await readMountinfo(), this.path);
  }

  /** The mount on top, which has to be one of nfs-fuse. @throws CsiError FAILED_PRECONDITION if it is another one */
  async ownEntry(): Promise<MountEntry | undefined> {
    const entry = await this.entry();
    if (entry === undefined || entry.type === FILE_SYSTEM_TYPE) return entry;
    throw new CsiError(
      'FAILED_PRECONDITION',
      `Another file system (${entry.type}) is mounted on ${this.path}.`,
      {
        remedy: 'Unmount it.',
      },
    );
  }

  isDead(entry: MountEntry): Promise<boolean> {
    return isDeadMount(entry, this.path);
  }

  /**
   * Makes the folder to mount on. False: it was there.
   * @throws CsiError FAILED_PRECONDITION if something else is there: a mount would go to wherever a symbolic link leads
   */
  make(): boolean {
    try {
      mkdirSync(this.path, { mode: MODE });
      return true;
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw cannot('made', this.path, error);
    }
    if (lstatSync(this.path, { throwIfNoEntry: false })?.isDirectory() !== true) throw noFolder(this.path);
    return false;
  }

  /** Removes the folder, on which nothing is mounted. @throws CsiError if there are files in it, or it is no folder */
  remove(): void {
    try {
      rmdirSync(this.path);
    } catch (error) {
      const code = errorCode(error);
      if (code === 'ENOENT') return;
      if (code === 'ENOTDIR') throw noFolder(this.path);
      throw cannot(
        'removed',
        this.path,
        error,
        code === 'ENOTEMPTY' ? 'Move away what is in it.' : undefined,
      );
    }
  }

  /** Removes the folder if nothing is mounted on it and nothing is in it. Never rejects: something else has failed before. */
  async abandon(): Promise<void> {
    try {
      if ((await this.entry()) === undefined) rmdirSync(this.path);
    } catch {
      // Unpublishing sees to it.
    }
  }

  /** Takes a dead mount away, and its dead copies. */
  async takeAway(dead: MountEntry): Promise<void> {
    await this.takeAwayCopies(dead);
    await unmountEntry(dead, { lazy: true });
  }

  /**
   * Takes away what subPath has left of this volume, where it is dead: bind mounts of the same file system as `dead`, and those
   * for the pod whose volume this is. The kubelet stumbles over them and starts no container.
   */
  async takeAwayCopies(dead?: MountEntry): Promise<void> {
    const [, pod, volume] = OF_KUBELET.exec(this.path) ?? [];
    const own = pod === undefined ? undefined : `${pod}${SUBPATHS}${volume}/`;
    for (const entry of await readMountinfo()) {
      const place = entry.mountpoint.toString();
      if (entry.type !== FILE_SYSTEM_TYPE || !place.includes(SUBPATHS)) continue;
      const isSame = dead !== undefined && entry.major === dead.major && entry.minor === dead.minor;
      if (!isSame && !(own !== undefined && place.startsWith(own))) continue;
      if (isSame || (await isDeadMount(entry, place))) await unmountEntry(entry, { lazy: true });
    }
  }
}

function checkPath(path: string, field: string): void {
  if (path === '') throw new CsiError('INVALID_ARGUMENT', `The request has no ${field}.`);
  if (!isAbsolute(path) || path.includes('\0') || normalize(path) === '/')
    throw new CsiError(
      'INVALID_ARGUMENT',
      `${field} is not the absolute path of a folder: ${path.slice(0, 300)}`,
    );
  if (Buffer.byteLength(path) >= MOST_PATH_BYTES)
    throw new CsiError(
      'INVALID_ARGUMENT',
      `${field} has ${Buffer.byteLength(path)} bytes, which no path may have.`,
    );
}

function noFolder(path: string): CsiError {
  return new CsiError('FAILED_PRECONDITION', `${path.slice(0, 300)} is no folder.`, {
    remedy: 'Look who has put it there, and remove it.',
  });
}

function cannot(what: string, path: string, error: unknown, remedy?: string): CsiError {
  const code = errorCode(error);
  return new CsiError(
    code === 'ENAMETOOLONG' ? 'INVALID_ARGUMENT' : 'INTERNAL',
    `${path.slice(0, 300)} cannot be ${what} (${code}).`,
    { remedy, cause: error },
  );
}
