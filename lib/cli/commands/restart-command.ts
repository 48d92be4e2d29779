/** `nfs-fuse restart`: another process goes on with a mount, and programs that use it notice nothing. */
import { accessSync, constants } from 'node:fs';
import { resolve } from 'node:path';
import { errorCode } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { FILE_SYSTEM_TYPE, mountAt, readMountinfo } from '../../fuse/index.js';
import { reachMount } from '../../mount/reach/mount-control.js';
import { locate } from '../../mount/reach/mount-place.js';
import { notMounted } from '../../mount/reach/not-mounted.js';
import { type Command, type Output, withMountpoint } from '../command.js';

interface RestartArguments {
  readonly mountpoint: string;
  readonly with: string | undefined;
  readonly json: boolean | undefined;
}

export const restartCommand: Command<RestartArguments> = {
  syntax: 'restart <mountpoint>',
  describe: 'Have a new process go on with a mount, such as one of another version',
  arguments: (args) =>
    withMountpoint(args)
      .option('with', {
        describe: 'The nfs-fuse that goes on; by default the one that serves the mount now',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('json', { describe: 'Print the ids of both processes as JSON', type: 'boolean' })
      .example('$0 restart /mnt --with /opt/new/bin/nfs-fuse', 'An upgrade without unmounting'),
  run: restart,
};

async function restart(args: RestartArguments, output: Output): Promise<number> {
  const mountpoint = await locate(args.mountpoint);
  const entry = mountAt(await readMountinfo(), mountpoint);
  if (entry?.type !== FILE_SYSTEM_TYPE) throw await notMounted(args.mountpoint, entry);
  const program = args.with === undefined ? undefined : programAt(args.with);
  const control = await reachMount(entry);
  try {
    const answer = await control?.restart(program);
    if (answer === undefined)
      throw new UserError(
        `The process that serves ${args.mountpoint} cannot be asked, or has ended meanwhile.`,
        {
          remedy: 'nfs-fuse stats says whether another one has gone on.',
        },
      );
    if ('failed' in answer)
      throw new UserError(`${args.mountpoint} is served as before. ${answer.failed}`, {
        remedy: answer.remedy,
      });
    const before = control?.peer.pid;
    if (args.json === true)
      output.print(`${JSON.stringify({ mountpoint, before, pid: answer.pid }, null, 2)}\n`);
    else
      output.tell(
        'info',
        `Process ${answer.pid} has gone on with ${mountpoint} in place of process ${before}.`,
      );
    return 0;
  } finally {
    control?.close();
  }
}

function programAt(path: string): string {
  const absolute = resolve(path);
  try {
    accessSync(absolute, constants.R_OK);
    return absolute;
  } catch (error) {
    throw new UserError(`The program ${path} cannot be read (${errorCode(error)}).`, {
      remedy: 'Name the file of nfs-fuse that is to go on.',
      cause: error,
    });
  }
}
