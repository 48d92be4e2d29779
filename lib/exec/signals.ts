/**
 * Signals of `nfs-fuse exec`. Before the command runs they end the mounting. While it runs they go to the command.
 * Afterwards they hurry the unmounting.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const;
/** Signals that end a program that has no handler for them. */
const ENDING: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']);
/** Signals that a terminal sends to all processes of its foreground group. */
const FROM_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT', 'SIGWINCH']);

export class ExecSignals {
  /** Resolves with the first signal that ends a program, if it comes before the command runs. */
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

  /** From now on signals go to the command. */
  passTo(command: ChildProcess): void {
    this.#target = command;
  }

  /** The command has ended: from now on a signal that ends a program calls `hurry`. */
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

/** Whether a signal from the terminal has reached the command as well, so that it must not get it twice. */
function hasItToo({ pid }: ChildProcess): boolean {
  const ours = jobControl('self');
  return ours !== undefined && ours.group === ours.foreground && jobControl(pid)?.group === ours.group;
}

/** A process's group, and the foreground group of its terminal (proc_pid_stat(5), fields 5 and 8). */
function jobControl(pid: number | 'self' | undefined): { group: string; foreground: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [, , group = '', , , foreground = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { group, foreground };
  } catch {
    return undefined;
  }
}
