/**
 * Handing a mount over to another process in good order: this side of it. Owns the order of the steps: the other process is
 * started and has reached the server before this one lets go of anything. Up to then a failure changes nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import type { Socket } from 'node:net';
import { isSingleFile } from '../../base/own-program.js';
import { UserError } from '../../base/user-error.js';
import { handOverWords, secondsSinceStart, takeOverEnvironment } from '../keep/take-over.js';
import { sleep } from '../waiting.js';
import type { ConnectedFileSystem } from './connect.js';
import type { Handed, Keeping } from './keeping.js';
import type { ServedMount } from './kernel-transport.js';

/** Where the other process finds these, in its own numbers. */
const FUSE = 3;
const STATE = 6;
const GIVER = 7;
const KEEPER = 8;
const OWNER = 9;
/** The other process has so long to start and to reach the server. */
const START_MS = 60_000;
/** And so long to answer programs, once it may. */
const SERVE_MS = 60_000;

export interface HandOverParts {
  readonly served: ServedMount;
  readonly fileSystem: ConnectedFileSystem;
  readonly keeping: Keeping;
  /** The descriptors of the other process's standard output and standard error. */
  readonly outputs: readonly [number | 'ignore', number | 'ignore'];
  /** The program that goes on; this one if it is left out. */
  readonly program: string | undefined;
  /** Called when this process does not serve any more. */
  letGo(): void;
}

/** The other process: 'went on', or it failed after this one had let go. */
export type HandedOverTo = {
  readonly pid: number;
  readonly serves: boolean;
  /** It has taken the keeper over, and dismisses it when it has one of its own. */
  readonly hasKeeper: boolean;
  readonly why: string | undefined;
};

/**
 * Hands the mount over. Resolves when the other process serves it, or has failed so late that only the keeper can help.
 * @throws UserError if the other process cannot serve it; this one goes on then
 */
export async function handOver(parts: HandOverParts): Promise<HandedOverTo> {
  const { served, fileSystem, keeping } = parts;
  const { detach } = served;
  const { device } = served.mount;
  if (detach === undefined || device === undefined) throw new UserError('This mount cannot be handed over.');
  const { fd } = device;
  if (fd === undefined) throw new UserError('The mount has ended meanwhile.');
  let other: OtherProcess | undefined;
  let since: number;
  let requests: readonly Uint8Array[];
  try {
    other = new OtherProcess(start(parts, fd));
    await other.says('ready', START_MS);
    // Most of it while programs still get answers.
    await fileSystem.writeBack();
    parts.letGo();
    since = secondsSinceStart();
    requests = await detach();
  } catch (error) {
    other?.kill();
    keeping.takeBack();
    throw error;
  }
  await fileSystem.writeBack();
  fileSystem.letGo();
  // Up to here the death of this process is the keeper's business: the other one ends without the word to go.
  keeping.leaveTo(other.pid);
  other.go({ since, requests });
  try {
    await other.says('served', SERVE_MS);
    return { pid: other.pid, serves: true, hasKeeper: other.hasKeeper, why: undefined };
  } catch (error) {
    other.kill();
    keeping.takeBack();
    const why = error instanceof Error ? error.message : String(error);
    return { pid: other.pid, serves: false, hasKeeper: false, why };
  }
}

function start({ keeping, outputs, program }: HandOverParts, fuse: number): ChildProcess {
  const { role, score, arguments: rest } = keeping.settings;
  const owner = keeping.settings.owner?.();
  const keeper = keeping.lendKeeper();
  const words = handOverWords({
    role,
    score,
    fuse: FUSE,
    state: STATE,
    giver: GIVER,
    keeper: keeper === undefined ? undefined : KEEPER,
    owner: owner === undefined ? undefined : OWNER,
  });
  const [file = '', ...args] = program === undefined ? keeping.command : [...runnerOf(program), ...rest];
  return spawn(file, args, {
    detached: true,
    cwd: '/',
    stdio: [
      'ignore',
      ...outputs,
      fuse,
      'ignore',
      'ignore',
      keeping.descriptor,
      'pipe',
      keeper ?? 'ignore',
      owner ?? 'ignore',
    ],
    env: takeOverEnvironment(words),
  });
}

/** The words that start a program: a script that is not executable is given to this Node, or to the one on the PATH. */
function runnerOf(program: string): string[] {
  try {
    accessSync(program, constants.X_OK);
    return [program];
  } catch {
    return [isSingleFile() ? 'node' : process.execPath, program];
  }
}

/** The process to which the mount is handed over, by its lines on the socket. */
class OtherProcess {
  readonly pid: number;
  /** It knows of the pipe to the keeper. Programs from before that one did not. */
  hasKeeper = false;
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  #lines: string[] = [];
  #end: string | undefined;
  #wake: () => void = () => {};

  constructor(child: ChildProcess) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    // The type of Node ends with descriptor 4.
    this.#socket = (child.stdio as readonly unknown[])[GIVER] as Socket;
    let heard = '';
    this.#socket.on('error', () => {});
    this.#socket.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
      const lines = heard.split('\n');
      heard = lines.pop() ?? '';
      this.#lines.push(...lines);
      this.#wake();
    });
    const ended = (how: string) => {
      this.#end ??= how;
      this.#wake();
    };
    child.once('error', (error) => ended(error.message));
    // Its words come before its end.
    child.once('close', (status, signal) => ended(signal ?? `exit status ${status}`));
    child.unref();
    this.#socket.unref();
  }

  /** Resolves when it says `word`. @throws UserError if it says that it fails, ends, or is silent for too long */
  async says(word: string, patienceMs: number): Promise<void> {
    const late = sleep(patienceMs).then(() => 'late' as const);
    for (;;) {
      for (const line of this.#lines.splice(0)) {
        if (line === word) return;
        if (line === 'keeper') this.hasKeeper = true;
        if (line.startsWith('failed '))
          throw new UserError(`The new process cannot go on with it: ${line.slice(7)}.`);
      }
      if (this.#end !== undefined) throw new UserError(`The new process has ended (${this.#end}).`);
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      if ((await Promise.race([woken, late])) === 'late')
        throw new UserError(`The new process was not ready after ${patienceMs / 1000} s.`);
    }
  }

  /** From now on the mount is its own. */
  go({ since, requests }: Handed): void {
    this.#socket.write(
      `go ${since} ${requests.map((one) => Buffer.from(one).toString('base64')).join(',')}\n`,
    );
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
