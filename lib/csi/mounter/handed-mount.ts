/**
 * One mount that the mounter serves: it holds the descriptor and the state, and starts a process of nfs-fuse with both, again
 * and again until the mount is over. The keeper beside such a process goes on by itself when the process dies; this is for the
 * death of both.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, rmSync } from 'node:fs';
import { errorCode, type LogSink } from '../../base/log.js';
import { connectionNumber, PollFlag, pollNow } from '../../fuse/index.js';
import { type FailureKind, ToldFailure } from '../../mount/failure/told-failure.js';
import { isOver } from '../../mount/keep/facts.js';
import { hearReports, withStarter } from '../../mount/process/starter.js';
import { reachMount } from '../../mount/reach/mount-control.js';
import { sleep } from '../../mount/waiting.js';
import { RecordMemory } from '../../records/index.js';
import { asOneParagraph, environmentOfMounts } from '../../volume-parts/own-command.js';

/** The number that the descriptor has in the process. */
const DEVICE = 3;
/** The same of the pipe through which it tells how it fares. */
const REPORTS = 4;
/** Before each process that follows one which served nothing. The last one counts for all that follow. */
const PAUSE_MS = [0, 1_000, 2_000, 5_000, 10_000, 30_000];
/** More of what the processes say is not kept. */
const MOST_SAID = 4096;
/** A process that is asked to end before it answers, and does not, is killed after this time. */
const END_MS = 10_000;
/** A process that cannot be asked is looked for so often, and after such pauses: another one may go on with its mount. */
const MOST_LOOKS = 60;
const LOOK_MS = 1_000;
const SILENT = 'The process that was to serve the mount ended without a word.';
/** Options that are the kernel's, of which a process that did not mount says so. */
const NOTE = /^(nfs-fuse: )?Without effect here: /;

export interface HandedMountOptions {
  /** /dev/fuse, mounted. This object closes it. */
  readonly descriptor: number;
  /** The name of the mount: where it is, for those who see it. */
  readonly place: string;
  readonly target: string;
  readonly options: readonly string[];
  /** A file of its own, which is not there yet. */
  readonly stateFile: string;
  /** How to start nfs-fuse. */
  readonly program: readonly string[];
  readonly tell: LogSink;
}

/** The data of a mount that goes on. */
export interface WrittenBack {
  /** A line for each file that lost data. */
  readonly losses: readonly string[];
  /** False: on this kernel nobody can tell. */
  readonly isCertain: boolean;
}

export class HandedMount {
  /** Resolves when programs are answered. Rejects with ToldFailure if the first process ends before. */
  readonly answers: Promise<void>;
  /** Resolves when the mount is over and its last process has ended; with what went wrong. Never rejects. */
  readonly ended: Promise<string | undefined>;
  #answered: () => void = () => {};
  #hasAnswered = false;
  #said = '';
  #failure: FailureKind = 'other';
  #isGivenUp = false;
  #child: ChildProcess | undefined;

  constructor(private readonly settings: HandedMountOptions) {
    let fail: (error: Error) => void = () => {};
    this.answers = new Promise((resolve, reject) => {
      this.#answered = resolve;
      fail = reject;
    });
    this.answers.catch(() => {});
    // All other mounts of the node would end with a rejection that nobody handles.
    this.ended = this.#serve()
      .catch((error: unknown) => `${settings.place} cannot be served any more: ${errorCode(error)}.`)
      .then((failure) => {
        fail(new ToldFailure(this.#failure, asOneParagraph(this.#said) || SILENT));
        this.#clearAway();
        return failure;
      });
  }

  get place(): string {
    return this.settings.place;
  }

  /** Whether the kernel has let go of it: it is mounted nowhere any more. */
  get isOver(): boolean {
    return this.#isGivenUp || (pollNow(this.settings.descriptor, PollFlag.IN) & PollFlag.ERR) !== 0;
  }

  /**
   * Brings all that was written so far to stable storage, however long that takes. Undefined: the mount is over meanwhile.
   * @throws ToldFailure if no process of the mount can be asked
   */
  async writeBack(): Promise<WrittenBack | undefined> {
    const minor = connectionNumber(this.settings.descriptor);
    // Nobody can reach the process of a mount without a number.
    if (minor === undefined) return { losses: [], isCertain: false };
    for (let look = 0; look < MOST_LOOKS; look++) {
      if (this.isOver) return undefined;
      const losses = await askToWriteBack(minor);
      if (losses !== undefined) return { losses, isCertain: true };
      await sleep(LOOK_MS);
    }
    throw new ToldFailure(
      'temporary',
      `The process that serves ${this.place} does not answer: nobody can tell whether everything is written back.`,
    );
  }

  /** Nobody waits for the mount any more: a process that does not answer yet is asked to end. */
  abandon(): void {
    const child = this.#child;
    if (this.#hasAnswered || child === undefined) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => {
      if (!this.#hasAnswered) child.kill('SIGKILL');
    }, END_MS);
    child.once('close', () => clearTimeout(timer));
  }

  async #serve(): Promise<string | undefined> {
    const { place, tell } = this.settings;
    for (let failures = 0; ; failures++) {
      const served = await this.#runProcess();
      if (!this.#hasAnswered) {
        // The one that mounted hears why, and unmounts.
        this.#isGivenUp = true;
        return undefined;
      }
      if (this.isOver) return this.#outcome(served.status);
      if (served.hasAnswered) failures = 0;
      tell('error', `${place}: its processes have died. Another one goes on with it.`);
      await sleep(PAUSE_MS[Math.min(failures, PAUSE_MS.length - 1)] ?? 0);
    }
  }

  /** Resolves when the process, its keeper and all that the keeper has started have ended. Never rejects. */
  #runProcess(): Promise<{ readonly status: number | null; readonly hasAnswered: boolean }> {
    const child = this.#start();
    this.#child = child;
    if (child === undefined) return Promise.resolve({ status: null, hasAnswered: false });
    return new Promise((resolve) => {
      let hasAnswered = false;
      this.#listen(child, () => {
        hasAnswered = true;
      });
      child.on('error', (error) => {
        this.#heard(`nfs-fuse cannot be started: ${errorCode(error)}`);
        // Where descriptors are lacking, nothing else follows.
        if (child.pid === undefined) resolve({ status: null, hasAnswered });
      });
      // The keeper and what it starts have the same standard error.
      child.once('close', (status) => resolve({ status, hasAnswered }));
    });
  }

  /** Undefined: it cannot be started. Node throws some of the reasons, such as a lack of memory, and tells of others later. */
  #start(): ChildProcess | undefined {
    const { descriptor, target, options, stateFile, program } = this.settings;
    const [command = process.execPath, ...before] = program;
    const texts = options.flatMap((text) => ['-o', text]);
    const args = ['mount', '-f', ...texts, '--state', stateFile, target, `/dev/fd/${DEVICE}`];
    try {
      return spawn(command, [...before, ...args], {
        cwd: '/',
        // A signal at the terminal of the mounter does not end a mount.
        detached: true,
        env: withStarter(environmentOfMounts(), REPORTS),
        stdio: ['ignore', 'ignore', 'pipe', descriptor, 'pipe'],
      });
    } catch (error) {
      this.#heard(`nfs-fuse cannot be started: ${errorCode(error)}`);
      return undefined;
    }
  }

  #listen(child: ChildProcess, answered: () => void): void {
    let rest = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#heard(line);
    });
    hearReports(child, REPORTS, (report) => {
      if ('failed' in report) {
        this.#failure = report.failed;
        return;
      }
      answered();
      this.#hasAnswered = true;
      this.#answered();
    });
  }

  #heard(line: string): void {
    if (NOTE.test(line)) return;
    // The last words tell how it has ended.
    this.#said = `${this.#said}${line}\n`.slice(-MOST_SAID);
    this.settings.tell('info', `${this.place}: ${line.replace(/^nfs-fuse: /, '')}`);
  }

  /** `status`: of the process that was started here; another one may have taken its place. */
  #outcome(status: number | null): string | undefined {
    if (status === 0 || (status === null && this.#hasEndedWell())) return undefined;
    return `The mount on ${this.place} has ended with an error: ${asOneParagraph(this.#said)}`;
  }

  #clearAway(): void {
    // From now on the number of the descriptor may be another one's.
    this.#isGivenUp = true;
    try {
      closeSync(this.settings.descriptor);
      rmSync(this.settings.stateFile, { force: true });
    } catch (error) {
      this.settings.tell('warn', `${this.place} leaves something behind (${errorCode(error)}).`);
    }
  }

  #hasEndedWell(): boolean {
    try {
      const file = openSync(this.settings.stateFile, 'r+');
      try {
        return isOver(RecordMemory.adopt(file).facts);
      } finally {
        closeSync(file);
      }
    } catch {
      return false;
    }
  }
}

/** Undefined: there is no process that can be asked, or it has ended before it was done. */
async function askToWriteBack(minor: number): Promise<readonly string[] | undefined> {
  // The process is of this user.
  const control = await reachMount({ major: 0, minor, superOptions: '' });
  try {
    return await control?.writeBack();
  } finally {
    control?.close();
  }
}
