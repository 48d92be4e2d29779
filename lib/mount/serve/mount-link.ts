/**
 * The serving process's side of the control socket (reach/link-protocol.ts). The socket lies in the runtime folder,
 * which no other user may enter, and its name begins with the mount's device number. The kernel tells which user has
 * connected: only this process's user and root get answers.
 */
import { randomBytes } from 'node:crypto';
import { lutimesSync, rmSync, statSync, utimesSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { UserError } from '../../base/user-error.js';
import type { QuotaReport, QuotaWish } from '../../vfs/quota/quota-report.js';
import {
  isControlSocket,
  type MountOutcome,
  programIn,
  type StillMounted,
  socketName,
  type ToldLack,
  wishesIn,
} from '../reach/link-protocol.js';
import { type Peer, peerOf } from '../reach/peer.js';
import { openRuntimeFolder, ownUid, type RuntimeFolder } from '../reach/runtime-folder.js';
import { descriptorOf } from '../reach/socket-descriptor.js';
import { listenerOn } from '../reach/socket-place.js';

/** The questions that a mount answers. JSON can carry every answer. */
export interface MountAnswers {
  stats(): object;
  /** Resolves when what was written so far is on stable storage, with a line for each file that lost data. */
  writeBack(): Promise<readonly string[]>;
  /** The number of files that have lost data so far when no program could be told. */
  untoldLosses(): number;
  /** Asked right after an unmount: whether the kernel keeps the mount because it is mounted in another place, too. */
  isStillMounted(): Promise<boolean>;
  /** From now on the end of the mount does not wait for a server that accepts nothing. */
  giveUp(): void;
  /** Hands the mount over to a new process of `program`, and resolves with its id. @throws UserError: this one goes on */
  restart(program: string | undefined): Promise<number>;
  /** Asks the server, as the process that asks here. @throws UserError */
  quotas(asker: Peer, wish: QuotaWish | undefined): Promise<QuotaReport>;
}

/** The longest question, in bytes: the order to restart names a file. */
const MAX_QUESTION = 8 * 1024;
/** A connection that asks nothing is closed after this time, unless it watches. */
const IDLE_MS = 10_000;
/** More than anyone starts commands at a time. Beyond it, the oldest connection of the busiest peer is closed. */
const MAX_CONNECTIONS = 64;
/** At most so many lines about lost data are sent. */
const MAX_LOSSES = 20;
/** A caller that is stopped must not keep this process. */
const FAREWELL_MS = 2_000;
/** How often the socket gets a new time, so that programs that remove old files leave it alone. */
const UPKEEP_MS = 60_000;
/** A younger socket without a listener may be one that a process is just making. */
const STALE_MS = 60_000;

interface Connection {
  readonly socket: Socket;
  readonly peer: Peer;
  question: string;
  /** The answer to a question is being made. */
  answering: boolean;
  watching: boolean;
}

/** The serving side. */
export class MountLink {
  readonly #answers: MountAnswers;
  /** The oldest first. */
  readonly #connections = new Set<Connection>();
  readonly #device: { readonly major: number; readonly minor: number };
  #listener: { readonly server: Server; readonly folder: RuntimeFolder; readonly name: string } | undefined;
  #released = false;
  #upkeep: NodeJS.Timeout | undefined;

  private constructor(major: number, minor: number, answers: MountAnswers) {
    this.#device = { major, minor };
    this.#answers = answers;
  }

  /** Never fails: a mount works without a socket, too. {@link isReachable} tells whether there is one. */
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

  /** The mount is gone, and the kernel may give its number to another mount. Connections go on until {@link close}. */
  releaseName(): void {
    this.#released = true;
    clearInterval(this.#upkeep);
    // A caller that has connected already is accepted in this turn of the event loop or in the next one.
    setImmediate(() => setImmediate(() => this.#stopListening()));
  }

  /** Tells every caller that watches how the mount ended, and closes. */
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
    // The name is random: a leftover or another process's socket is never in the way, and nobody removes a successor's.
    const name = socketName(major, minor, randomBytes(4).toString('hex'));
    const server = createServer((socket) => this.#accept(socket));
    server.unref();
    const listening = await new Promise<boolean>((resolve) => {
      server.on('error', () => resolve(false));
      server.listen(folder.at(name), () => resolve(true));
    });
    // libuv removes the socket by its name, which leads through this descriptor: the folder stays open until then.
    server.once('close', () => folder.close());
    if (!listening) folder.close();
    else if (this.#released) server.close();
    else this.#listener = { server, folder, name };
  }

  /** Keeps the socket from looking old. Makes another if a clean-up of old files or a logout has removed it. */
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

  /** A process that connects again and again does not keep others out. */
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
    // A caller that asks and never reads the answers would fill the memory with them.
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
      default: {
        const answers = this.#answers;
        const [program, wishes] = [programIn(question), wishesIn(question)];
        if (program !== undefined) return orLack(async () => ({ pid: await answers.restart(program[0]) }));
        if (wishes !== undefined) return orLack(() => answers.quotas(connection.peer, wishes[0]));
        throw new Error('nothing that can be asked');
      }
    }
  }

  async #writeBack(): Promise<readonly string[]> {
    return (await this.#answers.writeBack()).slice(0, MAX_LOSSES);
  }
}

/** The answer, or the reason that there is none. */
async function orLack<Answer extends object>(answer: () => Promise<Answer>): Promise<Answer | ToldLack> {
  try {
    return await answer();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { failed: error.message, remedy: error.remedy };
  }
}

/** Removes sockets that killed processes have left, where nobody listens. Never throws, and does not wait. */
function removeStale(folder: RuntimeFolder): void {
  for (const name of folder.names()) {
    if (!isControlSocket(name)) continue;
    const path = folder.at(name);
    try {
      if (Date.now() - statSync(path).mtimeMs < STALE_MS) continue;
    } catch {
      continue;
    }
    listenerOn(path)
      .then((listener) => {
        if (listener === 'nobody') rmSync(path, { force: true });
      })
      .catch(() => {
        // It may not be removed, or not be asked: it is not in the way.
      });
  }
}
