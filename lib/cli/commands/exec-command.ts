/** `nfs-fuse exec`: mounts, runs one command, and unmounts. */
import { constants } from 'node:os';
import { UserError } from '../../base/user-error.js';
import { EXEC_FAILED, type ExecOutcome, runExec } from '../../exec/run.js';
import { inheritedDescriptor } from '../../fuse/index.js';
import { grantFlags } from '../../mount/options/kernel-flags.js';
import { parseMountRequest } from '../../mount/options/mount-options.js';
import { openLogFile } from '../../mount/process/log-file.js';
import { locate } from '../../mount/reach/mount-place.js';
import { KERNEL_TRANSPORTS } from '../../mount/serve/kernel-transport.js';
import { variablesNotUtf8 } from '../../namespace/environment.js';
import { enterNamespace } from '../../namespace/namespace.js';
import type { Command, Output } from '../command.js';
import { type IdentityArguments, identityOptionTexts, withIdentityArguments } from '../identity-arguments.js';

interface ExecArguments extends IdentityArguments {
  readonly target: string;
  readonly mountpoint: string;
  readonly command: string[];
  readonly options: string[] | undefined;
  readonly transport: string | undefined;
  readonly 'log-file': string | undefined;
  readonly 'map-root-user': boolean | undefined;
  readonly 'no-keep': boolean | undefined;
}

/** Signals by which this process ends if they have ended the command. Others would write a core file, or have no effect here. */
const RAISED: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGTERM', 'SIGHUP']);
const RAISE_MS = 2_000;

export const execCommand: Command<ExecArguments> = {
  syntax: 'exec <target> <mountpoint> [command..]',
  describe: 'Mount, run a command, unmount; in a namespace of its own if need be',
  arguments: (args) =>
    withIdentityArguments(args)
      .usage('$0 exec [-o options] server:/export MOUNTPOINT -- COMMAND [ARGUMENT…]')
      .positional('target', { describe: 'server:/export', type: 'string', demandOption: true })
      .positional('mountpoint', {
        describe: 'An existing directory',
        type: 'string',
        demandOption: true,
        normalize: false,
      })
      .positional('command', {
        describe: 'The command, behind --',
        type: 'string',
        array: true,
        default: [],
        defaultDescription: 'none',
      })
      .option('options', {
        alias: 'o',
        describe: 'Mount options, as with mount; may be repeated',
        type: 'string',
        array: true,
        nargs: 1,
        requiresArg: true,
      })
      .option('map-root-user', {
        alias: 'r',
        describe: 'Run the command as root of a namespace of its own',
        type: 'boolean',
      })
      .option('no-keep', {
        describe: 'If the process of the mount dies, end the mount: no other process goes on with it',
        type: 'boolean',
      })
      .option('log-file', {
        describe: 'Append what the mount prints to this file',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('transport', {
        describe: `How to speak with the kernel: ${KERNEL_TRANSPORTS.join(' or ')}`,
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .epilogue(
        'The exit status is that of the command (128 + n if signal n ended it), or 125 if the mount failed or not ' +
          'everything could be written back, 126 if the command cannot be executed, 127 if it was not found.',
      )
      .example('$0 exec server:/export /mnt -- make -C /mnt', 'Needs no privilege but /dev/fuse'),
  run: async (args, output) => {
    try {
      return await endLike(await exec(args, output));
    } catch (error) {
      throw asOurFailure(error);
    }
  },
};

async function exec(args: ExecArguments, { tell }: Output): Promise<ExecOutcome> {
  const dashes = process.argv.indexOf('--');
  const [name, ...rest] = dashes < 0 ? args.command : process.argv.slice(dashes + 1);
  if (name === undefined)
    throw new UserError('There is no command to run.', {
      remedy: 'Write it behind the mount point and two dashes: … server:/export /mnt -- ls -l /mnt',
    });
  if (inheritedDescriptor(args.mountpoint) !== undefined)
    throw new UserError(`${args.mountpoint} is mounted already, and nfs-fuse exec is for making a mount.`, {
      remedy: 'Name a directory, or serve the descriptor with nfs-fuse mount -f.',
    });
  // Errors in the options are reported here, once, before another process reads them.
  const options = [...(args.options ?? []), ...identityOptionTexts(args)];
  const request = parseMountRequest(args.target, options);
  if (request.remount)
    throw new UserError('nfs-fuse exec makes a mount, and remount changes one.', {
      remedy: 'Leave remount out.',
    });
  // The process that goes on in a namespace does not have these variables any more, so they are reported once.
  // PWD is no loss: shells set it for every working directory, and find it out if it is missing.
  const leftOut = variablesNotUtf8().filter((name) => name !== 'PWD');
  if (leftOut.length > 0)
    tell('warn', `Not passed on, because it is not valid UTF-8: ${leftOut.join(', ')}.`);
  enterNamespace(args['map-root-user'] === true, (message) => tell('warn', message));
  for (const note of grantFlags(request, args.transport !== 'fuse-native').notes) tell('warn', note);
  const logFile = args['log-file'];
  const flags = [
    ...options.flatMap((option) => ['-o', option]),
    ...(args.transport === undefined ? [] : ['--transport', args.transport]),
    ...(logFile === undefined ? [] : ['--log-file', logFile]),
    ...(args['no-keep'] === true ? ['--no-keep'] : []),
  ];
  return runExec({
    mountArguments: ['mount', ...flags, args.target],
    place: await locate(args.mountpoint),
    logDescriptor: logFile === undefined ? undefined : openLogFile(logFile),
    mountpoint: args.mountpoint,
    command: [name, ...rest],
    tell,
  });
}

/**
 * Ends this process by the signal that has ended the command: a shell that runs us in a loop ends the loop only if Ctrl-C
 * has ended us. Resolves with the exit status for all other ends, and if the signal does not end this process.
 */
async function endLike(outcome: ExecOutcome): Promise<number> {
  if ('status' in outcome) return outcome.status;
  const { signal } = outcome;
  // A signal without a handler does not end process 1.
  if (RAISED.has(signal) && process.pid !== 1) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    await new Promise((resolve) => setTimeout(resolve, RAISE_MS));
  }
  return 128 + constants.signals[signal];
}

function asOurFailure(error: unknown): unknown {
  if (error instanceof UserError && error.exitStatus !== 1) return error;
  if (error instanceof UserError)
    return new UserError(error.message, {
      remedy: error.remedy,
      exitStatus: EXEC_FAILED,
      cause: error.cause,
    });
  return error;
}
