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
  readonly #stats: () => object;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, stats: () => object) {
    this.#server = server;
    this.#stats = stats;
  }

  /** Never fails: without a link the mount works as well. `stats` is what JSON can carry. */
  static async open(major: number, minor: number, stats: () => object): Promise<MountLink> {
    const server = createServer();
    const link = new MountLink(server, stats);
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
