/**
 * Serving a mount in one of its manners: at a terminal, behind a command that has returned, for a command that owns it, and
 * in place of a process that has died. Owns where the messages go in each of them, and which signals end the mount.
 */
import { type Logger, type LogLevel, type LogSink, loggerTo } from '../base/log.js';
import { ownProgram } from '../base/own-program.js';
import { UserError } from '../base/user-error.js';
import { kindOfFailure } from '../mount/failure/failure-kind.js';
import type { TakeOver } from '../mount/keep/take-over.js';
import { ServiceManager } from '../mount/manager/service-manager.js';
import type { MetricsEndpoint } from '../mount/metrics/endpoint.js';
import type { EndpointAddress } from '../mount/metrics/endpoint-address.js';
import { metricsOf } from '../mount/metrics/mount-metrics.js';
import type { MountRequest } from '../mount/options/mount-options.js';
import { reportToParent, type ServingRole } from '../mount/process/background.js';
import { starterOf, takeOverSettings } from '../mount/process/going-on.js';
import { LogFile } from '../mount/process/log-file.js';
import { goFirst } from '../mount/process/memory-shortage.js';
import { OWNER, OwnerLink } from '../mount/process/owner-link.js';
import { leadOwnSession } from '../mount/process/process-calls.js';
import { serveMount } from '../mount/process/serving-process.js';
import { shieldFromSignals } from '../mount/process/signal-shield.js';
import { tellStarter } from '../mount/process/starter.js';
import { StopSignals } from '../mount/process/stop-signals.js';
import { lastWords, MountJournal } from '../mount/reach/journal.js';
import type { TakeOverSettings } from '../mount/serve/keeping.js';
import type { KernelTransport } from '../mount/serve/kernel-transport.js';
import type { RecordMemory } from '../records/index.js';
import { noteOnKernelOptions } from './inherited-mount.js';
import { type LogStyle, standardErrorIn } from './log-arguments.js';
import { type NextProcess, nextArguments } from './next-process.js';

export const DEBUG_TOPICS = ['fuse', 'rpc'] as const;
export type DebugTopic = (typeof DEBUG_TOPICS)[number];
const STANDARD_ERROR = 2;

export interface ServeOptions {
  readonly request: MountRequest;
  readonly mountpoint: string;
  /** The descriptor that `mountpoint` names, if it names one. */
  readonly inherited: number | undefined;
  readonly transport: KernelTransport;
  readonly topics: ReadonlySet<DebugTopic>;
  readonly style: LogStyle;
  /** Where scrapes are answered. Undefined: nowhere. */
  readonly metrics: EndpointAddress | undefined;
  readonly logFile: LogFile | undefined;
  readonly journal: MountJournal | undefined;
  /** How another process would go on with the mount. Undefined: none does. */
  readonly next: NextProcess | undefined;
  /** An empty state in a file. Undefined: in memory. */
  readonly memory?: RecordMemory | undefined;
  /** The mount with which this process goes on. */
  readonly takeOver?: TakeOverSettings | undefined;
  /** The socket to the process that owns the mount, in a process that has taken over. */
  readonly owner?: Pick<OwnerLink, 'fd'> | undefined;
  /** See Told, in a process that has taken over. */
  readonly score?: number | undefined;
}

/** Serves it until it ends. Resolves with the exit status. */
export async function serveInForeground(options: ServeOptions, tell: LogSink): Promise<number> {
  const { request, mountpoint: place, inherited, logFile, style } = options;
  const toPeople = standardErrorIn(style, tell);
  const log = loggerTo(toPeople, ...(logFile === undefined ? [] : [logFile.sink]));
  for (const note of request.notes) log.warn(note);
  const note = inherited === undefined ? undefined : noteOnKernelOptions(place, request);
  if (note !== undefined) log.warn(note);
  const stop = new StopSignals(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']);
  shieldFromSignals();
  const serving = serve(options, {
    log,
    dump: logFile?.everything ?? standardErrorIn({ ...style, level: 'info' }, tell),
    stop,
    role: 'foreground',
    retrying: (message) => log.warn(message),
    mounted: (mountpoint) => {
      tellLastWords(options, log);
      log.info(`${request.source} is mounted on ${mountpoint}.`);
      tellStarter({ ready: true });
    },
  });
  return style.format === undefined ? serving : serving.catch((error: unknown) => failedIn(toPeople, error));
}

/** A failure as a message like the others, for a program that reads them. Answers the exit status. */
function failedIn(toPeople: LogSink, error: unknown): number {
  if (!(error instanceof UserError)) throw error;
  toPeople('error', error.remedy === undefined ? error.message : `${error.message} ${error.remedy}`);
  tellStarter({ failed: kindOfFailure(error) });
  return error.exitStatus;
}

/** The same in a copy of the process that waits for the mount. */
export async function serveForParent(options: ServeOptions): Promise<number> {
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
  for (const note of request.notes) log.warn(note);
  // A working directory would keep its file system mounted.
  process.chdir('/');
  try {
    return await serve(options, {
      log,
      dump: logFile?.everything ?? (() => {}),
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
    await parent.failed(error, kindOfFailure(error));
    toFile?.('error', error instanceof Error ? error.message : String(error));
    return 1;
  }
}

export interface GoingOn {
  readonly goesOn: TakeOver;
  readonly request: MountRequest;
  readonly topics: ReadonlySet<DebugTopic>;
  readonly metrics: EndpointAddress | undefined;
  readonly next: Omit<NextProcess, 'mountpoint'>;
}

/** Goes on with the mount of another process. Nobody waits for this process but those who have started it. */
export async function goOn(going: GoingOn, plain: LogSink): Promise<number> {
  const { goesOn, request, topics, metrics, next } = going;
  const { style } = next;
  const tell = standardErrorIn(style, plain);
  const starter = starterOf(goesOn);
  leadOwnSession();
  process.chdir('/');
  const stop = new StopSignals(['SIGINT', 'SIGTERM']);
  shieldFromSignals(['SIGQUIT', 'SIGHUP']);
  const owner =
    goesOn.owner === undefined ? undefined : new OwnerLink(goesOn.owner, () => stop.request('SIGTERM'));
  const end = (status: number): number => {
    owner?.report({ type: 'over', status });
    return status;
  };
  try {
    const takeOver = takeOverSettings(goesOn, starter);
    const { mountpoint, madeBy } = takeOver.facts;
    const inherited = madeBy === 'inherited' ? goesOn.fuse : undefined;
    const { client } = request;
    const identity = { ...client.identity, madeElsewhere: inherited !== undefined };
    const logFile = openAgain(next, tell);
    process.on('SIGHUP', () => logFile?.reopen({ streams: goesOn.role !== 'foreground' }));
    const journal = inherited === undefined ? MountJournal.for(mountpoint) : undefined;
    journal?.goOn();
    const sinks: LogSink[] = [
      ...(logFile === undefined ? [] : [logFile.sink]),
      ...(owner === undefined
        ? []
        : [(level: LogLevel, message: string) => owner.report({ type: 'log', level, message })]),
      ...(goesOn.role === 'foreground' ? [tell] : []),
    ];
    if (goesOn.role === 'background' && logFile === undefined)
      sinks.push((level, message) => journal?.append(level, message));
    owner?.report({ type: 'serving' });
    const serving = serve(
      {
        request: { ...request, client: { ...client, identity } },
        mountpoint,
        inherited,
        transport: 'kernel',
        topics,
        style,
        metrics,
        logFile,
        journal,
        next: { ...next, mountpoint },
        takeOver,
        owner,
        score: goesOn.score,
      },
      {
        log: loggerTo(...sinks),
        dump:
          logFile?.everything ??
          (goesOn.role === 'foreground' ? standardErrorIn({ ...style, level: 'info' }, plain) : () => {}),
        stop,
        role: goesOn.role,
        retrying: (message) => loggerTo(...sinks).warn(message),
        mounted: () => {
          if (!isEndedByManager(goesOn)) return;
          loggerTo(...sinks).warn(
            `The service manager has seen process ${goesOn.previous} die, and ends its service: the mount ends in good order.`,
          );
          stop.request('SIGTERM');
        },
      },
    );
    const status = await Promise.race([serving, starter.abandoned]);
    return end(status);
  } catch (error) {
    await starter.failed(error, stop.requestedAtOnce);
    return 1;
  }
}

/**
 * Whether a service manager has seen the process before die. It ends the service then, and signals the processes of that moment;
 * this one came later, and would hold the service up until its time is over.
 */
function isEndedByManager({ role, giver }: TakeOver): boolean {
  return role === 'foreground' && giver === undefined && ServiceManager.of(process.env) !== undefined;
}

/** A log file that cannot be opened any more must not keep a mount from going on. */
function openAgain(
  { logFile: path, style }: Pick<NextProcess, 'logFile' | 'style'>,
  tell: LogSink,
): LogFile | undefined {
  try {
    return path === undefined ? undefined : new LogFile(path, style.format, style.level);
  } catch (error) {
    tell('error', error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

/** Serving HTTP is loaded only where it is asked for. @throws UserError: the address cannot be had */
async function openEndpoint({ metrics, takeOver }: ServeOptions, log: Logger) {
  if (metrics === undefined) return undefined;
  const { MetricsEndpoint } = await import('../mount/metrics/endpoint.js');
  return takeOver === undefined
    ? MetricsEndpoint.open(metrics, log)
    : MetricsEndpoint.openAgain(metrics, log);
}

/** Reports how the mount before this one failed, if it did, and removes its journal. */
function tellLastWords({ mountpoint, journal }: ServeOptions, log: Logger): void {
  const words = lastWords(mountpoint);
  if (words !== undefined) log.warn(`Of the last mount on ${mountpoint}: ${words.line}`);
  journal?.clear();
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
  const { request, mountpoint, inherited, transport, topics, journal, logFile, next, takeOver } = options;
  const dumpLine = (topic: DebugTopic) =>
    topics.has(topic) ? (line: string) => dump('info', `${topic}: ${line}`) : undefined;
  const watcher = {
    journal: journal?.place,
    logFile,
    errors: role === 'foreground' ? STANDARD_ERROR : undefined,
    format: options.style.format,
    program: ownProgram(),
  };
  let endpoint: MetricsEndpoint | undefined;
  const manager = role === 'foreground' ? ServiceManager.of(process.env) : undefined;
  void stop.first.then(() => manager?.stopping());
  try {
    endpoint = await openEndpoint(options, log);
    return await serveMount(request, mountpoint, {
      log,
      transport,
      inherited,
      journal,
      watcher,
      keep: next && {
        program: ownProgram(),
        arguments: nextArguments(next),
        memory: options.memory,
        role,
        owner:
          role === 'attached' ? () => (options.owner === undefined ? OWNER : options.owner.fd) : undefined,
        score: role === 'attached' ? goFirst(options.score) : undefined,
      },
      takeOver,
      untoldIsFailure: role === 'attached',
      dumpFuse: dumpLine('fuse'),
      dumpRpc: dumpLine('rpc'),
      stop,
      retrying,
      mounted: (mount) => {
        const at = mount.mountpoint;
        endpoint?.serve(() => metricsOf(mount));
        mounted(at);
        manager?.ready(`${request.source} is mounted on ${at}.`);
      },
      handedOver: (pid) => manager?.goesOnAs(pid),
    });
  } finally {
    endpoint?.close();
    manager?.dispose();
    stop.dispose();
  }
}
