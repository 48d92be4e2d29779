/**
 * Linux's own NFS server (knfsd) in a guest: NFSv3 over TCP and UDP with mountd and rpcbind on their usual ports, in a
 * network of its own. It exports an ext4 file system on a disk image, which outlives the guest.
 */

import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { publicFolder, type ScratchFolder } from '../folders.js';
import { Mount } from '../mount.js';
import { openPlace, type Place } from '../places.js';
import { mustRun } from '../process.js';
import { helperFolder, projectRoot } from '../project.js';
import { Guest, shellLine } from './guest.js';
import { type Cable, GuestNetwork } from './network.js';

/** Debian's nfs-kernel-server, unpacked by test/setup/guests.mjs: if it were installed, it would start a server on this machine. */
const PROGRAMS = join(helperFolder, 'nfs-kernel-server/usr/sbin');
const NEEDED: Readonly<Record<string, string>> = {
  [join(PROGRAMS, 'rpc.nfsd')]: 'nfs-kernel-server, unpacked',
  '/usr/sbin/rpcbind': 'rpcbind',
  '/usr/sbin/mkfs.ext4': 'e2fsprogs',
};
/** The images are sparse: they take only as much space as is written to them. */
const DISK_BYTES = 8 * 2 ** 30;
const NESTED_BYTES = 2 ** 28;

export interface KnfsdOptions {
  /** exports(5); {@link KNFSD_EXPORT} by default. */
  readonly exportOptions?: readonly string[];
  /** A second file system, of 256 MiB, is mounted on `nested` in the export. */
  readonly nested?: boolean;
  /** Quotas of the export can be switched on, with the programs of the package quota. */
  readonly quotas?: boolean;
  /** Kernel modules beside the server's: for a client that works on the same machine. */
  readonly modules?: readonly string[];
  /** The network that the guest is plugged into; one of its own by default. */
  readonly network?: GuestNetwork;
  /** How long each start is followed by a grace period, in which only old locks are given back: 10 at least; 0: none. */
  readonly graceSeconds?: number;
  /** Run the status monitor, without which Linux's own client gets no locks. */
  readonly statd?: boolean;
  /** The user who may change the export's root. */
  readonly owner?: Place['owner'];
}

/** The options of the export unless a test gives others: root is root, from any port. */
export const KNFSD_EXPORT: readonly string[] = [
  ...['rw', 'sync', 'no_root_squash', 'insecure', 'no_subtree_check', 'fsid=1'],
];

/** A running (or stopped) server. */
export class Knfsd {
  readonly exportPath = '/mnt/export';
  /** A client finds every port through rpcbind. */
  readonly mountOptions: readonly string[] = [];
  #guest: Guest | undefined;
  #observer: Mount | undefined;
  #said = '';

  private constructor(
    readonly network: GuestNetwork,
    private readonly cable: Cable,
    private readonly options: KnfsdOptions,
    private readonly own: ScratchFolder,
    private readonly place: Place,
  ) {}

  /** Starts a server with an empty export. */
  static async start(options: KnfsdOptions = {}): Promise<Knfsd> {
    const missing = Guest.missing(NEEDED);
    if (missing !== undefined) throw new Error(`knfsd cannot be started without ${missing}`);
    const network = options.network ?? (await GuestNetwork.make());
    const own = publicFolder();
    const place = await openPlace('root');
    const server = new Knfsd(network, await network.cable(), options, own, place);
    try {
      for (const [index, disk] of server.#disks.entries()) {
        writeFileSync(disk, '');
        truncateSync(disk, index === 0 ? DISK_BYTES : NESTED_BYTES);
        const lazily = ['-E', 'lazy_itable_init=1,lazy_journal_init=1'];
        const features = options.quotas && index === 0 ? ['-O', 'quota'] : [];
        await mustRun(['mkfs.ext4', '-q', '-F', ...lazily, ...features, disk]);
      }
      await server.start();
      const { owner } = options;
      if (owner) await server.guest.mustRun(`chown ${owner.uid}:${owner.gid} ${server.exportPath}`);
      server.#observer = await Mount.start({
        source: { ...server.source, exportPath: server.exportPath },
        place,
        options: ['actimeo=0', 'lookupcache=none', 'soft'],
        asUsual: true,
      });
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  get host(): string {
    return this.cable.guest;
  }

  /** The prefix of a command that is to reach the server. */
  get enter(): readonly string[] {
    return this.network.enter;
  }

  private get source() {
    return { host: this.host, mountOptions: this.mountOptions, enter: this.enter };
  }

  get #disks(): string[] {
    return ['disk', ...(this.options.nested ? ['nested'] : [])].map((name) => join(this.own.path, name));
  }

  /** The image of the disk that is exported. */
  get disk(): string {
    return join(this.own.path, 'disk');
  }

  /** The guest that it runs in. */
  get guest(): Guest {
    if (!this.#guest || this.#guest.process.outcome) throw new Error('knfsd does not run');
    return this.#guest;
  }

  /**
   * The exported folder as a second client shows it, one of root that caches no names and no attributes: no file system
   * of the guest can be seen from here in another way. `guest.run` works on the disk itself.
   */
  get directory(): string {
    if (!this.#observer) throw new Error('knfsd does not run');
    return this.#observer.path;
  }

  /** The last lines of the guest's output. */
  logTail(lines = 20): string {
    const said = `${this.#said}${this.#guest?.output ?? ''}`;
    return said.split('\n').slice(-lines).join('\n');
  }

  /** Starts it (again), with the disk as it is. */
  async start(): Promise<void> {
    const { network, cable } = this;
    const { graceSeconds = 0, statd = false, quotas = false, modules: more = [] } = this.options;
    const forQuotas = quotas ? ['quota_tree', 'quota_v2'] : [];
    const modules = ['sunrpc', `lockd nlm_grace_period=${graceSeconds}`, 'nfsd', ...forQuotas, ...more];
    const guest = await Guest.boot({ network, cable, modules, disks: this.#disks, memory: '1G' });
    this.#guest = guest;
    const options = (this.options.exportOptions ?? KNFSD_EXPORT).join(',');
    const script = join(projectRoot, 'test/support/guest/knfsd.sh');
    const words = ['bash', script, PROGRAMS, options, String(graceSeconds), ...(statd ? ['statd'] : [])];
    await guest.mustRun(shellLine(words));
  }

  /** Makes `count` empty files in a folder of the export, on the server's disk. */
  async makeFiles(folder: string, prefix: string, count: number): Promise<void> {
    const script = `cd ${shellLine([join(this.exportPath, folder)])} && printf ${shellLine([`${prefix}%07d\\0`])} $(seq 0 ${count - 1})`;
    await this.guest.mustRun(`${script} | xargs -0 touch`, 300_000);
  }

  /** exportfs(8) in the guest. */
  async exportfs(...args: readonly string[]): Promise<string> {
    return this.guest.mustRun(shellLine([join(PROGRAMS, 'exportfs'), ...args]));
  }

  /** Withdraws the export: `exportfs -u`. */
  async unexport(): Promise<void> {
    await this.exportfs('-u', `*:${this.exportPath}`);
  }

  /** Exports (again), with options of exports(5). */
  async export(options = this.options.exportOptions ?? KNFSD_EXPORT): Promise<void> {
    await this.exportfs('-i', '-o', options.join(','), `*:${this.exportPath}`);
  }

  /** Ends the guest in good order. */
  async stop(): Promise<void> {
    await this.#ended((guest) => guest.halt());
  }

  /** Ends the guest without a word, as a machine that loses power. */
  async kill(): Promise<void> {
    await this.#ended((guest) => guest.kill());
  }

  async #ended(end: (guest: Guest) => Promise<void>): Promise<void> {
    const guest = this.#guest;
    if (!guest) return;
    this.#guest = undefined;
    await end(guest);
    this.#said += guest.output;
  }

  /** Ends it, and removes what it exported. */
  async close(): Promise<void> {
    await this.#observer?.close();
    await this.kill();
    if (this.options.network === undefined) await this.network.close();
    await this.place.close();
    await this.own.remove();
  }
}
