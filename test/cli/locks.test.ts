/** `nfs-fuse locks`, the step of `check` about locks, and what becomes of the locks of a mount that is killed. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { serverSteps } from '../../lib/check/server-steps.js';
import { ServerVisit } from '../../lib/check/server-visit.js';
import { examineAll, type Finding } from '../../lib/check/step.js';
import { parseMountRequest } from '../../lib/mount/options/mount-options.js';
import { LockStatus } from '../../lib/programs/nlm4/index.js';
import type { EmbeddedServer } from '../../lib/server/index.js';
import { Mount } from '../support/mount.js';
import { type Background, run, start, until } from '../support/process.js';
import { watchedServer } from '../support/two-mounts.js';
import { untilEnd } from '../support/until-end.js';
import { endWatchers } from '../support/watchers.js';
import { nfsFuse, type Said, said } from './support/product.js';

/** Locks a range of a file, says so, and keeps the lock. */
const HOLDER = `
import fcntl, struct, sys, time
path, start, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
file = open(path, 'r+')
print('asking', flush=True)
fcntl.fcntl(file, fcntl.F_SETLKW, struct.pack('hhqqi', fcntl.F_WRLCK, 0, start, length, 0))
print('locked', flush=True)
time.sleep(600)
`;

function holder(test: Test, { place, path }: Mount, from: number, length: number): Background {
  const argv = ['python3', '-c', HOLDER, join(path, 'file'), String(from), String(length)];
  const program = start(place.command(argv), { cwd: '/' });
  test.teardown(() => end(program));
  return program;
}

async function end(program: Background): Promise<void> {
  program.signal('SIGKILL');
  await program.ended;
}

const saysLocked = (background: Background): Promise<void> =>
  until('the lock is there', () => background.output.includes('locked'));

interface ToldLocks {
  readonly held: number;
  readonly waiting: number;
  readonly locks: readonly Record<string, unknown>[];
}

async function toldBy(mount: Mount): Promise<ToldLocks> {
  const { stdout } = await nfsFuse(['locks', '--json', mount.path]);
  return JSON.parse(stdout) as ToldLocks;
}

async function served(
  test: Test,
  args: readonly string[] = [],
): Promise<{ server: EmbeddedServer; a: Mount; b: Mount }> {
  const { server, directory, mount } = await watchedServer(test);
  writeFileSync(join(directory, 'file'), 'content');
  return { server, a: (await mount([], args)).mount, b: (await mount([], args)).mount };
}

t.test('locks shows which process holds which bytes of which file, and which waits', async (t) => {
  const { a, b } = await served(t);
  const first = holder(t, a, 0, 10);
  await saysLocked(first);
  const second = holder(t, b, 5, 0);
  await until('it waits', async () => (await toldBy(b)).waiting === 1);
  const shown = { path: '/file', kind: 'exclusive', flock: false, command: 'python3' };
  const told = await toldBy(a);
  t.match(told, { held: 1, waiting: 0 });
  t.match(told.locks[0], { ...shown, state: 'held', start: '0', end: '9', pid: first.pid });
  t.match((await toldBy(b)).locks[0], { ...shown, state: 'waiting', start: '5', end: null, pid: second.pid });
  const { stdout } = await nfsFuse(['locks', b.path]);
  t.match(stdout, /^waiting +exclusive +fcntl +5- +\d+ s +\d+ +python3 +\/file$/m);
});

t.test('a mount whose locks the kernel keeps says so', async (t) => {
  const { mount } = await watchedServer(t);
  const { mount: local } = await mount(['nolock']);
  const { stdout } = await nfsFuse(['locks', local.path]);
  t.match(stdout, /The kernel keeps the locks of this mount/);
});

t.test('locks of a mount that is killed, held and waited for, are free for others within 5 s', async (t) => {
  const { server, a, b } = await served(t, ['--no-keep']);
  const rival = holder(t, b, 100, 10);
  await saysLocked(rival);
  await saysLocked(holder(t, a, 0, 10));
  holder(t, a, 105, 1);
  await until('it waits', async () => (await toldBy(a)).waiting === 1);
  await a.kill();
  const killed = performance.now();
  const next = holder(t, b, 0, 10);
  await saysLocked(next);
  t.ok(performance.now() - killed < 5_000, 'the lock that was held');
  // The server would grant what waited to the dead mount, for ever.
  await end(rival);
  await saysLocked(holder(t, b, 100, 10));
  await end(next);
  await until('nothing waits at the server', () => server.locks.waiting === 0);
});

/** In the place of the mount, whose runtime folder has the notes. */
async function releaseLeft({ place, path }: Mount): Promise<Said> {
  return said(await run(place.command([...place.product, 'locks', '--release-left', path]), { cwd: '/' }));
}

t.test('left locks are released where the server wants a reserved port: by the watcher', async (t) => {
  const { server, directory, mount } = await watchedServer(t, { reservedPortsOnly: true });
  writeFileSync(join(directory, 'file'), 'content');
  const { mount: killed } = await mount(['resvport'], ['--no-keep']);
  await saysLocked(holder(t, killed, 0, 10));
  await killed.kill();
  await until('it is released', () => server.locks.held === 0);
});

t.test('left locks are released where the server wants a reserved port: by --release-left', async (t) => {
  const { server, directory, mount } = await watchedServer(t, { reservedPortsOnly: true });
  writeFileSync(join(directory, 'file'), 'content');
  const { mount: killed } = await mount(['resvport']);
  await saysLocked(holder(t, killed, 0, 10));
  endWatchers(killed.path);
  await killed.kill();
  t.equal(server.locks.held, 1, 'nobody has released it');
  t.match(await releaseLeft(killed), {
    status: 0,
    stdout: 'Released 1 lock.\n',
  });
  t.equal(server.locks.held, 0);
  t.match(await releaseLeft(killed), { stdout: 'Released 0 locks.\n' });
});

t.test('left locks that the server refuses to release stay noted, and that is said', async (t) => {
  const { server, directory, mount } = await watchedServer(t, { reservedPortsOnly: true });
  writeFileSync(join(directory, 'file'), 'content');
  const { mount: killed } = await mount(['resvport']);
  await saysLocked(holder(t, killed, 0, 10));
  endWatchers(killed.path);
  await killed.kill();
  server.faults.add({ procedure: 'UNLOCK', lockStatus: LockStatus.FAILED, times: 2 });
  for (const _attempt of [1, 2]) {
    const said = await releaseLeft(killed);
    t.match(said, { status: 1, stdout: /^The server keeps 1 lock: NLM4_FAILED\.$/m });
  }
  t.equal(server.locks.held, 1);
  t.match(await releaseLeft(killed), { status: 0 });
  t.equal(server.locks.held, 0);
});

t.test('the next mount at the same place releases what the watcher could not', async (t) => {
  const { server, directory, place, mount } = await watchedServer(t);
  writeFileSync(join(directory, 'file'), 'content');
  const { mount: first } = await mount();
  await saysLocked(holder(t, first, 0, 10));
  endWatchers(first.path);
  await first.kill();
  t.equal(server.locks.held, 1, 'nobody has released it');
  await first.close();
  const mountOptions = [`port=${server.port}`, `mountport=${server.port}`, `nlmport=${server.port}`];
  const source = { host: '127.0.0.1', exportPath: server.exportName, mountOptions };
  untilEnd(t, await Mount.start({ source, place, at: first.path }));
  await until('it is released', () => server.locks.held === 0);
});

t.test('an unmount in good order releases all locks, and leaves no note', async (t) => {
  const { server, directory, mount } = await watchedServer(t);
  writeFileSync(join(directory, 'file'), 'content');
  const { mount: first } = await mount();
  const program = holder(t, first, 0, 10);
  await saysLocked(program);
  await end(program);
  await until('the kernel has closed the file', () => server.locks.held === 0);
  await first.unmount();
});

async function lockStep(server: EmbeddedServer, options: string): Promise<Finding | undefined> {
  const { port, address } = server;
  const target = `${address}:${server.exportName}`;
  const visit = new ServerVisit(
    parseMountRequest(target, [`port=${port},mountport=${port}`, options]),
    10_000,
  );
  let last: Finding | undefined;
  for await (const finding of examineAll(serverSteps(visit), 40_000)) last = finding;
  await visit.leave();
  return last;
}

t.test('check tries a lock, and gives it back', async (t) => {
  const { server, directory } = await watchedServer(t);
  const options = `nlmport=${server.port}`;
  t.match(await lockStep(server, options), { result: 'ok', message: /no lock was tried/ });
  writeFileSync(join(directory, 'file'), '');
  t.match(await lockStep(server, options), { result: 'ok', message: /it granted a lock and took it back/ });
  t.equal(server.locks.held, 0);
  t.match(await lockStep(server, 'nolock'), { result: 'ok', message: /not asked/ });
});

t.test('check fails without a lock manager only where lock insists on one', async (t) => {
  const { server } = await watchedServer(t);
  // The discard port: nothing listens there.
  t.match(await lockStep(server, 'nlmport=9'), { result: 'warning', message: /does not answer on port 9/ });
  t.match(await lockStep(server, 'nlmport=9,lock'), { result: 'failure' });
});

/** Port 111 of an address that only this machine uses. */
const WITHOUT_PORTMAPPER = { host: '127.0.98.4' };

t.test('check warns where no portmapper can be asked for the lock manager', async (t) => {
  const { server } = await watchedServer(t, WITHOUT_PORTMAPPER);
  const finding = await lockStep(server, 'nlmport=0');
  t.match(finding, {
    result: 'warning',
    message: /cannot be asked for without a portmapper/,
    remedy: /nlmport=/,
  });
  t.match(await lockStep(server, 'lock'), { result: 'failure', remedy: /nlmport=/ });
});

t.test('a mount that cannot ask for the lock manager names nlmport', async (t) => {
  const { mount } = await watchedServer(t, WITHOUT_PORTMAPPER);
  const { mount: local } = await mount(['nlmport=0'], ['-f']);
  t.match(local.log, /cannot be asked for the lock manager, whose port nlmport= can name: locks exclude/);
});
