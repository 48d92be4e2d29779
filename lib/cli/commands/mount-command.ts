/** `nfs-fuse mount`: reads its options, and serves the mount here or in a background process. */
import { type Logger, type LogSink, loggerTo } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { grantFlags, withoutHelpersDefaults } from '../../mount/options/kernel-flags.js';
import { type MountRequest, parseMountRequest } from '../../mount/options/mount-options.js';
import {
  isBackgroundChild,
  mountInBackground,
  type ParentReports,
  reportToParent,
  type ServingRole,
} from '../../mount/process/background.js';
import { prepareEngine } from '../../mount/process/engine.js';
import { LogFile } from '../../mount/process/log-file.js';
import { serveMount } from '../../mount/process/serving-process.js';
import { shieldFromSignals } from '../../mount/process/signal-shield.js';
import { StopSignals } from '../../mount/process/stop-signals.js';
import { lastWords, MountJournal } from '../../mount/reach/journal.js';
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
import { inheritedMount, noteOnKernelOptions } from '../inherited-mount.js';

const DEBUG_TOPICS = ['fuse', 'rpc'] as const;
type DebugTopic = (typeof DEBUG_TOPICS)[number];
const STANDARD_ERROR = 2;

interface MountArguments extends IdentityArguments {
  readonly target: string;
  readonly mountpoint: string;
  readonly options: string[] | undefined;
  readonly foreground: boolean | undefined;
  readonly debug: string[] | undefined;
  readonly 'log-file': string | undefined;
  readonly transport: string | undefined;
}

/** In the foreground it resolves when the mount has ended, in the background when the mount answers. */
export const mountCommand: Command<MountArguments> = {
  syntax: ['mount <target> <mountpoint>', '$0'],
  describe: 'Mount an export; returns when the mount answers',
  arguments: (args) =>
    withIdentityArguments(args)
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
      .option('transport', {
        describe: `How to speak with the kernel: ${KERNEL_TRANSPORTS.join(' or ')} (the npm package; README has its limits)`,
        type: 'string',
        nargs: 1,
        requiresArg: true,
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
  const given = args.options ?? [];
  const texts = [...(byMountFuse ? withoutHelpersDefaults(given) : given), ...identityOptionTexts(args)];
  const transport = parseKernelTransport(args.transport);
  const asked = grantFlags(parseMountRequest(args.target, texts), transport === 'kernel');
  if (asked.remount)
    return remount(args.target, asked, await locate(args.mountpoint), byMountFuse ? 'go' : 'stay', tell);
  const topics = debugTopics(args.debug ?? [], asked);
  const logPath = args['log-file'];
  const foreground = args.foreground === true || (topics.size > 0 && logPath === undefined);
  const inherited = inheritedMount(args.mountpoint, { transport, foreground });
  const request = asItIsHere(asked, inherited !== undefined);
  const mountpoint = inherited === undefined ? await locate(args.mountpoint) : args.mountpoint;
  const logFile = logPath === undefined ? undefined : new LogFile(logPath);
  if (!foreground && !isBackgroundChild()) {
    for (const note of request.notes) tell('warn', note);
    return mountInBackground({
      args: process.argv.slice(2),
      returnOnRetry: request.background,
      logDescriptor: logFile?.descriptor,
      tell,
    });
  }
  prepareEngine();
  // Nothing tells where an inherited descriptor is mounted, and many mounts have the name /dev/fd/3.
  const journal = inherited === undefined ? MountJournal.for(mountpoint) : undefined;
  const options = {
    request,
    mountpoint,
    inherited,
    transport,
    topics,
    logFile,
    journal,
  };
  return isBackgroundChild() ? serveForParent(options) : serveInForeground(options, tell);
}

/** Adds to the request that `nfs-fuse exec` has made a namespace for it, or that another process has made the mount. */
function asItIsHere(request: MountRequest, madeElsewhere: boolean): MountRequest {
  const outerGroups = groupsOutside();
  const { client } = request;
  return { ...request, client: { ...client, identity: { ...client.identity, outerGroups, madeElsewhere } } };
}

interface ServeOptions {
  readonly request: MountRequest;
  readonly mountpoint: string;
  /** The descriptor that `mountpoint` names, if it names one. */
  readonly inherited: number | undefined;
  readonly transport: KernelTransport;
  readonly topics: ReadonlySet<DebugTopic>;
  readonly logFile: LogFile | undefined;
  readonly journal: MountJournal | undefined;
}

async function serveInForeground(options: ServeOptions, tell: LogSink): Promise<number> {
  const { request, mountpoint: place, inherited, logFile } = options;
  const toFile = logFile?.sink;
  const log = loggerTo(tell, ...(toFile === undefined ? [] : [toFile]));
  for (const note of request.notes) log.warn(note);
  const note = inherited === undefined ? undefined : noteOnKernelOptions(place, request);
  if (note !== undefined) log.warn(note);
  const stop = new StopSignals(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']);
  shieldFromSignals();
  return serve(options, {
    log,
    dump: toFile ?? tell,
    stop,
    role: 'foreground',
    retrying: (message) => log.warn(message),
    mounted: (mountpoint) => {
      tellLastWords(options, log);
      log.info(`${request.source} is mounted on ${mountpoint}.`);
    },
  });
}

async function serveForParent(options: ServeOptions): Promise<number> {
  const { request, logFile } = options;
  const toFile = logFile?.sink;
  const stop = new StopSignals(['SIGINT', 'SIGTERM']);
  // These signals do not come from a terminal here. As with other daemons, SIGHUP reopens the log file.
  shieldFromSignals(['SIGQUIT', 'SIGHUP']);
  process.on('SIGHUP', () => logFile?.reopen({ streams: true }));
  const parent = reportToParent(() => stop.request('SIGTERM'));
  const log = loggerTo(
    (level, message) => {
      if (parent.listens) parent.log(level, message);
      else if (toFile === undefined) options.journal?.append(level, message);
    },
    ...(toFile === undefined ? [] : [toFile]),
  );
  // A working directory would keep its file system mounted.
  process.chdir('/');
  try {
    return await serve(options, {
      log,
      dump: toFile ?? (() => {}),
      stop,
      role: parent.role,
      retrying: (message) => {
        parent.retrying(message, request.background);
        toFile?.('warn', message);
      },
      mounted: (mountpoint) => {
        tellLastWords(options, log);
        toFile?.('info', `${request.source} is mounted on ${mountpoint}.`);
        parent.mounted();
      },
    });
  } catch (error) {
    await tellParent(parent, error);
    toFile?.('error', error instanceof Error ? error.message : String(error));
    return 1;
  }
}

/** Reports how the mount before this one failed, if it did, and removes its journal. */
function tellLastWords({ mountpoint, journal }: ServeOptions, log: Logger): void {
  const words = lastWords(mountpoint);
  if (words !== undefined) log.warn(`Of the last mount on ${mountpoint}: ${words.line}`);
  journal?.clear();
}

async function tellParent(parent: ParentReports, error: unknown): Promise<void> {
  const details = error instanceof Error ? error.stack : undefined;
  if (error instanceof UserError) {
    const { message, remedy, exitStatus } = error;
    await parent.failed({ message, remedy, exitStatus, details });
    return;
  }
  const message = `Unexpected error: ${error instanceof Error ? error.message : String(error)}`;
  await parent.failed({ message, remedy: undefined, exitStatus: 1, details });
}

/** How a serving process hears from its user, and tells of the mount. */
interface Surroundings {
  readonly log: Logger;
  /** Gets what --debug asks for. */
  readonly dump: LogSink;
  readonly stop: StopSignals;
  readonly role: 'foreground' | ServingRole;
  retrying(message: string): void;
  mounted(mountpoint: string): void;
}

async function serve(options: ServeOptions, surroundings: Surroundings): Promise<number> {
  const { log, dump, stop, role, retrying, mounted } = surroundings;
  const { request, mountpoint, inherited, transport, topics, journal, logFile } = options;
  const dumpLine = (topic: DebugTopic) =>
    topics.has(topic) ? (line: string) => dump('info', `${topic}: ${line}`) : undefined;
  const watcher = {
    journal: journal?.place,
    logFile,
    errors: role === 'foreground' ? STANDARD_ERROR : undefined,
    program: process.argv[1],
  };
  try {
    return await serveMount(request, mountpoint, {
      log,
      transport,
      inherited,
      journal,
      // Another process takes an inherited mount away.
      watcher: inherited === undefined ? watcher : undefined,
      untoldIsFailure: role === 'attached',
      dumpFuse: dumpLine('fuse'),
      dumpRpc: dumpLine('rpc'),
      stop,
      retrying,
      mounted,
    });
  } finally {
    stop.dispose();
  }
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
