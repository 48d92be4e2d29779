/**
 * The mount of one volume: a process of its own, which `nfs-fuse mount` starts and which outlives the plugin. Owns the folders
 * of a mount, so that an engine that goes by the path of a volume finds the mount, or no such path: never a plain folder of
 * this machine.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { lstatSync, mkdirSync, renameSync, rmdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, type LogSink } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import {
  askMount,
  FILE_SYSTEM_TYPE,
  type MountEntry,
  mountAt,
  readMountinfo,
  unmountEntry,
} from '../fuse/index.js';
import { reachMount } from '../mount/reach/mount-control.js';
import type { VolumeSettings } from './volume-options.js';

/** Errors of a mount that is dead come at once; one that gives no answer is alive, and waits for its server. */
const ANSWER_MS = 2_000;
/** More of what a command says is not kept. */
const MOST_SAID = 4096;

export class VolumeMount {
  /** Where an engine finds the volume while it is mounted. */
  readonly path: string;
  /** Where it is mounted. */
  readonly place: string;
  readonly #folder: string;
  readonly #link: string;
  #command: ChildProcess | undefined;

  /** `root`: of {@link VolumeRecords}. `program`: how to start nfs-fuse. */
  constructor(
    root: string,
    private readonly name: string,
    private readonly program: readonly string[],
    private readonly tell: LogSink,
  ) {
    this.#folder = join(root, 'mounts', name);
    this.place = join(this.#folder, 'data');
    this.#link = join(root, 'volumes', name);
    this.path = join(this.#link, 'data');
  }

  /** The mount as `entries` have it, if it is one of nfs-fuse. */
  entryIn(entries: readonly MountEntry[]): MountEntry | undefined {
    const entry = mountAt(entries, this.place);
    return entry?.type === FILE_SYSTEM_TYPE ? entry : undefined;
  }

  async entry(): Promise<MountEntry | undefined> {
    return this.entryIn(await readMountinfo());
  }

  /** Whether engines find the volume. */
  get isPublished(): boolean {
    try {
      return lstatSync(this.#link).isSymbolicLink();
    } catch {
      return false;
    }
  }

  /** Lets engines find the mount. Call it only while there is one. */
  publish(): void {
    if (this.isPublished) return;
    const next = `${this.#link}.next`;
    rmSync(next, { force: true });
    symlinkSync(join('..', 'mounts', this.name), next);
    renameSync(next, this.#link);
  }

  /** From now on no engine finds the volume. */
  withdraw(): void {
    rmSync(this.#link, { force: true });
  }

  /** Whether no process serves the mount any more, and none will. */
  async isDead(entry: MountEntry): Promise<boolean> {
    const control = await reachMount(entry);
    control?.close();
    if (control !== undefined) return false;
    return (await askMount(this.place, ANSWER_MS)).state === 'dead';
  }

  /** Mounts. Resolves when the mount answers. @throws UserError with what `nfs-fuse mount` says */
  async make({ mounted, options }: VolumeSettings): Promise<void> {
    this.removeFolders();
    mkdirSync(this.place, { recursive: true, mode: 0o700 });
    const { status, said } = await this.#run([
      'mount',
      ...options.flatMap((text) => ['-o', text]),
      mounted,
      this.place,
    ]);
    if (status === 0) {
      if (said !== '') this.tell('warn', `Volume ${this.name}: ${said}`);
      return;
    }
    if ((await this.entry()) === undefined) this.removeFolders();
    throw new UserError(said === '' ? 'The process that was to mount it ended without a word.' : said);
  }

  /** Ends an attempt to mount that is under way. */
  interrupt(): void {
    this.#command?.kill('SIGTERM');
  }

  /**
   * Unmounts, and waits until everything is written back, however long that takes. Resolves with what there is to say,
   * such as data that was lost. @throws UserError if it is still mounted
   */
  async end(): Promise<string> {
    const { said } = await this.#run(['umount', this.place]);
    if ((await this.entry()) !== undefined) throw new UserError(said);
    this.removeFolders();
    return said;
  }

  /** Takes a dead mount away. */
  async takeAway(entry: MountEntry): Promise<void> {
    await unmountEntry(entry, { lazy: true });
    this.removeFolders();
  }

  /**
   * Removes the folders of a mount that is not there.
   * @throws UserError if there are files in them: then they were written while nothing was mounted
   */
  removeFolders(): void {
    for (const folder of [this.place, this.#folder]) {
      try {
        rmdirSync(folder);
      } catch (error) {
        const code = errorCode(error);
        if (code === 'ENOENT') continue;
        throw new UserError(`The folder ${folder} cannot be removed (${code}).`, {
          remedy: code === 'ENOTEMPTY' ? 'Move away what is in it.' : 'See who uses it with "fuser -vm".',
        });
      }
    }
  }

  #run(args: readonly string[]): Promise<{ readonly status: number | null; readonly said: string }> {
    const [command = process.execPath, ...before] = this.program;
    return new Promise((resolve, reject) => {
      // Its own session: what ends the plugin at a terminal does not end a mount.
      const child = spawn(command, [...before, ...args], {
        cwd: '/',
        detached: true,
        env: environment(),
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      this.#command = child;
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        if (said.length < MOST_SAID) said += text;
      });
      child.once('error', reject);
      child.once('close', (status) => {
        if (this.#command === child) this.#command = undefined;
        resolve({ status, said: asOneParagraph(said) });
      });
    });
  }
}

/** Without what the manager of services has for the plugin alone. */
function environment(): NodeJS.ProcessEnv {
  const { LISTEN_FDS: _, LISTEN_PID: __, LISTEN_FDNAMES: ___, NOTIFY_SOCKET: ____, ...others } = process.env;
  return others;
}

/** The messages of a command without its name at their beginning. */
function asOneParagraph(said: string): string {
  return said
    .split('\n')
    .map((line) => line.replace(/^nfs-fuse: /, '').trim())
    .filter((line) => line !== '')
    .join(' ');
}
