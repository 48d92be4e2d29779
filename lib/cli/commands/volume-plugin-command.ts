/** `nfs-fuse volume-plugin`: volumes for docker and podman, each an export of an NFS server. */
import { join } from 'node:path';
import { ownProgram } from '../../base/own-program.js';
import { UserError } from '../../base/user-error.js';
import { readRights } from '../../fuse/index.js';
import { runPlugin } from '../../volume-plugin/plugin.js';
import { unitFiles } from '../../volume-plugin/unit-files.js';
import { type Command, type Output, withVolumeOptions } from '../command.js';

/** The name of the plugin unless --socket gives another one: that of the socket. */
const NAME = 'nfs-fuse';
/** podman's default. */
const LEAST_TIMEOUT_SECONDS = 5;
const MOST_TIMEOUT_SECONDS = 600;

interface VolumePluginArguments {
  readonly socket: string | undefined;
  readonly root: string | undefined;
  readonly options: string[] | undefined;
  readonly scope: string;
  readonly timeout: string | undefined;
  readonly 'print-units': string | undefined;
}

export const volumePluginCommand: Command<VolumePluginArguments> = {
  syntax: 'volume-plugin',
  describe: 'Be a volume driver for docker and podman',
  arguments: (args) =>
    withVolumeOptions(args)
      .option('socket', {
        describe: 'Where to listen; by default where docker looks, or in $XDG_RUNTIME_DIR for a user',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('root', {
        describe:
          'The folder of the volumes; by default /var/lib/nfs-fuse-volumes, or ~/.local/share/nfs-fuse-volumes',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('scope', {
        describe: 'local: volumes are made on each machine; global: once for a swarm',
        type: 'string',
        default: 'local',
        nargs: 1,
        requiresArg: true,
      })
      .option('timeout', {
        describe: 'Seconds that the engine waits for an answer (podman: volume_plugin_timeout); 5 by default',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('print-units', {
        describe: 'Print the units for systemd: "system", or "user" for rootless podman',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .example('$0 volume-plugin', 'As root, for docker and podman')
      .example('podman unshare $0 volume-plugin', 'For rootless podman')
      .example('docker volume create --driver nfs-fuse -o device=server:/export data', ''),
  run: volumePlugin,
};

async function volumePlugin(args: VolumePluginArguments, output: Output): Promise<number> {
  const units = args['print-units'];
  if (units !== undefined && units !== 'system' && units !== 'user')
    throw new UserError(`--print-units=${units} is not one of system, user.`, {
      remedy: 'Write --print-units=system, or --print-units=user for rootless podman.',
    });
  const { scope } = args;
  if (scope !== 'local' && scope !== 'global')
    throw new UserError(`--scope=${scope} is not one of local, global.`, {
      remedy: 'Leave it out for local.',
    });
  const timeoutSeconds = args.timeout === undefined ? undefined : timeoutOf(args.timeout);
  const isRootOfMachine = process.geteuid?.() === 0 && readRights().initialUserNamespace;
  const isForUser = units === undefined ? !isRootOfMachine : units === 'user';
  const socket = args.socket ?? defaultSocket(isForUser);
  const root = args.root ?? defaultRoot(isForUser);
  if (units !== undefined) {
    const more = (args.options ?? []).flatMap((text) => ['-o', text]);
    const scoped = scope === 'local' ? [] : ['--scope', scope];
    const timed = timeoutSeconds === undefined ? [] : ['--timeout', String(timeoutSeconds)];
    const pluginArguments = ['--socket', socket, '--root', root, ...scoped, ...timed, ...more];
    const program = ownProgram();
    output.print(
      unitFiles({ program, args: pluginArguments, socket, isForUser, name: NAME, timeoutSeconds }),
    );
    return 0;
  }
  // Containers have users of their own. An ordinary user may need user_allow_other for it, and root does not.
  const defaults = [...(process.geteuid?.() === 0 ? ['allow_other'] : []), ...(args.options ?? [])];
  const engineMs = (timeoutSeconds ?? LEAST_TIMEOUT_SECONDS) * 1_000;
  await runPlugin({ root, socket, scope, engineMs, defaults, program: ownProgram(), tell: output.tell });
  return 0;
}

function timeoutOf(text: string): number {
  const seconds = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (seconds >= LEAST_TIMEOUT_SECONDS && seconds <= MOST_TIMEOUT_SECONDS) return seconds;
  throw new UserError(
    `--timeout=${text} is not a number of seconds from ${LEAST_TIMEOUT_SECONDS} to ${MOST_TIMEOUT_SECONDS}.`,
    { remedy: 'Write the number that is volume_plugin_timeout in containers.conf.' },
  );
}

function defaultSocket(isForUser: boolean): string {
  if (!isForUser) return `/run/docker/plugins/${NAME}.sock`;
  const folder = process.env.XDG_RUNTIME_DIR;
  if (folder !== undefined && folder !== '') return join(folder, 'nfs-fuse', 'volumes.sock');
  throw new UserError('XDG_RUNTIME_DIR is not set, so there is no usual place for the socket.', {
    remedy: 'Name one with --socket, in a folder of your own.',
  });
}

function defaultRoot(isForUser: boolean): string {
  if (!isForUser) return '/var/lib/nfs-fuse-volumes';
  const home = process.env.HOME;
  const data = process.env.XDG_DATA_HOME ?? (home === undefined ? undefined : join(home, '.local/share'));
  if (data !== undefined) return join(data, 'nfs-fuse-volumes');
  throw new UserError('HOME is not set, so there is no usual place for the volumes.', {
    remedy: 'Name a folder with --root.',
  });
}
