/** An nfs-fuse mount under test: started in a place, waited for, unmounted, killed, or aborted when it hangs. */
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Agent, AgentOptions } from './agent.js';
import { Agents } from './agents.js';
import { publicFolder } from './folders.js';
import type { Place } from './places.js';
import {
  type Background,
  mustRun,
  type Outcome,
  ProgramFailed,
  type RunOptions,
  run,
  start,
  until,
} from './process.js';
import { endKeepers } from './watchers.js';

/** A server as a mount needs to know it. */
export interface MountSource {
  readonly host: string;
  readonly exportPath: string;
  /** `port=…,mountport=…`, where there is no portmapper. */
  readonly mountOptions: readonly string[];
  /** The prefix of a command that is to reach the server, where that is in another network. */
  readonly enter?: readonly string[];
}

export interface MountSpec {
  readonly source: MountSource;
  readonly place: Place;
  /** Further -o options. */
  readonly options?: readonly string[];
  /** Further arguments of `nfs-fuse mount`. */
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** An existing mount point, to mount at again; a new one is made otherwise. */
  readonly at?: string;
  /** Mount through the usual transport and without the options of the whole run (NFS_FUSE_TEST_OPTIONS). */
  readonly asUsual?: boolean;
}

export interface MountEntry {
  readonly path: string;
  readonly type: string;
  readonly device: string;
  readonly source: string;
  readonly options: string;
}

/** The mounts that process `pid` sees. */
export function mountsOf(pid: number): MountEntry[] {
  const bytes = (text: string) =>
    text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  const plain = (text = '') => Buffer.from(bytes(text), 'latin1').toString();
  return readFileSync(`/proc/${pid}/mountinfo`, 'latin1')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const [, , device = '', , path, options = ''] = before.split(' ');
      const [type = '', source, superOptions = ''] = after.split(' ');
      return {
        path: plain(path),
        type,
        device,
        source: plain(source),
        options: `${options},${superOptions}`,
      };
    });
}

/** The FUSE mount at a path; of several, the last. */
function mountAt(place: Place, path: string): MountEntry | undefined {
  return mountsOf(place.namespacePid).findLast(
    (entry) => entry.path === path && entry.type.startsWith('fuse'),
  );
}

let mountPoints = 0;

/**
 * Another transport for all mounts of the run: NFS_FUSE_TEST_TRANSPORT=fuse-native, which does not know allow_other.
 */
function throughTransport(args: readonly string[], options: readonly string[]) {
  const transport = process.env.NFS_FUSE_TEST_TRANSPORT;
  if (transport === undefined) return { args, options };
  return {
    args: ['--transport', transport, ...args],
    options: options.filter((option) => option !== 'allow_other'),
  };
}

/**
 * Options of every mount of the run. NFS_FUSE_TEST_OPTIONS=readahead=0,writebehind=0 shows that suites pass without these
 * caches. A test's own options come after them.
 */
function optionsOfRun(): readonly string[] {
  const options = process.env.NFS_FUSE_TEST_OPTIONS ?? '';
  return options === '' ? [] : options.split(',');
}

/** A new, empty folder to mount on. */
export async function newMountPoint(place: Place): Promise<string> {
  mountPoints += 1;
  const path = join(place.folder, `mnt${mountPoints}`);
  await mustRun(place.command(['mkdir', path]));
  return path;
}

export class Mount {
  readonly #agents = new Agents();

  private constructor(
    readonly path: string,
    readonly place: Place,
    private readonly daemon: Background,
  ) {}

  /** Mounts and waits until the mount is there; fails with what nfs-fuse said if it ends instead. */
  static async start(spec: MountSpec): Promise<Mount> {
    const { source, place, env, at } = spec;
    const asked = { args: spec.args ?? [], options: spec.options ?? [] };
    const { args, options } = spec.asUsual ? asked : throughTransport(asked.args, asked.options);
    const ofRun = spec.asUsual ? [] : optionsOfRun();
    const path = at ?? (await newMountPoint(place));
    const all = [...source.mountOptions, ...ofRun, ...options].join(',');
    const host = source.host.includes(':') ? `[${source.host}]` : source.host;
    const target = `${host}:${source.exportPath}`;
    const argv = [...place.product, 'mount', '-f', ...args, ...(all === '' ? [] : ['-o', all]), target, path];
    const covered = mountAt(place, path) !== undefined;
    const command = [...(source.enter ?? []), ...place.command(argv)];
    const daemon = start(command, env === undefined ? {} : { env: { ...process.env, ...env } });
    const mount = new Mount(path, place, daemon);
    await until(`${target} is mounted`, async () => {
      if (daemon.outcome) throw new ProgramFailed(argv, daemon.outcome, 'ended instead of mounting');
      // The kernel lists a dead mount like a new one, but a dead one does not answer.
      const answers = !covered || (await run(place.command(['stat', path]), { cwd: '/' })).status === 0;
      return answers && mount.entry !== undefined;
    }).catch(async (error: unknown) => {
      await mount.kill();
      throw error instanceof ProgramFailed ? error : new Error(`${String(error)}\n${daemon.output}`);
    });
    return mount;
  }

  /** The mount as the kernel lists it, or undefined when it is gone. */
  get entry(): MountEntry | undefined {
    return mountAt(this.place, this.path);
  }

  /** The id of the nfs-fuse process. */
  get pid(): number {
    return this.daemon.pid;
  }

  /** The output of nfs-fuse so far. */
  get log(): string {
    return this.daemon.output;
  }

  /** Waits until nfs-fuse says that the mount is there: the kernel lists it earlier, and a signal then interrupts it. */
  served(): Promise<void> {
    return until('it is mounted', () => this.log.includes('is mounted on'));
  }

  /** Resolves when nfs-fuse has ended. */
  get ended(): Promise<Outcome> {
    return this.daemon.ended;
  }

  /** How nfs-fuse ended, or undefined while it runs. */
  get outcome(): Outcome | undefined {
    return this.daemon.outcome;
  }

  /** Runs a program in the mount's place, in the mounted folder, however it ends. */
  run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return run(this.place.command(['env', '-C', this.path, ...argv]), { cwd: '/', ...options });
  }

  /** Runs a program that must succeed in the mount's place, in the mounted folder. */
  mustRun(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return mustRun(this.place.command(['env', '-C', this.path, ...argv]), { cwd: '/', ...options });
  }

  /** An agent in the mounted folder; ends with the mount. */
  agent(options: Partial<AgentOptions> = {}): Promise<Agent> {
    const where = { command: this.place.command, folder: this.place.folder, cwd: this.path };
    return this.#agents.start({ ...where, ...options });
  }

  signal(signal: NodeJS.Signals): void {
    this.daemon.signal(signal);
  }

  /** Unmounts from outside, as umount(8) or fusermount3 do it, and returns how nfs-fuse ended. */
  async unmount(): Promise<Outcome> {
    await this.closeAgents();
    const unmount = this.place.name === 'user' ? ['fusermount3', '-u'] : ['umount'];
    const done = run(this.place.command([...unmount, this.path]), { cwd: '/', timeoutMs: 30_000 });
    const outcome = await done;
    if (outcome.status !== 0) throw new ProgramFailed(unmount, outcome, `cannot unmount ${this.path}`);
    return this.exit();
  }

  /** Waits for nfs-fuse to end. */
  async exit(timeoutMs = 120_000): Promise<Outcome> {
    await until('nfs-fuse ends', () => this.daemon.outcome !== undefined, timeoutMs);
    return this.daemon.ended;
  }

  closeAgents(): Promise<void> {
    return this.#agents.close();
  }

  /**
   * SIGKILL, and no other process goes on: the mount answers "Transport endpoint is not connected". If it was mounted with
   * --no-keep, its watcher takes it away soon.
   */
  async kill(): Promise<void> {
    // A process that is stopped starts no other keeper.
    this.daemon.signal('SIGSTOP');
    endKeepers(this.path);
    this.daemon.signal('SIGKILL');
    await this.exit();
  }

  /** Ends a mount that hangs, by the kernel's own switch: all its requests fail, and nfs-fuse ends. */
  async abort(): Promise<void> {
    const minor = this.entry?.device.split(':')[1];
    if (minor === undefined) return;
    await withConnections((folder) => {
      const fd = openSync(join(folder, minor, 'abort'), 'w');
      writeSync(fd, '1');
      closeSync(fd);
    });
  }

  /** Leaves nothing behind, whatever state the mount is in. For teardown; reports nothing. */
  async close(): Promise<void> {
    if (this.entry !== undefined && !this.daemon.outcome) {
      try {
        await this.unmount();
        return;
      } catch {
        // Busy or hung: by force, below.
      }
      this.daemon.signal('SIGTERM');
      await this.exit(5000).catch(() => this.abort());
    }
    await this.closeAgents();
    if (!this.daemon.outcome) await this.kill();
    if (this.entry !== undefined) {
      const lazily = this.place.name === 'user' ? ['fusermount3', '-uz'] : ['umount', '-l'];
      await run(this.place.command([...lazily, this.path]), { cwd: '/' });
    }
  }
}

/** Runs `use` with the folder of FUSE's control file system, which is mounted for it if it is not. */
async function withConnections(use: (folder: string) => void): Promise<void> {
  const usual = '/sys/fs/fuse/connections';
  if (existsSync(usual) && readdirSync(usual).length > 0) {
    use(usual);
    return;
  }
  const scratch = publicFolder();
  const folder = join(scratch.path, 'connections');
  mkdirSync(folder);
  await mustRun(['mount', '-t', 'fusectl', 'none', folder]);
  try {
    use(folder);
  } finally {
    await run(['umount', folder]);
    await scratch.remove();
  }
}
