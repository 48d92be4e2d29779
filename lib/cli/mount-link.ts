/**
 * How other commands reach the process that serves a mount: a unix socket in the abstract name space, named
 * after the mount's device number. It leaves no file behind, ends with the process, and is not reachable from
 * another network name space, where umount(8) works without it.
 *
 * Who connects and asks `stats` is answered with one line of JSON, and who asks `write back` with another when
 * that is done. Who asks nothing hears nothing until the serving process ends; then one line of JSON,
 * {@link MountOutcome}. `give up` tells the process that is about to end not to wait for a server that takes nothing.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Unwritten } from './unwritten.js';

/** How serving a mount has ended. */
export interface MountOutcome {
  readonly status: number;
  /** What went wrong, if something did. */
  readonly message?: string | undefined;
  /** What was given up. */
  readonly lost?: Unwritten | undefined;
}

/** What can be asked; the answers are what JSON can carry. */
export interface MountAnswers {
  stats(): object;
  /** Resolves when what was written so far is on stable storage, with a line for each file that lost data. */
  writeBack(): Promise<readonly string[]>;
  /** At its end the mount is not to wait for a server that takes nothing. */
  giveUp(): void;
}

/** More than the umount commands that anyone would start. */
const MAX_LISTENERS = 16;
const MAX_LINE = 64 * 1024;
const MAX_STATS = 1024 * 1024;
const STATS_QUESTION = 'stats\n';
const WRITE_BACK_QUESTION = 'write back\n';
const GIVE_UP_ORDER = 'give up\n';
/** A process that does not even say how it is does not run. */
const STATS_PATIENCE_MS = 10_000;
/** Lines about files that lost data. */
const MAX_LOSSES = 20;

function linkName(major: number, minor: number): string {
  return `\0nfs-fuse/${major}:${minor}`;
}

/** The number of a mount that is just gone may still be another's name. */
const NAME_TRIES = 20;
const NAME_RETRY_MS = 50;

/** False: the name is taken. */
function listen(server: Server, name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (listening: boolean) => () => {
      server.off('error', failed);
      server.off('listening', succeeded);
      resolve(listening);
    };
    const failed = done(false);
    const succeeded = done(true);
    server.once('error', failed);
    server.once('listening', succeeded);
    server.listen(name);
  });
}

/** The serving side. */
export class MountLink {
  readonly #server: Server;
  readonly #answers: MountAnswers;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, answers: MountAnswers) {
    this.#server = server;
    this.#answers = answers;
  }

  /** Never fails: without a link the mount works as well. */
  static async open(major: number, minor: number, answers: MountAnswers): Promise<MountLink> {
    const server = createServer();
    const link = new MountLink(server, answers);
    server.maxConnections = MAX_LISTENERS;
    server.on('connection', (socket) => link.#accept(socket));
    server.on('error', () => {});
    server.unref();
    for (let tries = 1; !(await listen(server, linkName(major, minor))); tries++) {
      if (tries === NAME_TRIES) break;
      await new Promise((resolve) => setTimeout(resolve, NAME_RETRY_MS));
    }
    return link;
  }

  /**
   * The mount is gone: its number, and so the name, may be another mount's from now on. Those who wait go on waiting
   * for {@link close}.
   */
  releaseName(): void {
    // Who has connected already is accepted within the turn of the event loop that is under way, or the next.
    setImmediate(() => setImmediate(() => this.#stopListening()));
  }

  #stopListening(): void {
    if (this.#server.listening) this.#server.close();
  }

  /** Tells everybody who waits how it ended, and closes. */
  async close(outcome: MountOutcome): Promise<void> {
    this.#stopListening();
    const line = `${JSON.stringify(outcome)}\n`;
    await Promise.all(
      [...this.#sockets].map((socket) => new Promise<void>((resolve) => socket.end(line, () => resolve()))),
    );
  }

  #accept(socket: Socket): void {
    socket.unref();
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      if (text === STATS_QUESTION) socket.write(`${JSON.stringify(this.#answers.stats())}\n`);
      else if (text === WRITE_BACK_QUESTION) void this.#writeBack(socket);
      else if (text === GIVE_UP_ORDER) this.#answers.giveUp();
      else socket.destroy();
    });
  }

  async #writeBack(socket: Socket): Promise<void> {
    const losses = (await this.#answers.writeBack()).slice(0, MAX_LOSSES);
    if (socket.writable) socket.write(`${JSON.stringify(losses)}\n`);
  }
}

/** What a mount says of itself. Undefined: nobody serves it, or not in this network name space. */
export async function askStats(major: number, minor: number): Promise<unknown> {
  const line = await askLine(connect(linkName(major, minor)), STATS_QUESTION, STATS_PATIENCE_MS);
  return line === '' ? undefined : JSON.parse(line);
}

/**
 * Has what was written so far brought to stable storage, however long that takes; resolves with a line for each file
 * that lost data. Undefined: the process has ended before, or nobody serves this mount.
 */
export async function askWriteBack(major: number, minor: number): Promise<readonly string[] | undefined> {
  const line = await askLine(connect(linkName(major, minor)), WRITE_BACK_QUESTION);
  try {
    const losses: unknown = JSON.parse(line);
    return Array.isArray(losses) ? losses.map(String) : undefined;
  } catch {
    return undefined;
  }
}

/** The answer's line, or what has come of it when the other side went away; "" after `patienceMs` of silence. */
function askLine(socket: Socket, question: string, patienceMs?: number): Promise<string> {
  return new Promise((resolve) => {
    let said = '';
    socket.setEncoding('utf8');
    if (patienceMs !== undefined) {
      socket.setTimeout(patienceMs, () => {
        said = '';
        socket.destroy();
      });
    }
    socket.on('connect', () => socket.write(question));
    socket.on('data', (text: string) => {
      said += text;
      if (said.length > MAX_STATS || said.endsWith('\n')) socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.once('close', () => resolve(said));
  });
}

/** The waiting side; connected before the mount is taken away. */
export interface MountWatch {
  /** The outcome, or undefined if the process was killed before it could say anything. */
  readonly ended: Promise<MountOutcome | undefined>;
  /** Tells the process not to wait for a server that takes nothing. */
  orderToGiveUp(): void;
  cancel(): void;
}

/** Undefined: nobody serves this mount, or not in this network name space. */
export function watchMount(major: number, minor: number): Promise<MountWatch | undefined> {
  return new Promise((resolve) => {
    const socket = connect(linkName(major, minor));
    let said = '';
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      said += text;
      if (said.length > MAX_LINE) socket.destroy();
    });
    const ended = new Promise<MountOutcome | undefined>((resolveEnded) => {
      socket.once('close', () => resolveEnded(parseOutcome(said)));
    });
    const orderToGiveUp = () => socket.write(GIVE_UP_ORDER);
    socket.once('connect', () => resolve({ ended, orderToGiveUp, cancel: () => socket.destroy() }));
    socket.on('error', () => resolve(undefined));
  });
}

function parseOutcome(line: string): MountOutcome | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null || !('status' in value)) return undefined;
    const { status } = value;
    if (typeof status !== 'number') return undefined;
    const message = 'message' in value && typeof value.message === 'string' ? value.message : undefined;
    const lost = 'lost' in value && value.lost !== null ? (value.lost as Unwritten) : undefined;
    return { status, message, lost };
  } catch {
    return undefined;
  }
}
