/** A mount in the foreground tells its service manager how it is (sd_notify(3)). */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ServiceManager } from '../../lib/mount/manager/service-manager.js';
import { ServeCommand } from '../support/embedded.js';
import { publicFolder } from '../support/folders.js';
import { Mount, mountsOf } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { mustRun, run, start, until } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const RECEIVER = join(projectRoot, 'test/mount/notified.py');
const WATCHDOG = { WATCHDOG_USEC: '200000' };

/** A manager's socket, and the messages that came so far. */
async function manager(t: Test, address: string) {
  const receiver = untilEnd(t, start([python, RECEIVER, address]));
  await until('it listens', () => receiver.output.includes('listens\n'));
  return {
    messages: () =>
      receiver.output
        .split('\n')
        .filter((line) => line.startsWith('"'))
        .map((line) => JSON.parse(line) as string),
  };
}

const place = untilEnd(t, await openPlace('root'));
const server = untilEnd(t, await ServeCommand.start(place));

t.test('ready, alive, another process, the end', { timeout: 120_000 }, async (t) => {
  const address = join(untilEnd(t, publicFolder()).path, 'notify');
  const { messages } = await manager(t, address);
  const env = { NOTIFY_SOCKET: address, ...WATCHDOG };
  const mount = untilEnd(t, await Mount.start({ source: server, place, env }));
  await mount.served();
  const ready = () => messages().filter((text) => text.startsWith('READY=1\n'));
  await until('it is ready', () => ready().length === 1);
  const [first = ''] = ready();
  t.match(first, /^READY=1\nMAINPID=\d+\nSTATUS=127\.0\.0\.1:\S+ is mounted on \S+\.$/);
  const pulses = () => messages().filter((text) => text === 'WATCHDOG=1').length;
  await until('the watchdog is fed', () => pulses() >= 3);

  await mustRun(place.command([...place.product, 'restart', mount.path]), { cwd: '/' });
  await until('the other process is ready', () => ready().length === 2);
  const next = /^MAINPID=(\d+)$/m.exec(ready()[1] ?? '')?.[1];
  await until('the first one has named it', () => messages().includes(`MAINPID=${next}`));
  t.not(next, /^MAINPID=(\d+)$/m.exec(first)?.[1]);
  const before = pulses();
  await until('and feeds the watchdog', () => pulses() >= before + 3);

  await mustRun(place.command([...place.product, 'umount', mount.path]), { cwd: '/' });
  t.notMatch(
    messages().join('\n'),
    /STOPPING/,
    'an unmount is an end that nobody has asked this process for',
  );
});

t.test('SIGTERM is answered before data is written back', { timeout: 60_000 }, async (t) => {
  // A name in the abstract namespace.
  const address = `@nfs-fuse-test-${process.pid}`;
  const { messages } = await manager(t, address);
  const mount = untilEnd(t, await Mount.start({ source: server, place, env: { NOTIFY_SOCKET: address } }));
  await until('it is ready', () => messages().length === 1);
  const pid = Number(/^MAINPID=(\d+)$/m.exec(messages()[0] ?? '')?.[1]);
  process.kill(pid, 'SIGTERM');
  await until('it stops', () => messages().some((text) => text.startsWith('STOPPING=1\n')));
  await until('it has ended', () => mount.outcome !== undefined);
  t.equal(mount.outcome?.status, 0);
  t.notMatch(messages().join('\n'), /WATCHDOG/, 'nobody has asked for a watchdog');
});

t.test(
  'a death that the manager has seen is the end of the mount, in good order',
  { timeout: 60_000 },
  async (t) => {
    const address = join(untilEnd(t, publicFolder()).path, 'notify');
    const { messages } = await manager(t, address);
    const mount = untilEnd(t, await Mount.start({ source: server, place, env: { NOTIFY_SOCKET: address } }));
    await until('it is ready', () => messages().length === 1);
    // systemd signals the processes that there are at this moment, and waits for the end of all of them.
    process.kill(Number(/^MAINPID=(\d+)$/m.exec(messages()[0] ?? '')?.[1]), 'SIGKILL');
    await until('the next process stops', () => messages().some((text) => text.startsWith('STOPPING=1\n')));
    await until('it is unmounted', () => !mountsOf(process.pid).some(({ path }) => path === mount.path));
  },
);

t.test('the command of exec has the manager for itself', { timeout: 60_000 }, async (t) => {
  const address = join(untilEnd(t, publicFolder()).path, 'notify');
  const { messages } = await manager(t, address);
  const mountpoint = untilEnd(t, publicFolder()).path;
  const target = `${server.host}:${server.exportPath}`;
  const exec = ['exec', '-o', server.mountOptions.join(','), target, mountpoint, '--'];
  const command = ['sh', '-c', 'echo "$NOTIFY_SOCKET"'];
  const env = ['env', `NOTIFY_SOCKET=${address}`];
  const outcome = await run(place.command([...env, ...place.product, ...exec, ...command]), { cwd: '/' });
  t.equal(outcome.stdout.toString(), `${address}\n`);
  t.same(messages(), []);
});

t.test('a manager that is not there keeps nobody from mounting', { timeout: 60_000 }, async (t) => {
  const env = { NOTIFY_SOCKET: '/nonexistent/socket' };
  const mount = untilEnd(t, await Mount.start({ source: server, place, env }));
  await mount.served();
});

t.test('a message that finds a full queue is sent again', async (t) => {
  t.equal(ServiceManager.of({}), undefined);
  t.equal(ServiceManager.of({ NOTIFY_SOCKET: 'vsock:2:1' }), undefined);
  const sent: string[] = [];
  let tries = 0;
  const one = ServiceManager.of({ NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: 'often' }, (to, message) => {
    tries += 1;
    if (tries < 3) return 'busy';
    sent.push(`${to} ${message}`);
    return 'sent';
  });
  one?.ready('two\nlines');
  const keepAlive = setInterval(() => {}, 10);
  await until('it has gone', () => sent.length > 0);
  clearInterval(keepAlive);
  t.same(sent, [`/run/notify READY=1\nMAINPID=${process.pid}\nSTATUS=two\\nlines`]);
});
