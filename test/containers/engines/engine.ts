/** An engine of containers as tests of volumes need it: docker, podman of root, rootless podman. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../../support/process.js';
import { RootlessPodman } from '../rootless-podman.js';

export interface Engine {
  /** A folder of the user who runs it. */
  readonly folder: string;
  /** Options that every `run` needs here. */
  readonly runOptions: readonly string[];
  /** Options with which `rm --force` gives containers no time. */
  readonly atOnce: readonly string[];
  /** The whole command that runs the volume plugin beside it, and the folder in which that keeps its volumes. */
  readonly plugin: readonly string[];
  readonly volumes: string;
  /** The whole command that runs the engine with these arguments. */
  command(args: readonly string[]): string[];
  /** The whole command that runs `argv` where the mounts of volumes are. */
  beside(argv: readonly string[]): string[];
  /** All its processes, by their numbers here. */
  processes(): number[];
  /** As if the machine had been restarted. `before`: what is started before the engine, if that is a service. */
  reboot(before: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** containers.conf, by which podman finds the plugin. */
export function containersConf(socket: string): string {
  return `[engine.volume_plugins]\nnfs-fuse = "${socket}"\n`;
}

/** Rootless podman: the plugin runs in podman's namespaces, as `podman unshare` starts it. */
export async function rootlessEngine(): Promise<Engine> {
  const podman = await RootlessPodman.start();
  const { place } = podman;
  const { folder } = place;
  const settings = join(folder, '.config/containers');
  try {
    await mustRun(place.command(['mkdir', '-p', settings]));
    writeFileSync(join(settings, 'containers.conf'), containersConf('/dev/shm/run/nfs-fuse/volumes.sock'));
  } catch (error) {
    await podman.close();
    throw error;
  }
  return {
    folder,
    runOptions: ['--network=none'],
    atOnce: ['--time=0'],
    volumes: join(folder, '.local/share/nfs-fuse-volumes'),
    get plugin() {
      return podman.command(['unshare', ...place.product, 'volume-plugin']);
    },
    command: (args) => podman.command(args),
    beside: (argv) => podman.command(['unshare', ...argv]),
    processes: () => podman.processes(),
    async reboot(before) {
      await podman.reboot();
      await before();
    },
    close: () => podman.close(),
  };
}

/** A folder of its own below the folder of an engine. */
export function subFolder(folder: string, name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}
