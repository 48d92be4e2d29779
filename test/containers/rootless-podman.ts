/**
 * Rootless podman of the test user, in mount, process and cgroup namespaces of its own. Its storage is a scratch
 * folder, its sockets and locks are in a private /dev/shm, and all its processes (containers, their monitors,
 * podman's pause process) end with the namespace's first one: nothing of it outlives the test.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openPlace, type Place, WITHOUT_FUSE } from '../support/places.js';
import {
  type Background,
  mustRun,
  type Outcome,
  ProgramFailed,
  type RunOptions,
  run,
  start,
  until,
} from '../support/process.js';

/** Ids for the users of containers, beside the user's own, who is their root. */
const SUBORDINATE_IDS = '1300000000:65536';
const RUNTIME_FOLDER = '/dev/shm/run';

/**
 * Prepares the namespaces and waits in them. $1: folder of subuid and subgid, $2: the user.
 * Podman wants a plain cgroup2 where many machines have a hybrid, mounts that are shared, and short paths for its
 * sockets. bash, as the first process, takes care of orphans.
 */
const HOLDER = `
  # Copies of mounts of other tests, which would keep those from ending.
  ${WITHOUT_FUSE} || :
  set -eu
  umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup
  mount -t cgroup2 none /sys/fs/cgroup
  mount -t tmpfs -o mode=1777 none /dev/shm
  for file in subuid subgid; do
    [ -e /etc/$file ] || : > /etc/$file
    mount --bind "$1/$file" /etc/$file
  done
  mount --make-rshared /
  mkdir -m 700 ${RUNTIME_FOLDER}
  chown "$2" ${RUNTIME_FOLDER}
  echo ready
  sleep infinity & wait`;

/** How a container ended, as podman keeps it. */
export interface ContainerEnd {
  readonly exitCode: number;
  readonly log: string;
}

/** A line of /proc/PID/status, or undefined if there is no such process. Unlike stat, it never waits for an exec. */
function statusLine(pid: number, name: string): string | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    return status.split('\n').find((line) => line.startsWith(`${name}:`));
  } catch {
    return undefined;
  }
}

function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
    return children.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Whether any of these processes of podman's still exists. A later process of the same number has one number only. */
export function stillRun(processes: readonly number[]): boolean {
  return processes.some((pid) => (statusLine(pid, 'NSpid')?.split('\t').length ?? 0) > 2);
}

export class RootlessPodman {
  #closed = false;

  private constructor(
    readonly place: Place,
    private readonly holder: Background,
  ) {}

  static async start(): Promise<RootlessPodman> {
    const place = await openPlace('user');
    const [user = ''] = (await mustRun(place.command(['id', '-un']))).split('\n');
    for (const name of ['subuid', 'subgid']) {
      writeFileSync(join(place.folder, name), `${user}:${SUBORDINATE_IDS}\n`);
    }
    await mustRun(place.command(['mkdir', join(place.folder, 'tmp')]));
    const namespaces = ['unshare', '-m', '-C', '-p', '--fork', '--kill-child', '--mount-proc'];
    const holder = start([...namespaces, 'bash', '-c', HOLDER, 'bash', place.folder, user]);
    const podman = new RootlessPodman(place, holder);
    try {
      await until('the namespaces for podman are ready', () => {
        if (holder.outcome) throw new Error(`making namespaces for podman failed: ${holder.output}`);
        return holder.output.includes('ready');
      });
    } catch (error) {
      await podman.close();
      throw error;
    }
    return podman;
  }

  /** The whole command for `podman ARGS`. */
  command(args: readonly string[]): string[] {
    const namespaces = `/proc/${this.holder.pid}/ns`;
    return [
      'nsenter',
      `--mount=${namespaces}/mnt`,
      `--cgroup=${namespaces}/cgroup`,
      `--pid=${namespaces}/pid_for_children`,
      ...this.place.command([
        'env',
        `XDG_RUNTIME_DIR=${RUNTIME_FOLDER}`,
        `TMPDIR=${join(this.place.folder, 'tmp')}`,
        'podman',
        // The slow driver that works everywhere, also where this machine's root is an overlay.
        '--storage-driver=vfs',
        '--cgroup-manager=cgroupfs',
        ...args,
      ]),
    ];
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

  /** The processes under the holder of the namespaces: podman's own, and the containers. */
  processes(): number[] {
    const descendants = (pid: number): number[] =>
      childrenOf(pid).flatMap((child) => [child, ...descendants(child)]);
    return descendants(this.holder.pid);
  }

  /** Those of them that run in containers, by their numbers here. */
  containers(): number[] {
    return this.processes().filter((pid) => (statusLine(pid, 'NSpid')?.split('\t').length ?? 0) > 3);
  }

  /** Ends everything that runs, and removes containers, images and storage. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const running = this.processes();
    // The kernel ends the whole namespace with its first process, and with it the containers and their mounts.
    this.holder.signal('SIGKILL');
    await this.holder.ended;
    await until('podman and its containers have ended', () => !stillRun(running), 60_000);
    await this.place.close();
  }
}
