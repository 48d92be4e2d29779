/**
 * The life of one mount: connect, mount, serve, and the orderly end, whichever way it comes: a signal, an
 * umount from outside, or an abort. The same in the foreground and in the background.
 */
import { stat } from 'node:fs/promises';
import type { Logger } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import type { FuseOperations } from '../../fuse/contract/operations.js';
import { type PinnedDirectory, pinMountpoint, type SessionEnd } from '../../fuse/index.js';
import type { ClientConfig } from '../../vfs/config.js';
import { isTemporary, type ListExports, mountFailure } from '../failure/mount-failure.js';
import { describeUnwritten, type Unwritten } from '../failure/unwritten.js';
import type { MountRequest } from '../options/mount-options.js';
import { CrashGuard } from '../process/crash.js';
import type { StopSignals } from '../process/stop-signals.js';
import type { MountJournal } from '../reach/journal.js';
import { withAddress } from '../server/server-address.js';
import {
  checkKernelTransport,
  type KernelTransport,
  mountOver,
  type ServedMount,
} from './kernel-transport.js';
import { type MountAnswers, MountLink } from './mount-link.js';
import { Watcher, type WatcherOptions } from './watcher.js';

/** A file system that is connected with its server. */
export interface ConnectedFileSystem {
  readonly operations: FuseOperations;
  /**
   * Writes back what is dirty, says good-bye to the server, and closes the connections. Never rejects: what
   * could not be written back is in the log.
   */
  shutdown(): Promise<void>;
  /** Writes back what was written so far, and goes on. Resolves with a line for each file that lost data. */
  writeBack(): Promise<readonly string[]>;
  /** How many files have lost data of which no program could be told. Each is in the log. */
  losses(): number;
  /** What would be lost if the process ended now. */
  unwritten(): Unwritten;
  /** Counters and sizes, as JSON can carry them. */
  stats(): object;
}

export type Connect = (config: ClientConfig, log: Logger) => Promise<ConnectedFileSystem>;

/** Told how the start goes. */
export interface MountProgress {
  retrying(message: string): void;
  mounted(mountpoint: string): void;
}

export interface MountProcessOptions {
  readonly request: MountRequest;
  readonly mountpoint: string;
  /** The descriptor of a mount that is another's; then `mountpoint` is only its name. */
  readonly inherited: number | undefined;
  readonly transport: KernelTransport;
  /** The mount is there for one command, which is to be told of every loss, not only of those at the end. */
  readonly attached: boolean;
  readonly connect: Connect;
  /** For the explanation of a refusal. */
  readonly listExports: ListExports;
  readonly log: Logger;
  /** Gets a line for every FUSE request and reply. */
  readonly dumpFuse: ((line: string) => void) | undefined;
  readonly stop: StopSignals;
  readonly progress: MountProgress;
  /** Keeps an end that was not in good order. */
  readonly journal: MountJournal | undefined;
  /** Who tells that this process was killed, and where. Undefined: the mount is another's to take away. */
  readonly watcher: WatcherOptions | undefined;
}

/** Between two attempts to mount. */
const FIRST_RETRY_DELAY_MS = 1_000;
const MAX_RETRY_DELAY_MS = 30_000;
/** How long programs that still use the mount may go on after SIGTERM: `docker stop` kills after 10 s. */
const BUSY_GRACE_MS = 5_000;
/** A streaming reader has this much under way; the kernel's own 128 KiB make it wait for every request. */
const READ_AHEAD_KIB = 1024;
/** A write-back at the end that takes longer is announced. */
const SHUTDOWN_PATIENCE_MS = 2_000;
/** After an abort: a server that takes nothing for so long is given up. */
const GIVE_UP_MS = 2_000;
/** Turns of the event loop in which the news of an unmount must have come. */
const UNMOUNT_LOOKS = 20;
const UNMOUNT_LOOK_MS = 20;
/** What is done after a second signal must not keep the process. */
const ABORT_PATIENCE_MS = 1_000;

/** Passes everything on, and keeps the last error for whoever asks how it went. */
class ErrorKeeper implements Logger {
  lastError: string | undefined;
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  forget(): void {
    this.lastError = undefined;
  }

  info(message: string): void {
    this.#log.info(message);
  }

  warn(message: string): void {
    this.#log.warn(message);
  }

  error(message: string): void {
    this.lastError = message;
    this.#log.error(message);
  }
}

/**
 * Serves a mount from beginning to end. Resolves with the exit status: 0 if everything that was written is on
 * the server. Throws UserError if the mount does not come about.
 */
export async function runMount(options: MountProcessOptions): Promise<number> {
  const { request, stop, progress } = options;
  const log = new ErrorKeeper(options.log);
  checkKernelTransport(options.transport, request.fuse);
  const pinned = await pin(options);
  const fileSystem = await connectWithRetry(options, log);
  const watcher =
    options.watcher === undefined
      ? undefined
      : await Watcher.start(options.watcher, (line) => log.warn(line));
  let served: ServedMount;
  try {
    served = await mountAndAnswer(options, pinned, fileSystem, watcher);
  } catch (error) {
    await fileSystem.shutdown();
    await watcher?.dismiss();
    throw await mountFailure(error, request.client, options.listExports);
  }
  const { mount } = served;
  let giveUp = (): void => {};
  let forced = false;
  const givingUp = new Promise<void>((resolve) => {
    giveUp = resolve;
  });
  const crash = new CrashGuard(log, () => JSON.stringify(served.counters()));
  const answers: MountAnswers = {
    stats: () => ({
      source: request.source,
      mountpoint: mount.mountpoint,
      options: request.options,
      ...fileSystem.stats(),
      fuse: served.counters(),
    }),
    writeBack: () => fileSystem.writeBack(),
    untoldLosses: () => fileSystem.losses(),
    isStillMounted: () => goesOn(served.over),
    giveUp: () => {
      forced = true;
      giveUp();
    },
  };
  const link =
    mount.minor === undefined ? undefined : await MountLink.open(mount.major, mount.minor, answers);
  if (link === undefined)
    log.warn(
      `This kernel does not tell the number of ${mount.mountpoint}: nfs-fuse stats cannot ask this mount.`,
    );
  else if (!link.isReachable)
    log.warn(
      'There is no folder for the control socket, which no other user may enter ($XDG_RUNTIME_DIR, /run, /tmp and ' +
        `/dev/shm were tried): nfs-fuse umount and stats cannot ask ${mount.mountpoint}. SIGTERM writes back and unmounts.`,
    );
  void served.over.then(() => link?.releaseName());
  await mount.setReadAhead(READ_AHEAD_KIB);
  progress.mounted(mount.mountpoint);

  const atOnce = stop.second.then(async (signal): Promise<never> => {
    const lost = fileSystem.unwritten();
    log.error(`Ended at once (second ${signal}). ${lossText(lost)}`);
    await Promise.race([mount.abort(), sleep(ABORT_PATIENCE_MS)]);
    await Promise.race([link?.close({ status: 1, message: lossText(lost), lost }), sleep(ABORT_PATIENCE_MS)]);
    await watcher?.dismiss();
    process.exit(1);
  });
  let counting = false;
  /** From the beginning of the end on: what programs lose while they finish makes the exit status 1. */
  const errorsCount = () => {
    if (!counting) log.forget();
    counting = true;
  };
  const end = await Promise.race([
    served.closed,
    stop.first.then(() => {
      errorsCount();
      return options.inherited === undefined ? takeAway(served, log) : leave(served, log);
    }),
    givingUp.then(() => endByForce(served)),
    crash.fatal.then((error) => new Error(`Internal error: ${error.message}`, { cause: error })),
  ]);
  link?.releaseName();

  let status = 0;
  let message: string | undefined;
  if (end === 'aborted' || end instanceof Error) {
    giveUp();
    status = 1;
    message = end === 'aborted' ? 'The FUSE connection was aborted.' : end.message;
    log.error(message);
    await mount.unmount({ lazy: true }).catch(() => {});
  }
  errorsCount();
  const lost = await shutDown(fileSystem, log, stop, givingUp);
  if (lost !== undefined && lost.bytes > 0) log.error(lossText(lost));
  if (log.lastError !== undefined) {
    status = 1;
    message = log.lastError;
  } else if (options.attached && fileSystem.losses() > 0) {
    status = 1;
    message = 'Not everything could be written back.';
  } else if (forced && status === 0) {
    // Whether the kernel calls it aborted or unmounted depends on who was still using it.
    status = 1;
    message = 'The mount was ended by force.';
  }
  // What the second signal began is not to be overtaken.
  if (stop.requestedTwice) return atOnce;
  options.journal?.close(status, message);
  await link?.close({ status, message, lost });
  await watcher?.dismiss();
  crash.dispose();
  return status;
}

function lossText(lost: Unwritten): string {
  return lost.bytes > 0 ? `Lost: ${describeUnwritten(lost)}.` : 'Nothing that was written is lost.';
}

/**
 * Writes back what is left, waiting for the server as long as it takes, and says so. After `givingUp`, only as long as
 * data gets to the server; then resolves with what is lost.
 */
async function shutDown(
  fileSystem: ConnectedFileSystem,
  log: Logger,
  stop: StopSignals,
  givingUp: Promise<void>,
): Promise<Unwritten | undefined> {
  const done = fileSystem.shutdown().then(() => true);
  const announce = setTimeout(() => {
    const unwritten = fileSystem.unwritten();
    const what = unwritten.bytes > 0 ? `to write back ${describeUnwritten(unwritten)}` : 'to take leave';
    const signals = stop.requested ? 'Another SIGTERM ends it' : 'SIGTERM, sent twice, ends it';
    log.warn(`Waiting for the server ${what}. ${signals} and loses what is left.`);
  }, SHUTDOWN_PATIENCE_MS);
  const early = await Promise.race([done, givingUp.then(() => false)]);
  clearTimeout(announce);
  if (early) return undefined;
  let left = fileSystem.unwritten();
  for (;;) {
    if (await Promise.race([done, sleep(GIVE_UP_MS).then(() => false)])) return undefined;
    const now = fileSystem.unwritten();
    if (now.bytes >= left.bytes) return now;
    left = now;
  }
}

/**
 * Connects, and while the server does not answer goes on trying for `retry` minutes. What will not change by
 * waiting (no such export, no such host) fails at once.
 */
async function connectWithRetry(options: MountProcessOptions, log: Logger): Promise<ConnectedFileSystem> {
  const { request, connect, stop, progress } = options;
  const giveUpAt = performance.now() + request.client.retryMs;
  let lastMessage: string | undefined;
  for (let delay = FIRST_RETRY_DELAY_MS; ; delay = Math.min(delay * 2, MAX_RETRY_DELAY_MS)) {
    try {
      // Repeating is done here, where it can be told and interrupted.
      const config = { ...(await withAddress(request)), retryMs: 0 };
      return await interruptible(connect(config, log), stop);
    } catch (error) {
      const failure = await mountFailure(error, request.client, options.listExports);
      const left = giveUpAt - performance.now();
      if (!isTemporary(error) || left <= 0 || stop.requested) throw failure;
      const message = failure instanceof Error ? failure.message : String(failure);
      if (message !== lastMessage) {
        lastMessage = message;
        progress.retrying(`${message} Trying again for ${minutes(left)}.`);
      }
      await interruptible(sleep(Math.min(delay, left)), stop);
    }
  }
}

/** Right after an unmount: false if the kernel has let go of the mount. */
async function goesOn(over: Promise<unknown>): Promise<boolean> {
  const isOver = over.then(() => true);
  // The kernel has said so already, if it does; but on a busy machine that may not have been read yet.
  for (const _ of Array.from({ length: UNMOUNT_LOOKS })) {
    if (await Promise.race([isOver, sleep(UNMOUNT_LOOK_MS).then(() => false)])) return false;
  }
  return true;
}

function minutes(milliseconds: number): string {
  const count = Math.max(1, Math.round(milliseconds / 60_000));
  return count === 1 ? '1 minute' : `${count} minutes`;
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

/** Rejects when the first stop signal comes before `promise` is done. */
async function interruptible<Value>(promise: Value | Promise<Value>, stop: StopSignals): Promise<Value> {
  const interrupted = stop.first.then((signal): never => {
    throw new UserError(`Mounting was interrupted (${signal}).`, { exitStatus: 130 });
  });
  return Promise.race([promise, interrupted]);
}

/** The mount point as it is now: connecting may take hours (retry=, bg), and other users may rename things meanwhile. */
async function pin(options: MountProcessOptions): Promise<PinnedDirectory | undefined> {
  const { request, mountpoint, inherited, listExports } = options;
  if (inherited !== undefined) return undefined;
  try {
    return await pinMountpoint(mountpoint, request.source);
  } catch (error) {
    throw await mountFailure(error, request.client, listExports);
  }
}

async function mountAndAnswer(
  options: MountProcessOptions,
  pinned: PinnedDirectory | undefined,
  fileSystem: ConnectedFileSystem,
  watcher: Watcher | undefined,
): Promise<ServedMount> {
  const { request, mountpoint, inherited, transport, log, dumpFuse, stop } = options;
  if (stop.requested) await interruptible(new Promise(() => {}), stop);
  const served = await mountOver(transport, {
    request,
    mountpoint,
    pinned,
    inherited,
    operations: fileSystem.operations,
    log,
    dump: dumpFuse,
  });
  const { mount } = served;
  try {
    const seen = watcher?.mounted(mount).catch(() => false);
    await interruptible(served.ready, stop);
    if (inherited === undefined && !(await interruptible(seen ?? false, stop)))
      await look(mount.mountpoint, stop);
    return served;
  } catch (error) {
    await mount.unmount({ lazy: true }).catch(() => {});
    await mount.abort();
    throw error;
  }
}

/**
 * The proof that programs will be answered, and the kernel's way to learn whose the root is: until then it takes it for a
 * uid's that a user namespace may not have, and refuses to make files. Only where nobody else could look, or to learn the
 * error: see the watcher. From libuv's thread, as this one answers it.
 */
async function look(mountpoint: string, stop: StopSignals): Promise<void> {
  try {
    await interruptible(stat(mountpoint), stop);
  } catch (error) {
    // Who mounts for others need not have a counterpart on the server: then EOVERFLOW is the answer that was waited for.
    if ((error as NodeJS.ErrnoException).code !== 'EOVERFLOW') throw error;
  }
}

/** Fails whatever waits; where the kernel does not let us, that comes with the end of this process. */
async function endByForce({ mount, closed }: ServedMount): Promise<SessionEnd> {
  const aborted = await mount.abort();
  await mount.unmount({ lazy: true }).catch(() => {});
  return aborted ? closed : 'aborted';
}

/** Ends the connection of a mount that is another's to unmount. */
async function leave({ mount, closed }: ServedMount, log: Logger): Promise<SessionEnd> {
  log.warn(
    `${mount.mountpoint} cannot be unmounted from here: its connection is closed, and programs get errors until ` +
      'it is unmounted by whoever has mounted it.',
  );
  await mount.unmount();
  return closed;
}

/** Unmounts; programs that still use the mount get a moment to finish, and then errors. */
async function takeAway({ mount, closed }: ServedMount, log: Logger): Promise<SessionEnd> {
  let detached = false;
  try {
    await mount.unmount();
  } catch {
    detached = true;
    log.warn(
      `${mount.mountpoint} is in use: detached. The programs that use it have ${BUSY_GRACE_MS / 1000} seconds ` +
        'to finish; a second signal ends it at once.',
    );
  }
  if (detached) {
    try {
      await mount.unmount({ lazy: true });
    } catch (error) {
      log.error(error instanceof Error ? error.message : String(error));
    }
  }
  let timer: NodeJS.Timeout | undefined;
  const graceOver = new Promise<SessionEnd>((resolve) => {
    timer = setTimeout(() => {
      // A container that was started meanwhile has a copy of every mount.
      if (!detached) log.warn(`${mount.mountpoint} is mounted in another mount namespace too: ended there.`);
      resolve('unmounted');
    }, BUSY_GRACE_MS);
  });
  try {
    return await Promise.race([closed, graceOver]);
  } finally {
    clearTimeout(timer);
  }
}
