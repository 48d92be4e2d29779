/** The start of a mount: connect with the server, mount, and wait until the mount answers. */
import { stat } from 'node:fs/promises';
import type { Logger } from '../../base/log.js';
import {
  checkConnected,
  type PinnedDirectory,
  pinMountpoint,
  StandIn,
  ThreadIntents,
} from '../../fuse/index.js';
import { RecordsError } from '../../records/index.js';
import { callerFate } from '../../vfs/caller/caller-fate.js';
import { isTemporary, mountFailure } from '../failure/mount-failure.js';
import { Watcher } from '../keep/watcher.js';
import type { MountRequest } from '../options/mount-options.js';
import { type ClaimedNotes, claimNotes, lockCount, releaseLeftLocks } from '../reach/left-locks.js';
import { withAddress } from '../server/server-address.js';
import { exportsForExplanation } from '../server/server-exports.js';
import { sleep, unlessAborted } from '../waiting.js';
import { type ConnectedFileSystem, connectFileSystem } from './connect.js';
import { ErrorKeeper } from './error-keeper.js';
import { Keeping, type TakeOverSettings } from './keeping.js';
import {
  abandon,
  checkKernelTransport,
  KERNEL_TRANSPORTS,
  type KernelTransport,
  mountOver,
  type ServedMount,
} from './kernel-transport.js';
import { LockNoteFile } from './lock-note-file.js';
import { RunningMount } from './running-mount.js';
import type { MountSettings } from './settings.js';

/** Between two attempts to connect. */
const FIRST_RETRY_DELAY_MS = 1_000;
const MAX_RETRY_DELAY_MS = 30_000;
/** The same while programs wait for the mount. */
const PROGRAMS_WAIT_MS = 2_000;
/** An earlier process has reached the server: what looks hopeless now may pass as well. */
const DOUBT_MS = 60_000;
/** A streaming reader keeps this much under way. With the kernel's own 128 KiB it would wait for every request. */
const READ_AHEAD_KIB = 1024;

/**
 * Mounts what `request` says on `mountpoint` (absolute, without symbolic links) and serves it in this process. Resolves when
 * the mount answers. From then on nothing in this process may look at the mount synchronously: the call would wait for an
 * answer that only this process can give. Several mounts may live in one process.
 * @throws UserError if the mount does not come about, and the reason of `settings.signal` if that was aborted.
 */
export async function startMount(
  asked: MountRequest,
  mountpoint: string,
  settings: MountSettings,
): Promise<RunningMount> {
  const { transport = KERNEL_TRANSPORTS[0], inherited } = settings;
  checkKernelTransport(transport, asked);
  const request = withoutLocks(asked, transport);
  const log = new ErrorKeeper(settings.log);
  if (settings.takeOver !== undefined) return goOn(request, mountpoint, settings, settings.takeOver, log);
  const pinned = inherited === undefined ? await pin(request, mountpoint) : undefined;
  const lockJournal = new LockNoteFile(mountpoint, log);
  const keeping =
    settings.keep && Keeping.of(settings.keep, undefined, request.source, lockJournal.name, log);
  void tellOfLeftLocks(mountpoint, log);
  let fileSystem: ConnectedFileSystem;
  let watcher: Watcher | undefined;
  const beside = { ...settings.watcher, locks: lockJournal.place };
  // Only the maker of a mount knows for certain that the kernel numbers threads as this process sees them.
  const intents = transport === 'kernel' && inherited === undefined ? new ThreadIntents() : undefined;
  try {
    fileSystem = await connectWithRetry({
      request,
      mountpoint,
      settings,
      log,
      lockJournal,
      keeping,
      intents,
      isStillThere: inherited === undefined ? undefined : () => void checkConnected(inherited),
    });
    watcher =
      settings.watcher && inherited === undefined
        ? await Watcher.start(mountpoint, beside, (line) => log.warn(line))
        : undefined;
  } catch (error) {
    pinned?.close();
    lockJournal.close(true);
    throw await explained(error, request);
  }
  try {
    const served = await mountAndAnswer({
      request,
      mountpoint,
      settings,
      pinned,
      fileSystem,
      watcher,
      keeping,
    });
    await served.mount.setReadAhead(READ_AHEAD_KIB);
    const { major, minor } = served.mount;
    if (minor !== undefined) intents?.begin({ major, minor });
    if (keeping !== undefined) {
      await keeping.begin(served.mount, beside, 0);
      await watcher?.dismiss();
      watcher = undefined;
    }
    return await RunningMount.of({ request, settings, served, fileSystem, watcher, keeping, log });
  } catch (error) {
    await fileSystem.shutdown();
    await watcher?.dismiss();
    await keeping?.end();
    throw await explained(error, request);
  }
}

/**
 * Goes on with the mount of an earlier process, however long the server takes to answer: the mount is there, and programs
 * wait for it. If this fails, the mount stays as it is, for the next attempt.
 */
async function goOn(
  request: MountRequest,
  mountpoint: string,
  settings: MountSettings,
  takeOver: TakeOverSettings,
  log: ErrorKeeper,
): Promise<RunningMount> {
  const lockJournal = new LockNoteFile(mountpoint, log);
  const keeping = settings.keep && Keeping.of(settings.keep, takeOver, request.source, lockJournal.name, log);
  let left: ClaimedNotes | undefined;
  const claim = () => {
    left ??= claimNotes(takeOver.facts.lockNotes);
  };
  const standIn = new StandIn(takeOver.fd, {
    connection: takeOver.facts.connection,
    fateOf: callerFate,
    log: (line) => log.warn(line),
    debug: settings.dumpFuse,
  });
  // A process that hands over serves until it lets go, and lets go of its notes at last.
  if (takeOver.kind === 'death') {
    claim();
    standIn.begin();
  }
  let isHanded = false;
  const mayGoOn = async () => {
    if (keeping !== undefined) keeping.handed = await takeOver.mayGoOn();
    // The process that hands over has gone on to write. A later attempt has read all of it.
    if (takeOver.kind === 'restart' && !isHanded) takeOver.memory.adoptAgain();
    isHanded = true;
    claim();
    standIn.begin();
  };
  try {
    const isStillThere = () => checkConnected(takeOver.fd);
    isStillThere();
    const fileSystem = await connectWithRetry({
      request,
      mountpoint,
      settings,
      log,
      lockJournal,
      keeping,
      mayGoOn,
      isStillThere,
    });
    if (keeping !== undefined) keeping.readBefore = standIn.end();
    const parts = {
      request,
      mountpoint,
      settings,
      pinned: undefined,
      fileSystem,
      watcher: undefined,
      keeping,
    };
    const served = await mountAndAnswer(parts);
    // All locks are noted again, or released.
    left?.remove();
    left = undefined;
    await keeping?.begin(
      served.mount,
      { ...settings.watcher, locks: lockJournal.place },
      fileSystem.filesLost,
    );
    return await RunningMount.of({ request, settings, served, fileSystem, watcher: undefined, keeping, log });
  } catch (error) {
    standIn.end();
    left?.close();
    lockJournal.close(false);
    throw await explained(error, request);
  }
}

/** libfuse 2.9 leaves locks to the kernel, for the programs of this mount. */
function withoutLocks(request: MountRequest, transport: KernelTransport): MountRequest {
  if (transport === 'kernel') return request;
  return { ...request, client: { ...request.client, locks: 'none' } };
}

function explained(error: unknown, { client }: MountRequest): Promise<unknown> {
  return mountFailure(error, client, () => exportsForExplanation(client));
}

/** Holds the mount point as it is now: connecting may take hours (retry=, bg), and other users may rename it meanwhile. */
async function pin(request: MountRequest, mountpoint: string): Promise<PinnedDirectory> {
  try {
    return await pinMountpoint(mountpoint, request.source);
  } catch (error) {
    throw await explained(error, request);
  }
}

interface ConnectParts {
  readonly request: MountRequest;
  readonly mountpoint: string;
  readonly settings: MountSettings;
  readonly log: Logger;
  readonly lockJournal: LockNoteFile;
  readonly keeping: Keeping | undefined;
  /** See ConnectOptions. */
  readonly intents?: ThreadIntents | undefined;
  readonly mayGoOn?: () => Promise<void>;
  /** Throws MountError if the mount that waits for this process was unmounted meanwhile. */
  readonly isStillThere?: (() => void) | undefined;
}

/**
 * Connects. While the server does not answer, tries again for `retry` minutes. A failure that waiting does not cure (no
 * such export, no such host) is thrown at once.
 */
async function connectWithRetry(parts: ConnectParts): Promise<ConnectedFileSystem> {
  const { request, settings } = parts;
  const { signal, retrying, takeOver } = settings;
  const patienceMs = takeOver === undefined ? request.client.retryMs : Number.POSITIVE_INFINITY;
  const giveUpAt = performance.now() + patienceMs;
  const doubtUntil = performance.now() + (takeOver === undefined ? 0 : DOUBT_MS);
  let lastMessage: string | undefined;
  const longest = takeOver === undefined ? MAX_RETRY_DELAY_MS : PROGRAMS_WAIT_MS;
  for (let delay = FIRST_RETRY_DELAY_MS; ; delay = Math.min(delay * 2, longest)) {
    try {
      return await connectOnce(parts);
    } catch (error) {
      if (error instanceof RecordsError) throw error;
      const failure = await explained(error, request);
      const left = giveUpAt - performance.now();
      const mayPass = isTemporary(error) || performance.now() < doubtUntil;
      if (!mayPass || left <= 0 || signal?.aborted) throw failure;
      takeOver?.waiting();
      const message = failure instanceof Error ? failure.message : String(failure);
      if (message !== lastMessage) {
        lastMessage = message;
        retrying?.(
          `${message} Trying again${left === Number.POSITIVE_INFINITY ? '' : ` for ${minutes(left)}`}.`,
        );
      }
      await unlessAborted(sleep(Math.min(delay, left)), signal);
      parts.isStillThere?.();
    }
  }
}

async function connectOnce(parts: ConnectParts): Promise<ConnectedFileSystem> {
  const { request, mountpoint, settings, log, lockJournal, keeping, intents, mayGoOn } = parts;
  const { signal, dumpRpc, collectGarbage } = settings;
  // Attempts are repeated by the caller, where the user is told of them and can interrupt.
  const config = { ...(await withAddress(request)), retryMs: 0 };
  const connecting = connectFileSystem(config, {
    log,
    mountpoint,
    trace: dumpRpc,
    collectGarbage,
    lockJournal,
    handover: keeping?.handover(),
    intents,
    mayGoOn,
  });
  try {
    return await unlessAborted(connecting, signal);
  } catch (error) {
    // An attempt that succeeds after all must leave no connection behind.
    if (signal?.aborted)
      connecting.then(
        (late) => late.shutdown(),
        () => {},
      );
    throw error;
  }
}

/** Releases what an earlier mount of this place left when it was killed. Mounting does not wait for that. */
async function tellOfLeftLocks(mountpoint: string, log: Logger): Promise<void> {
  const { released, failed, why } = await releaseLeftLocks(mountpoint);
  const earlier = `that an earlier mount on ${mountpoint} had left`;
  if (released > 0) log.info(`Released ${lockCount(released)} ${earlier}.`);
  if (failed > 0) log.warn(`The server keeps ${lockCount(failed)} ${earlier}: ${why}.`);
}

function minutes(milliseconds: number): string {
  const count = Math.max(1, Math.round(milliseconds / 60_000));
  return count === 1 ? '1 minute' : `${count} minutes`;
}

interface Parts {
  readonly request: MountRequest;
  readonly mountpoint: string;
  readonly settings: MountSettings;
  /** Closed here. */
  readonly pinned: PinnedDirectory | undefined;
  readonly fileSystem: ConnectedFileSystem;
  readonly watcher: Watcher | undefined;
  readonly keeping: Keeping | undefined;
}

/** Mounts, and waits until the mount answers. If it does not, takes it away again, unless this process has not made it. */
async function mountAndAnswer(parts: Parts): Promise<ServedMount> {
  const { request, mountpoint, settings, pinned, fileSystem, watcher, keeping } = parts;
  const { transport = KERNEL_TRANSPORTS[0], inherited, signal, log, dumpFuse } = settings;
  if (signal?.aborted) pinned?.close();
  signal?.throwIfAborted();
  const served = await mountOver(transport, {
    request,
    mountpoint,
    pinned,
    inherited,
    operations: fileSystem.operations,
    log,
    dump: dumpFuse,
    agreed: (connection, mount) => keeping?.agreed(connection, mount),
    underWay: keeping?.underWay,
    resumed: keeping?.resumed,
  });
  const { mount } = served;
  if (keeping?.resumed !== undefined) return served;
  try {
    const seen = watcher?.mounted(mount).catch(() => false);
    await unlessAborted(served.ready, signal);
    if (inherited === undefined && !(await unlessAborted(seen ?? Promise.resolve(false), signal)))
      await look(mount.mountpoint, signal);
    return served;
  } catch (error) {
    await abandon(mount);
    throw error;
  }
}

/**
 * Asks the mount for its root. That proves that programs get answers, and tells the kernel who owns the root: before, the
 * kernel assumes a uid that a user namespace may not have, and refuses to make files. The call runs on a thread of libuv
 * while this thread answers it. It is made only where no watcher could look, or to learn the error (watcher.ts).
 */
async function look(mountpoint: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await unlessAborted(stat(mountpoint), signal);
  } catch (error) {
    // A user who mounts for others need not exist on the server. EOVERFLOW is such a user's normal answer.
    if ((error as NodeJS.ErrnoException).code !== 'EOVERFLOW') throw error;
  }
}
