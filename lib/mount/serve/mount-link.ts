/**
 * How other commands reach the process that serves a mount, this process's side: a unix socket in the runtime folder,
 * which no other user may enter, under a name that begins with the mount's device number. The kernel tells who has
 * connected: only this process's user and root are served.
 *
 * A line asks, a line of JSON answers (mount-control.ts is the asking side):
 * `stats`; `write back`: answered when that is done; `watch`: answered at once, and with a {@link MountOutcome} when the
 * serving process ends; `unmounted`: the caller has unmounted, answered with {@link StillMounted} or, if the mount does not
 * live on elsewhere, with {}; `give up`, answered with {}: the end is not to wait for a server that takes nothing.
 */
import { randomBytes } from 'node:crypto';
import { lutimesSync, rmSync, statSync, utimesSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Unwritten } from '../failure/unwritten.js';
import { type Peer, peerOf } from '../reach/peer.js';
import { openRuntimeFolder, ownUid, type RuntimeFolder } from '../reach/runtime-folder.js';
import { descriptorOf } from '../reach/socket-descriptor.js';

/** How serving a mount has ended. */
export interface MountOutcome {
  readonly status: number;
  /** The reason of a failure. */
  readonly message?: string | undefined;
  /** Data that was given up. */
  readonly lost?: Unwritten | undefined;
  /** How many files have lost data, at any time, of which no program could be told. */
  readonly untold?: number | undefined;
}

/** The mount lives on elsewhere; all that was written before the caller unmounted it has been written back. */
export interface StillMounted {
  readonly stillMounted: true;
  /** A line for each file that lost data. */
  readonly losses: readonly string[];
  readonly untold: number;
}

/** The questions that a mount answers; the answers are such that JSON can carry them. */
export interface MountAnswers {
  stats(): object;
  /** Resolves when what was written so far is on stable storage, with a line for each file that lost data. */
  writeBack(): Promise<readonly string[]>;
  /** How many files have lost data so far of which no program could be told. */
  untoldLosses(): number;
  /** Right after an unmount: whether the kernel still keeps the mount, for another place where it is mounted. */
  isStillMounted(): Promise<boolean>;
  /** At its end the mount is not to wait for a server that takes nothing. */
  giveUp(): void;
}

/** All questions are short. */
const MAX_QUESTION = 64;
/** A connection that asks nothing ends after this; one that watches does not. */
const IDLE_MS = 10_000;
/** More than the commands that anyone would start at a time. When there are more, the busiest peer's oldest goes. */
const MAX_CONNECTIONS = 64;
/** Lines about files that lost data. */
const MAX_LOSSES = 20;
/** A caller that is stopped must not keep this process. */
const FAREWELL_MS = 2_000;
/** How often the socket is looked after: what tidies up old files leaves it alone then. */
const UPKEEP_MS = 60_000;
/** A socket that nobody listens at may be one that is just being made. */
const STALE_MS = 60_000;
const ENDING = '.sock';

/** The beginning of the names of the sockets of mount `major`:`minor`. Device numbers are unique on the whole machine. */
export function socketNameBeginning(major: number, minor: number): string {
  return `${major}:${minor}.`;
}

/** Whether a file in a runtime folder is a control socket of mount `major`:`minor`. */
export function isSocketName(name: string, major: number, minor: number): boolean {
  return name.startsWith(socketNameBeginning(major, minor)) && name.endsWith(ENDING);
}

interface Connection {
  readonly socket: Socket;
  readonly peer: Peer;
  question: string;
  /** An answer is under way. */
  answering: boolean;
  watching: boolean;
}

/** The serving side. */
export class MountLink {
  readonly #answers: MountAnswers;
  /** In the order in which they have come. */
  readonly #connections = new Set<Connection>();
  readonly #device: { readonly major: number; readonly minor: number };
  #listener: { readonly server: Server; readonly folder: RuntimeFolder; readonly name: string } | undefined;
  #released = false;
  #upkeep: NodeJS.Timeout | undefined;

  private constructor(major: number, minor: number, answers: MountAnswers) {
    this.#device = { major, minor };
    this.#answers = answers;
  }

  /** Never fails: without a socket the mount works as well. {@link isReachable} tells. */
  static async open(major: number, minor: number, answers: MountAnswers): Promise<MountLink> {
    const link = new MountLink(major, minor, answers);
    await link.#listen();
    link.#upkeep = setInterval(() => link.#lookAfter(), UPKEEP_MS);
    link.#upkeep.unref();
    return link;
  }

  /** Whether other commands can connect. */
  get isReachable(): boolean {
    return this.#listener !== undefined;
  }

  /** The mount is gone, and its number may be another mount's. Connections go on until {@link close}. */
  releaseName(): void {
    this.#released = true;
    clearInterval(this.#upkeep);
    // A caller that has connected already is accepted within the turn of the event loop that is under way, or the next.
    setImmediate(() => setImmediate(() => this.#stopListening()));
  }

  /** Tells everybody who watches how it ended, and closes. */
  async close(outcome: MountOutcome): Promise<void> {
    this.#released = true;
    clearInterval(this.#upkeep);
    this.#stopListening();
    const told: MountOutcome = { untold: this.#answers.untoldLosses(), ...outcome };
    const line = `${JSON.stringify(told)}\n`;
    await Promise.all(
      [...this.#connections].map(({ socket, watching }) => {
        if (!watching) return socket.destroy();
        socket.ref();
        return new Promise<void>((resolve) => {
          const timer = setTimeout(() => socket.destroy(), FAREWELL_MS);
          socket.once('close', () => {
            clearTimeout(timer);
            resolve();
          });
          socket.end(line, () => socket.destroy());
        });
      }),
    );
  }

  async #listen(): Promise<void> {
    const folder = openRuntimeFolder();
    if (folder === undefined) return;
    removeStale(folder);
    const { major, minor } = this.#device;
    // A name of its own: one that is left over, or another's, is never in the way, and nobody removes a successor's.
    const name = `${socketNameBeginning(major, minor)}${randomBytes(4).toString('hex')}${ENDING}`;
    const server = createServer((socket) => this.#accept(socket));
    server.unref();
    const listening = await new Promise<boolean>((resolve) => {
      server.on('error', () => resolve(false));
      server.listen(folder.at(name), () => resolve(true));
    });
    // libuv removes the socket by the name that it was given, so the folder stays open until then.
    server.once('close', () => folder.close());
    if (!listening) folder.close();
    else if (this.#released) server.close();
    else this.#listener = { server, folder, name };
  }

  /** Keeps the socket from looking old; makes another if something has removed it: a tidier, or a logout. */
  #lookAfter(): void {
    const listener = this.#listener;
    try {
      if (listener !== undefined) {
        const now = new Date();
        lutimesSync(listener.folder.at(listener.name), now, now);
        utimesSync(listener.folder.at(''), now, now);
        return;
      }
    } catch {
      // It is gone.
    }
    this.#stopListening();
    void this.#listen();
  }

  #stopListening(): void {
    this.#listener?.server.close();
    this.#listener = undefined;
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const fd = descriptorOf(socket);
    const peer = fd === undefined ? undefined : peerOf(fd);
    if (peer === undefined || (peer.uid !== ownUid() && peer.uid !== 0)) {
      socket.destroy();
      return;
    }
    socket.unref();
    const connection: Connection = { socket, peer, question: '', answering: false, watching: false };
    this.#connections.add(connection);
    socket.on('close', () => this.#connections.delete(connection));
    if (this.#connections.size > MAX_CONNECTIONS) this.#makeRoom();
    socket.setTimeout(IDLE_MS, () => {
      if (!connection.watching && !connection.answering) socket.destroy();
    });
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#take(connection, text));
  }

  /** One process that connects again and again keeps nobody else out. */
  #makeRoom(): void {
    const byPeer = new Map<number, Connection[]>();
    for (const connection of this.#connections) {
      const { pid } = connection.peer;
      byPeer.set(pid, [...(byPeer.get(pid) ?? []), connection]);
    }
    const [busiest] = [...byPeer.values()].sort((one, other) => other.length - one.length);
    busiest?.[0]?.socket.destroy();
  }

  #take(connection: Connection, text: string): void {
    const { socket } = connection;
    connection.question += text;
    const end = connection.question.indexOf('\n');
    // A caller that asks on without taking its answers would fill the memory with them.
    if (connection.question.length > MAX_QUESTION || (end >= 0 && socket.writableLength > 0)) {
      socket.destroy();
      return;
    }
    if (end < 0 || connection.answering) return;
    const question = connection.question.slice(0, end);
    connection.question = connection.question.slice(end + 1);
    connection.answering = true;
    void this.#answer(connection, question)
      .then((answer) => {
        connection.answering = false;
        if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`);
        if (connection.question !== '') this.#take(connection, '');
      })
      .catch(() => socket.destroy());
  }

  async #answer(connection: Connection, question: string): Promise<object> {
    switch (question) {
      case 'stats':
        return this.#answers.stats();
      case 'write back':
        return this.#writeBack();
      case 'watch':
        connection.watching = true;
        return { watching: true };
      case 'unmounted': {
        if (!(await this.#answers.isStillMounted())) return {};
        const losses = await this.#writeBack();
        const still: StillMounted = { stillMounted: true, losses, untold: this.#answers.untoldLosses() };
        return still;
      }
      case 'give up':
        this.#answers.giveUp();
        return {};
      default:
        throw new Error('nothing that can be asked');
    }
  }

  async #writeBack(): Promise<readonly string[]> {
    return (await this.#answers.writeBack()).slice(0, MAX_LOSSES);
  }
}

/** Removes what killed processes have left: a socket at which nobody listens. Never throws, and does not wait. */
function removeStale(folder: RuntimeFolder): void {
  for (const name of folder.names()) {
    if (!name.endsWith(ENDING)) continue;
    const path = folder.at(name);
    try {
      if (Date.now() - statSync(path).mtimeMs < STALE_MS) continue;
    } catch {
      continue;
    }
    const trial = connect(path);
    trial.unref();
    trial.on('connect', () => trial.destroy());
    trial.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') rmSync(path, { force: true });
    });
  }
}
