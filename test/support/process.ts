/** Child processes for tests: run to the end, or started and stopped, all on the list of registry.ts. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { registerProcess } from './registry.js';

/** How a program ended, and what it said. */
export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string | Buffer;
  /** After this time the program is killed, and the run fails. */
  readonly timeoutMs?: number;
}

/** A program that ended otherwise than it should; the message has its last words. */
export class ProgramFailed extends Error {
  constructor(argv: readonly string[], outcome: Outcome, why: string) {
    const tail = (text: Buffer) => text.toString().slice(-4000);
    super(`${argv.join(' ').slice(0, 500)}: ${why}\n${tail(outcome.stdout)}${tail(outcome.stderr)}`.trim());
  }
}

/** A program that runs in the background. */
export class Background {
  /** Resolves when the program has ended. */
  readonly ended: Promise<Outcome>;
  readonly pid: number;
  #outcome: Outcome | undefined;
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];

  constructor(
    readonly child: ChildProcess,
    readonly what: string,
  ) {
    child.stdout?.on('data', (data: Buffer) => this.#stdout.push(data));
    child.stderr?.on('data', (data: Buffer) => this.#stderr.push(data));
    const { pid } = child;
    const forget = pid === undefined ? () => undefined : registerProcess(pid, what);
    this.pid = pid ?? -1;
    this.ended = new Promise((resolve, reject) => {
      child.on('error', (error) => {
        forget();
        reject(error);
      });
      child.on('close', (status, signal) => {
        forget();
        this.#outcome = {
          status,
          signal,
          stdout: Buffer.concat(this.#stdout),
          stderr: Buffer.concat(this.#stderr),
        };
        resolve(this.#outcome);
      });
    });
    this.ended.catch(() => undefined);
  }

  /** How it ended, or undefined while it runs. */
  get outcome(): Outcome | undefined {
    return this.#outcome;
  }

  /** The whole output so far. */
  get output(): string {
    return Buffer.concat([...this.#stdout, ...this.#stderr]).toString();
  }

  /** Sends a signal to it and to all that it started. */
  signal(signal: NodeJS.Signals): void {
    // A command that could not be started has no process: -(-1) would be the machine's first.
    if (this.#outcome || this.child.pid === undefined) return;
    try {
      process.kill(-this.pid, signal);
    } catch {
      this.child.kill(signal);
    }
  }

  /** Ends it: by SIGTERM, and by SIGKILL if it does not listen. */
  async stop(graceMs = 5000): Promise<Outcome> {
    this.signal('SIGTERM');
    const killer = setTimeout(() => this.signal('SIGKILL'), graceMs);
    try {
      return await this.ended;
    } finally {
      clearTimeout(killer);
    }
  }
}

/** Starts a program as the leader of its own process group. */
export function start(argv: readonly string[], options: SpawnOptions = {}): Background {
  const [command, ...args] = argv;
  if (command === undefined) throw new TypeError('no program named');
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, ...options });
  return new Background(child, argv.join(' ').slice(0, 200));
}

/** Runs a program to its end and says how it ended. Fails only if it could not be run or did not end. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { timeoutMs = 300_000, input, cwd, env } = options;
  const program = start(argv, {
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
  });
  program.child.stdin?.on('error', () => undefined);
  program.child.stdin?.end(input);
  let tooLate = false;
  const timer = setTimeout(() => {
    tooLate = true;
    program.signal('SIGKILL');
  }, timeoutMs);
  try {
    const outcome = await Promise.race([program.ended, stuck(program, timeoutMs + 5000)]);
    if (tooLate) throw new ProgramFailed(argv, outcome, `did not end within ${timeoutMs} ms`);
    return outcome;
  } finally {
    clearTimeout(timer);
  }
}

/** Fails if a killed program does not even die, as one that waits for a hung mount may. */
function stuck(program: Background, afterMs: number): Promise<never> {
  return new Promise((_, reject) => {
    const timer = setTimeout(() => reject(new Error(`${program.what}: cannot be killed`)), afterMs);
    const clear = () => clearTimeout(timer);
    program.ended.then(clear, clear);
  });
}

/** Runs a program that must succeed, and returns its output. */
export async function mustRun(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const outcome = await run(argv, options);
  if (outcome.status !== 0) {
    throw new ProgramFailed(argv, outcome, outcome.signal ?? `exit status ${outcome.status}`);
  }
  return outcome.stdout.toString();
}

/** Waits until `condition` holds, asking again and again; fails with `what` when it takes far too long. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
