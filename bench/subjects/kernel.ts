/**
 * Linux's own NFS client, where it can be had without being this machine's: in user-mode Linux, a kernel that runs as
 * a process on the host's files. It pays for every system call and page fault of its programs several times over, so
 * that its numbers are a lower bound. Needs a network namespace of its own: the guest's cable ends in it.
 */
import { join } from 'node:path';
import type { Ganesha } from '../../test/support/ganesha.js';
import { Guest, NFS_CLIENT, shellLine } from '../../test/support/guest/guest.js';
import { GuestNetwork } from '../../test/support/guest/network.js';
import { descendants, dropCaches, settle } from '../cost.js';
import type { Way } from '../distance/way.js';
import { isAlone } from '../machine.js';
import type { Cold, LoadResult, Row, Session, Store, Subject } from '../model.js';
import { REFERENCE } from '../reference.js';
import { primeLoad } from '../store.js';
import { freshName } from './names.js';

const MOUNT_POINT = '/mnt/nfs';
const MEMORY = '2G';
/** A row in a guest that is slow at everything. */
const PATIENCE_MS = 20 * 60_000;

export interface KernelClientOptions {
  readonly server: Ganesha;
  readonly store: Store;
  /** load.c's program. */
  readonly load: string;
}

export class KernelClient implements Subject {
  readonly name = 'kernel';
  readonly distant = true;
  readonly description: string;
  readonly store: Store;

  private constructor(
    private readonly options: KernelClientOptions,
    private readonly guest: Guest,
  ) {
    this.store = options.store;
    this.description =
      `the NFS client of Linux ${guest.version} in user-mode Linux, which is slow at system calls: a lower bound; ` +
      'from nfs-ganesha over a virtual cable';
  }

  /** Why it cannot be had; undefined: it can. */
  static missing(): string | undefined {
    const missing = Guest.missing(NFS_CLIENT.needed);
    if (missing !== undefined) return `${missing} not there`;
    return isAlone() ? undefined : 'this is no network namespace of its own';
  }

  /** Boots the guest. The server must listen on all addresses. */
  static async start(options: KernelClientOptions): Promise<KernelClient> {
    const guest = await Guest.boot({
      network: GuestNetwork.here(),
      memory: MEMORY,
      modules: NFS_CLIENT.modules,
    });
    return new KernelClient(options, guest);
  }

  /** The rows that have a number from the reference machine: the others would take it too long. */
  takes(row: Row): boolean {
    return REFERENCE[row.id] !== undefined;
  }

  open(id: string, way: Way): Promise<Session> {
    const { server, store, load } = this.options;
    const { guest } = this;
    let mounted = false;
    const unmount = async () => {
      if (mounted) await guest.mustRun(`umount ${MOUNT_POINT}`);
      mounted = false;
    };
    const run = async (...argv: readonly string[]): Promise<LoadResult> =>
      JSON.parse(await guest.mustRun(shellLine([load, ...argv]), PATIENCE_MS));
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
        const ports = [`port=${await way.to(server.port)}`, `mountport=${server.mountPort}`];
        const options = ['vers=3', 'tcp', 'nolock', ...ports].join(',');
        await guest.mustRun(
          `echo 3 > /proc/sys/vm/drop_caches; mount -t nfs -o ${options} ${guest.cable.host}:${server.exportPath} ${MOUNT_POINT}`,
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
  }
}
