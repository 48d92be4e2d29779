/** The control socket of a mount: only the right process and user can use it, and every waiting command learns the end. */
import { readdirSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { dirname } from 'node:path';
import t, { type Test } from 'tap';
import { askStats, type MountControl, reachMount, type Wanted } from '../../lib/mount/reach/mount-control.js';
import { type MountAnswers, MountLink } from '../../lib/mount/serve/mount-link.js';
import { publicFolder } from '../support/folders.js';
import { start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

/** No mount has this major number. */
const MAJOR = 100_000 + process.pid;

const scratch = publicFolder();
process.env.XDG_RUNTIME_DIR = scratch.path;
t.teardown(() => scratch.remove());

const mountOf = (minor: number): Wanted => ({
  major: MAJOR,
  minor,
  superOptions: `rw,user_id=${process.geteuid?.()}`,
});

const answers = (mount: string, more: Partial<MountAnswers> = {}): MountAnswers => ({
  stats: () => ({ mount }),
  writeBack: () => Promise.resolve([`${mount} lost something`]),
  isStillMounted: () => Promise.resolve(false),
  untoldLosses: () => 2,
  giveUp: () => {},
  restart: () => Promise.reject(new Error('not asked here')),
  quotas: () => Promise.reject(new Error('not asked here')),
  ...more,
});

async function reached(t: Test, minor: number): Promise<MountControl> {
  const control = await reachMount(mountOf(minor));
  if (control === undefined) throw new Error('nobody is there');
  t.teardown(() => control.close());
  return control;
}

/** The socket of a mount, as the kernel lists it. */
function socketPath(minor: number): string {
  const folder = `${scratch.path}/nfs-fuse`;
  const name = readdirSync(folder).find((file) => file.startsWith(`${MAJOR}:${minor}.`));
  return `${folder}/${name}`;
}

t.test(
  'the next mount gets the name as soon as the mount is gone, and a waiting command still learns the end',
  async (t) => {
    const first = await MountLink.open(MAJOR, 1, answers('first'));
    const watch = await (await reached(t, 1)).watch();
    t.same(await askStats(mountOf(1)), { mount: 'first' });
    first.releaseName();
    const second = await MountLink.open(MAJOR, 1, answers('second'));
    t.same(await askStats(mountOf(1)), { mount: 'second' });
    await first.close({ status: 1, message: 'lost' });
    t.match(await watch?.ended, { status: 1, message: 'lost' });
    t.same(await askStats(mountOf(1)), { mount: 'second' }, 'the end of the first leaves the second alone');
    await second.close({ status: 0 });
    t.equal(await askStats(mountOf(1)), undefined);
  },
);

t.test('a command that connects while the mount goes away gets an answer', async (t) => {
  const link = await MountLink.open(MAJOR, 2, answers('only'));
  const control = await reached(t, 2);
  const watching = control.watch();
  link.releaseName();
  const watch = await watching;
  await link.close({ status: 0 });
  t.match(await watch?.ended, { status: 0 });
});

t.test('the commands that order a write-back and that wait for the end learn of lost data', async (t) => {
  let ordered = (): void => {};
  const order = new Promise<void>((resolve) => {
    ordered = resolve;
  });
  const link = await MountLink.open(MAJOR, 3, answers('mount', { giveUp: ordered }));
  const control = await reached(t, 3);
  t.same(await control.writeBack(), ['mount lost something']);
  const watch = await control.watch();
  await control.orderToGiveUp();
  await order;
  const lost = { bytes: 1, files: 1, largest: [{ path: '/file', bytes: 1 }] };
  await link.close({ status: 1, lost });
  t.match(await watch?.ended, { status: 1, lost, untold: 2 });
  t.equal(await control.writeBack(), undefined, 'nobody is there');
});

t.test('a mount that lives on elsewhere writes back, and says that it lives on', async (t) => {
  const link = await MountLink.open(MAJOR, 4, answers('copy', { isStillMounted: async () => true }));
  const control = await reached(t, 4);
  t.same(await control.unmounted(), { stillMounted: true, losses: ['copy lost something'], untold: 2 });
  await link.close({ status: 0 });
});

t.test('the socket lies in a folder that only its owner may enter', async (t) => {
  const link = await MountLink.open(MAJOR, 5, answers('private'));
  const path = socketPath(5);
  t.ok(statSync(path).isSocket());
  t.equal(statSync(dirname(path)).mode & 0o777, 0o700);
  t.equal(statSync(dirname(path)).uid, process.geteuid?.());
  await link.close({ status: 0 });
  t.throws(() => statSync(path), /ENOENT/, 'the socket goes with the mount');
});

t.test('silent connections keep no caller out, and end no connection that waits', async (t) => {
  const link = await MountLink.open(MAJOR, 6, answers('crowded'));
  const watch = await (await reached(t, 6)).watch();
  const path = socketPath(6);
  const crowd = untilEnd(
    t,
    start([
      process.execPath,
      '-e',
      `for (let i = 0; i < 300; i++) require('node:net').connect(process.argv[1]).on('error', () => {});
     setTimeout(() => console.log('connected'), 0); setInterval(() => {}, 1000)`,
      path,
    ]),
  );
  await until('they are there', () => crowd.output.includes('connected'));
  for (let i = 0; i < 20; i++) t.same(await askStats(mountOf(6)), { mount: 'crowded' });
  await link.close({ status: 0, message: 'end' });
  t.match(await watch?.ended, { status: 0, message: 'end' });
});

t.test('a caller that asks and never reads the answers is disconnected', async (t) => {
  const big = { text: 'x'.repeat(100_000) };
  const link = await MountLink.open(MAJOR, 7, answers('flooded', { stats: () => big }));
  const socket: Socket = connect(socketPath(7));
  socket.on('error', () => {});
  socket.pause();
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const asking = setInterval(() => socket.write('stats\n'), 5);
  await new Promise<void>((resolve) => {
    socket.once('error', () => resolve());
  });
  clearInterval(asking);
  await closed;
  t.same(await askStats(mountOf(7)), big, 'others are served');
  await link.close({ status: 0 });
});

t.test('unknown questions end the connection', async (t) => {
  const link = await MountLink.open(MAJOR, 8, answers('odd'));
  for (const question of ['nonsense\n', 'x'.repeat(1000)]) {
    const socket = connect(socketPath(8));
    socket.on('error', () => {});
    socket.resume();
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.write(question);
    await closed;
  }
  t.same(await askStats(mountOf(8)), { mount: 'odd' });
  await link.close({ status: 0 });
});
