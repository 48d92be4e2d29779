/**
 * Another Linux kernel for tests and measurements: user-mode Linux, a kernel that runs as a process of this machine. Its
 * root is this machine's root, read-only, so that it has the same programs; it writes to its memory, to disk images, and
 * to the folder through which it is given commands. It is slow at system calls and page faults.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publicFolder, type ScratchFolder } from '../folders.js';
import { type Background, mustRun, type Outcome, start, until } from '../process.js';
import { helperFolder, projectRoot } from '../project.js';
import type { Cable, GuestNetwork } from './network.js';

const PROGRAM = '/usr/bin/linux.uml';
/** Program -> the Debian package that brings it (test/setup/guests.mjs installs them). */
const NEEDED: Readonly<Record<string, string>> = {
  [PROGRAM]: 'user-mode-linux',
  '/usr/sbin/modprobe': 'kmod',
  '/usr/bin/ip': 'iproute2',
};
/** Whether the guest must run under sse.c (which says why). Its programs then do without AVX. */
const IN_SSE = /^flags\s*:.*\bamx_tile\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'));
/**
 * Keeps the C library and OpenSSL from using AVX; {@link NODE_IN_GUEST} does so for Node. AVX_Fast_Unaligned_Load is a preference
 * that stays set without AVX: with it, bash of Debian 12 was seen to jump to address 0 at the start.
 */
const WITHOUT_AVX: Readonly<Record<string, string>> = {
  GLIBC_TUNABLES: 'glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX_Fast_Unaligned_Load',
  OPENSSL_ia32cap: '~0x1000000000000000:~0xd0230020',
};
/** How Node is started in a guest. */
export const NODE_IN_GUEST: readonly string[] = [
  process.execPath,
  ...(IN_SSE ? ['--no-enable-avx', '--no-enable-avx2'] : []),
];

/** Needs of Linux's own NFSv3 client in a guest: kernel modules, and the programs of `mount -t nfs -o vers=3,nolock,…`. */
export const NFS_CLIENT = {
  modules: ['sunrpc', 'lockd', 'nfs', 'nfsv3'],
  needed: { '/usr/sbin/mount.nfs': 'nfs-common' },
} as const;

const quote = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;
/** `argv` as one line for a shell. */
export const shellLine = (argv: readonly string[]) => argv.map(quote).join(' ');

export interface GuestOptions {
  readonly network: GuestNetwork;
  /** The cable of a guest that has ended, for one that takes its place; a new one by default. */
  readonly cable?: Cable;
  /** As user-mode Linux takes it: `512M`. It is taken from this machine when the guest first touches it. */
  readonly memory?: string;
  /** Kernel modules that are loaded at the start, in this order, with their parameters: `lockd nlm_tcpport=32803`. */
  readonly modules?: readonly string[];
  /** Disk images: the guest's /dev/ubda, /dev/ubdb and so on. */
  readonly disks?: readonly string[];
}

export class Guest {
  #commands = 0;

  private constructor(
    readonly process: Background,
    readonly cable: Cable,
    private readonly control: ScratchFolder,
    /** `uname -r` of the guest. */
    readonly version: string,
  ) {}

  /** Which of the programs that guests and `more` need are missing, and in which packages they are; undefined: none. */
  static missing(more: Readonly<Record<string, string>> = {}): string | undefined {
    const absent = Object.entries({ ...NEEDED, ...more }).filter(([path]) => !existsSync(path));
    if (absent.length === 0) return undefined;
    return absent.map(([path, name]) => `${path} (package ${name})`).join(', ');
  }

  /** Boots a guest and waits until it takes commands. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const missing = Guest.missing();
    if (missing !== undefined) throw new Error(`no guest can be started without ${missing}`);
    const { network, memory = '512M', modules = [], disks = [] } = options;
    const cable = options.cable ?? (await network.cable());
    const around = IN_SSE ? [await compileSse()] : [];
    const control = publicFolder();
    writeFileSync(join(control.path, 'modules'), modules.map((line) => `${line}\n`).join(''));
    const argv = [
      PROGRAM,
      `mem=${memory}`,
      ...['root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro'],
      ...disks.map((path, index) => `ubd${String.fromCharCode(97 + index)}=${path}`),
      `vec0:transport=tap,ifname=${cable.name},depth=128,gro=1`,
      `init=${join(projectRoot, 'test/support/guest/guest.sh')}`,
      ...[`folder=${control.path}`, `address=${cable.guest}/30`, `gateway=${cable.host}`],
      ...(IN_SSE ? Object.entries(WITHOUT_AVX).map(([name, value]) => `${name}=${value}`) : []),
      ...['con=null', 'con0=fd:0,fd:1', 'quiet'],
    ];
    const env = { ...process.env, TMPDIR: memoryFolder() };
    const kernel = start([...network.enter, ...around, ...argv], { env, cwd: '/' });
    try {
      const ready = join(control.path, 'ready');
      await until('the guest is ready', () => {
        if (kernel.outcome) throw new Error(`user-mode Linux ended: ${kernel.output.slice(-2000)}`);
        return existsSync(ready);
      });
      return new Guest(kernel, cable, control, readFileSync(ready, 'utf8').trim());
    } catch (error) {
      kernel.signal('SIGKILL');
      await kernel.ended;
      await control.remove();
      throw error;
    }
  }

  /** A folder that guest and host both write: its path here, and `/mnt/control` in the guest. */
  get folder(): string {
    return this.control.path;
  }

  /** The output of the guest's kernel and of its first process. */
  get output(): string {
    return this.process.output;
  }

  /** Runs a script by the guest's bash as root, in its `/`, and says how it ended. Several may run at the same time. */
  async run(script: string, timeoutMs = 120_000): Promise<Outcome> {
    const number = ++this.#commands;
    const file = (kind: string) => join(this.folder, `${kind}-${number}`);
    writeFileSync(file('new'), script);
    renameSync(file('new'), file('command'));
    const what = `the guest has run: ${script.slice(0, 500)}`;
    const ended = () => {
      if (this.process.outcome) throw new Error(`the guest ended: ${this.output.slice(-2000)}`);
      return existsSync(file('status'));
    };
    await until(what, ended, timeoutMs).catch((error: unknown) => {
      const said = ['output', 'errors'].map((kind) =>
        existsSync(file(kind)) ? readFileSync(file(kind), 'utf8').slice(-2000) : '',
      );
      throw new Error(`${String(error)}\n${said.join('')}`);
    });
    const [status, stdout, stderr] = ['status', 'output', 'errors'].map((kind) => readFileSync(file(kind)));
    for (const kind of ['status', 'output', 'errors']) rmSync(file(kind));
    const none = Buffer.alloc(0);
    return { status: Number(status), signal: null, stdout: stdout ?? none, stderr: stderr ?? none };
  }

  /** The same for a script that must succeed; answers its standard output. */
  async mustRun(script: string, timeoutMs?: number): Promise<string> {
    const { status, stdout, stderr } = await this.run(script, timeoutMs);
    if (status === 0) return stdout.toString();
    throw new Error(
      `in the guest: ${script.slice(0, 500)}: status ${status}: ${stdout}${stderr}`.slice(0, 4000),
    );
  }

  /** Ends the guest in good order. File systems in disk images are written out first. */
  async halt(): Promise<void> {
    if (!this.process.outcome) {
      writeFileSync(join(this.folder, 'halt'), '');
      const ended = () => this.process.outcome !== undefined;
      await until('the guest has ended', ended, 20_000).catch(() => undefined);
    }
    await this.kill();
  }

  /** Ends the guest at once and without a word, as a machine that loses power. Its disks keep their contents. */
  async kill(): Promise<void> {
    this.process.signal('SIGKILL');
    await this.process.ended;
    await this.control.remove();
  }
}

/** The folder of the file that is the guest's memory: in memory itself, if there is room for it. */
function memoryFolder(): string {
  const shared = '/dev/shm';
  if (!existsSync(shared)) return tmpdir();
  const { bavail, bsize } = statfsSync(shared);
  return bavail * bsize > 2 ** 31 ? shared : tmpdir();
}

/** Compiles sse.c, if it is missing or older than its source, and answers the program's path. */
async function compileSse(): Promise<string> {
  const source = join(projectRoot, 'test/support/guest/sse.c');
  const program = join(helperFolder, 'sse');
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return program;
  mkdirSync(helperFolder, { recursive: true });
  // In one step, because several tests may want it at the same time.
  const next = `${program}.${process.pid}`;
  await mustRun(['gcc', '-O2', '-Wall', '-o', next, source]);
  renameSync(next, program);
  return program;
}
