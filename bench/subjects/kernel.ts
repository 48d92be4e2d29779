/**
 * Linux's own NFS client, where it can be had without being this machine's: in user-mode Linux, a kernel that runs as
 * a process on the host's files. It pays for every system call and page fault of its programs several times over, so
 * that its numbers are a lower bound. Needs a network namespace of its own: the guest's cable ends in it.
 */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { publicFolder, type ScratchFolder } from '../../test/support/folders.js';
import type { Ganesha } from '../../test/support/ganesha.js';
import { type Background, mustRun, start, until } from '../../test/support/process.js';
import { projectRoot } from '../../test/support/project.js';
import { descendants, dropCaches, settle } from '../cost.js';
import { compileSse } from '../load.js';
import { isAlone } from '../machine.js';
import type { Cold, LoadResult, Row, Session, Store, Subject } from '../model.js';
import { REFERENCE } from '../reference.js';
import { primeLoad } from '../store.js';
import { freshName } from './names.js';

const PROGRAM = '/usr/bin/linux.uml';
const NEEDED = [PROGRAM, '/usr/sbin/mount.nfs', '/usr/sbin/modprobe', '/usr/bin/ip'];
const CABLE = 'nfs-fuse-bench';
const HOST = '10.77.1.1';
const GUEST = '10.77.1.2';
const MOUNT_POINT = '/mnt/nfs';
const MEMORY = '2G';
/** For the guest's programs: AVX's registers get lost there (sse.c) when a signal comes while the C library uses them. */
const WITHOUT_AVX = 'glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW';
/** A row in a guest that is slow at everything. */
const PATIENCE_MS = 20 * 60_000;

const quote = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;

/** A command in the guest: /bin/bash runs it. */
class Guest {
  #commands = 0;

  constructor(
    readonly process: Background,
    readonly folder: ScratchFolder,
  ) {}

  /** Standard output. Throws with the last words of a command that fails. */
  async run(script: string): Promise<string> {
    const number = ++this.#commands;
    const file = (kind: string) => join(this.folder.path, `${kind}-${number}`);
    writeFileSync(file('new'), script);
    renameSync(file('new'), file('command'));
    await until(
      script,
      () => {
        if (this.process.outcome) throw new Error(`the guest ended: ${this.process.output.slice(-2000)}`);
        return existsSync(file('status'));
      },
      PATIENCE_MS,
    );
    const [status, output, errors] = ['status', 'output', 'errors'].map((kind) =>
      readFileSync(file(kind), 'utf8'),
    );
    for (const kind of ['status', 'output', 'errors']) rmSync(file(kind));
    if (status?.trim() !== '0') throw new Error(`${script}: status ${status?.trim()}: ${errors}`);
    return output ?? '';
  }

  async halt(): Promise<void> {
    writeFileSync(join(this.folder.path, 'halt'), '');
    await until('the guest has ended', () => this.process.outcome !== undefined).catch(() => undefined);
    await this.process.stop();
  }
}

export interface KernelClientOptions {
  readonly server: Ganesha;
  readonly store: Store;
  /** load.c's program. */
  readonly load: string;
}

export class KernelClient implements Subject {
  readonly name = 'kernel';
  readonly description: string;
  readonly store: Store;

  private constructor(
    private readonly options: KernelClientOptions,
    private readonly guest: Guest,
  ) {
    this.store = options.store;
    const version = readFileSync(join(guest.folder.path, 'ready'), 'utf8').trim();
    this.description =
      `the NFS client of Linux ${version} in user-mode Linux, which is slow at system calls: a lower bound; ` +
      'from nfs-ganesha over a virtual cable';
  }

  /** Why it cannot be had; undefined: it can. */
  static missing(): string | undefined {
    const absent = NEEDED.filter((path) => !existsSync(path));
    if (absent.length > 0) return `${absent.join(', ')} not there`;
    return isAlone() ? undefined : 'this is no network namespace of its own';
  }

  /** Boots the guest. The server must listen on all addresses. */
  static async start(options: KernelClientOptions): Promise<KernelClient> {
    await mustRun(['ip', 'tuntap', 'add', CABLE, 'mode', 'tap']);
    await mustRun(['ip', 'addr', 'add', `${HOST}/30`, 'dev', CABLE]);
    await mustRun(['ip', 'link', 'set', CABLE, 'up']);
    const sse = await compileSse(dirname(options.load));
    const folder = publicFolder();
    const kernel = start(
      [
        sse,
        PROGRAM,
        `mem=${MEMORY}`,
        ...['root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro'],
        `vec0:transport=tap,ifname=${CABLE},depth=64,gro=1`,
        `init=${join(projectRoot, 'bench/subjects/kernel-guest.sh')}`,
        ...[`folder=${folder.path}`, `address=${GUEST}/30`, `GLIBC_TUNABLES=${WITHOUT_AVX}`],
        ...['con=null', 'con0=fd:0,fd:1', 'quiet'],
      ],
      { env: { ...process.env, TMPDIR: '/dev/shm' } },
    );
    const guest = new Guest(kernel, folder);
    try {
      await until('the guest is ready', () => {
        if (kernel.outcome) throw new Error(`user-mode Linux ended: ${kernel.output.slice(-2000)}`);
        return existsSync(join(folder.path, 'ready'));
      });
      return new KernelClient(options, guest);
    } catch (error) {
      await kernel.stop();
      await folder.remove();
      throw error;
    }
  }

  /** The rows that have a number from the reference machine: the others would take it too long. */
  takes(row: Row): boolean {
    return REFERENCE[row.id] !== undefined;
  }

  open(id: string): Promise<Session> {
    const { server, store, load } = this.options;
    const { guest } = this;
    let mounted = false;
    const unmount = async () => {
      if (mounted) await guest.run(`umount ${MOUNT_POINT}`);
      mounted = false;
    };
    const run = async (...argv: readonly string[]): Promise<LoadResult> =>
      JSON.parse(await guest.run(`cd / && ${[load, ...argv].map(quote).join(' ')}`));
    const session: Session = {
      folder: join(MOUNT_POINT, id),
      load: run,
      prepare: async (cold: Cold) => {
        if (cold === 'nothing' && mounted) return;
        await unmount();
        if (cold === 'all') {
          await server.stop();
          await server.start();
        }
        const options = ['vers=3', 'tcp', 'nolock', ...server.mountOptions].join(',');
        await guest.run(
          `echo 3 > /proc/sys/vm/drop_caches; mount -t nfs -o ${options} ${HOST}:${server.exportPath} ${MOUNT_POINT}`,
        );
        mounted = true;
        await run(...primeLoad(store, MOUNT_POINT));
        if (cold === 'all') await dropCaches(store.path);
      },
      settle: () => settle(store.path),
      processes: () => [guest.process.pid, ...descendants(guest.process.pid)],
      servers: () => [server.pid],
      freshName,
      close: unmount,
    };
    return Promise.resolve(session);
  }

  async close(): Promise<void> {
    await this.guest.halt();
    await this.guest.folder.remove();
  }
}
