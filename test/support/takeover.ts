/** A mount whose descriptor the test holds, and the programs that serve it one after the other. */
import { closeSync, ftruncateSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type KernelMount, mountKernel } from '../../lib/fuse/index.js';
import { SharedFile } from '../../lib/records/shared-file.js';
import { publicFolder } from './folders.js';
import { type Background, start, until } from './process.js';
import { projectRoot } from './project.js';
import type {
  NotedConnection,
  SeenRequest,
  ServerMessage,
  ServerOrder,
  TakeoverSetting,
} from './takeover-server.js';

const NOTES_BYTES = 8192;
const PROGRAM = join(projectRoot, 'test/support/takeover-server.ts');

function add<K>(counts: Map<K, number>, key: K, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}

/** One program that serves. */
export class TakeoverServer {
  readonly held: SeenRequest[] = [];
  readonly resent: SeenRequest[] = [];
  /** Answered LOOKUPs, by name. */
  readonly lookups = new Map<string, number>();
  /** Lookups that the kernel gave back, by node. */
  readonly forgot = new Map<number, number>();
  agreed: NotedConnection | undefined;
  isReady = false;
  /** INTERRUPTs that it has read. */
  interrupts = 0;
  readonly #program: Background;

  constructor(fd: number, notes: number, setting: TakeoverSetting) {
    const argv = [process.execPath, '--import=tsx', PROGRAM, JSON.stringify(setting)];
    this.#program = start(argv, { stdio: ['ignore', 'pipe', 'pipe', fd, notes, 'ipc'], cwd: projectRoot });
    this.#program.child.on('message', (message: ServerMessage) => this.#take(message));
  }

  #take(message: ServerMessage): void {
    if ('agreed' in message) this.agreed = message.agreed;
    else if ('ready' in message) this.isReady = true;
    else if ('held' in message) this.held.push(message.held);
    else if ('resent' in message) this.resent.push(message.resent);
    else if ('interrupted' in message) this.interrupts += 1;
    else if ('lookedUp' in message) add(this.lookups, message.lookedUp, 1);
    else add(this.forgot, message.forgot.nodeid, message.forgot.nlookup);
  }

  async serving(): Promise<void> {
    await until('the program serves', () => {
      if (this.#program.outcome !== undefined) throw new Error(this.#program.output);
      return this.isReady;
    });
  }

  order(order: ServerOrder): void {
    this.#program.child.send(order);
  }

  /** Resolves when so many requests wait in it. */
  async holds(count: number): Promise<void> {
    await until(`${count} requests are under way`, () => {
      if (this.#program.outcome !== undefined) throw new Error(this.#program.output);
      return this.held.length >= count;
    });
  }

  async kill(): Promise<void> {
    this.#program.signal('SIGKILL');
    await this.#program.ended;
  }

  /** Its words on standard output and standard error: none, if all is well. */
  get output(): string {
    return this.#program.output;
  }
}

export interface HeldMount {
  readonly mount: KernelMount;
  path(name: string): string;
  /** Starts a program that goes on after `before`, or is the first, and waits until it serves. */
  serve(setting: TakeoverSetting, before?: TakeoverServer): Promise<TakeoverServer>;
}

/** Mounts as root until the test ends, and holds the descriptor. Nothing is served yet. */
export async function holdMount(t: Test): Promise<HeldMount> {
  const folder = publicFolder();
  const mount = await mountKernel({ mountpoint: folder.path, source: 'memory', method: 'direct' });
  const notes = SharedFile.inMemory('notes');
  if (notes === undefined) throw new Error('no memfd');
  ftruncateSync(notes.fd, NOTES_BYTES);
  const servers: TakeoverServer[] = [];
  t.teardown(async () => {
    await mount.abort();
    await mount.unmount({ lazy: true });
    for (const server of servers) await server.kill();
    for (const fd of [mount.fd, notes.fd]) closeSync(fd);
    await folder.remove();
  });
  return {
    mount,
    path: (name) => join(mount.mountpoint, name),
    async serve(setting, before) {
      const resumed = before?.agreed;
      const whole = resumed === undefined ? setting : { ...setting, resumed };
      const server = new TakeoverServer(mount.fd, notes.fd, whole);
      servers.push(server);
      await server.serving();
      return server;
    },
  };
}
