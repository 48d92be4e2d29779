/** An engine with our volume plugin beside it, and what tests do with both. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MountSource } from '../../support/mount.js';
import { type Background, mustRun, type Outcome, run, start, until } from '../../support/process.js';
import { killForGood } from '../../support/watchers.js';
import type { Engine } from './engine.js';
import { BUSYBOX_IMAGE, makeBusyboxImage } from './small-images.js';

/** The shells beside a mount: their words are those of the mount, too. */
const SHELLS = ['nfs-fuse-keeper', 'nfs-fuse-waker', 'nfs-fuse-watcher'];

/** Whether a command failed because the plugin answered before the mount was made, as it may on a busy machine: it can be tried again. */
export const isLate = (stderr: Buffer): boolean => /not mounted yet|takes too long/.test(stderr.toString());

/** The options of a volume as `volume create` takes them. `more`: further mount options. */
export function volumeOptions(source: MountSource, more: readonly string[] = []): string[] {
  const o = [...source.mountOptions, ...more].join(',');
  return ['-o', `device=${source.host}:${source.exportPath}`, '-o', `o=${o}`];
}

export class EngineWithPlugin {
  #plugin: Background | undefined;

  private constructor(readonly engine: Engine) {}

  /** Makes the image, and starts the plugin. Both end with the engine. */
  static async start(engine: Engine): Promise<EngineWithPlugin> {
    const both = new EngineWithPlugin(engine);
    await makeBusyboxImage((args) => engine.command(args));
    await both.startPlugin();
    return both;
  }

  async startPlugin(): Promise<void> {
    const plugin = start(this.engine.plugin, { cwd: '/' });
    this.#plugin = plugin;
    await until('the plugin is ready', () => {
      if (plugin.outcome) throw new Error(`the plugin ended: ${plugin.output}`);
      return plugin.output.includes('ready');
    });
  }

  async killPlugin(): Promise<void> {
    this.#plugin?.signal('SIGKILL');
    await this.#plugin?.ended;
  }

  /** Everything that runs is killed, nothing is mounted any more, and engine and plugin are started as after a restart of the machine. */
  async reboot(): Promise<void> {
    await this.engine.reboot(async () => {
      await this.#plugin?.ended;
      const file = join(this.engine.volumes, 'volumes.json');
      const text = readFileSync(file, 'utf8');
      const earlier = text.replace(/"bootId": "[^"]*"/, '"bootId": "an earlier one"');
      if (earlier === text) throw new Error(`${file} names no boot`);
      writeFileSync(file, earlier);
      await this.startPlugin();
    });
  }

  run(args: readonly string[]): Promise<Outcome> {
    return run(this.engine.command(args), { cwd: '/' });
  }

  async mustRun(args: readonly string[]): Promise<string> {
    return (await mustRun(this.engine.command(args), { cwd: '/' })).trimEnd();
  }

  async createVolume(name: string, options: readonly string[]): Promise<void> {
    await this.mustRun(['volume', 'create', '--driver=nfs-fuse', ...options, name]);
  }

  /** A container, once; its options and its command. */
  container(options: readonly string[], command: readonly string[]): string[] {
    return ['run', ...this.engine.runOptions, ...options, BUSYBOX_IMAGE, ...command];
  }

  /** Runs a container, and answers its output. On a busy machine the first attempt may be told to try again. */
  async runContainer(name: string, options: readonly string[], command: readonly string[]): Promise<string> {
    for (;;) {
      const argv = this.container([`--name=${name}`, ...options], command);
      const { status, stdout, stderr } = await this.run(argv);
      if (status === 0) return stdout.toString();
      if (!isLate(stderr)) throw new Error(`${argv.join(' ')}: ${stderr}`);
      await this.remove(name);
    }
  }

  /** A container that lives until it is removed. */
  async startContainer(name: string, options: readonly string[]): Promise<void> {
    await this.runContainer(name, ['--detach', ...options], ['sleep', '3600']);
  }

  /** Removes containers at once. */
  remove(...names: readonly string[]): Promise<Outcome> {
    return this.run(['rm', '--force', ...this.engine.atOnce, ...names]);
  }

  /** Runs a script in a container. */
  exec(name: string, script: string): Promise<string> {
    return this.mustRun(['exec', name, 'sh', '-c', script]);
  }

  /** The state of a volume as the engine shows it. */
  async stateOf(volume: string): Promise<Readonly<Record<string, unknown>>> {
    const status = await this.mustRun(['volume', 'inspect', '--format', '{{json .Status}}', volume]);
    return JSON.parse(status) as Record<string, unknown>;
  }

  /** The mount point of a volume. */
  placeOf(volume: string): string {
    return join(this.engine.volumes, 'mounts', volume, 'data');
  }

  /** Whether there is a mount point: there is none without a mount. */
  async isMounted(volume: string): Promise<boolean> {
    const looked = await run(this.engine.beside(['test', '-e', this.placeOf(volume)]), { cwd: '/' });
    return looked.status === 0;
  }

  /** The process that serves the mount of a volume. Its parent has ended, so it is a child of the first process. */
  servingProcess(volume: string): number {
    const pid = this.engine.processes().find((process) => {
      try {
        const words = readFileSync(`/proc/${process}/cmdline`, 'utf8').split('\0');
        const isOurs = words.includes('mount') && words.includes(this.placeOf(volume));
        return isOurs && !SHELLS.some((name) => words.includes(name));
      } catch {
        return false;
      }
    });
    if (pid === undefined) throw new Error(`no process serves the mount of ${volume}`);
    return pid;
  }

  /** Kills the process of a mount; another one goes on with it. */
  killProcess(volume: string): void {
    process.kill(this.servingProcess(volume), 'SIGKILL');
  }

  /** Kills the process of a mount and its keeper. */
  killMount(volume: string): void {
    killForGood(this.servingProcess(volume), this.placeOf(volume));
  }
}
