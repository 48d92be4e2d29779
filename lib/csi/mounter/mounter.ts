/**
 * The mounter: a process without privilege that serves the mounts which the Node service makes and hands over. It outlives the
 * driver, so that a restart or an upgrade of that touches no pod. Owns what becomes of each question, and when the mounter ends.
 */
import { randomUUID } from 'node:crypto';
import { closeSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { errorCode, type LogSink } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { ToldFailure } from '../../mount/failure/told-failure.js';
import { StopSignals } from '../../mount/process/stop-signals.js';
import { sleep } from '../../mount/waiting.js';
import { textOf } from '../../volume-parts/error-text.js';
import { prepareSocket } from '../../volume-parts/stale-socket.js';
import { EndedMounts } from './ended-mounts.js';
import { HandedMount, type WrittenBack } from './handed-mount.js';
import type { MounterAnswer, ServeQuestion } from './mounter-protocol.js';
import { deliver, receiveQuestion } from './question-link.js';
import { StateFolder } from './state-folder.js';

/** A driver waits for a mount less long. */
const SERVE_MS = 130_000;
/** At the end, drivers have this time to ask how the last mounts have ended. */
const FAREWELL_MS = 10_000;
const LOOK_MS = 50;

export interface MounterOptions {
  readonly socket: string;
  /** The folder of the states of mounts, best in memory. Undefined: in /dev/shm, or another place in memory. */
  readonly stateFolder: string | undefined;
  /** How to start nfs-fuse. */
  readonly program: readonly string[];
  readonly tell: LogSink;
}

/**
 * Serves mounts until a signal asks for the end and the last of them is over, or a second signal comes: then the processes of
 * the mounts go on alone. Until then it answers those who unmount: nobody else can tell them when everything is written back.
 * @throws UserError if it cannot begin
 */
export async function runMounter({ socket, stateFolder, program, tell }: MounterOptions): Promise<void> {
  const stop = new StopSignals(['SIGINT', 'SIGTERM', 'SIGHUP']);
  const path = resolve(socket);
  await prepareSocket(path, '--socket');
  const states = StateFolder.open(stateFolder);
  const mounter = new Mounter({ states: states.path, program, tell });
  // The descriptor of a mount is taken before Node reads from the connection.
  const server = createServer({ pauseOnConnect: true }, (connection) => mounter.answer(connection));
  try {
    await listen(server, path);
    tell('info', `Mounts are served through ${path}; ready.`);
    await stop.first;
    if (mounter.count > 0)
      tell('info', `${mounter.count} mounts are in use. This process ends with the last of them.`);
    await Promise.race([mounter.end(), stop.second]);
  } finally {
    server.close();
    states.close(mounter.count === 0);
    stop.dispose();
  }
}

async function listen(server: Server, path: string): Promise<void> {
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((done, reject) => {
      server.once('error', reject);
      server.listen(path, done);
      // The socket is made by now.
      process.umask(umask);
    });
  } catch (error) {
    throw new UserError(`The socket ${path} cannot be made (${errorCode(error)}).`, {
      remedy: 'Name another one with --socket, in a folder that exists.',
      cause: error,
    });
  } finally {
    process.umask(umask);
  }
}

class Mounter {
  /** With what happens when they are over. */
  readonly #mounts = new Map<HandedMount, Promise<void>>();
  readonly #ended = new EndedMounts();
  /** Questions that are not answered yet. */
  readonly #questions = new Set<Promise<void>>();
  #isEnding = false;

  constructor(
    private readonly options: {
      readonly states: string;
      readonly program: readonly string[];
      readonly tell: LogSink;
    },
  ) {}

  get count(): number {
    return this.#mounts.size;
  }

  /** From now on no mount is taken. Resolves when none is left, and drivers have heard how they have ended. */
  async end(): Promise<void> {
    this.#isEnding = true;
    for (let looks = FAREWELL_MS / LOOK_MS; ; looks--) {
      while (this.#mounts.size + this.#questions.size > 0)
        await Promise.all([...this.#mounts.values(), ...this.#questions]);
      if (!this.#ended.isAwaited || looks <= 0) return;
      await sleep(LOOK_MS);
    }
  }

  /** Answers the question that comes over a connection. Never rejects. */
  answer(connection: Socket): void {
    connection.on('error', () => connection.destroy());
    const answered: Promise<void> = this.#answerTo(connection)
      .catch(failedBy)
      .then((answer) => deliver(connection, answer))
      .catch(() => void connection.destroy())
      .then(() => void this.#questions.delete(answered));
    this.#questions.add(answered);
  }

  async #answerTo(connection: Socket): Promise<MounterAnswer> {
    const { question, descriptor } = await receiveQuestion(connection);
    if ('serve' in question && descriptor !== undefined && !this.#isEnding)
      return this.#serve(connection, descriptor, question.serve);
    if (descriptor !== undefined) closeSync(descriptor);
    if ('settle' in question) return this.#settle(connection, question.settle.place);
    if (this.#isEnding) throw new ToldFailure('temporary', 'This mounter ends, and serves no more mounts.');
    throw new UserError('No descriptor has come along.');
  }

  async #serve(
    connection: Socket,
    descriptor: number,
    serving: ServeQuestion['serve'],
  ): Promise<MounterAnswer> {
    const { states, program, tell } = this.options;
    const stateFile = join(states, randomUUID());
    const mount = new HandedMount({ descriptor, ...serving, stateFile, program, tell });
    const over = mount.ended.then((failure) => {
      this.#mounts.delete(mount);
      if (failure !== undefined) tell('error', failure);
      if (failure !== undefined || this.#isEnding) this.#ended.keep(mount.place, failure);
    });
    this.#mounts.set(mount, over);
    const abandon = (): void => mount.abandon();
    const timer = setTimeout(abandon, SERVE_MS);
    connection.once('close', abandon);
    if (connection.destroyed) abandon();
    try {
      await mount.answers;
      return { done: true };
    } finally {
      clearTimeout(timer);
      connection.off('close', abandon);
    }
  }

  /**
   * A mount that is not over is mounted elsewhere as well, such as in the namespace of another container. It goes on for that, and
   * all that was written here is written back.
   */
  async #settle(connection: Socket, place: string): Promise<MounterAnswer> {
    const notes: string[] = [];
    for (const [mount, over] of [...this.#mounts].filter(([one]) => one.place === place)) {
      const written = mount.isOver ? undefined : await mount.writeBack();
      if (written === undefined) {
        await over;
        continue;
      }
      notes.push(noteOn(place, written));
      if (written.losses.length > 0) this.#ended.keep(place, written.losses.join(' '));
    }
    // A driver that has died meanwhile asks again.
    const failure = connection.destroyed ? undefined : this.#ended.take(place);
    if (failure !== undefined) return { failed: failure, kind: 'other' };
    return notes.length === 0 ? { done: true } : { done: true, note: notes.join(' ') };
  }
}

function noteOn(place: string, { isCertain }: WrittenBack): string {
  const note = `The mount on ${place} is at other places too, and goes on for these.`;
  return isCertain
    ? note
    : `${note} This kernel does not let it be asked whether everything is written back.`;
}

function failedBy(error: unknown): MounterAnswer {
  return { failed: textOf(error), kind: error instanceof ToldFailure ? error.kind : 'other' };
}
