/**
 * The mount point: this finds it, clears a dead mount of ours away, checks the directory, and then holds it by a
 * descriptor. The mount so lands on the directory that was there when the command started, and on no other.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { MountError } from './mount-error.js';
import { FILE_SYSTEM_TYPE, type MountEntry, mountAt, readMountinfo } from './mountinfo.js';
import { PinnedDirectory } from './pinned-directory.js';
import { probe } from './probe.js';
import { resolvePlace, unmountEntry } from './unmount.js';

/** At most this many dead mounts of ours, one on top of the other, are cleared away. */
const MAX_DEAD_LAYERS = 16;
/** At most this often a path that changes during the lookup is looked up again. */
const MAX_LOOKUPS = 3;

/**
 * Finds `path`, clears a dead mount of ours away, and holds the directory. All later steps use this directory, even if
 * another user puts a symbolic link in its place.
 * @throws MountError with what is wrong and what to do.
 */
export async function pinMountpoint(path: string, source: string): Promise<PinnedDirectory> {
  const absolute = resolve(path);
  for (let lookup = 0; lookup < MAX_LOOKUPS; lookup++) {
    const mountpoint = await resolvePlace(absolute).catch((error: unknown) => {
      throw mountpointError(absolute, error);
    });
    await prepareMountpoint(mountpoint, source);
    try {
      const pinned = PinnedDirectory.open(mountpoint);
      if (pinned !== undefined) return pinned;
    } catch (error) {
      throw mountpointError(mountpoint, error);
    }
  }
  throw replacedError(absolute);
}

/**
 * Whether `pinned` can be mounted on now: it is still in its place, and what was mounted on it meanwhile is not the
 * same export, nor dead.
 * @throws MountError with what is wrong and what to do.
 */
export async function checkPinned(pinned: PinnedDirectory, source: string): Promise<void> {
  requireInPlace(pinned);
  await prepareMountpoint(pinned.path, source);
  requireInPlace(pinned);
}

function requireInPlace(pinned: PinnedDirectory): void {
  if (!pinned.isInPlace()) throw replacedError(pinned.path);
}

/** How a new mount can be told from others. `minor`: of its connection, where the kernel tells it. */
interface NewMount {
  readonly source: string;
  readonly minor: number | undefined;
}

/**
 * The entry of the mount that was just made on `pinned`; `before`: what was mounted before that. A mount that went
 * elsewhere, because the path was changed at that very moment, is taken away again.
 * @throws MountError 'mountpoint-replaced'
 */
export async function landedOn(
  pinned: PinnedDirectory,
  before: readonly MountEntry[],
  { source, minor }: NewMount,
): Promise<MountEntry> {
  const known = new Set(before.map(({ id }) => id));
  const made = (await readMountinfo()).filter(
    (entry) =>
      entry.type === FILE_SYSTEM_TYPE &&
      !known.has(entry.id) &&
      (minor === undefined ? entry.source.equals(Buffer.from(source)) : entry.minor === minor),
  );
  const entry = mountAt(made, pinned.path);
  if (entry !== undefined && pinned.isInPlace()) return entry;
  // Without a number it may be another process's mount, made at the same time.
  if (minor !== undefined || made.length === 1)
    for (const stray of made) await unmountEntry(stray, { lazy: true }).catch(() => {});
  throw replacedError(pinned.path);
}

/** Somebody has moved, removed or replaced the mount point or a directory above it. */
export function replacedError(path: string, cause?: unknown): MountError {
  return new MountError(
    'mountpoint-replaced',
    `the mount point ${path} is no longer the directory that it was when the command started`,
    'nothing is mounted; see who may rename it or a directory above it, and repeat the command',
    { cause },
  );
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
    await unmountEntry(entry, { lazy: true });
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
