/** `nfs-fuse umount`: takes a mount away, and waits until the process behind it has written everything back. */
import type { Argv, CommandModule } from 'yargs';
import { standardError } from '../../base/log.js';
import { ProgressLine } from '../../base/terminal.js';
import { UserError } from '../../base/user-error.js';
import {
  abortConnection,
  askMount,
  FILE_SYSTEM_TYPE,
  type MountEntry,
  MountError,
  mountAt,
  readMountinfo,
  unmountEntry,
} from '../../fuse/index.js';
import { fuseFailure } from '../../mount/failure/mount-failure.js';
import { describeUnwritten, type Unwritten } from '../../mount/failure/unwritten.js';
import { lastWords } from '../../mount/reach/journal.js';
import { type MountControl, type MountWatch, reachMount } from '../../mount/reach/mount-control.js';
import { locate } from '../../mount/reach/mount-place.js';
import { notMounted } from '../../mount/reach/not-mounted.js';
import { describeOtherPlaces, type OtherPlaces, otherPlacesOf } from '../../mount/reach/other-places.js';
import type { MountStats } from '../../mount/serve/mount-stats.js';

/** A write-back that takes longer than this is announced. */
const PATIENCE_MS = 2_000;
const POLL_MS = 500;
const CHECK_FILES = 'Check the files that were being written.';
/** For a mount whose process cannot be asked to show whether it is a dead one. */
const ANSWER_MS = 5_000;
/** A process that was told to give up, and has not ended after so long, hangs. */
const FORCE_PATIENCE_MS = 60_000;

interface UmountArguments {
  readonly mountpoint: string;
  readonly lazy: boolean | undefined;
  readonly force: boolean | undefined;
  readonly json: boolean | undefined;
}

/** The fate of a mount that is not there any more, as --json prints it. */
interface Unmounted {
  readonly mountpoint: string;
  readonly source: string;
  /** The process that served it, if it could be asked. */
  readonly pid?: number;
  /** Whether all that was written is on the server's stable storage. Undefined: that was not waited for. */
  readonly writtenBack?: boolean;
  /** Data that is still to be written back. */
  readonly unwritten?: Unwritten;
  /** Where it is mounted still, for which the process goes on. */
  readonly stillMounted?: OtherPlaces;
  /** The same in a sentence; without --json it is printed. */
  readonly note?: string;
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
      })
      .option('json', { describe: 'Print what has become of it as JSON', type: 'boolean' }),
  handler: async (args) => {
    const mountpoint = await locate(args.mountpoint);
    const entry = mountAt(await readMountinfo(), mountpoint);
    if (entry?.type !== FILE_SYSTEM_TYPE) throw await notMounted(args.mountpoint, entry);
    const unmounted = await unmountAs(args, mountpoint, entry);
    if (args.json === true) process.stdout.write(`${JSON.stringify(unmounted, null, 2)}\n`);
    else if (unmounted.note !== undefined) standardError('warn', unmounted.note);
  },
};

async function unmountAs(args: UmountArguments, mountpoint: string, entry: MountEntry): Promise<Unmounted> {
  const control = await reachMount(entry);
  try {
    const told =
      args.force === true
        ? await unmountByForce(mountpoint, entry, control)
        : args.lazy === true
          ? await detachLazily(mountpoint, entry, control)
          : control === undefined
            ? await removeDead(mountpoint, entry)
            : await unmountAndWait(mountpoint, entry, control);
    if (await isThere(entry))
      throw new UserError(`${mountpoint} is still mounted, though unmounting it did not fail.`, {
        remedy: 'Try again: it may have been mounted once more at the same time.',
      });
    const pid = control === undefined || control.peer.pid === 0 ? {} : { pid: control.peer.pid };
    return { mountpoint, source: entry.source.toString(), ...pid, ...told };
  } finally {
    control?.close();
  }
}

type Told = Omit<Unmounted, 'mountpoint' | 'source' | 'pid'>;

/** Its numbers alone may be another mount's by now: the kernel gives them out again at once. */
async function isThere({ id, minor, mountpoint }: MountEntry): Promise<boolean> {
  const entries = await readMountinfo();
  return entries.some(
    (entry) => entry.id === id && entry.minor === minor && entry.mountpoint.equals(mountpoint),
  );
}

async function detach(entry: MountEntry, lazy: boolean): Promise<void> {
  try {
    await unmountEntry(entry, { lazy });
  } catch (error) {
    throw fuseFailure(error, 'See who uses it with "fuser -vm" and end that, or add --lazy.');
  }
}

/** Where no process can be asked, only a dead mount may go: of another one nobody could say that all is written. */
async function removeDead(mountpoint: string, entry: MountEntry): Promise<Told> {
  if ((await askMount(mountpoint, ANSWER_MS)).state !== 'dead')
    throw new UserError(
      `${mountpoint} stays mounted: the process that serves it cannot be asked, so nobody could tell when everything ` +
        'is written back.',
      {
        remedy:
          'Unmount it as root or as the user who has mounted it, where it was mounted; or add --lazy, which does not wait.',
      },
    );
  await detach(entry, false);
  return {
    note: `${mountpoint} was a dead mount: its process had ended before, and what it had not written back is lost.`,
  };
}

async function unmountAndWait(mountpoint: string, entry: MountEntry, control: MountControl): Promise<Told> {
  const losses = await writeBackFirst(mountpoint, control);
  const watch = await control.watch();
  if (watch === undefined) throw doesNotAnswer(mountpoint, control);
  try {
    await detach(entry, false);
    return await waitForEnd(mountpoint, entry, { watch, control, losses });
  } finally {
    watch.cancel();
  }
}

/** Resolves when everything is written back: the process has ended, or serves the mount on somewhere else. */
async function waitForEnd(
  mountpoint: string,
  entry: MountEntry,
  served: { watch: MountWatch; control: MountControl; losses: readonly string[] },
): Promise<Told> {
  const { watch, control, losses } = served;
  const announce = setTimeout(
    () => standardError('info', `${mountpoint} is unmounted; waiting until everything is written back …`),
    PATIENCE_MS,
  );
  const end = await Promise.race([watch.ended, control.unmounted()]);
  clearTimeout(announce);
  if (end === undefined) throw killedTooEarly();
  if ('stillMounted' in end) {
    mustHaveLostNothing(mountpoint, [...losses, ...end.losses], end.untold);
    const stillMounted = await otherPlacesOf(entry);
    const serving = control.peer.pid === 0 ? 'its process' : `process ${control.peer.pid}`;
    const note =
      `${mountpoint} is unmounted, and everything is written back. ${describeOtherPlaces(stillMounted)} ` +
      `Therefore ${serving} goes on.`;
    return { writtenBack: true, stillMounted, note };
  }
  const failure = end.status !== 0 ? [end.message ?? `It failed (${end.status}).`] : [];
  mustHaveLostNothing(mountpoint, [...losses, ...failure], end.untold ?? 0);
  const words = lastWords(mountpoint);
  if (words === undefined) return { writtenBack: true };
  return { writtenBack: true, note: `While it was mounted, there were errors; ${words.path} has them.` };
}

/** `untold`: how many files have lost data earlier, when no program could be told; only the log names them. */
function mustHaveLostNothing(mountpoint: string, losses: readonly string[], untold: number): void {
  const all = [...new Set(losses)];
  if (all.length === 0 && untold > 0) {
    const files = untold === 1 ? '1 file' : `${untold} files`;
    const words = lastWords(mountpoint);
    const where = words === undefined ? 'its log names them' : `${words.path} has the messages`;
    all.push(`While ${mountpoint} was mounted, data of ${files} was lost: ${where}.`);
  }
  if (all.length > 0) throw new UserError(all.join('\n          '), { remedy: CHECK_FILES });
}

function killedTooEarly(): UserError {
  return new UserError('The process that served the mount ended before it had written everything back.', {
    remedy: CHECK_FILES,
  });
}

function doesNotAnswer(mountpoint: string, { peer }: MountControl): UserError {
  const pid = peer.pid === 0 ? '' : ` ${peer.pid}`;
  return new UserError(
    `${mountpoint} stays mounted: the process${pid} that serves it does not answer, so nobody could tell when ` +
      'everything is written back.',
    { remedy: 'It may be stopped (kill -CONT goes on). --lazy does not wait; --force loses what is left.' },
  );
}

/** The counters of a mount that tells how much is unwritten. Undefined: it does not answer. */
async function unwrittenOf(control: MountControl | undefined): Promise<MountStats | undefined> {
  const stats = (await control?.stats()) as MountStats | undefined;
  return stats?.unwritten === undefined ? undefined : stats;
}

/**
 * Has everything written back while the mount is still there, so that whoever waits for a server that does not
 * answer sees what it is about, and may leave the mount as it was. Resolves with lines about lost data.
 */
async function writeBackFirst(mountpoint: string, control: MountControl): Promise<readonly string[]> {
  const before = await unwrittenOf(control);
  if (before === undefined) throw doesNotAnswer(mountpoint, control);
  if (before.unwritten.bytes === 0) return [];
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
    const done = control.writeBack();
    for (;;) {
      const losses = await Promise.race([done, after(POLL_MS)]);
      if (losses === undefined) throw killedTooEarly();
      if (losses !== 'late') return losses;
      latest = (await unwrittenOf(control)) ?? latest;
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
async function detachLazily(
  mountpoint: string,
  entry: MountEntry,
  control: MountControl | undefined,
): Promise<Told> {
  const stats = await unwrittenOf(control);
  await detach(entry, true);
  if (stats === undefined)
    return {
      note: `${mountpoint} is detached; its process cannot be asked whether everything is written back.`,
    };
  const { unwritten, pid } = stats;
  if (unwritten.bytes === 0) return { unwritten };
  return {
    unwritten,
    note: `${mountpoint} is detached; process ${pid} still has to write back ${describeUnwritten(unwritten)}.`,
  };
}

/** Throws UserError if anything was lost, with what. */
async function unmountByForce(
  mountpoint: string,
  entry: MountEntry,
  control: MountControl | undefined,
): Promise<Told> {
  const watch = await control?.watch();
  // Only the process itself knows what it need not give up, and may always end the connection.
  if (control === undefined || watch === undefined) return endFromOutside(mountpoint, entry);
  void control.orderToGiveUp();
  const outcome = await Promise.race([watch.ended, after(FORCE_PATIENCE_MS)]);
  watch.cancel();
  if (outcome === 'late') await abortFromOutside(entry);
  await detachIfThere(entry);
  if (outcome === 'late')
    throw new UserError(`${mountpoint} is unmounted, but the process that served it does not end.`, {
      remedy: 'End it with kill -KILL; what it had not written back is lost.',
    });
  if (outcome === undefined) throw killedTooEarly();
  const { lost } = outcome;
  if (lost !== undefined && lost.bytes > 0)
    throw new UserError(`${mountpoint} is unmounted. Lost: ${describeUnwritten(lost)}.`, {
      remedy: 'These files on the server lack what was written last.',
    });
  return { writtenBack: true };
}

/** Throws UserError unless the mount was a dead one: otherwise nobody knows what was lost. */
async function endFromOutside(mountpoint: string, entry: MountEntry): Promise<Told> {
  if ((await askMount(mountpoint, ANSWER_MS)).state === 'dead') return removeDead(mountpoint, entry);
  if (!(await abortFromOutside(entry)))
    throw new UserError('The process that serves the mount cannot be told to give up.', {
      remedy: "It lives in another namespace, or is another user's: end it from there (kill -KILL).",
    });
  await detachIfThere(entry);
  throw new UserError(
    `${mountpoint} is unmounted by force; its process did not answer, and what it had not written back is lost.`,
    { remedy: CHECK_FILES },
  );
}

async function detachIfThere(entry: MountEntry): Promise<void> {
  if (!(await isThere(entry))) return;
  try {
    await detach(entry, true);
  } catch (error) {
    // The process that served it may have been faster.
    if (await isThere(entry)) throw error;
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
