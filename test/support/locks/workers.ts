/**
 * Processes that lock files for a test, on one machine: several workers, each of which opens files and takes, tests and
 * waits for fcntl, OFD and flock locks on them. Runs workers.py. A worker is known by its name, and so are its descriptors.
 */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Guest, shellLine } from '../guest/guest.js';
import type { GuestNetwork } from '../guest/network.js';
import { type Background, start, until } from '../process.js';
import { projectRoot, python } from '../project.js';

/** Shared, exclusive, or none. */
export type LockKind = 's' | 'x' | 'u';
export type FcntlCommand = 'get' | 'set' | 'wait' | 'ofdget' | 'ofdset' | 'ofdwait';
/** As in struct flock: from the start of the file, from the descriptor's position, from its end. */
export const WHENCE = { start: 0, here: 1, end: 2 } as const;

export interface LockArea {
  readonly whence: (typeof WHENCE)[keyof typeof WHENCE];
  readonly start: bigint;
  /** 0: to the end of every file; negative: before the start. */
  readonly length: bigint;
}

/** The answer of F_GETLK. */
export interface FoundLock extends LockArea {
  readonly kind: LockKind;
  readonly pid: number;
}

/** The outcome of a request: its value, or the name of its errno. */
export type LockAnswer = { readonly ok: unknown } | { readonly errno: string };

/** A request that may wait. */
export interface PendingRequest {
  readonly answer: Promise<LockAnswer>;
  /** The answer if it is there. */
  readonly settled: () => LockAnswer | undefined;
  /** Whether its thread sleeps in the system call. On a local file system: it waits for a lock. */
  sleeps(): Promise<boolean>;
  /** Sends its thread a signal, and returns when it has come back from the system call. */
  interrupt(): Promise<void>;
}

interface Sent {
  readonly to: string;
  readonly what: string;
  readonly resolve: (answer: LockAnswer) => void;
  readonly reject: (error: Error) => void;
}

type Message =
  | { id: number; ok: unknown }
  | { id: number; errno: string; message?: string }
  | { began: string; pid: number }
  | { ended: string };

const PROGRAM = join(projectRoot, 'test/support/locks/workers.py');
/** Nobody else listens in a network of guests. */
let nextRelayPort = 7001;
/** A request that must be answered soon, and is not: a failure of the test. */
const TIMEOUT_MS = 60_000;

export class LockWorkers {
  #next = 1;
  readonly #sent = new Map<number, Sent>();
  readonly #pids = new Map<string, number>();

  private constructor(readonly program: Background) {
    const { stdout, stdin } = program.child;
    if (!stdout) throw new TypeError('the program has no standard output');
    stdin?.on('error', () => undefined);
    createInterface({ input: stdout }).on('line', (line) => this.#take(JSON.parse(line) as Message));
    const fail = () =>
      this.#fail(() => true, `the program of the workers ended: ${program.output.slice(-2000)}`);
    program.ended.then(fail, fail);
  }

  /** Starts the program, without workers; `cwd` is where their paths begin. `command` wraps it, to run it elsewhere. */
  static start(cwd: string, command = (argv: readonly string[]) => [...argv]): LockWorkers {
    const argv = command(['env', '-C', cwd, python, PROGRAM]);
    return new LockWorkers(start(argv, { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' }));
  }

  /** Starts the program in a guest, in one of its folders; its lines come through a relay in the network. */
  static inGuest(guest: Guest, network: GuestNetwork, cwd: string): LockWorkers {
    const port = nextRelayPort++;
    const relay = start([...network.enter, python, PROGRAM, 'accept', String(port)], {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: '/',
    });
    const inside = `cd ${shellLine([cwd])} && exec ${shellLine([python, PROGRAM, 'connect', guest.cable.host, String(port)])}`;
    // It ends with the connection.
    guest.run(inside, 24 * 3_600_000).catch(() => undefined);
    return new LockWorkers(relay);
  }

  #take(message: Message): void {
    if ('began' in message) this.#pids.set(message.began, message.pid);
    else if ('ended' in message) this.#ended(message.ended);
    else {
      const sent = this.#sent.get(message.id);
      this.#sent.delete(message.id);
      if ('errno' in message && message.errno === 'TEST') {
        sent?.reject(new Error(`${sent.what}: ${message.message}`));
      } else sent?.resolve('errno' in message ? { errno: message.errno } : { ok: message.ok });
    }
  }

  #ended(name: string): void {
    this.#pids.delete(name);
    this.#fail(({ to }) => to === name, 'the worker has ended');
  }

  #fail(which: (sent: Sent) => boolean, why: string): void {
    for (const [id, sent] of this.#sent) {
      if (!which(sent)) continue;
      this.#sent.delete(id);
      sent.reject(new Error(`${sent.what}: ${why}`));
    }
  }

  #send(
    to: string,
    op: string,
    args: readonly unknown[],
    apart: boolean,
  ): { id: number; answer: Promise<LockAnswer> } {
    const id = this.#next++;
    const what = `${to} ${op}(${args.join(', ')})`;
    const answer = new Promise<LockAnswer>((resolve, reject) => {
      if (this.program.outcome) reject(new Error(`${what}: the program of the workers has ended`));
      this.#sent.set(id, { to, what, resolve, reject });
      this.program.child.stdin?.write(`${JSON.stringify({ id, to, op, args, apart })}\n`);
    });
    // A request that waits may fail because its worker is killed, when nobody looks any more.
    answer.catch(() => undefined);
    return { id, answer };
  }

  #until(what: string, condition: () => boolean): Promise<void> {
    return until(what, () => {
      const { outcome, output } = this.program;
      if (outcome) throw new Error(`${what}: the program of the workers ended: ${output.slice(-2000)}`);
      return condition();
    });
  }

  /** The names of the living workers. */
  get names(): readonly string[] {
    return [...this.#pids.keys()];
  }

  /** The worker that is the process `pid`. */
  nameOf(pid: number): string | undefined {
    return [...this.#pids].find(([, own]) => own === pid)?.[0];
  }

  /** Starts a worker with no open files. */
  async spawn(name: string): Promise<void> {
    this.program.child.stdin?.write(`${JSON.stringify({ to: '', op: 'spawn', args: [name] })}\n`);
    await this.#until(`${name} begins`, () => this.#pids.has(name));
  }

  /** Has a worker fork another, which shares its open files under the same names. */
  async fork(parent: string, child: string): Promise<void> {
    await this.call(parent, 'fork', child);
    await this.#until(`${child} begins`, () => this.#pids.has(child));
  }

  /** Ends a worker by SIGKILL, and returns when its process is gone. */
  async kill(name: string): Promise<void> {
    this.program.child.stdin?.write(`${JSON.stringify({ to: '', op: 'kill', args: [name] })}\n`);
    await this.#until(`${name} is dead`, () => !this.#pids.has(name));
  }

  /** Has a worker end by itself, without closing anything first. */
  async exit(name: string): Promise<void> {
    this.#send(name, 'exit', [], false);
    await this.#until(`${name} has ended`, () => !this.#pids.has(name));
  }

  /** Carries out one operation of workers.py that cannot wait for a lock. */
  async call(worker: string, op: string, ...args: readonly unknown[]): Promise<LockAnswer> {
    const { id, answer } = this.#send(worker, op, args, false);
    const timer = setTimeout(
      () => this.#fail((sent) => sent === this.#sent.get(id), 'no answer'),
      TIMEOUT_MS,
    );
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Starts an operation that may wait; its worker takes others meanwhile. */
  begin(worker: string, op: string, ...args: readonly unknown[]): PendingRequest {
    const { id, answer } = this.#send(worker, op, args, true);
    let settled: LockAnswer | undefined;
    answer.then(
      (value) => {
        settled = value;
      },
      () => undefined,
    );
    return {
      answer,
      settled: () => settled,
      sleeps: async () => {
        const slept = await this.call(worker, 'sleeps', id);
        return 'ok' in slept && slept.ok === true;
      },
      interrupt: async () => {
        await this.call(worker, 'interrupt', id);
      },
    };
  }

  /** Ends all workers by SIGKILL, and the program. */
  async close(): Promise<void> {
    this.program.child.stdin?.end();
    const killer = setTimeout(() => this.program.signal('SIGKILL'), 5000);
    await this.program.ended;
    clearTimeout(killer);
  }
}
