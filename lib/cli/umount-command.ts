/** `nfs-fuse umount`: takes a mount away, and waits until the process behind it has written everything back. */
import type { Argv, CommandModule } from 'yargs';
import {
  abortConnection,
  FILE_SYSTEM_TYPE,
  type MountEntry,
  MountError,
  mountAt,
  readMountinfo,
  unmountEntry,
} from '../fuse/index.js';
import { lastWords } from './journal.js';
import { standardError } from './log.js';
import { fuseFailure } from './mount-failure.js';
import { askStats, askWriteBack, watchMount } from './mount-link.js';
import { locate } from './mount-place.js';
import type { MountStats } from './mount-stats.js';
import { notMounted } from './not-mounted.js';
import { ProgressLine } from './terminal.js';
import { describeUnwritten } from './unwritten.js';
import { UserError } from './user-error.js';

/** A write-back that takes longer than this is announced. */
const PATIENCE_MS = 2_000;
const POLL_MS = 500;
const CHECK_FILES = 'Check the files that were being written.';
/** A process that was told to give up, and has not ended after so long, hangs. */
const FORCE_PATIENCE_MS = 60_000;

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
    else if (args.lazy === true) await detachLazily(mountpoint, entry);
    else await unmountAndWait(mountpoint, entry);
  },
};

async function detach(entry: MountEntry, lazy: boolean): Promise<void> {
  try {
    await unmountEntry(entry, { lazy });
  } catch (error) {
    throw fuseFailure(error, 'See who uses it with "fuser -vm" and end that, or add --lazy.');
  }
}

async function unmountAndWait(mountpoint: string, entry: MountEntry): Promise<void> {
  const losses = await writeBackFirst(mountpoint, entry);
  const watch = await watchMount(entry.major, entry.minor);
  try {
    await detach(entry, false);
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
  if (outcome === undefined) throw killedTooEarly();
  const failed = outcome.status !== 0 ? [outcome.message ?? `It failed (${outcome.status}).`] : [];
  const all = [...losses, ...failed];
  if (all.length > 0) throw new UserError(all.join('\n          '), { remedy: CHECK_FILES });
  const words = lastWords(mountpoint);
  if (words !== undefined)
    standardError('warn', `While it was mounted, there were errors; ${words.path} has them.`);
}

function killedTooEarly(): UserError {
  return new UserError('The process that served the mount ended before it had written everything back.', {
    remedy: CHECK_FILES,
  });
}

/** What the process that serves the mount holds; undefined if it does not say. */
async function unwrittenOf(entry: MountEntry): Promise<MountStats | undefined> {
  const stats = (await askStats(entry.major, entry.minor).catch(() => undefined)) as MountStats | undefined;
  return stats?.unwritten === undefined ? undefined : stats;
}

/**
 * Has everything written back while the mount is still there, so that whoever waits for a server that does not
 * answer sees what it is about, and may leave the mount as it was. Resolves with lines about lost data.
 */
async function writeBackFirst(mountpoint: string, entry: MountEntry): Promise<readonly string[]> {
  const before = await unwrittenOf(entry);
  if (before === undefined || before.unwritten.bytes === 0) return [];
  let latest = before;
  const line = new ProgressLine();
  const interrupted = (): void => {
    line.end();
    const what = describeUnwritten(latest.unwritten);
    standardError('warn', `Interrupted: ${mountpoint} stays mounted. Not written back yet: ${what}.`);
    process.exit(130);
  };
  process.once('SIGINT', interrupted);
  const started = performance.now();
  let told = false;
  try {
    const done = askWriteBack(entry.major, entry.minor);
    for (;;) {
      const losses = await Promise.race([done, after(POLL_MS)]);
      if (losses === undefined) throw killedTooEarly();
      if (losses !== 'late') return losses;
      latest = (await unwrittenOf(entry)) ?? latest;
      const what = describeUnwritten(latest.unwritten);
      if (!told && performance.now() - started >= PATIENCE_MS) {
        told = true;
        line.end();
        standardError(
          'warn',
          `${mountpoint} is still mounted: waiting for the server to take ${what}. ^C leaves the mount as it is; ` +
            '"nfs-fuse umount --force" ends it without the server and loses that.',
        );
      }
      line.show(`waiting for the server to take ${what}`);
    }
  } finally {
    line.end();
    process.off('SIGINT', interrupted);
  }
}

/** Detaches at once; what is not written back yet is, as long as the serving process lives. */
async function detachLazily(mountpoint: string, entry: MountEntry): Promise<void> {
  const stats = await unwrittenOf(entry);
  await detach(entry, true);
  if (stats === undefined || stats.unwritten.bytes === 0) return;
  standardError(
    'info',
    `${mountpoint} is detached; process ${stats.pid} still has to write back ${describeUnwritten(stats.unwritten)}.`,
  );
}

/** Throws UserError if anything was lost, with what. */
async function unmountByForce(mountpoint: string, entry: MountEntry): Promise<void> {
  const watch = await watchMount(entry.major, entry.minor);
  // Only the process itself knows what it need not give up, and may always end the connection.
  if (watch !== undefined) watch.orderToGiveUp();
  else if (!(await abortFromOutside(entry)))
    throw new UserError('The process that serves the mount cannot be told to give up.', {
      remedy: "It lives in another namespace, or is another user's: end it from there (kill -KILL).",
    });
  const outcome = await Promise.race([watch?.ended, after(FORCE_PATIENCE_MS)]);
  watch?.cancel();
  if (outcome === 'late') await abortFromOutside(entry);
  await detachIfThere(mountpoint, entry);
  if (outcome === 'late')
    throw new UserError(`${mountpoint} is unmounted, but the process that served it does not end.`, {
      remedy: 'End it with kill -KILL; what it had not written back is lost.',
    });
  const lost = outcome?.lost;
  if (lost !== undefined && lost.bytes > 0)
    throw new UserError(`${mountpoint} is unmounted. Lost: ${describeUnwritten(lost)}.`, {
      remedy: 'These files on the server lack what was written last.',
    });
}

async function detachIfThere(mountpoint: string, entry: MountEntry): Promise<void> {
  const isThere = async () => mountAt(await readMountinfo(), mountpoint)?.id === entry.id;
  if (!(await isThere())) return;
  try {
    await detach(entry, true);
  } catch (error) {
    // The process that served it may have been faster.
    if (await isThere()) throw error;
  }
}

/**
 * Without the process that serves the mount. In a container /sys/fs/fuse is often missing: a forced unmount aborts
 * first, and fails as busy afterwards.
 */
async function abortFromOutside(entry: MountEntry): Promise<boolean> {
  if (await abortConnection(entry.minor)) return true;
  try {
    await unmountEntry(entry, { force: true, method: 'direct' });
    return true;
  } catch (error) {
    return error instanceof MountError && error.code === 'busy';
  }
}

function after(milliseconds: number): Promise<'late'> {
  return new Promise((resolve) => {
    setTimeout(() => resolve('late'), milliseconds).unref();
  });
}
