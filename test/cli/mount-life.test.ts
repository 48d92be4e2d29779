/** The life of mounts from the command line: start, background, signals, unmount, dead mounts. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { mountsOf } from '../support/mount.js';
import { freePorts } from '../support/ports.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { registerProcess } from '../support/registry.js';
import { namesOfCalls, type ServedFolder, servedFolder } from '../support/served-folder.js';
import { untilEnd } from '../support/until-end.js';
import { killForGood } from '../support/watchers.js';
import { nfsFuse, product, STACK_TRACE } from './support/product.js';

interface Ground extends ServedFolder {
  /** The number of calls of the server so far: "MNT", "UMNT". */
  readonly called: (name: string) => number;
}

/** A served folder and a mount point. Afterwards nothing is mounted, and no process serves it. */
async function ground(t: Test): Promise<Ground> {
  const where = await servedFolder(t, async (mnt) => {
    while (isMounted(mnt)) {
      const pids = await servingPids(mnt);
      await run(['umount', '-l', mnt]);
      for (const pid of pids) endProcess(pid);
    }
  });
  const calls = namesOfCalls(where.server);
  const called = (wanted: string) => calls.filter((name) => name === wanted).length;
  return { ...where, called };
}

/** A program whose working directory is the mount. */
async function sitter(t: Test, { mnt }: Ground): Promise<Background> {
  const sitting = untilEnd(t, start(['sh', '-c', 'cd "$0" && echo in && exec sleep 60', mnt]));
  await until('somebody uses it', () => sitting.output === 'in\n');
  return sitting;
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // The process has ended already.
  }
}

const mountsAt = (path: string) => mountsOf(process.pid).filter((entry) => entry.path === path);
const isMounted = (path: string) => mountsAt(path).length > 0;

/** The processes whose command line names the mount point: the serving process. */
async function servingPids(mnt: string): Promise<number[]> {
  const outcome = await run(['pgrep', '-f', '--', `nfs-fuse\\.js .*${mnt}`]);
  return outcome.stdout.toString().split('\n').filter(Boolean).map(Number);
}

async function servingPid(mnt: string): Promise<number> {
  const [pid, ...more] = await servingPids(mnt);
  if (pid === undefined || more.length > 0) throw new Error(`not one process serves ${mnt}`);
  registerProcess(pid, 'nfs-fuse in the background');
  return pid;
}

const isRunning = (pid: number) => {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
  } catch {
    return false;
  }
};

const mountArgs = ({ options, mnt }: Ground, more: readonly string[] = []) => [
  'mount',
  ...more,
  '-o',
  options,
  '127.0.0.1:/export',
  mnt,
];

async function foreground(t: Test, where: Ground, more: readonly string[] = []): Promise<Background> {
  const mounting = untilEnd(t, start([...product, ...mountArgs(where, ['-f', ...more])]));
  await until('it says that it is mounted', () => {
    if (mounting.outcome !== undefined) throw new Error(mounting.output);
    return mounting.output.includes('is mounted on');
  });
  return mounting;
}

t.test('the command returns when the mount answers, and the mount lives on without it', async (t) => {
  const where = await ground(t);
  writeFileSync(join(where.served, 'file'), 'content');
  t.same(await nfsFuse(mountArgs(where)), { status: 0, stdout: '', stderr: '' });
  t.equal(await mustRun(['cat', join(where.mnt, 'file')]), 'content');
  const pid = await servingPid(where.mnt);
  t.equal(statSync(`/proc/${pid}/cwd/.`).ino, statSync('/').ino, 'it holds no directory');
  const session = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ')[3];
  t.equal(session, String(pid), 'a session of its own: no terminal can end it');
  t.same(await nfsFuse(['umount', where.mnt]), { status: 0, stdout: '', stderr: '' });
  t.notOk(isMounted(where.mnt));
  await until('the process has ended', () => !isRunning(pid));
  t.equal(where.called('MNT'), 1);
  t.equal(where.called('UMNT'), 1);
});

t.test('nfs-fuse accepts target and mount point before the options, like mount(8)', async (t) => {
  const where = await ground(t);
  const short = ['127.0.0.1:/export', where.mnt, '-o', `rw,nosuid,nodev,_netdev,${where.options}`];
  t.match(await nfsFuse(short), { status: 0 });
  t.match(mountsAt(where.mnt), [{ type: 'fuse.nfs-fuse', source: '127.0.0.1:/export' }]);
  t.match(await nfsFuse(['umount', where.mnt]), { status: 0 });
});

t.test('-o may be glued to its value and repeated, and ro and noexec reach the kernel', async (t) => {
  const where = await ground(t);
  const args = ['mount', '-oro', '-o', 'noexec', `-o${where.options}`, '127.0.0.1:/export', where.mnt];
  t.match(await nfsFuse(args), { status: 0 });
  const [entry] = mountsAt(where.mnt);
  t.match(entry?.options.split(','), /ro/);
  t.ok(entry?.options.split(',').includes('noexec'));
  t.match(await nfsFuse(['umount', where.mnt]), { status: 0 });
});

t.test('a second mount on the same place is refused, and the first goes on', async (t) => {
  const where = await ground(t);
  t.match(await nfsFuse(mountArgs(where)), { status: 0 });
  const second = await nfsFuse(mountArgs(where));
  t.equal(second.status, 1);
  t.match(second.stderr, /127\.0\.0\.1:\/export is already mounted on .*\n.*unmount it first/);
  t.notMatch(second.stderr, STACK_TRACE);
  t.equal(mountsAt(where.mnt).length, 1);
  t.equal(await mustRun(['ls', where.mnt]), '');
  t.equal(where.called('MNT') - where.called('UMNT'), 1, 'the server knows of the first one only');
  t.match(await nfsFuse(['umount', where.mnt]), { status: 0 });
});

t.test('nfs-fuse refuses mount points that it cannot use', async (t) => {
  const where = await ground(t);
  const file = join(where.folder, 'file');
  writeFileSync(file, '');
  for (const [mnt, message] of [
    [join(where.folder, 'missing'), /The mount point .*missing does not exist\.\n +Create it first\./],
    [file, /The mount point .*file is not a directory\.\n +Mount on an existing directory\./],
    [join(file, 'below'), /The mount point .*below is not a directory\./],
  ] as const) {
    const outcome = await nfsFuse(mountArgs({ ...where, mnt }));
    t.equal(outcome.status, 1);
    t.match(outcome.stderr, message);
    t.notMatch(outcome.stderr, STACK_TRACE);
  }
});

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) {
  t.test(`${signal} ends a mount in the foreground in good order`, async (t) => {
    const where = await ground(t);
    const mounting = await foreground(t, where);
    await mustRun(['sh', '-c', `echo content > ${where.mnt}/file`]);
    mounting.child.kill(signal);
    t.match(await mounting.ended, { status: 0, signal: null });
    t.notOk(isMounted(where.mnt));
    t.equal(readFileSync(join(where.served, 'file'), 'utf8'), 'content\n');
    t.equal(where.called('UMNT'), 1);
  });
}

t.test('SIGTERM ends a mount in the background in good order', async (t) => {
  const where = await ground(t);
  t.match(await nfsFuse(mountArgs(where)), { status: 0 });
  const pid = await servingPid(where.mnt);
  process.kill(pid, 'SIGTERM');
  await until('it has ended', () => !isRunning(pid));
  t.notOk(isMounted(where.mnt));
  t.equal(where.called('UMNT'), 1);
});

t.test('SIGTERM detaches a mount that is in use, and a second one ends it at once', async (t) => {
  const where = await ground(t);
  const mounting = await foreground(t, where);
  await sitter(t, where);
  mounting.child.kill('SIGTERM');
  await until('it is detached', () => mounting.output.includes('is in use: detached'));
  await until('it is not there any more', () => !isMounted(where.mnt));
  t.equal(mounting.outcome, undefined, 'it goes on for who uses it');
  mounting.child.kill('SIGTERM');
  const { status } = await mounting.ended;
  t.equal(status, 1);
  t.match(mounting.output, /Ended at once \(second SIGTERM\)/);
});

t.test('SIGTERM ends a mount in use with status 0 when the last program has left it', async (t) => {
  const where = await ground(t);
  const mounting = await foreground(t, where);
  const sitting = await sitter(t, where);
  mounting.child.kill('SIGTERM');
  await until('it is detached', () => mounting.output.includes('is in use: detached'));
  await sitting.stop();
  t.match(await mounting.ended, { status: 0 });
  t.equal(where.called('UMNT'), 1);
});

t.test('SIGTERM ends a mount of which another mount namespace has a copy', async (t) => {
  const where = await ground(t);
  const mounting = await foreground(t, where);
  const container = untilEnd(
    t,
    start(['unshare', '-m', '--propagation', 'private', 'sh', '-c', 'echo in; sleep 1000']),
  );
  await until('the namespace is there', () => container.output.includes('in'));
  mounting.signal('SIGTERM');
  t.match(await mounting.ended, { status: 0, stderr: /another mount namespace/ });
  t.notOk(isMounted(where.mnt));
});

t.test('a mount outlives the terminal that it writes to', async (t) => {
  const where = await ground(t);
  const mounting = await foreground(t, where, ['--debug=fuse']);
  mounting.child.stdout?.destroy();
  mounting.child.stderr?.destroy();
  await mustRun(['sh', '-c', `echo content > ${where.mnt}/file && cat ${where.mnt}/file`]);
  t.match(await nfsFuse(['umount', where.mnt]), { status: 0, stderr: '' });
  t.match(await mounting.ended, { status: 0, signal: null });
});

t.test('umount from outside ends the process with status 0', async (t) => {
  const where = await ground(t);
  const mounting = await foreground(t, where);
  await mustRun(['umount', where.mnt]);
  t.match(await mounting.ended, { status: 0, signal: null });
  t.equal(where.called('UMNT'), 1);
});

t.test('umount leaves a busy mount mounted, and --lazy detaches it', async (t) => {
  const where = await ground(t);
  const mounting = await foreground(t, where);
  const sitting = await sitter(t, where);
  const refused = await nfsFuse(['umount', where.mnt]);
  t.equal(refused.status, 1);
  t.match(refused.stderr, /mnt is in use\.\n.*fuser -vm.*--lazy/);
  t.ok(isMounted(where.mnt));
  t.match(await nfsFuse(['umount', '--lazy', where.mnt]), { status: 0 });
  t.notOk(isMounted(where.mnt));
  t.equal(mounting.outcome, undefined);
  await sitting.stop();
  t.match(await mounting.ended, { status: 0 });
});

t.test('umount --force ends a mount whose server is silent', async (t) => {
  const where = await ground(t);
  const mounting = await foreground(t, where);
  await where.server.pause();
  const waiting = untilEnd(t, start(['ls', join(where.mnt, 'name')]));
  await until('the program waits for the server', async () => {
    const { stdout } = await nfsFuse(['stats', '--json', where.mnt]);
    const { fuse } = JSON.parse(stdout) as { fuse: { inFlight: number } };
    return fuse.inFlight > 0;
  });
  t.match(await nfsFuse(['umount', '--force', where.mnt]), { status: 0 });
  await waiting.ended;
  t.notOk(isMounted(where.mnt));
  t.match(await mounting.ended, { status: 1 });
});

t.test('the next mount replaces a dead mount without a watcher, and umount takes it away', async (t) => {
  const where = await ground(t);
  for (const next of ['mount', 'umount'] as const) {
    const killed = await foreground(t, where);
    killForGood(killed.pid, where.mnt);
    await killed.ended;
    t.match((await run(['ls', where.mnt])).stderr.toString(), /Transport endpoint is not connected/);
    if (next === 'mount') {
      t.match(await nfsFuse(mountArgs(where)), { status: 0, stderr: '' });
      t.equal(mountsAt(where.mnt).length, 1);
      t.equal(await mustRun(['ls', where.mnt]), '');
    }
    const unmounted = await nfsFuse(['umount', where.mnt]);
    t.equal(unmounted.status, 0);
    t.match(
      unmounted.stderr,
      next === 'mount' ? /^$/ : /was a dead mount: .*what it had not written back is lost/,
    );
    t.equal(await mustRun(['ls', where.mnt]), '');
  }
});

t.test('bg returns at once, and mounts when the server comes', async (t) => {
  const where = await ground(t);
  const [port = 0] = await freePorts(1);
  const later = { ...where, options: `bg,retry=1,port=${port},mountport=${port}` };
  const returned = await nfsFuse(mountArgs(later));
  t.equal(returned.status, 0);
  t.match(returned.stderr, /refuses connections to port \d+ .*Trying again for 1 minute\.\n$/);
  const pid = await servingPid(where.mnt);
  t.notOk(isMounted(where.mnt));
  untilEnd(t, await EmbeddedServer.start({ path: where.served, port }));
  await until('it is mounted', () => isMounted(where.mnt), 40_000);
  t.match(await nfsFuse(['umount', where.mnt]), { status: 0 });
  await until('it has ended', () => !isRunning(pid));
});

t.test('--debug prints requests and calls, and --log-file keeps them', async (t) => {
  const where = await ground(t);
  const shown = await foreground(t, where, ['--debug=fuse,rpc']);
  await mustRun(['ls', where.mnt]);
  shown.child.kill('SIGTERM');
  await shown.ended;
  t.match(shown.output, /^nfs-fuse: fuse: > INIT/m);
  t.match(shown.output, /^nfs-fuse: rpc: > MOUNT MNT #[0-9a-f]+ \d+ bytes$/m);
  t.match(shown.output, /^nfs-fuse: rpc: < NFS GETATTR #[0-9a-f]+ ok [0-9.]+ ms$/m);

  const log = join(where.folder, 'log');
  t.match(await nfsFuse(mountArgs(where, ['--log-file', log, '--debug=rpc'])), { status: 0, stderr: '' });
  t.match(await nfsFuse(['umount', where.mnt]), { status: 0 });
  const lines = readFileSync(log, 'utf8');
  t.match(lines, /^\d{4}-\d\d-\d\dT[0-9:.]+Z info 127\.0\.0\.1:\/export is mounted on /m);
  t.match(lines, /info rpc: > MOUNT UMNT/);
  t.equal(statSync(log).mode & 0o777, 0o600);
});

t.test('serve prints how to mount its export, and a signal ends it', async (t) => {
  const where = await ground(t);
  // The server keeps the key of its handles there.
  const env = { ...process.env, XDG_STATE_HOME: join(where.folder, 'state') };
  const serving = untilEnd(
    t,
    start([...product, 'serve', where.served, '--port', '0', '--export-name', '/x'], { env }),
  );
  await until('it serves', () => serving.output.includes('MOUNTPOINT'));
  const [, port = ''] = /on port (\d+)/.exec(serving.output) ?? [];
  const command = /nfs-fuse (mount .*) MOUNTPOINT/.exec(serving.output)?.[1]?.split(' ') ?? [];
  t.match(await nfsFuse([...command, where.mnt]), { status: 0 });
  t.match(await nfsFuse(['umount', where.mnt]), { status: 0 });
  const taken = await nfsFuse(['serve', where.served, '--port', port], { env });
  t.equal(taken.status, 1);
  t.match(taken.stderr, /Port \d+ of 127\.0\.0\.1 is taken by another program\.\n.*--port 0/);
  serving.child.kill('SIGTERM');
  t.match(await serving.ended, { status: 0 });
});

t.test('the demo runs to its end and leaves nothing', async (t) => {
  const scratch = untilEnd(t, publicFolder());
  const env = { ...process.env, TMPDIR: scratch.path };
  const { status, stdout, stderr } = await nfsFuse(['demo'], { env });
  t.equal(status, 0);
  t.equal(stderr, '');
  t.match(stdout, /All of it worked\./);
  t.notMatch(stdout, /\x1b/, 'no colour in a pipe');
  t.equal(await mustRun(['ls', '-A', scratch.path]), '');
  const left = mountsOf(process.pid).filter(({ path }) => path.startsWith(scratch.path));
  t.same(left, []);
});
