/** The volume plugin as a process of its own, in a place, and an engine that speaks with it over its socket. */
import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { type MountSource, mountsOf } from '../../support/mount.js';
import type { Place } from '../../support/places.js';
import { type Background, mustRun, ProgramFailed, run, start, until } from '../../support/process.js';

export interface Answered {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>> & { readonly Err?: string };
}

/** The header by which docker can be told from other engines. */
export const OF_DOCKER: Headers = { Accept: 'application/vnd.docker.plugins.v1.2+json' };

type Headers = Readonly<Record<string, string>>;

/** Sends bytes as a call, as an engine does. */
export function post(
  socket: string,
  path: string,
  bytes: string,
  method = 'POST',
  headers: Headers = {},
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: socket, path, method, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Answered['body'] });
      });
    });
    sent.on('error', reject);
    sent.end(bytes);
  });
}

/** The options of a volume on this server, as docker's local driver spells them. */
export function localDriverOptions(source: MountSource, more = ''): Record<string, string> {
  const o = [`addr=${source.host}`, ...source.mountOptions, ...(more === '' ? [] : [more])].join(',');
  return { type: 'nfs', device: `:${source.exportPath}`, o };
}

export class Plugin {
  readonly root: string;
  readonly socket: string;
  #process: Background | undefined;

  private constructor(
    readonly place: Place,
    readonly args: readonly string[],
  ) {
    this.root = join(place.folder, 'volumes');
    this.socket = join(place.folder, 'sockets', 'plugin.sock');
  }

  static async start(place: Place, args: readonly string[] = []): Promise<Plugin> {
    const plugin = new Plugin(place, args);
    await plugin.start();
    return plugin;
  }

  get argv(): string[] {
    const own = ['--socket', this.socket, '--root', this.root];
    return this.place.command([...this.place.product, 'volume-plugin', ...own, ...this.args]);
  }

  /** Starts it (again). `prefix`: a command in front. */
  async start(prefix: readonly string[] = []): Promise<void> {
    const started = start([...prefix, ...this.argv], { cwd: '/' });
    this.#process = started;
    await until('the plugin is ready', () => {
      if (started.outcome) throw new ProgramFailed(this.argv, started.outcome, 'ended instead of listening');
      return started.output.includes('ready');
    });
  }

  /** Its output so far. */
  get log(): string {
    return this.#process?.output ?? '';
  }

  /** Ends the plugin alone, in good order or by SIGKILL. */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.outcome) return;
    running.signal(signal);
    await running.ended;
  }

  post(path: string, bytes: string, method?: string, headers?: Headers): Promise<Answered> {
    return post(this.socket, path, bytes, method, headers);
  }

  /** A call of the driver, and its answer whatever it is. */
  call(name: string, body: Record<string, unknown> = {}, headers?: Headers): Promise<Answered> {
    return this.post(`/VolumeDriver.${name}`, JSON.stringify(body), undefined, headers);
  }

  /** A call that must succeed. */
  async must(name: string, body: Record<string, unknown> = {}): Promise<Answered['body']> {
    const { status, body: answer } = await this.call(name, body);
    if (status !== 200 || answer.Err !== '')
      throw new Error(`${name}: ${status} ${JSON.stringify(answer)}\n${this.log}`);
    return answer;
  }

  create(name: string, options: Record<string, string>): Promise<Answered['body']> {
    return this.must('Create', { Name: name, Opts: options });
  }

  /** Mounts, as an engine whose user tries again if it takes too long, which it may on a busy machine. */
  async mount(name: string, id = 'container'): Promise<string> {
    let path = '';
    await until(`volume ${name} is mounted`, async () => {
      const { status, body } = await this.call('Mount', { Name: name, ID: id });
      if (status === 200) path = String(body.Mountpoint);
      else if (!/not mounted yet/.test(body.Err ?? '')) throw new Error(`${body.Err}\n${this.log}`);
      return status === 200;
    });
    return path;
  }

  async unmount(name: string, id = 'container'): Promise<void> {
    await this.must('Unmount', { Name: name, ID: id });
    await until(`volume ${name} is unmounted`, () => !this.isMounted(name));
  }

  /** The mount point itself, which engines do not hear of. */
  placeOf(name: string): string {
    return join(this.root, 'mounts', name, 'data');
  }

  isMounted(name: string): boolean {
    return mountsOf(this.place.namespacePid).some(({ path }) => path === this.placeOf(name));
  }

  /** The process that serves the mount of a volume. */
  async pidOf(name: string): Promise<number> {
    const argv = [...this.place.product, 'stats', '--json', this.placeOf(name)];
    const { pid } = JSON.parse(await mustRun(this.place.command(argv), { cwd: '/' })) as { pid: number };
    return pid;
  }

  /** The file that outlives it. */
  records(): unknown {
    return JSON.parse(readFileSync(join(this.root, 'volumes.json'), 'utf8'));
  }

  /** Runs a program in the place. */
  run(argv: readonly string[]) {
    return run(this.place.command(argv), { cwd: '/' });
  }

  /** Ends it, and takes every mount of it away. */
  async close(): Promise<void> {
    await this.end();
    const left = mountsOf(this.place.namespacePid).filter(({ path }) => path.startsWith(`${this.root}/`));
    for (const { path } of left) {
      const umount = ['umount', '--force', path];
      await run(this.place.command([...this.place.product, ...umount]), { cwd: '/' });
      await run(this.place.command(['umount', '-l', path]), { cwd: '/' });
    }
    if (existsSync(this.root)) await run(['rm', '-rf', '--one-file-system', this.root]);
  }
}
