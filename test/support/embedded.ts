/**
 * The embedded server as a user starts it: `nfs-fuse serve`, in a place, on a free port of 127.0.0.1. It believes every
 * caller, root too, unless its arguments say otherwise: tests are root, and mount from any port.
 */
import { connect } from 'node:net';
import type { Place } from './places.js';
import { freePorts } from './ports.js';
import { type Background, mustRun, ProgramFailed, run, start, until } from './process.js';

/** Whether a server listens, asked in the network that `enter` leads to. */
async function answers(port: number, enter: readonly string[]): Promise<boolean> {
  if (enter.length > 0) {
    const connects = ['bash', '-c', `exec 3<>/dev/tcp/127.0.0.1/${port}`];
    return (await run([...enter, ...connects], { cwd: '/' })).status === 0;
  }
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (result: boolean) => () => {
      socket.destroy();
      resolve(result);
    };
    socket.on('connect', end(true)).on('error', end(false));
  });
}

let exported = 0;

export class ServeCommand {
  readonly host = '127.0.0.1';
  readonly exportPath = '/export';
  #process: Background | undefined;

  private constructor(
    /** The served folder, as the server's machine sees it. */
    readonly directory: string,
    readonly port: number,
    private readonly place: Place,
    private readonly args: readonly string[],
    /** The prefix of a command that is to reach the server. */
    readonly enter: readonly string[],
  ) {}

  /** Serves a new, empty folder of the place; in another network if `enter` leads to one (guest/network.ts). */
  static async start(
    place: Place,
    args: readonly string[] = [],
    enter: readonly string[] = [],
  ): Promise<ServeCommand> {
    const [port = 0] = await freePorts(1);
    exported += 1;
    const directory = `${place.folder}/served${exported}`;
    await mustRun(place.command(['mkdir', directory]));
    const server = new ServeCommand(directory, port, place, args, enter);
    await server.start();
    return server;
  }

  get mountOptions(): readonly string[] {
    return [`port=${this.port}`, `mountport=${this.port}`, `nlmport=${this.port}`];
  }

  /** The server's output so far. */
  logTail(): string {
    return this.#process?.output.slice(-4000) ?? '';
  }

  /** Starts it (again), on the port that it had. */
  async start(): Promise<void> {
    const argv = [
      // The folder in which it keeps the key of its handles.
      ...['env', `XDG_STATE_HOME=${this.place.folder}/state`],
      ...this.place.product,
      ...['serve', this.directory, '--port', String(this.port)],
      ...(this.args.includes('--secure') ? [] : ['--insecure']),
      ...(this.args.some((option) => option.endsWith('-squash')) ? [] : ['--no-root-squash']),
      ...this.args,
    ];
    const server = start([...this.enter, ...this.place.command(argv)], { cwd: '/' });
    this.#process = server;
    await until('nfs-fuse serve listens', () => {
      if (server.outcome) throw new ProgramFailed(argv, server.outcome, 'ended instead of serving');
      return answers(this.port, this.enter);
    });
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.#process?.signal('SIGKILL');
    await this.#process?.ended;
  }

  close(): Promise<void> {
    return this.stop();
  }
}
