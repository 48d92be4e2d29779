/**
 * A command of nfs-fuse in a process of its own, which outlives the one that has started it. Owns the environment of such a
 * process, and what is kept of its words.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { FailureKind } from '../mount/failure/told-failure.js';
import { hearReports, withStarter } from '../mount/process/starter.js';

/** More of what a command says is not kept. */
const MOST_SAID = 4096;
/** The descriptor through which a command reports. */
const REPORTS = 3;

export interface CommandEnd {
  /** Null: it was killed. */
  readonly status: number | null;
  /** Its messages, as one paragraph. */
  readonly said: string;
  /** Of a command that has failed. */
  readonly failure: FailureKind;
}

export class OwnCommand {
  /** Resolves when it has ended. Rejects if it could not be started. */
  readonly ended: Promise<CommandEnd>;
  readonly #child: ChildProcess;

  /** `program`: how to start nfs-fuse. */
  constructor(program: readonly string[], args: readonly string[]) {
    const [command = process.execPath, ...before] = program;
    // Its own session: what ends this process at a terminal does not end a mount.
    const child = spawn(command, [...before, ...args], {
      cwd: '/',
      detached: true,
      env: withStarter(environmentOfMounts(), REPORTS),
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.ended = new Promise((resolve, reject) => {
      let said = '';
      let failure: FailureKind = 'other';
      hearReports(child, REPORTS, (report) => {
        if ('failed' in report) failure = report.failed;
      });
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        if (said.length < MOST_SAID) said += text;
      });
      child.once('error', reject);
      child.once('close', (status) => resolve({ status, said: asOneParagraph(said), failure }));
    });
  }

  /** Asks it to end before it is done. */
  interrupt(): void {
    this.#child.kill('SIGTERM');
  }
}

/** The environment of this process, without what the manager of services has for it alone. */
export function environmentOfMounts(): NodeJS.ProcessEnv {
  const { LISTEN_FDS: _, LISTEN_PID: __, LISTEN_FDNAMES: ___, NOTIFY_SOCKET: ____, ...others } = process.env;
  return others;
}

/** The messages of a command without its name at their beginning. */
export function asOneParagraph(said: string): string {
  return said
    .split('\n')
    .map((line) => line.replace(/^nfs-fuse: /, '').trim())
    .filter((line) => line !== '')
    .join(' ');
}
