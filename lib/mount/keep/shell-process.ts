/**
 * The shell process beside a mount (script.ts), seen from the serving process: started with its descriptors and its
 * environment, told words over its pipe, dismissed at the end.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { errorCode, type LogFormat } from '../../base/log.js';
import { shownName } from '../../base/shown-name.js';
import type { MountJournal } from '../reach/journal.js';
import { SCRIPT, WAKER } from './script.js';

/** Signals that end a process by default and do not mean a fault of it. As numbers: shells know only some names. */
const UNWANTED_SIGNALS: readonly number[] = [
  ...(
    [
      ...['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGPIPE', 'SIGTSTP', 'SIGALRM', 'SIGUSR1', 'SIGUSR2'],
      ...['SIGVTALRM', 'SIGPROF', 'SIGIO', 'SIGXCPU', 'SIGXFSZ', 'SIGPWR', 'SIGSTKFLT'],
    ] as NodeJS.Signals[]
  ).map((name) => constants.signals[name]),
  // Real-time signals. The C library keeps the lower ones for itself.
  ...Array.from({ length: 30 }, (_, index) => 35 + index),
];
/** An end in good order waits this long for the shell to end. */
const FAREWELL_MS = 2_000;

/** A log file that the shell writes to as well. */
export interface SharedLogFile {
  readonly descriptor: number;
  /** Calls `listener` whenever the descriptor has come to mean another file. */
  onReopen(listener: () => void): void;
}

/** Where the shell reports a death, and what helps it to take the mount away. */
export interface WatcherOptions {
  /** Gets the message with its time. The folder belongs to this user alone. */
  readonly journal?: MountJournal['place'] | undefined;
  /** Gets the message with its time. */
  readonly logFile?: SharedLogFile | undefined;
  /** A descriptor of this process that gets the message for people, like standard error. */
  readonly errors?: number | undefined;
  /** The form of the message in both. Undefined: with its time in the file, and as a command speaks to people. */
  readonly format?: LogFormat | undefined;
  /** The file in which the mount notes its locks. The folder belongs to this user alone. */
  readonly locks?: { readonly folder: number; readonly name: string } | undefined;
  /** The words that start nfs-fuse, whose `umount` is used where the machine has no other program for it. */
  readonly program?: readonly string[] | undefined;
}

/** The traits by which a shell process is a watcher or a keeper. */
export interface ShellRole {
  /** As the list of processes shows it. */
  readonly name: 'nfs-fuse-watcher' | 'nfs-fuse-keeper';
  /** Further descriptors of this process, by the number that the shell has them under, from 6 on. */
  readonly descriptors?: ReadonlyMap<number, number>;
  /** Further variables. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Variables of the user that the shell passes on. By default only PATH and what nfs-fuse itself needs. */
  readonly inherits?: NodeJS.ProcessEnv;
}

const FIRST_OWN = 6;
const USUAL_FOLDERS = ':/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export class ShellProcess {
  /** Resolves with the shell's answer on descriptor 3; empty if that is something else, or closed. */
  readonly answer: Promise<string>;
  readonly #child: ChildProcess;
  readonly #pipe: Writable | null;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#pipe = child.stdin;
    this.#pipe?.on('error', () => {});
    const answers = child.stdio[3] as Readable | null;
    this.answer = answers === null ? Promise.resolve('') : firstWord(answers);
    // The shell must not keep this process from ending.
    child.unref();
    if (this.#pipe !== null && 'unref' in this.#pipe && typeof this.#pipe.unref === 'function')
      this.#pipe.unref();
  }

  /**
   * Starts a shell beside the mount on `where`. Undefined: there is none; `failed` gets the reason as a sentence's begin, and whether
   * it may pass.
   */
  static start(
    where: string,
    options: WatcherOptions,
    role: ShellRole,
    failed: (why: string, mayPass: boolean) => void,
  ): Promise<ShellProcess | undefined> {
    const { journal, locks, logFile, errors, format, program } = options;
    const descriptors = role.descriptors ?? new Map<number, number>();
    const last = Math.max(FIRST_OWN - 1, ...descriptors.keys());
    const child = spawn('sh', ['-c', 'eval "$NFS_FUSE_WATCH"', role.name, where], {
      detached: true,
      cwd: '/',
      stdio: [
        'pipe',
        logFile?.descriptor ?? 'ignore',
        errors ?? 'ignore',
        descriptors.get(3) ?? 'pipe',
        journal?.folder ?? 'ignore',
        locks?.folder ?? 'ignore',
        ...Array.from(
          { length: last - FIRST_OWN + 1 },
          (_, at) => descriptors.get(FIRST_OWN + at) ?? 'ignore',
        ),
      ],
      env: {
        LC_ALL: 'C',
        // nfs-fuse locks looks there for the notes.
        XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? '',
        ...role.inherits,
        PATH: withUsualFolders(process.env.PATH ?? ''),
        NFS_FUSE_WATCH: SCRIPT,
        NFS_FUSE_WAKER: WAKER,
        NFS_FUSE_SERVES: String(process.pid),
        NFS_FUSE_WHERE: shownName(where),
        NFS_FUSE_PID: String(process.pid),
        NFS_FUSE_LOG_FORMAT: format ?? '',
        // Opened below descriptor 4, because its path may lead elsewhere by the time of the death.
        NFS_FUSE_JOURNAL: journal?.name ?? '',
        NFS_FUSE_LOCKS: locks?.name ?? '',
        NFS_FUSE_SIGNALS: UNWANTED_SIGNALS.join(' '),
        NFS_FUSE_SELF: (program ?? []).map(quoted).join(' '),
        ...role.environment,
      },
    });
    return new Promise((resolve) => {
      child.once('error', (error) => {
        const code = errorCode(error);
        const isMissing = code === 'ENOENT' || code === 'EACCES';
        failed(isMissing ? 'There is no sh' : `sh cannot be started (${code})`, !isMissing);
        resolve(undefined);
      });
      child.once('spawn', () => {
        const shell = new ShellProcess(child);
        logFile?.onReopen(() => shell.tell(`log ${logFile.descriptor}`));
        resolve(shell);
      });
    });
  }

  /** The pipe, for another process that is to write its words as well. The shell lives until nobody has it any more. */
  get pipe(): Writable | undefined {
    return this.#pipe ?? undefined;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Calls `listener` when the shell has ended, for whatever reason. */
  onEnd(listener: () => void): void {
    if (this.hasEnded) listener();
    else this.#child.once('exit', listener);
  }

  /** Sends one of the words of script.ts. Of no effect when the shell has ended. */
  tell(words: string): void {
    this.#pipe?.write(`${words}\n`);
  }

  /** Tells the shell that the mount ends in good order. Resolves when the shell has ended. */
  async dismiss(): Promise<void> {
    if (this.hasEnded) return;
    const child = this.#child;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, FAREWELL_MS);
      child.ref();
      child.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#pipe?.end('bye\n');
    });
  }
}

/** The shell of a process that has taken over finds them there already. */
function withUsualFolders(path: string): string {
  return path.endsWith(USUAL_FOLDERS) ? path : `${path}${USUAL_FOLDERS}`;
}

function firstWord(stream: Readable): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    stream.on('error', () => {});
    stream.on('close', () => resolve(text.trim()));
  });
}

/** For a POSIX shell. */
export function quoted(word: string): string {
  return `'${word.replace(/'/g, `'\\''`)}'`;
}
