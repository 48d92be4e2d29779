/**
 * How other commands reach the process that serves a mount: a unix socket in the abstract name space, named
 * after the mount's device number. It leaves no file behind, ends with the process, and is not reachable from
 * another network name space, where umount(8) works without it.
 *
 * Who connects and asks `stats` is answered with one line of JSON. Who asks nothing hears nothing until the
 * serving process ends; then one line of JSON, {@link MountOutcome}.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

/** How serving a mount has ended. */
export interface MountOutcome {
  readonly status: number;
  /** What went wrong, if something did. */
  readonly message?: string | undefined;
}

/** More than the umount commands that anyone would start. */
const MAX_LISTENERS = 16;
const MAX_LINE = 64 * 1024;
const MAX_STATS = 1024 * 1024;
const STATS_QUESTION = 'stats\n';

function linkName(major: number, minor: number): string {
  return `\0nfs-fuse/${major}:${minor}`;
}

/** The serving side. */
export class MountLink {
  readonly #server: Server;
  readonly #stats: () => object;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, stats: () => object) {
    this.#server = server;
    this.#stats = stats;
  }

  /** Never fails: without a link the mount works as well. `stats` is what JSON can carry. */
  static open(major: number, minor: number, stats: () => object): Promise<MountLink> {
    return new Promise((resolve) => {
      const server = createServer();
      const link = new MountLink(server, stats);
      server.maxConnections = MAX_LISTENERS;
      server.on('connection', (socket) => link.#accept(socket));
      server.once('error', () => resolve(link));
      server.listen(linkName(major, minor), () => resolve(link));
      server.unref();
    });
  }

  /** Tells everybody who waits how it ended, and closes. */
  async close(outcome: MountOutcome): Promise<void> {
    if (this.#server.listening) this.#server.close();
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
      if (text === STATS_QUESTION) socket.write(`${JSON.stringify(this.#stats())}\n`);
      else socket.destroy();
    });
  }
}

/** What a mount says of itself. Undefined: nobody serves it, or not in this network name space. */
export function askStats(major: number, minor: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(linkName(major, minor), () => socket.write(STATS_QUESTION));
    let said = '';
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      said += text;
      if (said.length > MAX_STATS || said.endsWith('\n')) socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      try {
        resolve(said === '' ? undefined : JSON.parse(said));
      } catch (error) {
        reject(error);
      }
    });
  });
}

/** The waiting side; connected before the mount is taken away. */
export interface MountWatch {
  /** The outcome, or undefined if the process was killed before it could say anything. */
  readonly ended: Promise<MountOutcome | undefined>;
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
    socket.once('connect', () => resolve({ ended, cancel: () => socket.destroy() }));
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
    return { status, message };
  } catch {
    return undefined;
  }
}
