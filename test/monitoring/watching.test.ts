/** `nfs-fuse stats --interval`: reports come until they are enough, and say what happens to the mounts meanwhile. */
import t, { type Test } from 'tap';
import { nfsFuse, product, said } from '../cli/support/product.js';
import { embeddedMount } from '../support/embedded-mount.js';
import { backgroundMount, heldServer } from '../support/held-mount.js';
import { Mount } from '../support/mount.js';
import { run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

interface Line {
  readonly state: string;
  readonly mountpoint: string;
  readonly pid?: number;
  readonly sinceMount?: boolean;
  readonly newProcess?: boolean;
  readonly seconds?: number;
  readonly procedures?: readonly {
    readonly procedure: string;
    readonly operations: number;
    readonly rttMs: number;
  }[];
}

/** Watches in the background. */
function watching(t: Test, args: readonly string[]) {
  const watcher = untilEnd(
    t,
    start([...product, 'stats', '--json', '--interval', '0.1', ...args], { cwd: '/' }),
  );
  return {
    watcher,
    /** The reports so far about `mountpoint`. */
    about: (mountpoint: string): Line[] =>
      watcher.output
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Line)
        .filter((line) => line.mountpoint === mountpoint),
  };
}

const negative = ({ procedures = [], seconds = 1 }: Line) =>
  seconds <= 0 ||
  procedures.some((one) => Object.values(one).some((value) => typeof value === 'number' && value < 0));

t.test('the first report is since the mount, and the others are of their interval', async (t) => {
  const { mount, agent } = await embeddedMount(t);
  await agent.writeFile('file', Buffer.alloc(5_000, 'x'));
  const { watcher, about } = watching(t, [mount.path]);
  await until('two reports', () => about(mount.path).length >= 2);
  await agent.writeFile('other', Buffer.alloc(5_000, 'x'));
  const writesIn = ({ procedures = [] }: Line) =>
    procedures.find(({ procedure }) => procedure === 'WRITE')?.operations ?? 0;
  await until('the write is reported', () =>
    about(mount.path)
      .slice(1)
      .some((line) => writesIn(line) > 0),
  );
  watcher.signal('SIGINT');
  t.match(said(await watcher.ended), { status: 0, stderr: '' }, 'it ends in good order');
  const lines = about(mount.path);
  t.match(lines[0], { state: 'answers', sinceMount: true, newProcess: false, pid: mount.pid });
  t.ok(writesIn(lines[0] as Line) > 0);
  t.ok(lines.slice(1).every(({ sinceMount, newProcess }) => sinceMount === false && newProcess === false));
  t.same(lines.filter(negative), []);
});

t.test('so many reports as were asked for, as text', async (t) => {
  const { mount } = await embeddedMount(t);
  const { status, stdout, stderr } = await nfsFuse([
    'stats',
    '--interval',
    '0.1',
    '--count',
    '3',
    mount.path,
  ]);
  t.match({ status, stderr }, { status: 0, stderr: '' });
  const blocks = stdout.trimEnd().split('\n\n');
  t.equal(blocks.length, 3);
  for (const block of blocks)
    t.match(block, /^\d\d:\d\d:\d\d 127\.0\.0\.1:.* ops\/s, .*\nCall .*\nREAD .*\nWRITE /);
  t.match(blocks[0], / since the mount: /);
});

t.test('a new process is told, and the end of the mount', async (t) => {
  const { place, path, pid, nfsFuse } = await backgroundMount(t, await heldServer(t));
  await run(place.command(['ls', path]), { cwd: '/' });
  const { watcher, about } = watching(t, [path]);
  await until('it is watched', () => about(path).length > 1);
  t.match(said(await nfsFuse('restart', path)), { status: 0 });
  await until('the new process is told', () => about(path).some(({ newProcess }) => newProcess === true));
  const told = about(path).find(({ newProcess }) => newProcess === true);
  t.not(told?.pid, pid);
  t.match(said(await nfsFuse('umount', path)), { status: 0 });
  t.match(said(await watcher.ended), { status: 1, stderr: '' });
  t.match(about(path).at(-1), { state: 'gone' });
  t.same(about(path).filter(negative), []);
});

t.test(
  'of all mounts, one that comes is shown, one that is silent and one that goes are named',
  async (t) => {
    const { mount, source, place } = await embeddedMount(t);
    const { watcher, about } = watching(t, []);
    await until('the first is watched', () => about(mount.path).length > 1);
    const later = untilEnd(t, await Mount.start({ source, place }));
    await until('the later one is watched', () => about(later.path).some(({ state }) => state === 'answers'));
    later.signal('SIGSTOP');
    t.teardown(() => later.signal('SIGCONT'));
    const before = about(mount.path).length;
    await until('it is silent', () => about(later.path).at(-1)?.state === 'silent');
    t.ok(about(mount.path).length > before + 5, 'the other one was shown all the time');
    later.signal('SIGCONT');
    await until('it answers again', () => about(later.path).at(-1)?.state === 'answers');
    await later.unmount();
    await until('it is gone', () => about(later.path).at(-1)?.state === 'gone');
    const since = about(mount.path).length;
    await until('the first goes on', () => about(mount.path).length > since);
    watcher.signal('SIGTERM');
    t.match(said(await watcher.ended), { status: 0, stderr: '' });
  },
);

t.test('a reader that goes away ends it without a word', async (t) => {
  const { mount } = await embeddedMount(t);
  const script = '"$@" | head -n 1; set -- "$PIPESTATUS"; echo "status $1"';
  const command = [...product, 'stats', '--interval', '0.1', mount.path];
  const { status, stdout, stderr } = said(
    await run(['bash', '-c', script, 'bash', ...command], { cwd: '/', timeoutMs: 30_000 }),
  );
  t.match({ status, stderr }, { status: 0, stderr: '' });
  t.match(stdout, /since the mount.*\nstatus 0\n$/s);
});
