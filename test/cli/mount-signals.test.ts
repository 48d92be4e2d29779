/** Signals to the processes of a mount: some end it, and none loses data that is not written back. */
import { readdirSync, readFileSync, readlinkSync, renameSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  type BackgroundMount,
  backgroundMount,
  DATA,
  type HeldServer,
  heldServer,
  leaveUnwritten,
} from '../support/held-mount.js';
import { mustRun, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { watchersOf } from '../support/watchers.js';
import { product } from './support/product.js';

// These tests mostly wait.
t.jobs = 2;

/** Signals that end a process by default, except those for a fault of the process (SIGSEGV …). */
const NAMED: readonly NodeJS.Signals[] = [
  ...(['SIGHUP', 'SIGQUIT', 'SIGALRM', 'SIGUSR1', 'SIGUSR2', 'SIGVTALRM', 'SIGPROF', 'SIGIO'] as const),
  ...(['SIGXCPU', 'SIGXFSZ', 'SIGPWR', 'SIGSTKFLT', 'SIGPIPE'] as const),
];
/** kill(1) knows real-time signals by number. The C library keeps the lower ones for itself. */
const REAL_TIME = Array.from({ length: 30 }, (_, index) => 35 + index);
const MEANINGLESS = [...NAMED.map((name) => constants.signals[name]), ...REAL_TIME];

async function ground(
  t: Test,
  args: readonly string[] = [],
): Promise<HeldServer & { mount: BackgroundMount }> {
  const where = await heldServer(t);
  return { ...where, mount: await backgroundMount(t, where, args) };
}

const sendAll = (pid: number) =>
  mustRun(['sh', '-c', `for signal in ${MEANINGLESS.join(' ')}; do kill -"$signal" ${pid} || exit 1; done`]);

/** Whether a process listens on any port, as Node's inspector does. */
function listens(pid: number): boolean {
  const table =
    readFileSync(`/proc/${pid}/net/tcp`, 'latin1') + readFileSync(`/proc/${pid}/net/tcp6`, 'latin1');
  const LISTEN = '0A';
  const listening = table
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state]) => state === LISTEN)
    .map((fields) => `socket:[${fields[9]}]`);
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return listening.includes(readlinkSync(`/proc/${pid}/fd/${fd}`));
    } catch {
      return false;
    }
  });
}

/** Whether a process has a handler for a signal. Node first of all makes some. */
function catches(pid: number, signal: number): boolean {
  const [, mask = '0'] = /^SigCgt:\s*(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

/** When the process has answered, earlier signals have had their effect, too. */
async function isUnharmed(t: Test, mount: BackgroundMount): Promise<void> {
  await mount.stats();
  await mount.stats();
  t.ok(mount.isRunning, 'the process lives');
  t.ok(mount.isMounted, 'and is mounted');
}

t.test('signals that mean nothing to a mount in the background lose nothing that is unwritten', async (t) => {
  const where = await ground(t);
  const { mount, proxy } = where;
  await leaveUnwritten(t, where, mount, 'file');
  await sendAll(mount.pid);
  await isUnharmed(t, mount);
  t.notOk(listens(mount.pid), 'the port of the inspector is not open');
  proxy.release();
  t.equal((await mount.nfsFuse('umount', mount.path)).status, 0);
  t.ok(where.served('file').equals(DATA), 'the data is there');
});

t.test('SIGUSR1 leaves no port open, at whatever moment of the start it comes', async (t) => {
  const where = await heldServer(t);
  const { place, source } = where;
  const path = join(place.folder, 'mnt');
  await mustRun(['mkdir', path]);
  const target = `${source.host}:${source.exportPath}`;
  const mounting = untilEnd(
    t,
    start([...product, 'mount', '-f', '-o', source.mountOptions.join(','), target, path]),
  );
  while (!mounting.output.includes('is mounted on')) {
    if (mounting.outcome !== undefined) throw new Error(mounting.output);
    if (catches(mounting.pid, constants.signals.SIGUSR1)) mounting.child.kill('SIGUSR1');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await until('no port is open', () => !listens(mounting.pid));
  mounting.child.kill('SIGTERM');
  t.match(await mounting.ended, { status: 0 });
});

t.test('after SIGHUP a mount in the background and its watcher go on in a new log file', async (t) => {
  const where = await heldServer(t);
  const log = join(where.place.folder, 'log');
  const mount = await backgroundMount(t, where, ['--log-file', log, '--debug=rpc']);
  renameSync(log, `${log}.1`);
  process.kill(mount.pid, 'SIGHUP');
  const content = () => {
    try {
      return readFileSync(log, 'utf8');
    } catch {
      return '';
    }
  };
  await until('the new file is written to', async () => {
    await mustRun(['ls', mount.path]);
    await mount.stats();
    await mustRun(['touch', join(mount.path, 'file')]);
    return content().includes('rpc: > NFS');
  });
  t.match(readFileSync(`${log}.1`, 'utf8'), /is mounted on/);
  process.kill(mount.pid, 'SIGKILL');
  const died = `The process ${mount.pid} that served ${mount.path} died`;
  await until('the death is told', () => content().includes(died));
  t.notMatch(readFileSync(`${log}.1`, 'utf8'), /died/);
});

t.test('after SIGHUP a mount goes on in its old log file if the new one cannot be opened', async (t) => {
  const where = await heldServer(t);
  const folder = join(where.place.folder, 'logs');
  await mustRun(['mkdir', folder]);
  const log = join(folder, 'log');
  const mount = await backgroundMount(t, where, ['--log-file', log]);
  renameSync(folder, `${folder}.old`);
  process.kill(mount.pid, 'SIGHUP');
  const old = join(`${folder}.old`, 'log');
  await until('it says so', () => /log cannot be opened \(ENOENT\)/.test(readFileSync(old, 'utf8')));
  await isUnharmed(t, mount);
});

t.test('SIGTERM ends a mount in the background after everything is written back', async (t) => {
  const where = await ground(t);
  const { mount, proxy } = where;
  await leaveUnwritten(t, where, mount, 'file');
  process.kill(mount.pid, 'SIGTERM');
  proxy.release();
  await until('it has ended', () => !mount.isRunning);
  t.ok(where.served('file').equals(DATA), 'the data is there');
  t.notOk(mount.isMounted);
});

t.test('the watcher outlives signals, and takes a dead mount away afterwards', async (t) => {
  const { mount } = await ground(t, ['--no-keep']);
  const [watcher = 0, ...more] = watchersOf(mount.path);
  t.same(more, [], 'one watcher');
  await sendAll(watcher);
  t.same(watchersOf(mount.path), [watcher]);
  process.kill(mount.pid, 'SIGKILL');
  await until('the mount is taken away', () => !mount.isMounted);
});
