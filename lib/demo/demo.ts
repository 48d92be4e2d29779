/** The demonstration for newcomers. It checks every step, and leaves nothing behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ownProgram } from '../base/own-program.js';
import type { Style } from '../base/terminal.js';
import { UserError } from '../base/user-error.js';
import { canActAsCallers, isRootOutside, isUnprivilegedPortFree } from '../server/index.js';

export interface DemoOptions {
  readonly style: Style;
  readonly print: (line: string) => void;
  /** This is the second attempt, as root of a user namespace of its own. */
  readonly insideNamespace: boolean;
}

/** Large enough to show a rate, small enough to need no patience. */
const LARGE_FILE_BYTES = 64 * 1024 * 1024;
const SERVER_START_MS = 20_000;

interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

/**
 * Runs the demonstration; resolves with the exit status. Throws UserError if a step does not do what it should, or if this
 * user cannot mount here.
 */
export async function runDemo(options: DemoOptions): Promise<number> {
  const demo = new Demo(options);
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => reject(new UserError(`Interrupted (${signal}).`, { exitStatus: 130 })));
  });
  try {
    const work = demo.run();
    work.catch(() => {});
    if (await Promise.race([work, interrupted])) return 0;
  } finally {
    await demo.cleanUp();
  }
  return runInNamespace();
}

class Demo {
  readonly #style: Style;
  readonly #print: (line: string) => void;
  readonly #insideNamespace: boolean;
  #folder: string | undefined;
  #server: ChildProcess | undefined;
  #mounted = false;

  constructor(options: DemoOptions) {
    this.#style = options.style;
    this.#print = options.print;
    this.#insideNamespace = options.insideNamespace;
  }

  /** Does all steps. False: mounting is not permitted here, but is permitted in a user namespace. */
  async run(): Promise<boolean> {
    const { bold, dim } = this.#style;
    this.#folder = await mkdtemp(join(tmpdir(), 'nfs-fuse-demo-'));
    const exported = join(this.#folder, 'export');
    const mountpoint = join(this.#folder, 'mnt');
    await mkdir(exported);
    await mkdir(mountpoint);
    if (!this.#insideNamespace) {
      this.#print('');
      this.#print(bold('nfs-fuse: an NFSv3 export, mounted through FUSE, all in user space'));
    }

    this.#step('Serve a scratch directory over NFSv3');
    this.#command(`cd ${this.#folder}`);
    const { serveOptions, mountOption } = trustOfDemo(this.#insideNamespace);
    this.#command(['nfs-fuse', 'serve', exported, '--port', '0', ...serveOptions].join(' '));
    const port = await this.#serve(exported, serveOptions);
    this.#done(`listening on 127.0.0.1 port ${port}`);

    const target = '127.0.0.1:/export';
    const mountOptions = `port=${port},mountport=${port},nlmport=${port}${mountOption}`;
    this.#step('Mount it');
    this.#command(`nfs-fuse mount -o ${mountOptions} ${target} ${mountpoint}`);
    const mounted = await this.#run(...self('mount', '-o', mountOptions, target, mountpoint));
    if (mounted.status !== 0) {
      if (!this.#insideNamespace && (await mayUnshare())) {
        this.#print(`  ${dim(mounted.output.trim().split('\n')[0] ?? '')}`);
        this.#print(`  ${dim('This user may not mount here: once more, in a user namespace of its own.')}`);
        return false;
      }
      const [message = '', remedy] = mounted.output.trim().split('\n');
      throw new UserError(`The demo could not mount: ${message.replace('nfs-fuse: ', '')}`, {
        remedy: remedy?.trim(),
      });
    }
    this.#mounted = true;
    const entry = (await readFile('/proc/self/mounts', 'utf8'))
      .split('\n')
      .find((line) => line.split(' ')[1] === mountpoint);
    check(entry !== undefined, 'the mount is in /proc/self/mounts');
    this.#done(`${entry?.split(' ').slice(0, 3).join('  ')}`);

    await this.#work(exported, mountpoint);

    this.#step('Unmount');
    this.#command(`nfs-fuse umount ${mountpoint}`);
    const unmounted = await this.#run(...self('umount', mountpoint));
    check(unmounted.status === 0, `nfs-fuse umount succeeds: ${unmounted.output}`);
    this.#mounted = false;
    check((await readdir(mountpoint)).length === 0, 'the mount point is empty again');
    this.#done('everything written back, the server told, the process gone');

    this.#print('');
    this.#print(this.#style.good('All of it worked.'));
    this.#print(
      `Yours: ${bold('nfs-fuse mount server:/export /mnt')}   ${dim('(in this clone: node dist/bin/nfs-fuse.js)')}`,
    );
    this.#print('');
    return true;
  }

  async #work(exported: string, mountpoint: string): Promise<void> {
    const letter = join(mountpoint, 'letter.txt');
    const text = 'Dear server,\nplease keep this safe.\nYours, the client\n';
    this.#step('Write a file through the mount, read it where the server keeps it');
    this.#command(`cat > ${letter}`);
    await writeFile(letter, text);
    check((await readFile(join(exported, 'letter.txt'), 'utf8')) === text, 'the server has what was written');
    this.#done(`${text.length} bytes, on the server when close(2) returned`);

    this.#step('Make a directory, a symbolic link, and list');
    await mkdir(join(mountpoint, 'letters'));
    await this.#shell('ln', '-s', 'letters/letter.txt', join(mountpoint, 'latest'));
    await this.#shell('ls', '-l', mountpoint);
    this.#done('');

    this.#step('Rename; the link now points to something');
    await rename(letter, join(mountpoint, 'letters', 'letter.txt'));
    this.#command(`mv ${letter} ${join(mountpoint, 'letters')}`);
    await this.#shell('cat', join(mountpoint, 'latest'));
    this.#done('');

    await this.#unlinkWhileOpen(exported, mountpoint);
    await this.#largeFile(mountpoint);

    this.#step('Remove it all');
    await this.#shell(
      'rm',
      '-r',
      join(mountpoint, 'letters'),
      join(mountpoint, 'latest'),
      join(mountpoint, 'large'),
    );
    const left = await readdir(exported);
    check(left.length === 0, `nothing is left on the server (${left.join(', ')})`);
    this.#done('nothing left on the server, no .nfs files either');
  }

  async #unlinkWhileOpen(exported: string, mountpoint: string): Promise<void> {
    const { dim } = this.#style;
    this.#step('Unlink a file while it is open');
    const path = join(mountpoint, 'temporary');
    const handle = await open(path, 'w+');
    try {
      await handle.write('still here');
      this.#command(`exec 3<> ${path}; rm ${path}; cat <&3`);
      await rm(path);
      const gone = await stat(path).then(
        () => false,
        () => true,
      );
      check(gone, 'the name is gone');
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0);
      const read = buffer.subarray(0, bytesRead).toString();
      check(read === 'still here', 'the open file can still be read');
      const hidden = (await readdir(exported)).find((name) => name.startsWith('.nfs'));
      check(hidden !== undefined, 'the server keeps it under a hidden name');
      this.#print(`  ${dim(`read through the open descriptor: "${read}"; on the server: ${hidden}`)}`);
    } finally {
      await handle.close();
    }
    await vanished(exported, '.nfs');
    this.#done('gone from the server with the last close');
  }

  async #largeFile(mountpoint: string): Promise<void> {
    const path = join(mountpoint, 'large');
    const mebibytes = LARGE_FILE_BYTES / 2 ** 20;
    this.#step(`Write ${mebibytes} MiB, fsync, read back, compare`);
    const data = randomBytes(LARGE_FILE_BYTES);
    const begin = performance.now();
    const handle = await open(path, 'w');
    try {
      await handle.writeFile(data);
      await handle.sync();
    } finally {
      await handle.close();
    }
    const written = performance.now();
    const back = await readFile(path);
    const read = performance.now();
    const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    const expected = digest(data);
    check(digest(back) === expected, 'what was read is what was written');
    const rate = (milliseconds: number) => `${Math.round(mebibytes / (milliseconds / 1000))} MiB/s`;
    this.#done(
      `write ${rate(written - begin)}, read ${rate(read - written)}, sha256 ${expected.slice(0, 16)}… on both sides`,
    );
  }

  /** Starts the server by its command, and reads the port from its output. */
  async #serve(exported: string, options: readonly string[]): Promise<number> {
    const [command, ...args] = self('serve', exported, '--port', '0', '--export-name', '/export', ...options);
    const server = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      // The server keeps a key there, which the demo removes with the rest.
      env: { ...process.env, XDG_STATE_HOME: join(this.#folder ?? tmpdir(), 'state') },
    });
    this.#server = server;
    let complaint = '';
    server.stderr.on('data', (data: Buffer) => {
      complaint += data.toString();
    });
    const lines = createInterface({ input: server.stdout });
    const timer = setTimeout(() => server.kill('SIGKILL'), SERVER_START_MS);
    try {
      for await (const line of lines) {
        const port = /\bport (\d+)\b/.exec(line)?.[1];
        if (port !== undefined) return Number(port);
      }
    } finally {
      clearTimeout(timer);
      server.stdout.resume();
    }
    throw new UserError(`The demo's server did not start. ${complaint.trim()}`);
  }

  async cleanUp(): Promise<void> {
    const folder = this.#folder;
    if (this.#mounted && folder !== undefined)
      await this.#run(...self('umount', '--force', join(folder, 'mnt')));
    const server = this.#server;
    if (server !== undefined && server.exitCode === null && server.signalCode === null) {
      const ended = once(server, 'exit');
      server.kill('SIGTERM');
      await ended;
    }
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }

  /** Runs a program on the mount, and shows its command line and its output. */
  async #shell(command: string, ...args: string[]): Promise<void> {
    this.#command([command, ...args].join(' '));
    const { status, output } = await this.#run(command, ...args);
    for (const line of output.split('\n').filter((text) => text !== '')) this.#print(`  ${line}`);
    check(status === 0, `${command} succeeds`);
  }

  #run(command: string, ...args: string[]): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      const collect = (data: Buffer) => {
        output += data.toString();
      };
      child.stdout.on('data', collect);
      child.stderr.on('data', collect);
      child.on('error', reject);
      child.on('close', (status) => resolve({ status, output }));
    });
  }

  #step(title: string): void {
    this.#print('');
    this.#print(`${this.#style.accent('>')} ${this.#style.bold(title)}`);
  }

  #command(line: string): void {
    this.#print(`  ${this.#style.dim(`$ ${this.#short(line)}`)}`);
  }

  /** `text` with paths relative to the scratch folder. */
  #short(text: string): string {
    return this.#folder === undefined ? text : text.replaceAll(`${this.#folder}/`, '');
  }

  #done(result: string): void {
    this.#print(`  ${this.#style.good('ok')}${result === '' ? '' : ` ${this.#style.dim(result)}`}`);
  }
}

/**
 * If root runs the demo, root may act as root in the mount, and no other user may. A port that only root can bind proves who
 * calls, if there are such ports here. Another user serves and mounts as that user.
 */
function trustOfDemo(insideNamespace: boolean): {
  readonly serveOptions: readonly string[];
  readonly mountOption: string;
} {
  if (!canActAsCallers() && !isRootOutside()) return { serveOptions: [], mountOption: '' };
  // Root of a user namespace has no privilege in the network namespace outside of it, and cannot bind such a port.
  if (insideNamespace || isUnprivilegedPortFree())
    return { serveOptions: ['--no-root-squash', '--insecure'], mountOption: '' };
  return { serveOptions: ['--no-root-squash'], mountOption: ',resvport' };
}

/** The command line that runs this program with other arguments. */
function self(...args: string[]): [string, ...string[]] {
  return [...ownProgram(), ...args];
}

function check(holds: boolean, expectation: string): void {
  if (!holds) throw new UserError(`The demo failed: it was expected that ${expectation}.`);
}

/** Waits until the hidden file is gone: it is removed when the kernel reports the last close, a moment after close(2). */
async function vanished(folder: string, prefix: string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (!(await readdir(folder)).some((name) => name.startsWith(prefix))) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  check(false, `${prefix} files disappear from the server`);
}

async function mayUnshare(): Promise<boolean> {
  const child = spawn('unshare', ['-Urm', 'true'], { stdio: 'ignore' });
  return new Promise((resolve) => {
    child.on('error', () => resolve(false));
    child.on('close', (status) => resolve(status === 0));
  });
}

/** Runs the demo once more as root of a new user namespace, where it prints its own errors. */
async function runInNamespace(): Promise<number> {
  const child = spawn('unshare', ['-Urm', ...self('demo', '--inside-namespace')], { stdio: 'inherit' });
  const [status] = (await once(child, 'close')) as [number | null];
  return status ?? 1;
}
