/** `nfs-fuse umount`: takes a mount away, and waits until the process behind it has written everything back. */
import { ProgressLine } from '../../base/terminal.js';
import { UserError } from '../../base/user-error.js';
import { FILE_SYSTEM_TYPE, mountAt, readMountinfo } from '../../fuse/index.js';
import { describeUnwritten } from '../../mount/failure/unwritten.js';
import { reachMount } from '../../mount/reach/mount-control.js';
import { locate } from '../../mount/reach/mount-place.js';
import { notMounted } from '../../mount/reach/not-mounted.js';
import {
  detachLazily,
  type Fate,
  isThere,
  type MountToEnd,
  removeDead,
  unmountAndWait,
  unmountByForce,
  writeBackFirst,
} from '../../mount/reach/unmount.js';
import { type Command, type Output, withMountpoint } from '../command.js';

/** A write-back that takes longer than this is announced. */
const PATIENCE_MS = 2_000;

interface UmountArguments {
  readonly mountpoint: string;
  readonly lazy: boolean | undefined;
  readonly force: boolean | undefined;
  readonly json: boolean | undefined;
}

/** A mount that is not there any more, as --json prints it. */
interface Unmounted extends Fate {
  readonly mountpoint: string;
  readonly source: string;
  /** The process that served it, if it could be asked. */
  readonly pid?: number;
}

export const umountCommand: Command<UmountArguments> = {
  syntax: ['umount <mountpoint>', 'unmount'],
  describe: 'Unmount; returns when everything is written back',
  arguments: (args) =>
    withMountpoint(args)
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
  run: async (args, output) => {
    const unmounted = await unmount(args, output);
    if (args.json === true) output.print(`${JSON.stringify(unmounted, null, 2)}\n`);
    else if (unmounted.note !== undefined) output.tell('warn', unmounted.note);
    return 0;
  },
};

async function unmount(args: UmountArguments, output: Output): Promise<Unmounted> {
  const mountpoint = await locate(args.mountpoint);
  const entry = mountAt(await readMountinfo(), mountpoint);
  if (entry?.type !== FILE_SYSTEM_TYPE) throw await notMounted(args.mountpoint, entry);
  const control = await reachMount(entry);
  try {
    const fate = await end({ mountpoint, entry, control }, args, output);
    if (await isThere(entry))
      throw new UserError(`${mountpoint} is still mounted, though unmounting it did not fail.`, {
        remedy: 'Try again: it may have been mounted once more at the same time.',
      });
    const pid = control === undefined || control.peer.pid === 0 ? {} : { pid: control.peer.pid };
    return { mountpoint, source: entry.source.toString(), ...pid, ...fate };
  } finally {
    control?.close();
  }
}

async function end(mount: MountToEnd, args: UmountArguments, output: Output): Promise<Fate> {
  if (args.force === true) return unmountByForce(mount);
  if (args.lazy === true) return detachLazily(mount);
  const { mountpoint, control } = mount;
  if (control === undefined) return removeDead(mount);
  const losses = await writeBackVisibly({ ...mount, control }, output);
  return unmountAndWait({ ...mount, control }, losses, () =>
    output.tell('info', `${mountpoint} is unmounted; waiting until everything is written back …`),
  );
}

/** Has everything written back, and shows how much is left. ^C leaves the mount as it is. */
async function writeBackVisibly(
  mount: Parameters<typeof writeBackFirst>[0],
  { tell }: Output,
): Promise<readonly string[]> {
  const { mountpoint } = mount;
  const line = new ProgressLine();
  const interruption = new AbortController();
  let latest: string | undefined;
  let started = 0;
  let isAnnounced = false;
  const interrupt = (): void =>
    interruption.abort(
      new UserError(`Interrupted: ${mountpoint} stays mounted. Not written back yet: ${latest}.`, {
        exitStatus: 130,
      }),
    );
  try {
    return await writeBackFirst(mount, {
      signal: interruption.signal,
      pending: (unwritten) => {
        const isFirst = latest === undefined;
        latest = describeUnwritten(unwritten);
        if (isFirst) {
          started = performance.now();
          process.once('SIGINT', interrupt);
          return;
        }
        if (!isAnnounced && performance.now() - started >= PATIENCE_MS) {
          isAnnounced = true;
          line.end();
          tell(
            'warn',
            `${mountpoint} is still mounted: waiting for the server to take ${latest}. ^C leaves the mount as it is; ` +
              '"nfs-fuse umount --force" ends it without the server and loses that.',
          );
        }
        line.show(`waiting for the server to take ${latest}`);
      },
    });
  } finally {
    line.end();
    process.off('SIGINT', interrupt);
  }
}
