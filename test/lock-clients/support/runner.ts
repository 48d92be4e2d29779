/** Carries out cases of the range matrix on two clients, and says each step's answer in words. */
import type { FoundLock, LockAnswer, LockWorkers, PendingRequest } from '../../support/locks/workers.js';
import { until } from '../../support/process.js';
import {
  type Case,
  clientOf,
  isFcntl,
  mayWait,
  parseArea,
  parseKind,
  parsePoint,
  parseStep,
  type Step,
  showArea,
} from './steps.js';

/** Two clients that see the same folder. */
export interface Bed {
  readonly a: LockWorkers;
  readonly b: LockWorkers;
}

/** The length of each file of a case. */
export const FILE_LENGTH = 200;
/** A request that is expected to wait and has waited this long is believed. */
const BELIEVED_MS = 150;

/** A run of one case. */
class Run {
  readonly #pending = new Map<string, PendingRequest>();
  readonly #workers = new Set<string>();

  constructor(
    private readonly bed: Bed,
    private readonly file: string,
  ) {}

  #client(worker: string): LockWorkers {
    return this.bed[clientOf(worker)];
  }

  async #call(worker: string, operation: string, ...args: readonly unknown[]): Promise<string> {
    return inWords(await this.#client(worker).call(worker, operation, ...args));
  }

  async prepare(suffixes: readonly string[]): Promise<void> {
    await this.#ready('a1');
    for (const suffix of suffixes)
      await this.#call('a1', 'create', `${this.file}${suffix}`, '.'.repeat(FILE_LENGTH));
  }

  /** Starts a worker unless an earlier case has left it. */
  async #ready(worker: string): Promise<void> {
    if (!this.#client(worker).names.includes(worker)) await this.#client(worker).spawn(worker);
  }

  /** The answer to a step. `expected`: what the reference answered, if there is one. */
  async take(step: Step, expected: unknown): Promise<string> {
    const { worker } = step;
    if (!this.#workers.has(worker)) {
      await this.#ready(worker);
      this.#workers.add(worker);
      await this.#call(worker, 'open', 'f', this.file, 'rw');
    }
    if (!step.soon) return this.#carryOut(step, expected);
    let answer = '';
    await until(`it is granted: ${step.text}`, async () => {
      answer = await this.#carryOut(step, expected);
      return answer === 'granted';
    });
    return answer;
  }

  #carryOut(step: Step, expected: unknown): Promise<string> {
    const { worker, operation, args } = step;
    if (isFcntl(operation)) return this.#fcntl(step, operation, expected);
    const [first = '', second = '', third = ''] = args;
    switch (operation) {
      case 'flock':
      case 'flockwait':
        return this.#lock(step, [second || 'f', parseKind(first), mayWait(operation)], 'flock', expected);
      case 'done':
      case 'interrupt':
        return this.#end(step);
      case 'picture':
        return this.#picture(worker, args);
      case 'open':
        return this.#call(worker, 'open', first, `${this.file}${third}`, second);
      case 'link':
        return this.#call(worker, 'link', this.file, `${this.file}${first}`);
      case 'unlink':
        return this.#call(worker, 'unlink', `${this.file}${first}`);
      case 'read':
        return this.#call(worker, 'read', first, second, Number(third));
      case 'dup':
      case 'close':
      case 'closeAll':
      case 'seek':
      case 'write':
        return this.#call(worker, operation, ...args);
      default:
        return this.#process(step, first);
    }
  }

  async #process({ worker, operation, text }: Step, child: string): Promise<string> {
    const client = this.#client(worker);
    if (operation === 'fork') {
      // One of this name, without open files, may be left of an earlier case.
      if (client.names.includes(child)) await client.kill(child);
      this.#workers.add(child);
      await client.fork(worker, child);
    } else if (operation === 'exit') await client.exit(worker);
    else if (operation === 'kill') await client.kill(worker);
    else throw new Error(`no operation: ${text}`);
    if (operation !== 'fork') this.#workers.delete(worker);
    return 'ok';
  }

  async #fcntl(step: Step, command: string, expected: unknown): Promise<string> {
    const [kind, area, name = 'f'] = step.args;
    const { whence, start, length } = parseArea(area);
    const args = [command, name, parseKind(kind), whence, String(start), String(length)];
    if (!command.endsWith('get')) return this.#lock(step, args, 'fcntl', expected);
    const answer = await this.#client(step.worker).call(step.worker, 'fcntl', ...args);
    return 'ok' in answer ? this.#found(step.worker, answer.ok as Found) : answer.errno;
  }

  /** The lock that F_GETLK found. A pid means something only where its process is. */
  #found(worker: string, { kind, whence, start, length, pid }: Found): string {
    if (kind === 'u') return 'free';
    const holder = pid === -1 ? 'an open file' : (this.#client(worker).nameOf(pid) ?? 'another client');
    const odd = whence === 0 ? '' : ` whence ${whence}`;
    return `${kind} ${showArea({ start: BigInt(start), length: BigInt(length) })}${odd} by ${holder}`;
  }

  /** A request for a lock. One that waits is left waiting. */
  async #lock(step: Step, args: readonly unknown[], operation: string, expected: unknown): Promise<string> {
    const { worker, text } = step;
    const client = this.#client(worker);
    if (!mayWait(step.operation)) return granted(await client.call(worker, operation, ...args));
    if (this.#pending.has(worker)) throw new Error(`it waits already: ${text}`);
    const request = client.begin(worker, operation, ...args);
    await until(`it is granted, refused or waits: ${text}`, async () => {
      if (request.settled()) return true;
      return (expected === undefined || expected === 'waits') && (await request.sleeps());
    });
    // On a network file system every request sleeps, for as long as the server takes.
    if (expected === 'waits') await new Promise((resolve) => setTimeout(resolve, BELIEVED_MS));
    const answer = request.settled();
    if (answer) return granted(answer);
    this.#pending.set(worker, request);
    return 'waits';
  }

  async #end({ worker, operation, text }: Step): Promise<string> {
    const request = this.#pending.get(worker);
    if (!request) return 'does not wait';
    this.#pending.delete(worker);
    if (operation === 'interrupt') await request.interrupt();
    await until(`it no longer waits: ${text}`, () => request.settled() !== undefined);
    return granted(await request.answer);
  }

  async #picture(worker: string, points: readonly string[]): Promise<string> {
    const bytes = points.map((point) => String(parsePoint(point)));
    const answer = await this.#client(worker).call(worker, 'picture', 'f', bytes);
    if (!('ok' in answer)) return answer.errno;
    const marks = String(answer.ok);
    return points.map((point, index) => `${point}${marks[index]}`).join(' ');
  }

  /** Leaves no process with an open file of this case. Those that wait, and those that were forked, are ended. */
  async end(): Promise<void> {
    for (const worker of this.#workers) {
      const client = this.#client(worker);
      if (!client.names.includes(worker)) continue;
      if (this.#pending.has(worker)) await client.kill(worker);
      else await client.call(worker, 'closeAll');
    }
  }
}

type Found = { readonly [key in keyof FoundLock]: key extends 'start' | 'length' ? string : FoundLock[key] };

const inWords = (answer: LockAnswer): string =>
  'errno' in answer ? answer.errno : typeof answer.ok === 'string' ? answer.ok : 'ok';
const granted = (answer: LockAnswer): string => ('errno' in answer ? answer.errno : 'granted');

/**
 * Carries out a case, with `file` as its file's name, and returns the answer to each step. `expected`: the answers that are
 * expected, where they are known.
 */
export async function runCase(
  bed: Bed,
  { steps, suffixes = [] }: Case,
  file: string,
  expected: readonly unknown[] = [],
): Promise<string[]> {
  const run = new Run(bed, file);
  const answers: string[] = [];
  try {
    await run.prepare(['', ...suffixes]);
    for (const [index, text] of steps.entries())
      answers.push(await run.take(parseStep(text), expected[index]));
  } catch (error) {
    answers.push(`failed: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    await run.end();
  }
  return answers;
}
