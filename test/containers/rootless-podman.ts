/**
 * Rootless podman of the test user, in mount, process and cgroup namespaces of its own. Its storage is a scratch
 * folder, its sockets and locks are in a private /dev/shm, and all its processes (containers, their monitors,
 * podman's pause process) end with the namespace's first one: nothing of it outlives the test.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openPlace, type Place } from '../support/places.js';
import { mustRun, type Outcome, ProgramFailed, type RunOptions, run, until } from '../support/process.js';
import { Namespaces } from './namespaces.js';

/** Ids for the users of containers, beside the user's own, who is their root. */
const SUBORDINATE_IDS = '1300000000:65536';
const RUNTIME_FOLDER = '/dev/shm/run';

/**
 * $1: folder of subuid and subgid, $2: the user. Podman wants a plain cgroup2 where many machines have a hybrid, mounts that are
 * shared, and short paths for its sockets.
 */
const PREPARATION = `
  umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup
  mount -t cgroup2 none /sys/fs/cgroup
  mount -t tmpfs -o mode=1777 none /dev/shm
  for file in subuid subgid; do
    [ -e /etc/$file ] || : > /etc/$file
    mount --bind "$1/$file" /etc/$file
  done
  mount --make-rshared /
  mkdir -m 700 ${RUNTIME_FOLDER}
  chown "$2" ${RUNTIME_FOLDER}`;

/** podman itself, with the slow storage driver that works everywhere, also where this machine's root is an overlay. */
export const PODMAN: readonly string[] = ['podman', '--storage-driver=vfs', '--cgroup-manager=cgroupfs'];

/** How a container ended, as podman keeps it. */
export interface ContainerEnd {
  readonly exitCode: number;
  readonly log: string;
}

export class RootlessPodman {
  #closed = false;
  #namespaces: Namespaces;

  private constructor(
    readonly place: Place,
    private readonly user: string,
    namespaces: Namespaces,
  ) {
    this.#namespaces = namespaces;
  }

  static async start(): Promise<RootlessPodman> {
    const place = await openPlace('user');
    try {
      const [user = ''] = (await mustRun(place.command(['id', '-un']))).split('\n');
      for (const name of ['subuid', 'subgid'])
        writeFileSync(join(place.folder, name), `${user}:${SUBORDINATE_IDS}\n`);
      await mustRun(place.command(['mkdir', join(place.folder, 'tmp')]));
      const namespaces = await Namespaces.start(PREPARATION, [place.folder, user], true);
      return new RootlessPodman(place, user, namespaces);
    } catch (error) {
      await place.close();
      throw error;
    }
  }

  /** As if the machine had been restarted: nothing runs any more, and nothing is mounted. */
  async reboot(): Promise<void> {
    await this.#namespaces.close();
    this.#namespaces = await Namespaces.start(PREPARATION, [this.place.folder, this.user], true);
  }

  /** The whole command that runs `argv` in its namespaces, as the user. */
  inside(argv: readonly string[]): string[] {
    const environment = [`XDG_RUNTIME_DIR=${RUNTIME_FOLDER}`, `TMPDIR=${join(this.place.folder, 'tmp')}`];
    return [...this.#namespaces.enter, ...this.place.command(['env', ...environment, ...argv])];
  }

  /** The whole command for `podman ARGS`. */
  command(args: readonly string[]): string[] {
    return this.inside([...PODMAN, ...args]);
  }

  /** Runs podman to its end. */
  run(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return run(this.command(args), { cwd: '/', ...options });
  }

  /** Runs podman, which must succeed; answers its output without the last line feed. */
  async mustRun(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return (await mustRun(this.command(args), { cwd: '/', ...options })).trimEnd();
  }

  /** A field of an image or a container, by a template of podman's. */
  inspect(what: 'image' | 'container', name: string, template: string): Promise<string> {
    return this.mustRun([what, 'inspect', '--format', template, name]);
  }

  /** Waits until the container has written `text`; fails if it ends before. */
  async untilSays(container: string, text: string): Promise<void> {
    await until(
      `the container says "${text}"`,
      async () => {
        const outcome = await this.run(['logs', container]);
        if (outcome.stdout.includes(text) || outcome.stderr.includes(text)) return true;
        const running = await this.inspect('container', container, '{{.State.Running}}');
        if (running !== 'true') throw new ProgramFailed(['podman', 'logs', container], outcome, 'it ended');
        return false;
      },
      60_000,
    );
  }

  /** The end of a container that has been stopped, or has ended by itself. */
  async end(container: string): Promise<ContainerEnd> {
    await this.mustRun(['wait', container]);
    const { stdout, stderr } = await this.run(['logs', container]);
    const exitCode = Number(await this.inspect('container', container, '{{.State.ExitCode}}'));
    return { exitCode, log: `${stdout}${stderr}` };
  }

  /** The processes in its namespaces: podman's own, and the containers. */
  processes(): number[] {
    return this.#namespaces.processes();
  }

  /** Those of them that run in containers, by their numbers here. */
  containers(): number[] {
    return this.#namespaces.containers();
  }

  /** Ends everything that runs, and removes containers, images and storage. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#namespaces.close();
    await this.place.close();
  }
}
