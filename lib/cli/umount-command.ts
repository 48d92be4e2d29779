/** `nfs-fuse umount`: takes a mount away, and waits until the process behind it has written everything back. */
import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import {
  abortConnection,
  FILE_SYSTEM_TYPE,
  type MountEntry,
  MountError,
  mountAt,
  readMountinfo,
  unmountKernel,
} from '../fuse/index.js';
import { standardError } from './log.js';
import { fuseFailure } from './mount-failure.js';
import { watchMount } from './mount-link.js';
import { notMounted } from './not-mounted.js';
import { servingProcess } from './serving-process.js';
import { UserError } from './user-error.js';

/** A write-back that takes longer than this is announced. */
const PATIENCE_MS = 2_000;

interface UmountArguments {
  readonly mountpoint: string;
  readonly lazy: boolean | undefined;
  readonly force: boolean | undefined;
}

export const umountCommand: CommandModule<object, UmountArguments> = {
  command: ['umount <mountpoint>', 'unmount'],
  describe: 'Unmount; returns when everything is written back',
  builder: (args): Argv<UmountArguments> =>
    args
      .positional('mountpoint', {
        describe: 'Where an export is mounted',
        type: 'string',
        demandOption: true,
      })
      .option('lazy', {
        alias: ['l', 'z'],
        describe: 'Detach now, end when the last program has closed its files; does not wait',
        type: 'boolean',
      })
      .option('force', {
        describe: 'Fail all that waits for the server, losing what is not written back, and detach',
        type: 'boolean',
        conflicts: 'lazy',
      }),
  handler: async (args) => {
    const mountpoint = await locate(args.mountpoint);
    const entry = mountAt(await readMountinfo(), mountpoint);
    if (entry?.type !== FILE_SYSTEM_TYPE) throw await notMounted(args.mountpoint, entry);
    if (args.force === true) await unmountByForce(mountpoint, entry);
    else if (args.lazy === true) await detach(mountpoint, true);
    else await unmountAndWait(mountpoint, entry);
  },
};

/** The absolute path. A dead mount cannot be looked at, so the last component is left alone if need be. */
async function locate(path: string): Promise<string> {
  const absolute = resolve(path);
  try {
    return await realpath(absolute);
  } catch {
    const parent = await realpath(dirname(absolute)).catch(() => dirname(absolute));
    return join(parent, basename(absolute));
  }
}

async function detach(mountpoint: string, lazy: boolean): Promise<void> {
  try {
    await unmountKernel(mountpoint, { lazy });
  } catch (error) {
    throw fuseFailure(error, 'See who uses it with "fuser -vm" and end that, or add --lazy.');
  }
}

async function unmountAndWait(mountpoint: string, entry: MountEntry): Promise<void> {
  const watch = await watchMount(entry.major, entry.minor);
  try {
    await detach(mountpoint, false);
  } catch (error) {
    watch?.cancel();
    throw error;
  }
  if (watch === undefined) return;
  const announce = setTimeout(
    () => standardError('info', `${mountpoint} is unmounted; waiting until everything is written back …`),
    PATIENCE_MS,
  );
  const outcome = await watch.ended;
  clearTimeout(announce);
  if (outcome === undefined)
    throw new UserError(
      'The process that served the mount was killed before it had written everything back.',
      {
        remedy: 'Check the files that were being written.',
      },
    );
  if (outcome.status !== 0)
    throw new UserError(outcome.message ?? `The process that served the mount failed (${outcome.status}).`, {
      remedy: 'Check the files that were being written.',
    });
}

async function unmountByForce(mountpoint: string, entry: MountEntry): Promise<void> {
  // In a container /sys/fs/fuse is often missing.
  const aborted =
    (await abortConnection(entry.minor)) || (await endServing(entry)) || (await abortByUnmount(mountpoint));
  if (!aborted)
    throw new UserError('The process that serves the mount cannot be told to give up.', {
      remedy: "It lives in another namespace, or is another user's: end it from there (kill -KILL).",
    });
  const isThere = async () => mountAt(await readMountinfo(), mountpoint)?.id === entry.id;
  if (!(await isThere())) return;
  try {
    await detach(mountpoint, true);
  } catch (error) {
    // The process that served it may have been faster.
    if (await isThere()) throw error;
  }
}

/** The connection ends with the process that holds it; false: it cannot be found, or is not ours to end. */
async function endServing({ major, minor }: MountEntry): Promise<boolean> {
  const pid = await servingProcess(major, minor);
  if (pid === undefined) return false;
  const watch = await watchMount(major, minor);
  try {
    // The second signal means "at once". Two of a kind would become one.
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.kill(pid, signal);
  } catch {
    watch?.cancel();
    return false;
  }
  await watch?.ended;
  return true;
}

/** A forced unmount aborts first, and fails as busy afterwards. */
async function abortByUnmount(mountpoint: string): Promise<boolean> {
  try {
    await unmountKernel(mountpoint, { force: true, method: 'direct' });
    return true;
  } catch (error) {
    return error instanceof MountError && error.code === 'busy';
  }
}
