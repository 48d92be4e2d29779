/**
 * Signals of `nfs-fuse exec`: before the command runs they end the mounting, while it runs they are the command's, and
 * afterwards they hurry the unmounting.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const;
/** Those that end a program that does not care for them. */
const ENDING: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']);
/** What a terminal sends to the whole group of processes in its foreground. */
const FROM_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT', 'SIGWINCH']);

export class ExecSignals {
  /** Resolves with the first that ends, while there is no command to take it. */
  readonly interrupted: Promise<NodeJS.Signals>;
  #target: ChildProcess | (() => void) | undefined;
  #resolve: (signal: NodeJS.Signals) => void = () => {};
  readonly #listener = (signal: NodeJS.Signals) => this.#receive(signal);

  /** Listens from now on. */
  constructor() {
    this.interrupted = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    for (const signal of FORWARDED) process.on(signal, this.#listener);
  }

  /** From now on to the command. */
  passTo(command: ChildProcess): void {
    this.#target = command;
  }

  /** The command has ended: from now on what ends calls `hurry`. */
  afterwards(hurry: () => void): void {
    this.#target = hurry;
  }

  dispose(): void {
    for (const signal of FORWARDED) process.off(signal, this.#listener);
  }

  #receive(signal: NodeJS.Signals): void {
    const target = this.#target;
    if (target === undefined || typeof target === 'function') {
      if (!ENDING.has(signal)) return;
      if (target === undefined) this.#resolve(signal);
      else target();
      return;
    }
    if (FROM_TERMINAL.has(signal) && hasItToo(target)) return;
    target.kill(signal);
  }
}

/** Whether what the terminal has sent to us has reached the command as well: twice would be once too often. */
function hasItToo({ pid }: ChildProcess): boolean {
  const ours = jobControl('self');
  return ours !== undefined && ours.group === ours.foreground && jobControl(pid)?.group === ours.group;
}

/** Process group, and the group in the foreground of the terminal (proc_pid_stat(5), fields 5 and 8). */
function jobControl(pid: number | 'self' | undefined): { group: string; foreground: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [, , group = '', , , foreground = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { group, foreground };
  } catch {
    return undefined;
  }
}
