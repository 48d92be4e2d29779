/**
 * A mount that answers: what can be asked of it, and the ways in which it ends. Owns the order of the steps at the end,
 * and that there is one end only, however many ways lead to it: an unmount, an abort by the kernel, an order to give up,
 * an error. The start is start.ts.
 */
import type { Logger } from '../../base/log.js';
import { packageInfo } from '../../base/package-info.js';
import { UserError } from '../../base/user-error.js';
import type { SessionEnd } from '../../fuse/index.js';
import type { Unwritten } from '../failure/unwritten.js';
import { NO_TAKEOVERS } from '../keep/facts.js';
import type { Watcher } from '../keep/watcher.js';
import type { MountRequest } from '../options/mount-options.js';
import type { MountOutcome } from '../reach/link-protocol.js';
import { sleep } from '../waiting.js';
import type { ConnectedFileSystem } from './connect.js';
import { endByForce, leave, takeAway, writeBackAtEnd } from './ending.js';
import type { ErrorKeeper } from './error-keeper.js';
import { handOver } from './hand-over.js';
import type { Keeping } from './keeping.js';
import type { ServedMount } from './kernel-transport.js';
import { type MountAnswers, MountLink } from './mount-link.js';
import type { MountStats } from './mount-stats.js';
import { describeLoss, failureOf, outcomeOf } from './outcome.js';
import { type MountSettings, withHint } from './settings.js';

/** After an unmount, the kernel's message that the mount is gone must come within so many looks. */
const UNMOUNT_LOOKS = 20;
const UNMOUNT_LOOK_MS = 20;
/** The answer to the order to hand over is on its way for so long. */
const ANSWER_MS = 100;
/** Ending at once waits for each step at most this long. */
const ABORT_PATIENCE_MS = 1_000;

/** The parts that the start has put together. */
export interface MountParts {
  readonly request: MountRequest;
  readonly settings: MountSettings;
  readonly served: ServedMount;
  readonly fileSystem: ConnectedFileSystem;
  readonly watcher: Watcher | undefined;
  /** Undefined: the mount ends with this process. */
  readonly keeping: Keeping | undefined;
  readonly log: ErrorKeeper;
}

/** The statistics of a mount, in the shape that `nfs-fuse stats --json` prints. */
export type MountStatistics = MountStats & {
  /** As the mount table shows it. */
  readonly source: string;
  readonly mountpoint: string;
  /** Of the program that serves it. */
  readonly version: string;
  /** The mount options as they were given. */
  readonly options: readonly string[];
  /** Counters of the connection with the kernel. */
  readonly fuse: object;
  /** How often another process has gone on with this mount, and whether one would now. */
  readonly takeovers: Keeping['takeovers'];
};

export class RunningMount {
  /** Resolves when the mount has ended and all its resources are free, whoever ended it. Never rejects. */
  readonly ended: Promise<MountOutcome>;
  readonly #parts: MountParts;
  /** As it was read when this process began: the files of the program may be replaced while it runs. */
  readonly #version = packageInfo().version;
  #link: MountLink | undefined;
  #forced = false;
  /** From the beginning of the end on, errors count: what programs lose while they finish is a failure. */
  #errorsCount = false;
  #unmounting = false;
  #endingAtOnce: Promise<MountOutcome> | undefined;
  #isEnded = false;
  /** Another process goes on with the mount: what is left to do here is to end without a trace. */
  #isHandedOver = false;
  /** It is about to. */
  #isHandingOver = false;
  #resolveEnded: (outcome: MountOutcome) => void = () => {};
  /** Resolves with the first reason to end. */
  readonly #end: Promise<SessionEnd>;
  #resolveEnd: (end: SessionEnd) => void = () => {};
  /** Resolves when the end does not wait any more for a server that accepts nothing. */
  readonly #givingUp: Promise<void>;
  #stopWaiting: () => void = () => {};

  private constructor(parts: MountParts) {
    this.#parts = parts;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#end = new Promise((resolve) => {
      this.#resolveEnd = resolve;
    });
    this.#givingUp = new Promise((resolve) => {
      this.#stopWaiting = resolve;
    });
  }

  /** Takes over a mount that answers, and makes the control socket by which other processes reach it. */
  static async of(parts: MountParts): Promise<RunningMount> {
    const running = new RunningMount(parts);
    await running.#openLink();
    running.#finish().catch((error: unknown) => {
      const message = `Internal error: ${error instanceof Error ? error.message : String(error)}`;
      running.#settle({ status: 1, message });
    });
    void parts.served.closed.then((end) => {
      if (end !== 'detached') running.#resolveEnd(end);
    });
    return running;
  }

  /** Absolute, without symbolic links. */
  get mountpoint(): string {
    return this.#parts.served.mount.mountpoint;
  }

  /** Messages about this mount. An error that is logged here after the end has begun makes the end a failure. */
  get log(): Logger {
    return this.#parts.log;
  }

  statistics(): MountStatistics {
    const { request, fileSystem } = this.#parts;
    return {
      source: request.source,
      mountpoint: this.mountpoint,
      version: this.#version,
      options: request.options,
      ...fileSystem.stats(),
      fuse: this.requestCounters(),
      takeovers: this.#parts.keeping?.takeovers ?? { kept: false, ...NO_TAKEOVERS },
    };
  }

  /** Counters of the connection with the kernel. */
  requestCounters(): object {
    return this.#parts.served.counters();
  }

  /** Resolves when everything that was written so far is on stable storage, with a line for each file that lost data. */
  writeBack(): Promise<readonly string[]> {
    return this.#parts.fileSystem.writeBack();
  }

  /** The data that would be lost if the process ended now. */
  unwritten(): Unwritten {
    return this.#parts.fileSystem.unwritten();
  }

  /**
   * Unmounts, writes everything back, however long the server takes, and closes the connections. Programs that still use
   * the mount get five seconds to finish. Resolves like {@link ended}.
   */
  unmount(): Promise<MountOutcome> {
    if (!this.#unmounting) {
      this.#unmounting = true;
      this.#parts.keeping?.release();
      const { served, settings, log } = this.#parts;
      this.#beginCountingErrors();
      const away =
        settings.inherited === undefined
          ? takeAway(served, log, settings.hints?.endAtOnce)
          : leave(served, log);
      away.then(this.#resolveEnd, this.#resolveEnd);
    }
    return this.ended;
  }

  /** Ends the mount like {@link unmount}, but does not wait for a server that accepts nothing. Resolves like {@link ended}. */
  giveUp(): Promise<MountOutcome> {
    if (!this.#forced) {
      this.#forced = true;
      this.#parts.keeping?.release();
      this.#stopWaiting();
      endByForce(this.#parts.served).then(this.#resolveEnd, this.#resolveEnd);
    }
    return this.ended;
  }

  /** Ends the mount because of an error: it is written back and unmounted, and the outcome is a failure. */
  fail(error: Error): Promise<MountOutcome> {
    this.#resolveEnd(error);
    return this.ended;
  }

  /** Whether another process would go on with the mount now. */
  get isKept(): boolean {
    const { keeping } = this.#parts;
    return keeping?.takeovers.kept === true && !this.#isHandedOver;
  }

  /**
   * Ends as if the process were killed: {@link ended} resolves at once, and the process is to end then. Another one goes on with the
   * mount, and writes again what is not written back.
   */
  leaveToKeeper(error: Error): void {
    this.#settle({ status: 1, message: error.message });
  }

  /**
   * Ends the mount within seconds. Data that is not on the server yet is lost; the outcome and the log say which.
   * `why` is for the log: "second SIGTERM". Calls that wait for the server go on until the process ends.
   */
  endAtOnce(why: string): Promise<MountOutcome> {
    if (this.#isEnded) return this.ended;
    this.#endingAtOnce ??= this.#dropEverything(why);
    return this.ended;
  }

  /**
   * Hands the mount over to a new process of `program`, by default of this program, and ends. Resolves with the process id
   * when that one serves it. Programs on the mount notice nothing.
   * @throws UserError if the new process cannot serve it: this one goes on
   */
  async restart(program?: string): Promise<number> {
    const { served, fileSystem, keeping, settings } = this.#parts;
    if (keeping === undefined)
      throw new UserError('This mount is not kept: it was made with --no-keep, or by fuse-native.', {
        remedy: 'Unmount it, and mount it again.',
      });
    if (this.#isHandingOver || this.#isHandedOver || this.#unmounting || this.#forced || this.#isEnded)
      throw new UserError('This mount ends, or is handed over, already.');
    this.#isHandingOver = true;
    const { logFile, errors } = settings.watcher ?? {};
    const handing = handOver({
      served,
      fileSystem,
      keeping,
      outputs: [logFile?.descriptor ?? 'ignore', errors ?? logFile?.descriptor ?? 'ignore'],
      program,
      letGo: () => {
        this.#isHandedOver = true;
      },
    });
    const { pid, serves, hasKeeper, why } = await handing.catch((error: unknown) => {
      // The mount goes on here, or has ended at that very moment.
      this.#isHandedOver = false;
      this.#isHandingOver = false;
      throw error;
    });
    if (serves) settings.handedOver?.(pid);
    // The one who has asked reads the answer first.
    void sleep(ANSWER_MS).then(() => this.#leave(serves, serves && !hasKeeper, why));
    if (serves) return pid;
    throw new UserError(
      `${why} It had taken the mount over already, which a process of the old program does now.`,
    );
  }

  /** Ends without a word: the keeper of a mount that nobody serves takes care of it. */
  async #leave(serves: boolean, dismisses: boolean, message: string | undefined): Promise<void> {
    const outcome = { status: serves ? 0 : 1, message };
    await this.#link?.close(outcome);
    if (dismisses) await this.#parts.keeping?.dismiss();
    this.#settle(outcome);
  }

  /** The orderly end: waits for a reason to end, and takes the steps. */
  async #finish(): Promise<void> {
    const { settings, served, fileSystem, watcher, keeping, log } = this.#parts;
    const end = await this.#end;
    keeping?.release();
    this.#link?.releaseName();
    const failure = failureOf(end);
    if (failure !== undefined) {
      this.#stopWaiting();
      // Programs get errors at once, and not only after the last write-back.
      if (!this.#forced) endByForce(served).catch(() => {});
      log.error(failure);
      await served.mount.unmount({ lazy: true }).catch(() => {});
    }
    this.#beginCountingErrors();
    const announce = (sentence: string) => log.warn(withHint(sentence, settings.hints?.waiting?.()));
    const lost = await writeBackAtEnd(fileSystem, announce, this.#givingUp);
    // Ending at once has its own last steps, and this must not run ahead of them.
    if (this.#endingAtOnce !== undefined) return;
    if (lost !== undefined && lost.bytes > 0) log.error(describeLoss(lost));
    const outcome = outcomeOf({
      end,
      forced: this.#forced,
      lastError: log.lastError,
      untold: fileSystem.losses(),
      untoldIsFailure: settings.untoldIsFailure === true,
      lost,
    });
    // A caller that waits at the socket reads the journal next.
    settings.journal?.close(outcome.status, outcome.message);
    await this.#link?.close(outcome);
    await watcher?.dismiss();
    await keeping?.end();
    this.#settle(outcome);
  }

  async #dropEverything(why: string): Promise<MountOutcome> {
    const { served, fileSystem, watcher, keeping, log } = this.#parts;
    keeping?.release();
    const lost = fileSystem.unwritten();
    const outcome = { status: 1, message: describeLoss(lost), lost, untold: fileSystem.losses() };
    log.error(`Ended at once (${why}). ${outcome.message}`);
    await Promise.race([served.mount.abort(), sleep(ABORT_PATIENCE_MS)]);
    await Promise.race([this.#link?.close(outcome), sleep(ABORT_PATIENCE_MS)]);
    await watcher?.dismiss();
    await keeping?.end();
    this.#settle(outcome);
    return outcome;
  }

  #settle(outcome: MountOutcome): void {
    this.#isEnded = true;
    this.#resolveEnded(outcome);
  }

  #beginCountingErrors(): void {
    if (!this.#errorsCount) this.#parts.log.forget();
    this.#errorsCount = true;
  }

  async #openLink(): Promise<void> {
    const { settings, served, fileSystem, keeping, log } = this.#parts;
    const { mountpoint, major, minor } = served.mount;
    const answers: MountAnswers = {
      stats: () => this.statistics(),
      writeBack: () => this.writeBack(),
      untoldLosses: () => fileSystem.losses(),
      isStillMounted: () => isStillMounted(served.over),
      giveUp: () => void this.giveUp(),
      restart: (program) => this.restart(program),
      quotas: (asker, wish) => fileSystem.quotas(asker, wish),
    };
    if (minor === undefined)
      log.warn(
        `This kernel does not tell the number of ${mountpoint}: nfs-fuse stats cannot ask this mount.`,
      );
    else {
      this.#link = await MountLink.open(major, minor, answers);
      if (!this.#link.isReachable)
        log.warn(
          withHint(
            'There is no folder for the control socket, which no other user may enter ($XDG_RUNTIME_DIR, /run, /tmp and ' +
              `/dev/shm were tried): nfs-fuse umount and stats cannot ask ${mountpoint}.`,
            settings.hints?.withoutSocket,
          ),
        );
    }
    void served.over.then(() => {
      if (!this.#isHandedOver) keeping?.release();
      this.#link?.releaseName();
    });
  }
}

/** Asked right after an unmount. False: the kernel has let go of the mount. */
async function isStillMounted(over: Promise<unknown>): Promise<boolean> {
  const isOver = over.then(() => true);
  // The kernel's message is there already if it comes at all, but on a busy machine it may not have been read yet.
  for (const _ of Array.from({ length: UNMOUNT_LOOKS })) {
    if (await Promise.race([isOver, sleep(UNMOUNT_LOOK_MS).then(() => false)])) return false;
  }
  return true;
}
