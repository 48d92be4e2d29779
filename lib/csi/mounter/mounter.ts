/**
 * The mounter: a process without privilege that serves the mounts which the Node service makes and hands over. It outlives the
 * driver, so that a restart or an upgrade of that touches no pod. Owns who may hand mounts over, and when the mounter ends.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { errorCode, type LogSink } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { receiveDescriptor } from '../../fuse/index.js';
import { ToldFailure } from '../../mount/failure/told-failure.js';
import { StopSignals } from '../../mount/process/stop-signals.js';
import { peerOf } from '../../mount/reach/peer.js';
import { descriptorOf } from '../../mount/reach/socket-descriptor.js';
import { sleep } from '../../mount/waiting.js';
import { textOf } from '../../volume-parts/error-text.js';
import { prepareSocket } from '../../volume-parts/stale-socket.js';
import { HandedMount } from './handed-mount.js';
import {
  type MounterAnswer,
  nextLine,
  questionIn,
  type ServeQuestion,
  type SettleQuestion,
} from './mounter-protocol.js';

/** A question that does not come within this time never comes. */
const PATIENCE_MS = 10_000;
/** The first byte of a question is looked for this often. */
const LOOK_MS = 5;
const EAGAIN = 11;

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
 * the mounts go on alone.
 * @throws UserError if it cannot begin
 */
export async function runMounter({ socket, stateFolder, program, tell }: MounterOptions): Promise<void> {
  const stop = new StopSignals(['SIGINT', 'SIGTERM', 'SIGHUP']);
  const path = resolve(socket);
  await prepareSocket(path, '--socket');
  const states = openStateFolder(stateFolder);
  const mounter = new Mounter({ states, program, tell });
  // The descriptor of a mount is taken before Node reads from the connection.
  const server = createServer({ pauseOnConnect: true }, (connection) => mounter.answer(connection));
  try {
    await listen(server, path);
    tell('info', `Mounts are served through ${path}; ready.`);
    await stop.first;
    server.close();
    if (mounter.count > 0)
      tell('info', `${mounter.count} mounts are in use. This process ends with the last of them.`);
    await Promise.race([mounter.empty(), stop.second]);
  } finally {
    server.close();
    if (mounter.count === 0) rmSync(states, { recursive: true, force: true });
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

/** A new folder for this process alone: states of earlier ones are of no use without their descriptors. */
function openStateFolder(path: string | undefined): string {
  const places = path === undefined ? ['/dev/shm', process.env.XDG_RUNTIME_DIR ?? '/run', '/tmp'] : [path];
  let failure: unknown;
  for (const place of places) {
    try {
      if (path !== undefined) mkdirSync(place, { recursive: true, mode: 0o700 });
      return mkdtempSync(join(place, 'nfs-fuse-states-'));
    } catch (error) {
      failure ??= error;
    }
  }
  throw new UserError(`There is no place for the states of mounts: ${places[0]} (${errorCode(failure)}).`, {
    remedy: 'Name a folder in memory with --state-folder.',
    cause: failure,
  });
}

class Mounter {
  readonly #mounts = new Set<HandedMount>();

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

  /** Resolves when no mount is left. */
  async empty(): Promise<void> {
    while (this.#mounts.size > 0) await Promise.all([...this.#mounts].map(({ ended }) => ended));
  }

  /** Answers the question that comes over a connection. Never rejects. */
  answer(connection: Socket): void {
    connection.on('error', () => connection.destroy());
    this.#answerTo(connection)
      .catch(failedBy)
      .then((answer) => connection.end(`${JSON.stringify(answer)}\n`))
      .catch(() => connection.destroy());
  }

  async #answerTo(connection: Socket): Promise<MounterAnswer> {
    const descriptor = await firstByte(connection);
    const question = await questionOf(connection).catch((error: unknown) => {
      if (descriptor !== undefined) closeSync(descriptor);
      throw error;
    });
    if ('serve' in question) {
      if (descriptor === undefined) throw new UserError('No descriptor has come along.');
      return this.#serve(descriptor, question.serve);
    }
    if (descriptor !== undefined) closeSync(descriptor);
    return this.#settle(question.settle.place);
  }

  async #serve(descriptor: number, serving: ServeQuestion['serve']): Promise<MounterAnswer> {
    const { states, program, tell } = this.options;
    const stateFile = join(states, randomUUID());
    const mount = new HandedMount({ descriptor, ...serving, stateFile, program, tell });
    this.#mounts.add(mount);
    void mount.ended.then((failure) => {
      this.#mounts.delete(mount);
      if (failure !== undefined) tell('error', failure);
    });
    await mount.answers;
    return { done: true };
  }

  /**
   * A mount that is not over is mounted elsewhere as well, such as in the namespace of another container. It goes on for that, and
   * all that was written here is written back.
   */
  async #settle(place: string): Promise<MounterAnswer> {
    const failures: string[] = [];
    let isElsewhere = false;
    for (const mount of [...this.#mounts].filter((one) => one.place === place)) {
      if (mount.isOver) {
        const failure = await mount.ended;
        if (failure !== undefined) failures.push(failure);
      } else {
        isElsewhere = true;
        failures.push(...(await mount.writeBack()));
      }
    }
    if (failures.length > 0) return { failed: failures.join(' '), kind: 'other' };
    if (!isElsewhere) return { done: true };
    const note = `The mount on ${place} is at other places too, and goes on for these.`;
    return { done: true, note };
  }
}

/** The descriptor that comes with the first byte of a connection. Undefined: none does. @throws UserError */
async function firstByte(connection: Socket): Promise<number | undefined> {
  for (const end = performance.now() + PATIENCE_MS; performance.now() < end; await sleep(LOOK_MS)) {
    const fd = descriptorOf(connection);
    if (fd === undefined) break;
    const received = receiveDescriptor(fd);
    if (received !== -EAGAIN) return received >= 0 ? received : undefined;
  }
  throw new UserError('No question has come.');
}

/** @throws UserError if there is none, or its sender may not ask */
async function questionOf(connection: Socket): Promise<ServeQuestion | SettleQuestion> {
  checkPeer(connection);
  const line = nextLine(connection);
  connection.resume();
  const question = questionIn(await line);
  if (question !== undefined) return question;
  throw new UserError('This is no question for a mounter.');
}

/** @throws UserError unless the process at the other end is root's, or of this user */
function checkPeer(connection: Socket): void {
  const fd = descriptorOf(connection);
  const peer = fd === undefined ? undefined : peerOf(fd);
  if (peer !== undefined && (peer.uid === 0 || peer.uid === process.geteuid?.())) return;
  throw new UserError('Only root, and the user of the mounter, may hand mounts over.');
}

function failedBy(error: unknown): MounterAnswer {
  return { failed: textOf(error), kind: error instanceof ToldFailure ? error.kind : 'other' };
}
