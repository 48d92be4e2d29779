/**
 * Mounting in the background: a detached copy of this process serves the mount. The command returns when the copy
 * reports that the mount answers, or why it does not. Owns the messages between the two processes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import type { LogLevel, LogSink } from '../../base/log.js';
import { ownProgram } from '../../base/own-program.js';
import { lackBehind } from '../../base/surroundings.js';
import { UserError } from '../../base/user-error.js';
import { type FailureKind, failureKindIn, ToldFailure } from '../failure/told-failure.js';
import { OWNER, OwnedMount } from './owner-link.js';

/** The environment variable that tells the copy its role. */
const ROLE = 'NFS_FUSE_BACKGROUND';

type Report =
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string }
  /** The first attempt failed, more follow. */
  | { readonly type: 'retrying'; readonly message: string }
  | { readonly type: 'mounted' }
  | {
      readonly type: 'failed';
      /** Not known of a program that could not be loaded. */
      readonly kind?: FailureKind;
      readonly message: string;
      readonly remedy: string | undefined;
      readonly exitStatus: number;
      readonly details: string | undefined;
    };

/**
 * 'background': the mount lives on when the command has returned. 'attached': it ends with the process that started the
 * copy, and that process prints the copy's messages until then.
 */
export type ServingRole = 'background' | 'attached';

export interface ServingCopyOptions {
  /** The command-line arguments for the copy. */
  readonly args: readonly string[];
  readonly role: ServingRole;
  /** Gets what the copy prints. Undefined: that is lost. */
  readonly logDescriptor: number | undefined;
  /** Gets the messages that the copy reports. */
  readonly tell: LogSink;
}

export interface ServingCopy {
  readonly pid: number | undefined;
  /** Resolves when the mount answers. Rejects with UserError if the copy reports a failure or ends. */
  readonly answers: Promise<void>;
  /** Resolves when the copy's first attempt has failed, and more follow. */
  readonly retrying: Promise<void>;
  readonly ended: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Asks the copy to end in good order; the second call asks it to end at once. */
  end(): void;
  /** Lets the copy live on without this process. */
  release(): void;
}

export interface BackgroundOptions extends Omit<ServingCopyOptions, 'role'> {
  /** Return as soon as the first attempt has failed, and leave the rest to the copy (nfs(5) bg). */
  readonly returnOnRetry: boolean;
}

/** Whether this process is the serving copy. */
export function isBackgroundChild(): boolean {
  return process.env[ROLE] !== undefined && process.send !== undefined;
}

/** Starts the copy, and passes its messages to `tell`. */
export function startServingCopy({ args, role, logDescriptor, tell }: ServingCopyOptions): ServingCopy {
  const [command, ...words] = ownProgram();
  const output = logDescriptor ?? 'ignore';
  const child = spawn(command, [...words, ...args], {
    detached: true,
    // Descriptor 4, see owner-link.ts. A pipe of Node is a socket.
    stdio: ['ignore', output, output, 'ipc', ...(role === 'attached' ? (['pipe'] as const) : [])],
    env: { ...process.env, [ROLE]: role },
  });
  const link = child.stdio[OWNER];
  const owned = link instanceof Socket ? new OwnedMount(link, tell) : undefined;
  let hasRetried: () => void = () => {};
  const retrying = new Promise<void>((resolve) => {
    hasRetried = resolve;
  });
  const answers = new Promise<void>((resolve, reject) => {
    child.on('message', (message) => {
      const report = message as Report;
      switch (report.type) {
        case 'log':
          tell(report.level, report.message);
          break;
        case 'retrying':
          tell('warn', report.message);
          hasRetried();
          break;
        case 'mounted':
          resolve();
          break;
        case 'failed':
          reject(
            new ToldFailure(failureKindIn(report.kind), report.message, {
              remedy: report.remedy,
              exitStatus: report.exitStatus,
              cause: report.details === undefined ? undefined : new Error(report.details),
            }),
          );
          break;
      }
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      const how = signal === null ? `exit status ${code}` : signal;
      reject(
        new UserError(`The process that was to serve the mount ended unexpectedly (${how}).`, {
          remedy: 'Repeat the command with -f to see what it says.',
        }),
      );
    });
  });
  // A caller that interrupts the mounting does not wait for this promise.
  answers.catch(() => {});
  return {
    pid: child.pid,
    answers,
    retrying,
    ended: endOf(child, owned),
    end: () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      owned?.end();
    },
    release() {
      if (child.connected) child.disconnect();
      child.unref();
    },
  };
}

type CopyEnd = Awaited<ServingCopy['ended']>;

/** The end of the copy, or of the last process that went on with its mount. */
async function endOf(child: ChildProcess, owned: OwnedMount | undefined): Promise<CopyEnd> {
  const own = await new Promise<CopyEnd>((resolve) => {
    child.once('error', () => resolve({ status: 1, signal: null }));
    child.once('exit', (status, signal) => resolve({ status, signal }));
  });
  const status = await owned?.over;
  return status === undefined ? own : { status, signal: null };
}

/**
 * The command's side: mounts in a copy of this process. Resolves with the exit status as soon as the mount answers.
 * Throws UserError with the failure that the copy has reported. SIGINT, SIGTERM and SIGHUP end the copy meanwhile.
 */
export async function mountInBackground({ returnOnRetry, ...options }: BackgroundOptions): Promise<number> {
  const copy = startServingCopy({ ...options, role: 'background' });
  let interruptedBy: NodeJS.Signals | undefined;
  const interrupt = (signal: NodeJS.Signals) => {
    interruptedBy = signal;
    copy.end();
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, interrupt);
  try {
    await (returnOnRetry ? Promise.race([copy.answers, copy.retrying]) : copy.answers);
    return 0;
  } catch (error) {
    if (interruptedBy === undefined) throw error;
    throw new UserError(`Mounting was interrupted (${interruptedBy}).`, { exitStatus: 130, cause: error });
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
    copy.release();
  }
}

/** The copy's side: its reports to the command. */
export interface ParentReports {
  readonly role: ServingRole;
  /** Whether the command is still there to print messages. */
  readonly listens: boolean;
  log(level: LogLevel, message: string): void;
  /** `leaves`: the command returns now, and the copy goes on without it. */
  retrying(message: string, leaves: boolean): void;
  mounted(): void;
  /** Resolves when the command has been told of the failure. */
  failed(error: unknown, kind: FailureKind): Promise<void>;
}

/**
 * Makes the copy's way to the command. Calls `onParentGone` if the command ends before the mount is made, and for an
 * attached mount also if it ends later.
 */
export function reportToParent(onParentGone: () => void): ParentReports {
  const attached = process.env[ROLE] === ('attached' satisfies ServingRole);
  delete process.env[ROLE];
  let waiting = true;
  const send = (report: Report, done: () => void = () => {}) => {
    if (!waiting || !process.connected) done();
    // It is no error if the parent has just gone: `disconnect` tells that.
    else process.send?.(report, undefined, undefined, () => done());
  };
  process.once('disconnect', () => {
    if (waiting) onParentGone();
  });
  return {
    role: attached ? 'attached' : 'background',
    get listens() {
      return waiting && process.connected;
    },
    log: (level, message) => send({ type: 'log', level, message }),
    retrying: (message, leaves) => {
      send({ type: 'retrying', message });
      if (leaves) waiting = false;
    },
    mounted: () => {
      send({ type: 'mounted' });
      waiting = attached;
    },
    failed: (error, kind) => new Promise((resolve) => send({ ...failure(error), kind }, resolve)),
  };
}

function failure(error: unknown): Extract<Report, { type: 'failed' }> {
  const details = error instanceof Error ? error.stack : undefined;
  if (error instanceof UserError) {
    const { message, remedy, exitStatus } = error;
    return { type: 'failed', message, remedy, exitStatus, details };
  }
  const lack = lackBehind(error);
  if (lack !== undefined) return { type: 'failed', ...lack, exitStatus: 1, details };
  const message = `Unexpected error: ${error instanceof Error ? error.message : String(error)}`;
  const remedy = 'Repeat with NFS_FUSE_DEBUG=1 in the environment to see where.';
  return { type: 'failed', message, remedy, exitStatus: 1, details };
}
