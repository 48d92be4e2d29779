/** Questions that a driver would not ask: a mounter answers them, and they harm nobody. */
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { openPlace } from '../support/places.js';
import { mustRun, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { Driver } from './support/csi-client.js';
import { ask, Mounter } from './support/mounter.js';

const place = untilEnd(t, await openPlace('root'));
const mounter = untilEnd(t, await new Mounter(place, join(place.folder, 'states')).start());
const { socket } = mounter;
const nothing = openSync('/dev/null', 'r');
t.teardown(() => closeSync(nothing));

const serve = (change: object = {}) => ({
  serve: { place: '/place', target: 'server:/export', options: ['ro'], ...change },
});
const settle = { settle: { place: '/place' } };

t.test('words that no program can be given are no question', async (t) => {
  for (const change of [
    { options: ['x-a\0b'] },
    { target: 'server:/\0' },
    { place: '/\0' },
    { options: [7] },
  ])
    t.match(await ask(socket, serve(change), nothing), { failed: /no question/ });
  t.match(await ask(socket, settle), { done: true }, 'it goes on');
});

t.test('a descriptor that is no mount fails in the words of nfs-fuse mount', async (t) => {
  t.match(await ask(socket, serve(), nothing), { failed: /descriptor 3 is not \/dev\/fuse/i });
  t.match(await ask(socket, serve()), { failed: /No descriptor has come along/ });
  t.match(await ask(socket, settle), { done: true }, 'nothing of it is left');
});

t.test('descriptors that nobody asked for are not kept', async (t) => {
  const open = () => readdirSync(`/proc/${mounter.pid}/fd`).length;
  const before = open();
  const script = [
    'import json, os, socket, sys',
    'link = socket.socket(socket.AF_UNIX)',
    'link.connect(sys.argv[1])',
    'files = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]',
    'socket.send_fds(link, [b"."], files)',
    'link.sendall((sys.argv[2] + "\\n").encode())',
    'print(json.loads(link.makefile().readline()))',
  ];
  const asked = ['python3', '-c', script.join('\n'), socket];
  for (let time = 0; time < 5; time++) {
    t.match(await mustRun([...asked, JSON.stringify(settle)]), /done/);
    t.match(await mustRun([...asked, JSON.stringify(serve())]), /descriptor 3 is not/i);
    t.match(await mustRun([...asked, '{}']), /no question/);
  }
  await until('all of them are closed', () => open() <= before);
});

t.test('half a question is not waited for', async (t) => {
  const links = ['', '.', '.{"settle":'].map((words) => {
    const link = connect(socket);
    link.write(words);
    return link;
  });
  await Promise.all(links.map((link) => once(link.resume(), 'close')));
  t.match(await ask(socket, settle), { done: true });
});

t.test('more callers than the process has descriptors for harm nobody else', async (t) => {
  const driver = await Driver.start(t, place, ['--controller']);
  for (const [pid, path, question] of [
    [driver.pid, driver.socket, () => driver.client.call('Identity', 'Probe')],
    [mounter.pid, socket, () => ask(socket, settle)],
  ] as const) {
    await mustRun(['prlimit', '--pid', String(pid), '--nofile=64:']);
    const links = Array.from({ length: 100 }, () => connect(path).on('error', () => {}));
    await Promise.any(links.map((link) => once(link.resume(), 'close')));
    for (const link of links) link.destroy();
    await mustRun(['prlimit', '--pid', String(pid), '--nofile=1024:']);
    const answers = () =>
      question().then(
        (answer) => answer !== undefined,
        () => false,
      );
    await t.resolves(until('it answers', answers), path);
  }
});

t.test(
  'states of a mounter that was killed are removed by the next one, unless a mount holds them',
  async (t) => {
    const states = join(place.folder, 'states');
    const folders = () => readdirSync(states).sort();
    const [killed = ''] = folders();
    t.equal(folders().length, 1);
    const another = untilEnd(t, await new Mounter(place, states, 'another').start());
    t.equal(folders().length, 2, 'one of a mounter that lives is left alone');
    mounter.signal('SIGKILL');
    await mounter.ended;
    const held = join(states, 'nfs-fuse-states-held');
    mkdirSync(held);
    writeFileSync(join(held, 'state'), '');
    const holder = untilEnd(
      t,
      start(['flock', join(held, 'state'), 'sh', '-c', 'echo held; exec sleep infinity']),
    );
    await until('the state is held', () => holder.output.includes('held'));
    await mounter.start();
    t.notOk(folders().includes(killed));
    t.ok(folders().includes('nfs-fuse-states-held'));
    await holder.stop();
    another.signal('SIGTERM');
    t.match(await another.ended, { status: 0 });
    mounter.signal('SIGTERM');
    t.match(await mounter.ended, { status: 0 });
    t.same(folders(), ['nfs-fuse-states-held']);
  },
);
