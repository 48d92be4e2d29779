/**
 * Engines of root, with nothing of the machine's but its kernel and its programs: their storage is a scratch folder, and /run and /dev/shm
 * are their own, so that the socket of the plugin lies where docker looks for it and no other engine sees it.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { openPlace, type Place } from '../../support/places.js';
import { type Background, run, start, until } from '../../support/process.js';
import { Namespaces } from '../namespaces.js';
import { containersConf, type Engine, subFolder } from './engine.js';

const PLUGIN_SOCKET = '/run/docker/plugins/nfs-fuse.sock';
const OWN_FOLDERS = `
  mount -t tmpfs -o mode=1777 none /dev/shm
  mount -t tmpfs -o mode=755 none /run
  mount --make-rshared /`;
/** podman wants a plain cgroup2, where many machines have a hybrid. */
const PLAIN_CONTROL_GROUPS = `
  umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup
  mount -t cgroup2 none /sys/fs/cgroup`;

abstract class RootEngine implements Engine {
  abstract readonly runOptions: readonly string[];
  abstract readonly atOnce: readonly string[];
  readonly volumes: string;
  #closed = false;

  protected constructor(
    private readonly place: Place,
    protected namespaces: Namespaces,
  ) {
    this.volumes = join(place.folder, 'volumes');
  }

  get folder(): string {
    return this.place.folder;
  }

  get plugin(): string[] {
    return this.beside([...this.place.product, 'volume-plugin', '--root', this.volumes]);
  }

  abstract command(args: readonly string[]): string[];
  abstract reboot(before: () => Promise<void>): Promise<void>;

  beside(argv: readonly string[]): string[] {
    return [...this.namespaces.enter, ...this.place.command(argv)];
  }

  processes(): number[] {
    return this.namespaces.processes();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.namespaces.close();
    await this.place.close();
  }
}

export class RootPodman extends RootEngine {
  // This root may not raise limits, nor set those of a control group: podman must not try to.
  readonly runOptions = [
    ...['--network=none', '--cgroups=disabled'],
    ...['--ulimit=nofile=20000:20000', '--ulimit=nproc=4096:4096'],
  ];
  readonly atOnce = ['--time=0'];
  readonly #conf = join(this.folder, 'containers.conf');

  static async start(): Promise<RootPodman> {
    const place = await openPlace('root');
    try {
      const podman = new RootPodman(place, await RootPodman.#namespaces());
      writeFileSync(podman.#conf, containersConf(PLUGIN_SOCKET));
      return podman;
    } catch (error) {
      await place.close();
      throw error;
    }
  }

  static #namespaces(): Promise<Namespaces> {
    return Namespaces.start(PLAIN_CONTROL_GROUPS + OWN_FOLDERS, [], true);
  }

  command(args: readonly string[]): string[] {
    const storage = ['--root', join(this.folder, 'storage'), '--storage-driver=vfs'];
    const ways = ['--cgroup-manager=cgroupfs', '--runtime=crun'];
    return this.beside(['env', `CONTAINERS_CONF=${this.#conf}`, 'podman', ...storage, ...ways, ...args]);
  }

  async reboot(before: () => Promise<void>): Promise<void> {
    await this.namespaces.close();
    this.namespaces = await RootPodman.#namespaces();
    await before();
  }
}

const DOCKER_SOCKET = 'unix:///run/docker-test.sock';
/** Debian's, if there is another one before it on the path. */
const DOCKER = existsSync('/usr/bin/docker') ? '/usr/bin/docker' : 'docker';

export class Docker extends RootEngine {
  readonly runOptions = ['--network=none'];
  readonly atOnce: readonly string[] = [];
  readonly #settings = subFolder(this.folder, 'settings');

  static async start(): Promise<Docker> {
    const place = await openPlace('root');
    let docker: Docker | undefined;
    try {
      docker = new Docker(place, await Docker.#namespaces(place.folder));
      await docker.#up();
      return docker;
    } catch (error) {
      await (docker ?? place).close();
      throw error;
    }
  }

  static #namespaces(folder: string): Promise<Namespaces> {
    // runc makes the mount private in which a container's root folder lies: that must not be the one of the folders that are shared.
    const ownMount = '\nmkdir -p "$1"; mount --bind "$1" "$1"\n';
    // runc needs the machine's own control groups.
    return Namespaces.start(ownMount + OWN_FOLDERS, [join(folder, 'storage')], false);
  }

  /** The name of the control group of its containers. */
  get #group(): string {
    return basename(this.folder);
  }

  async #up(): Promise<void> {
    const files = ['--exec-root', '/run/docker-test', '--pidfile', '/run/docker-test.pid'];
    const groups = ['--exec-opt', 'native.cgroupdriver=cgroupfs', '--cgroup-parent', `/${this.#group}`];
    const noNetwork = ['--iptables=false', '--ip6tables=false', '--bridge=none'];
    const storage = ['--data-root', join(this.folder, 'storage'), '--storage-driver=vfs'];
    const daemon: Background = start(
      this.beside(['dockerd', '--host', DOCKER_SOCKET, ...files, ...storage, ...groups, ...noNetwork]),
    );
    await until(
      'dockerd answers',
      async () => {
        if (daemon.outcome) throw new Error(`dockerd ended: ${daemon.output.slice(-4000)}`);
        return (await run(this.command(['info']))).status === 0;
      },
      120_000,
    );
  }

  /** The words that run docker for this daemon, beside it. */
  get program(): string[] {
    return ['env', `DOCKER_HOST=${DOCKER_SOCKET}`, `DOCKER_CONFIG=${this.#settings}`, DOCKER];
  }

  command(args: readonly string[]): string[] {
    return this.beside([...this.program, ...args]);
  }

  async reboot(before: () => Promise<void>): Promise<void> {
    await this.namespaces.close();
    this.namespaces = await Docker.#namespaces(this.folder);
    // docker looks for the plugins of its volumes as it starts, for half a minute.
    await before();
    await this.#up();
  }

  override async close(): Promise<void> {
    await super.close();
    // Control groups of containers that were killed with the namespaces.
    await run(['find', '/sys/fs/cgroup', '-depth', '-type', 'd', '-path', `*/${this.#group}*`, '-delete']);
  }
}
