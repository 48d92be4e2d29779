/**
 * Making and ending the mount: as root or root of a user namespace by mount(2), as an ordinary user by
 * fusermount3. Owns the checks of the mount point and the take-over of a dead one.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { abortConnection, setReadAhead } from './connection.js';
import { errnoName } from './errno.js';
import { escapeOption, fusermountMount, fusermountUnmount } from './fusermount.js';
import { MountFlag, mount, UmountFlag, unmount } from './libc.js';
import { deviceError, MountError, mountCallError } from './mount-error.js';
import { type MountEntry, mountAt, readMountinfo } from './mountinfo.js';
import { probe } from './probe.js';
import { mayMount } from './rights.js';

/** The file system's type in /proc/mounts. */
export const FILE_SYSTEM_TYPE = 'fuse.nfs-fuse';
const SUBTYPE = 'nfs-fuse';
/** How many dead mounts of ours on top of each other are cleared away. */
const MAX_DEAD_LAYERS = 16;

/** 'direct': mount(2); 'fusermount': the setuid helper; 'auto': whichever this process can use. */
export type MountMethod = 'auto' | 'direct' | 'fusermount';

export interface MountOptions {
  readonly mountpoint: string;
  /** What df and /proc/mounts show, "server:/export". */
  readonly source: string;
  readonly readOnly?: boolean | undefined;
  readonly noexec?: boolean | undefined;
  /** Let other users in than the one who mounts. */
  readonly allowOther?: boolean | undefined;
  /** Have the kernel check permission bits. */
  readonly defaultPermissions?: boolean | undefined;
  /** Largest READ in bytes. */
  readonly maxRead?: number | undefined;
  readonly method?: MountMethod | undefined;
}

export interface UnmountOptions {
  /** Detach now, end once nobody uses it any more. */
  readonly lazy?: boolean | undefined;
  /** Abort what is waiting (mount(2) only). */
  readonly force?: boolean | undefined;
}

/** A mount that was made here, whose descriptor waits for a session. */
export interface KernelMount {
  /** /dev/fuse, connected. A session takes it over. */
  readonly fd: number;
  /** Absolute, without symbolic links. */
  readonly mountpoint: string;
  readonly method: 'direct' | 'fusermount';
  readonly major: number;
  /** Number of the connection in /sys/fs/fuse/connections. */
  readonly minor: number;
  /** @throws MountError when it is busy (not if lazy) or not permitted. Resolves as well if nothing is mounted. */
  unmount(options?: UnmountOptions): Promise<void>;
  /**
   * Ends the connection at once, whoever serves it; the mount point stays, dead. False: neither /sys nor
   * umount2(2) with MNT_FORCE let us. The session that serves it can always do it, by its own abort().
   */
  abort(): Promise<boolean>;
  /** See {@link setReadAhead}. */
  setReadAhead(kibibytes: number): Promise<boolean>;
}

/**
 * Mounts. Callers of the mounted tree wait until a session serves the descriptor, so nothing in this process may
 * look at the mount point synchronously from here on.
 * @throws MountError with what is wrong and what to do.
 */
export async function mountKernel(options: MountOptions): Promise<KernelMount> {
  checkOptions(options);
  const mountpoint = await preparedMountpoint(options.mountpoint, options.source);
  const wanted = options.method ?? 'auto';
  const method =
    wanted === 'auto' ? (mayMount() || process.geteuid?.() === 0 ? 'direct' : 'fusermount') : wanted;
  const fd =
    method === 'direct' ? mountDirect(mountpoint, options) : await mountByHelper(mountpoint, options);
  const entry = mountAt(await readMountinfo(), mountpoint);
  if (entry?.type !== FILE_SYSTEM_TYPE) {
    closeSync(fd);
    throw new MountError('failed', `something else was mounted on ${mountpoint} at the same time`);
  }
  return {
    fd,
    mountpoint,
    method,
    major: entry.major,
    minor: entry.minor,
    unmount: (unmountOptions) => unmountKernel(mountpoint, { ...unmountOptions, method }),
    abort: () => abortMount(mountpoint, method, entry.minor),
    setReadAhead: (kibibytes) => setReadAhead(entry.major, entry.minor, kibibytes),
  };
}

/**
 * Without symbolic links, and ready to be mounted on: an existing directory, cleared of a dead mount of ours.
 * @throws MountError with what is wrong and what to do.
 */
export async function preparedMountpoint(path: string, source: string): Promise<string> {
  const mountpoint = await resolveMountpoint(path);
  await prepareMountpoint(mountpoint, source);
  return mountpoint;
}

/**
 * Unmounts a FUSE mount, whoever serves it.
 * @throws MountError 'busy', 'refused' or what fusermount3 complains of.
 */
export async function unmountKernel(
  path: string,
  options: UnmountOptions & { readonly method?: MountMethod | undefined } = {},
): Promise<void> {
  const mountpoint = await resolveMountpoint(path);
  const before = mountAt(await readMountinfo(), mountpoint);
  if (before === undefined) return;
  if (!before.type.startsWith('fuse'))
    throw new MountError('not-mounted', `${mountpoint} is mounted, but not through FUSE (${before.type})`);
  const isThere = async () => mountAt(await readMountinfo(), mountpoint)?.id === before.id;
  if (chooseMethod(options.method) === 'fusermount') {
    try {
      return await fusermountUnmount(mountpoint, options.lazy === true);
    } catch (error) {
      if (await isThere()) throw error;
      return; // Somebody else was faster.
    }
  }
  let flags: number = UmountFlag.NOFOLLOW;
  if (options.lazy === true) flags |= UmountFlag.DETACH;
  if (options.force === true) flags |= UmountFlag.FORCE;
  const result = await unmount(Buffer.from(mountpoint), flags);
  if (result === 0) return;
  if (!(await isThere())) return;
  if (!mayMount())
    throw new MountError(
      'refused',
      `unmounting ${mountpoint} is not permitted`,
      'it takes the capability SYS_ADMIN, or the user that mounted it and fusermount3',
    );
  throw new MountError(
    'busy',
    `${mountpoint} is in use`,
    'see who uses it with "fuser -vm" or unmount lazily',
  );
}

async function abortMount(mountpoint: string, method: MountMethod, minor: number): Promise<boolean> {
  if (await abortConnection(minor)) return true;
  if (method !== 'direct') return false;
  // Aborts first and unmounts then, which may fail because the mount is in use: that is no matter here.
  const result = await unmount(Buffer.from(mountpoint), UmountFlag.NOFOLLOW | UmountFlag.FORCE);
  return result === 0 || mayMount();
}

/** All mounts of this file system that this process sees. */
export async function listMounts(): Promise<MountEntry[]> {
  return (await readMountinfo()).filter((entry) => entry.type === FILE_SYSTEM_TYPE);
}

/** Root without the capability takes the direct way too: the setuid helper could do no more for it. */
function chooseMethod(wanted: MountMethod | undefined): 'direct' | 'fusermount' {
  if (wanted !== undefined && wanted !== 'auto') return wanted;
  return mayMount() || process.geteuid?.() === 0 ? 'direct' : 'fusermount';
}

function checkOptions(options: MountOptions): void {
  if (options.mountpoint === '' || options.mountpoint.includes('\0'))
    throw new MountError('bad-option', 'the mount point is empty or contains NUL');
  if (options.source === '' || options.source.includes('\0'))
    throw new MountError('bad-option', 'the source is empty or contains NUL');
  const { maxRead } = options;
  if (maxRead !== undefined && (!Number.isInteger(maxRead) || maxRead < 4096))
    throw new MountError('bad-option', `max_read must be a whole number of at least 4096, not ${maxRead}`);
}

/** Without symbolic links, and without a request to whatever may be mounted there: it may be dead or hung. */
async function resolveMountpoint(path: string): Promise<string> {
  const absolute = resolve(path);
  try {
    const inParent = join(await realpath(dirname(absolute)), basename(absolute));
    if (mountAt(await readMountinfo(), inParent) !== undefined) return inParent;
    return await realpath(inParent);
  } catch (error) {
    throw mountpointError(absolute, error);
  }
}

/** Checks that `mountpoint` can be mounted on, and clears away what a killed process of ours left there. */
async function prepareMountpoint(mountpoint: string, source: string): Promise<void> {
  for (let layer = 0; layer < MAX_DEAD_LAYERS; layer++) {
    const entry = mountAt(await readMountinfo(), mountpoint);
    const state = entry?.type.startsWith('fuse') === true ? await probe(mountpoint) : 'alive';
    if (state === 'alive') {
      if (entry?.type === FILE_SYSTEM_TYPE && entry.source.equals(Buffer.from(source)))
        throw new MountError('already-mounted', `${source} is already mounted on ${mountpoint}`);
      return checkDirectory(mountpoint);
    }
    if (entry === undefined) break;
    const from = `${entry.source.toString()} (${entry.type})`;
    if (state === 'silent')
      throw new MountError(
        'already-mounted',
        `${from} is already mounted on ${mountpoint} and does not answer`,
        'unmount it first',
      );
    if (entry.type !== FILE_SYSTEM_TYPE)
      throw new MountError(
        'mountpoint-dead',
        `${mountpoint} is a dead mount of ${from}`,
        `unmount it first (umount -l ${mountpoint})`,
      );
    await unmountKernel(mountpoint, { lazy: true });
  }
  throw new MountError('mountpoint-dead', `${mountpoint} holds too many dead mounts`);
}

async function checkDirectory(mountpoint: string): Promise<void> {
  try {
    if ((await stat(mountpoint)).isDirectory()) return;
  } catch (error) {
    throw mountpointError(mountpoint, error);
  }
  throw new MountError('mountpoint-not-directory', `the mount point ${mountpoint} is not a directory`);
}

function mountpointError(mountpoint: string, error: unknown): MountError {
  if (error instanceof MountError) return error;
  const code = (error as NodeJS.ErrnoException).code;
  switch (code) {
    case 'ENOENT':
      return new MountError(
        'mountpoint-missing',
        `the mount point ${mountpoint} does not exist`,
        'create it first',
      );
    case 'ENOTDIR':
      return new MountError('mountpoint-not-directory', `the mount point ${mountpoint} is not a directory`);
    case 'EACCES':
    case 'EPERM':
      return new MountError(
        'mountpoint-refused',
        `the mount point ${mountpoint} may not be looked at (${code})`,
      );
    default:
      return new MountError(
        'failed',
        `looking at the mount point ${mountpoint} failed: ${code ?? String(error)}`,
        undefined,
        {
          cause: error,
        },
      );
  }
}

function mountDirect(mountpoint: string, options: MountOptions): number {
  let fd: number;
  try {
    fd = openSync('/dev/fuse', constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    throw deviceError((error as NodeJS.ErrnoException).code);
  }
  const data = [
    `fd=${fd}`,
    'rootmode=40000',
    `user_id=${process.geteuid?.() ?? 0}`,
    `group_id=${process.getegid?.() ?? 0}`,
  ];
  if (options.allowOther === true) data.push('allow_other');
  if (options.defaultPermissions === true) data.push('default_permissions');
  if (options.maxRead !== undefined) data.push(`max_read=${options.maxRead}`);
  let flags: number = MountFlag.NOSUID | MountFlag.NODEV;
  if (options.readOnly === true) flags |= MountFlag.RDONLY;
  if (options.noexec === true) flags |= MountFlag.NOEXEC;
  const result = mount(options.source, Buffer.from(mountpoint), FILE_SYSTEM_TYPE, flags, data.join(','));
  if (result === 0) return fd;
  closeSync(fd);
  throw mountCallError(errnoName(-result), mountpoint);
}

function mountByHelper(mountpoint: string, options: MountOptions): Promise<number> {
  const list = [
    options.readOnly === true ? 'ro' : 'rw',
    'nosuid',
    'nodev',
    `fsname=${escapeOption(options.source)}`,
    `subtype=${SUBTYPE}`,
  ];
  if (options.noexec === true) list.push('noexec');
  if (options.allowOther === true) list.push('allow_other');
  if (options.defaultPermissions === true) list.push('default_permissions');
  if (options.maxRead !== undefined) list.push(`max_read=${options.maxRead}`);
  return fusermountMount(mountpoint, list);
}
