/**
 * Making the mount: as root or root of a user namespace by mount(2), as an ordinary user by fusermount3. The mount
 * point is pinned before (mountpoint.ts), and where the mount has landed is checked afterwards.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { errnoName } from '../contract/errno.js';
import { mount } from '../system-calls.js';
import { setReadAhead } from './connection.js';
import { escapeOption, fusermountMount } from './fusermount.js';
import { checkConnected, connectionNumber } from './inherited.js';
import { deviceError, labelError, MountError, mountCallError } from './mount-error.js';
import { bitsOf, type FlagWishes, type KernelFlag, SAFE_FLAGS, withWishes } from './mount-flags.js';
import { FILE_SYSTEM_TYPE, type MountEntry, mountAt, readMountinfo } from './mountinfo.js';
import { checkPinned, landedOn, pinMountpoint, replacedError } from './mountpoint.js';
import type { PinnedDirectory } from './pinned-directory.js';
import { labelNames, labelWords, type SecurityLabels } from './security-labels.js';
import { abortMount, chooseMethod, type MountMethod, type UnmountOptions, unmountEntry } from './unmount.js';

const SUBTYPE = 'nfs-fuse';
export interface MountOptions {
  readonly mountpoint: string;
  /** The mount point, if it is held already ({@link pinMountpoint}); closed by mounting. */
  readonly pinned?: PinnedDirectory | undefined;
  /** The source that df and /proc/mounts show, "server:/export". */
  readonly source: string;
  readonly readOnly?: boolean | undefined;
  readonly noexec?: boolean | undefined;
  /** Other flags of the kernel. By default `nosuid,nodev`. */
  readonly flags?: FlagWishes | undefined;
  /** Let users other than the mounter in. */
  readonly allowOther?: boolean | undefined;
  /** Have the kernel check permission bits. */
  readonly defaultPermissions?: boolean | undefined;
  /** Largest READ in bytes. */
  readonly maxRead?: number | undefined;
  /** Contexts of SELinux: for mount(2) only. */
  readonly labels?: SecurityLabels | undefined;
  readonly method?: MountMethod | undefined;
}

/** A mount that was made here, or adopted, whose descriptor waits for a session. */
export interface KernelMount {
  /** /dev/fuse, connected. A session takes it over. */
  readonly fd: number;
  /** Absolute, without symbolic links. */
  readonly mountpoint: string;
  /** In mountinfo; -1 for an adopted mount that is no longer where it was made. */
  readonly id: number;
  readonly method: 'direct' | 'fusermount';
  readonly major: number;
  /** Number of the connection in /sys/fs/fuse/connections. */
  readonly minor: number;
  /** @throws MountError when it is busy (not if lazy) or not permitted. Resolves as well if nothing is mounted. */
  unmount(options?: UnmountOptions): Promise<void>;
  /**
   * Ends the connection at once, also if another process serves it. The mount point stays, dead. False: neither /sys
   * nor umount2(2) with MNT_FORCE is permitted. The session that serves it can always end it by its own abort().
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
  const { source } = options;
  const pinned = options.pinned ?? (await pinMountpoint(options.mountpoint, source));
  try {
    await checkPinned(pinned, source);
    const before = await readMountinfo();
    const method = chooseMethod(options.method);
    const fd = method === 'direct' ? mountDirect(pinned, options) : await mountByHelper(pinned, options);
    try {
      return kernelMount(fd, method, await landedOn(pinned, before, { source, minor: connectionNumber(fd) }));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  } catch (error) {
    if (!pinned.isInPlace()) throw replacedError(pinned.path, error);
    throw error;
  } finally {
    pinned.close();
  }
}

/** How and where a mount was made. */
export type MadeMount = Pick<KernelMount, 'mountpoint' | 'method'>;

/**
 * The mount whose descriptor this process has from the one that served it before. `mountpoint` and `method` are those of
 * that process's {@link KernelMount}. A mount that was moved meanwhile, or of which only bind mounts are left, can be
 * served and aborted; unmounting it is then a matter of whoever did that, and `unmount` does nothing.
 * @throws MountError 'bad-descriptor' if `fd` is not /dev/fuse or its connection is over; 'not-mounted' if the kernel does
 * not tell the number of the connection, and nothing of ours is mounted on `mountpoint`.
 */
export async function adoptMount(fd: number, { mountpoint, method }: MadeMount): Promise<KernelMount> {
  checkConnected(fd);
  const minor = connectionNumber(fd);
  const mounts = await listMounts();
  const entry = mountAt(minor === undefined ? mounts : mounts.filter((at) => at.minor === minor), mountpoint);
  if (entry !== undefined) return kernelMount(fd, method, entry);
  if (minor === undefined)
    throw new MountError('not-mounted', `nothing of nfs-fuse is mounted on ${mountpoint} any more`);
  return kernelMount(fd, method, { id: ELSEWHERE, major: 0, minor, mountpoint: Buffer.from(mountpoint) });
}

/** No mount has this id. */
const ELSEWHERE = -1;

function kernelMount(
  fd: number,
  method: 'direct' | 'fusermount',
  entry: Pick<MountEntry, 'id' | 'major' | 'minor' | 'mountpoint'>,
): KernelMount {
  const { id, major, minor } = entry;
  return {
    fd,
    id,
    mountpoint: entry.mountpoint.toString(),
    method,
    major,
    minor,
    unmount: (unmountOptions) => unmountEntry(entry, { ...unmountOptions, method }),
    abort: () => abortMount(entry, method),
    setReadAhead: (kibibytes) => setReadAhead(major, minor, kibibytes),
  };
}

/** All mounts of this file system that this process sees. */
export async function listMounts(): Promise<MountEntry[]> {
  return (await readMountinfo()).filter((entry) => entry.type === FILE_SYSTEM_TYPE);
}

function checkOptions(options: MountOptions): void {
  if (options.mountpoint === '' || options.mountpoint.includes('\0'))
    throw new MountError('bad-option', 'the mount point is empty or contains NUL');
  if (options.source === '' || options.source.includes('\0'))
    throw new MountError('bad-option', 'the source is empty or contains NUL');
  const { maxRead } = options;
  if (maxRead !== undefined && (!Number.isInteger(maxRead) || maxRead < 4096))
    throw new MountError('bad-option', `max_read must be a whole number of at least 4096, not ${maxRead}`);
  if (Object.values(options.labels ?? {}).some((context) => /["\0]/.test(context)))
    throw new MountError('bad-option', 'a context of SELinux contains a quote or NUL');
}

function mountDirect(pinned: PinnedDirectory, options: MountOptions): number {
  let fd: number;
  try {
    fd = openSync('/dev/fuse', constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    throw deviceError((error as NodeJS.ErrnoException).code);
  }
  const flags = bitsOf(flagsFor(options));
  const target = Buffer.from(pinned.target());
  let result: number;
  try {
    result = mount(options.source, target, FILE_SYSTEM_TYPE, flags, mountData(fd, options));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  if (result === 0) return fd;
  closeSync(fd);
  const errno = errnoName(-result);
  throw (
    labelError(errno, pinned.path, labelNames(options.labels ?? {})) ?? mountCallError(errno, pinned.path)
  );
}

/** The kernel reads a page of data, and cuts off what is longer (mount(2)). */
const MAX_DATA_BYTES = 4095;

/**
 * The data of mount(2): fuse(4)'s options for a mount that `fd`, an open /dev/fuse, serves.
 * @throws MountError 'bad-option' if it is longer than the kernel reads
 */
export function mountData(fd: number, options: Omit<MountOptions, 'mountpoint' | 'source'>): string {
  const words = [
    `fd=${fd}`,
    'rootmode=40000',
    `user_id=${process.geteuid?.() ?? 0}`,
    `group_id=${process.getegid?.() ?? 0}`,
  ];
  if (options.allowOther === true) words.push('allow_other');
  if (options.defaultPermissions === true) words.push('default_permissions');
  if (options.maxRead !== undefined) words.push(`max_read=${options.maxRead}`);
  words.push(...labelWords(options.labels ?? {}));
  const data = words.join(',');
  if (Buffer.byteLength(data) > MAX_DATA_BYTES)
    throw new MountError(
      'bad-option',
      `the contexts of SELinux are too long: the kernel reads ${MAX_DATA_BYTES} bytes of options`,
      'write ranges of categories, as in s0:c0.c1023',
    );
  return data;
}

/** fusermount3 knows these, and asks the kernel for its default where it is told nothing about access times. */
const KNOWN_TO_HELPER: readonly KernelFlag[] = [
  'nosuid',
  'nodev',
  'noexec',
  'sync',
  'dirsync',
  'noatime',
  'nodiratime',
];
/**
 * Mounting fails with these: fusermount3 does not know them. It does not know some flags of access times either, but
 * those are left out without a word: access times are the server's.
 */
const UNKNOWN_TO_HELPER: readonly KernelFlag[] = ['nosymfollow'];

function flagsFor({ readOnly, noexec, flags = {} }: MountOptions): KernelFlag[] {
  return withWishes(SAFE_FLAGS, {
    ...flags,
    ...(readOnly === undefined ? {} : { ro: readOnly }),
    ...(noexec === undefined ? {} : { noexec }),
  });
}

/** The helper finds the directory by its path. The caller checks afterwards where the mount has landed. */
function mountByHelper({ path }: PinnedDirectory, options: MountOptions): Promise<number> {
  const flags = flagsFor(options);
  const impossible = flags.filter((flag) => UNKNOWN_TO_HELPER.includes(flag));
  if (impossible.length > 0)
    throw new MountError(
      'bad-option',
      `fusermount3 cannot mount with ${impossible.join(' and ')}`,
      'leave that out, or mount as root',
    );
  const labels = labelNames(options.labels ?? {});
  // fusermount3 hands on what it knows to be harmless, and fails with everything else (libfuse, do_mount).
  if (labels.length > 0)
    throw new MountError(
      'bad-option',
      `fusermount3 cannot mount with ${labels.map((name) => `${name}=`).join(' and ')}`,
      'leave that out, or mount as root',
    );
  const list = [
    options.readOnly === true ? 'ro' : 'rw',
    ...flags.filter((flag) => KNOWN_TO_HELPER.includes(flag)),
    `fsname=${escapeOption(options.source)}`,
    `subtype=${SUBTYPE}`,
  ];
  if (options.allowOther === true) list.push('allow_other');
  if (options.defaultPermissions === true) list.push('default_permissions');
  if (options.maxRead !== undefined) list.push(`max_read=${options.maxRead}`);
  return fusermountMount(path, list);
}
