/** `nfs-fuse mount`: reads its options, and serves the mount here or in a background process. */
import { resolve } from 'node:path';
import { UserError } from '../../base/user-error.js';
import { takeOverAsked } from '../../mount/keep/take-over.js';
import { endpointText, parseEndpointAddress } from '../../mount/metrics/endpoint-address.js';
import { grantFlags, withoutHelpersDefaults } from '../../mount/options/kernel-flags.js';
import { type MountRequest, parseMountRequest } from '../../mount/options/mount-options.js';
import { isBackgroundChild, mountInBackground } from '../../mount/process/background.js';
import { prepareEngine } from '../../mount/process/engine.js';
import { LogFile } from '../../mount/process/log-file.js';
import { MountJournal } from '../../mount/reach/journal.js';
import { locate } from '../../mount/reach/mount-place.js';
import { remount } from '../../mount/reach/remount.js';
import {
  KERNEL_TRANSPORTS,
  type KernelTransport,
  parseKernelTransport,
} from '../../mount/serve/kernel-transport.js';
import { groupsOutside } from '../../namespace/namespace.js';
import type { Command, Output } from '../command.js';
import { type IdentityArguments, identityOptionTexts, withIdentityArguments } from '../identity-arguments.js';
import { inheritedMount } from '../inherited-mount.js';
import { type LogArguments, logStyle, withLogArguments } from '../log-arguments.js';
import { DEBUG_TOPICS, type DebugTopic, goOn, serveForParent, serveInForeground } from '../serving.js';
import { openState } from '../state-file.js';

interface MountArguments extends IdentityArguments, LogArguments {
  readonly target: string;
  readonly mountpoint: string;
  readonly options: string[] | undefined;
  readonly foreground: boolean | undefined;
  readonly debug: string[] | undefined;
  readonly 'log-file': string | undefined;
  readonly metrics: string | undefined;
  readonly transport: string | undefined;
  readonly 'no-keep': boolean | undefined;
  readonly state: string | undefined;
}

/** In the foreground it resolves when the mount has ended, in the background when the mount answers. */
export const mountCommand: Command<MountArguments> = {
  syntax: ['mount <target> <mountpoint>', '$0'],
  describe: 'Mount an export; returns when the mount answers',
  arguments: (args) =>
    withLogArguments(withIdentityArguments(args))
      .positional('target', {
        describe: 'server:/export, [IPv6]:/export or nfs://server[:port]/export',
        type: 'string',
        demandOption: true,
      })
      .positional('mountpoint', {
        describe: 'An existing directory, or with -f /dev/fd/N: an inherited /dev/fuse, mounted already',
        type: 'string',
        demandOption: true,
        normalize: false,
      })
      .option('options', {
        alias: 'o',
        describe: 'Mount options by their nfs(5) names, separated by commas; may be repeated',
        type: 'string',
        array: true,
        nargs: 1,
        requiresArg: true,
      })
      .option('foreground', {
        alias: 'f',
        describe: 'Stay in the foreground until unmounted',
        type: 'boolean',
      })
      .option('debug', {
        describe: 'Show every FUSE request (fuse), every remote call (rpc), or both (fuse,rpc)',
        type: 'string',
        array: true,
        nargs: 1,
        requiresArg: true,
      })
      .option('log-file', {
        describe: 'Append messages to this file',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('metrics', {
        describe:
          'Answer scrapes of Prometheus on this port of 127.0.0.1, on ADDRESS:PORT, or on a Unix socket',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('transport', {
        describe: `How to speak with the kernel: ${KERNEL_TRANSPORTS.join(' or ')} (the npm package; README has its limits)`,
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('no-keep', {
        describe: 'If the process dies, end the mount: no other process goes on with it',
        type: 'boolean',
      })
      .option('state', {
        describe: 'With /dev/fd/N: keep the state of the mount in this file, and go on with what is there',
        type: 'string',
        nargs: 1,
        requiresArg: true,
        conflicts: 'no-keep',
      })
      .example('$0 mount server:/export /mnt', 'Ports found through the portmapper')
      .example('$0 mount -o port=2049,mountport=20048 server:/export /mnt', 'No portmapper needed')
      .example(
        '$0 mount -o uid=1000,gid=1000 server:/export /mnt',
        'As user 1000 of the server, whose files read as yours',
      )
      .example(
        '$0 mount --idmap-uid 0:1000:1 --idmap-gid 0:1000:1 server:/export /mnt',
        'Root here is user 1000 there; no other user has a counterpart',
      )
      .example('$0 mount -f --debug=fuse server:/export /mnt', 'Watch what programs ask for'),
  // mount.fuse3 leaves the command's name out.
  run: (args, output) => mount(args, args._.length === 0, output),
};

async function mount(args: MountArguments, byMountFuse: boolean, { tell }: Output): Promise<number> {
  const goesOn = takeOverAsked();
  const given = args.options ?? [];
  const texts = [...(byMountFuse ? withoutHelpersDefaults(given) : given), ...identityOptionTexts(args)];
  const transport = parseKernelTransport(args.transport);
  const asked = grantFlags(parseMountRequest(args.target, texts), transport === 'kernel');
  if (asked.remount)
    return remount(args.target, asked, await locate(args.mountpoint), byMountFuse ? 'go' : 'stay', tell);
  const topics = debugTopics(args.debug ?? [], asked);
  const logPath = args['log-file'];
  // A process in the background leaves the working directory.
  const nextLog = logPath === undefined ? undefined : resolve(logPath);
  const style = logStyle(args);
  const metrics = args.metrics === undefined ? undefined : parseEndpointAddress(args.metrics);
  const next = {
    options: texts,
    debug: [...topics],
    logFile: nextLog,
    style,
    metrics: metrics && endpointText(metrics),
    target: args.target,
  };
  if (goesOn !== undefined) {
    prepareEngine();
    return goOn({ goesOn, request: asItIsHere(asked, false), topics, metrics, next }, tell);
  }
  const foreground = args.foreground === true || (topics.size > 0 && logPath === undefined);
  if (style.format !== undefined && !foreground && logPath === undefined)
    throw new UserError('--log-format is about the messages of -f, or those in a --log-file.', {
      remedy: 'Add -f or --log-file, or leave --log-format out.',
    });
  const inherited = inheritedMount(args.mountpoint, { transport, foreground, state: args.state });
  const request = asItIsHere(asked, inherited !== undefined);
  const mountpoint = inherited === undefined ? await locate(args.mountpoint) : args.mountpoint;
  const logFile = logPath === undefined ? undefined : new LogFile(logPath, style.format, style.level);
  if (!foreground && !isBackgroundChild())
    return mountInBackground({
      args: process.argv.slice(2),
      returnOnRetry: request.background,
      logDescriptor: logFile?.descriptor,
      tell,
    });
  prepareEngine();
  const state =
    args.state === undefined || inherited === undefined
      ? undefined
      : openState(args.state, inherited, request.source);
  // Nothing tells where an inherited descriptor is mounted, and many mounts have the name /dev/fd/3.
  const journal = inherited === undefined ? MountJournal.for(mountpoint) : undefined;
  const options = {
    request,
    mountpoint,
    inherited,
    transport,
    topics,
    style,
    metrics,
    logFile,
    journal,
    next: keeps(args, transport) ? { ...next, mountpoint } : undefined,
    memory: state?.memory,
    takeOver: state?.takeOver,
  };
  return isBackgroundChild() ? serveForParent(options) : serveInForeground(options, tell);
}

/** Adds to the request that `nfs-fuse exec` has made a namespace for it, or that another process has made the mount. */
function asItIsHere(request: MountRequest, madeElsewhere: boolean): MountRequest {
  const outerGroups = groupsOutside();
  const { client } = request;
  return { ...request, client: { ...client, identity: { ...client.identity, outerGroups, madeElsewhere } } };
}

/** libfuse keeps the connection with the kernel to itself. */
function keeps(args: MountArguments, transport: KernelTransport): boolean {
  return args['no-keep'] !== true && transport === 'kernel';
}

function debugTopics(values: readonly string[], request: MountRequest): Set<DebugTopic> {
  const topics = new Set<DebugTopic>(request.fuse.debug ? ['fuse'] : []);
  for (const value of values.flatMap((list) => list.split(','))) {
    const topic = DEBUG_TOPICS.find((known) => known === value);
    if (topic === undefined)
      throw new UserError(`--debug=${value} is not one of ${DEBUG_TOPICS.join(', ')}.`, {
        remedy: 'Write --debug=fuse, --debug=rpc or --debug=fuse,rpc.',
      });
    topics.add(topic);
  }
  return topics;
}
