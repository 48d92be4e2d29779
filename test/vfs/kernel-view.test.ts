import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import { ObjectRequests } from '../../lib/vfs/attributes/object-requests.js';
import type { Inode } from '../../lib/vfs/cache/inode.js';
import { Bench, O_RDONLY, O_RDWR, outcome } from './support/bench.js';

const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

/** Looks a file up, so that the kernel knows it: its attributes come with the reply. */
async function known(bench: Bench, name: string) {
  const inode = await bench.walk(name);
  bench.notices.length = 0;
  return inode;
}

t.test('open(2) makes the kernel forget a size that it learnt without opening the file', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'one');
  const inode = await known(bench, 'f');
  await bench.pass(10);
  bench.server.tree.write('f', 'one and two');
  await bench.files.open(inode, O_RDONLY, bench.caller());
  t.ok(bench.notices.includes(`attributes ${inode.nodeid}`));
});

t.test('open(2) of a file that is as the kernel knows it tells the kernel nothing', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'one');
  const inode = await known(bench, 'f');
  for (const flags of [O_RDONLY, O_RDWR]) await bench.files.open(inode, flags, bench.caller());
  t.same(bench.notices, []);
});

t.test('a kernel that does not know the inode yet is told again', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'one');
  const inode = await known(bench, 'f');
  const { invalidateAttributes } = bench.vfs.kernel.notifier;
  let knows = false;
  bench.vfs.kernel.notifier = {
    ...bench.vfs.kernel.notifier,
    invalidateAttributes: (nodeid) => invalidateAttributes(nodeid) && knows,
  };
  await bench.pass(10);
  bench.server.tree.write('f', 'one and two');
  await bench.files.open(inode, O_RDONLY, bench.caller());
  const once = bench.notices.length;
  knows = true;
  await bench.files.open(inode, O_RDONLY, bench.caller());
  t.equal(bench.notices.length, once + 1);
  await bench.files.open(inode, O_RDONLY, bench.caller());
  t.equal(bench.notices.length, once + 1, 'and no more once it has been told');
});

t.test('attributes that come while the kernel asks for them are no reason for a notification', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'one');
  const inode = await known(bench, 'f');
  await bench.pass(10);
  bench.server.tree.write('f', 'one and two');
  await bench.vfs.kernel.answer(inode, () => bench.vfs.current.fetch(inode, bench.caller()));
  t.same(bench.notices, []);
  await bench.pass(10);
  bench.server.tree.chmod('f', 0o600);
  await bench.vfs.current.fetch(inode, bench.caller());
  t.ok(bench.notices.includes(`attributes ${inode.nodeid}`), 'where another call brings them, they are');
});

t.test('the kernel insists only where it was told, and has no reason to doubt it', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'one');
  const inode = await known(bench, 'f');
  const { kernel } = bench.vfs;
  const [root, owner, stranger] = [bench.caller(0), bench.caller(inode.attributes?.uid), bench.caller(77)];
  t.equal(kernel.insists(inode, root), true);
  kernel.doubts(inode);
  for (const caller of [root, owner])
    t.equal(kernel.insists(inode, caller), true, 'after a read, a program may want the word of the server');
  t.equal(kernel.insists(inode, stranger), true, 'and the kernel may be about to refuse a stranger');
  const directory = bench.root;
  bench.vfs.replies.attributes(directory, await bench.vfs.current.fetch(directory, root));
  kernel.doubts(directory);
  t.equal(kernel.insists(directory, root), false, 'a listing is no reason');
  const attributes = await bench.vfs.current.fetch(inode, bench.caller());
  bench.vfs.replies.attributes(inode, attributes);
  t.equal(kernel.insists(inode, root), true);
  await bench.pass(3_000);
  t.equal(kernel.insists(inode, root), false, 'once the time has run out');
  bench.vfs.replies.attributes(inode, attributes);
  kernel.forget(inode);
  t.equal(kernel.insists(inode, root), false, 'once it was told to ask');
});

t.test("another client's change of a directory voids the names that the kernel knows in it", async (t) => {
  const bench = new Bench();
  for (const name of ['a', 'b']) bench.server.tree.file(name);
  await bench.vfs.current.fetch(bench.root, bench.caller());
  await known(bench, 'a');
  await known(bench, 'b');
  await bench.names.lookup(bench.root, bytes('missing'), bench.caller());
  await bench.pass(10);
  bench.server.tree.file('c');
  bench.notices.length = 0;
  await bench.walk('c');
  t.same(
    bench.notices.filter((notice) => notice.startsWith('expire')),
    ['expire 1 a,b,missing'],
  );
  bench.notices.length = 0;
  await bench.making.create(bench.root, bytes('ours'), 0o644, false, bench.caller());
  t.same(
    bench.notices.filter((notice) => notice.startsWith('expire')),
    [],
    'a change of our own does not',
  );
});

t.test('a path walk through a link goes on once the kernel has taken the changed names', async (t) => {
  const bench = new Bench();
  bench.server.tree.symlink('link', 'missing');
  await bench.vfs.current.fetch(bench.root, bench.caller());
  await bench.names.lookup(bench.root, bytes('missing'), bench.caller());
  await bench.pass(10);
  bench.server.tree.file('missing');
  let taken = () => {};
  const taking = new Promise<void>((resolve) => {
    taken = resolve;
  });
  bench.vfs.kernel.notifier = { ...bench.vfs.kernel.notifier, expireEntries: () => taking };
  const walk = bench.walk('link');
  // The lookup may hold the lock that the notification waits for.
  await bench.pass(10);
  const objects = new ObjectRequests(bench.vfs, bench.files);
  const target = objects.target(await walk, bench.caller());
  t.equal(await outcome(target), 'pending', 'the notification has not come through');
  taken();
  t.equal(Buffer.from(await target).toString(), 'missing');
});

for (const [by, ask] of Object.entries({
  GETATTR: (bench: Bench, inode: Inode) =>
    bench.vfs.kernel.answer(inode, () => bench.vfs.current.fetch(inode, bench.caller())),
  LOOKUP: (bench: Bench) => bench.names.lookup(bench.root, bytes('f'), bench.caller()),
})) {
  t.test(`no notification overtakes the attributes that the kernel is waiting for: ${by}`, async (t) => {
    const bench = new Bench();
    bench.server.tree.file('f', 'one');
    const { inode, fh } = await bench.open('f');
    await bench.read(fh, 0, 10);
    const seen = async (change: () => void) => {
      await bench.pass(30_001);
      bench.notices.length = 0;
      change();
      await ask(bench, inode);
      return bench.notices.filter((notice) => !notice.startsWith('expire'));
    };
    t.same(await seen(() => bench.server.tree.write('f', 'longer')), [], 'the kernel drops its pages itself');
    t.same(await seen(() => bench.server.tree.chmod('f', 0o600)), []);
    t.same(
      await seen(() => bench.server.tree.write('f', 'LONGER')),
      [`pages ${inode.nodeid} 0`],
      'old data would be served for new otherwise',
    );
  });
}

t.test('a name that the kernel need not ask for is asked of the server', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'x');
  await bench.vfs.current.fetch(bench.root, bench.caller());
  await known(bench, 'f');
  bench.server.forgetCalls();
  // O_EXCL and mkdir(2): the kernel would answer EEXIST by itself.
  await bench.names.lookup(bench.root, bytes('f'), bench.caller());
  t.equal(bench.server.names(), 'LOOKUP');
  bench.server.forgetCalls();
  await bench.walk('f');
  t.equal(bench.server.names(), '', 'and answered from memory where its own trust has run out');
});

t.test('a file that moved away makes the kernel repeat open(2)', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('log', 'first');
  const inode = await known(bench, 'log');
  await bench.pass(10);
  bench.server.tree.rename('log', 'log.1');
  bench.server.tree.file('log', 'second');
  const caller = bench.caller();
  t.equal(await outcome(bench.files.open(inode, O_RDONLY, caller)), Errno.ESTALE);
  const again = await bench.walk('log', caller);
  t.not(again, inode);
  await bench.files.open(again, O_RDONLY, caller);
  const moved = await bench.walk('log.1', caller);
  t.equal(moved, inode);
  await bench.files.open(moved, O_RDONLY, caller);
});

t.test('a file that keeps changing its names is opened at the second try all the same', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'x');
  const inode = await known(bench, 'f');
  const node = bench.server.tree.at('f');
  bench.server.tree.attach(bench.server.root, 'g', node);
  node.nlink = 2;
  const caller = bench.caller();
  for (const expected of ['ESTALE', 'ok']) {
    await bench.pass(10);
    bench.server.tree.chmod('f', expected === 'ok' ? 0o640 : 0o644);
    const opening = bench.files.open(inode, O_RDONLY, caller);
    if (expected === 'ok') await opening;
    else t.equal(await outcome(opening), Errno.ESTALE);
  }
});
