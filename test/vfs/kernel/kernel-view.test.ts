import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import type { Inode } from '../../../lib/vfs/cache/inode.js';
import { ObjectRequests } from '../../../lib/vfs/object-requests.js';
import { named } from '../support/named.js';
import { O_RDONLY, O_RDWR, outcome, Rig } from '../support/rig.js';

/** Looks a file up, so that the kernel knows it: its attributes come with the reply. */
async function known(rig: Rig, name: string) {
  const inode = await rig.walk(name);
  rig.notices.length = 0;
  return inode;
}

t.test('open(2) makes the kernel forget a size that it learnt without opening the file', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'one');
  const inode = await known(rig, 'f');
  await rig.pass(10);
  rig.server.tree.write('f', 'one and two');
  await rig.files.open(inode, O_RDONLY, rig.caller());
  t.ok(rig.notices.includes(`attributes ${inode.nodeid}`));
});

t.test('open(2) of a file that is as the kernel knows it tells the kernel nothing', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'one');
  const inode = await known(rig, 'f');
  for (const flags of [O_RDONLY, O_RDWR]) await rig.files.open(inode, flags, rig.caller());
  t.same(rig.notices, []);
});

t.test('a kernel that does not know the inode yet is told again', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'one');
  const inode = await known(rig, 'f');
  const { invalidateAttributes } = rig.vfs.kernel.notifier;
  let knows = false;
  rig.vfs.kernel.notifier = {
    ...rig.vfs.kernel.notifier,
    invalidateAttributes: (nodeid) => invalidateAttributes(nodeid) && knows,
  };
  await rig.pass(10);
  rig.server.tree.write('f', 'one and two');
  await rig.files.open(inode, O_RDONLY, rig.caller());
  const once = rig.notices.length;
  knows = true;
  await rig.files.open(inode, O_RDONLY, rig.caller());
  t.equal(rig.notices.length, once + 1);
  await rig.files.open(inode, O_RDONLY, rig.caller());
  t.equal(rig.notices.length, once + 1, 'and no more once it has been told');
});

t.test('attributes that come while the kernel asks for them are no reason for a notification', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'one');
  const inode = await known(rig, 'f');
  await rig.pass(10);
  rig.server.tree.write('f', 'one and two');
  await rig.vfs.kernel.answer(inode, () => rig.vfs.current.fetch(inode, rig.caller()));
  t.same(rig.notices, []);
  await rig.pass(10);
  rig.server.tree.chmod('f', 0o600);
  await rig.vfs.current.fetch(inode, rig.caller());
  t.ok(rig.notices.includes(`attributes ${inode.nodeid}`), 'where another call brings them, they are');
});

t.test('the kernel insists only where it was told, and has no reason to doubt it', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'one');
  const inode = await known(rig, 'f');
  const { kernel } = rig.vfs;
  const [root, owner, stranger] = [rig.caller(0), rig.caller(inode.attributes?.uid), rig.caller(77)];
  t.equal(kernel.insists(inode, root), true);
  kernel.doubts(inode);
  for (const caller of [root, owner])
    t.equal(kernel.insists(inode, caller), true, 'after a read, a program may want the word of the server');
  t.equal(kernel.insists(inode, stranger), true, 'and the kernel may be about to refuse a stranger');
  const directory = rig.root;
  rig.vfs.replies.attributes(directory, await rig.vfs.current.fetch(directory, root));
  kernel.doubts(directory);
  t.equal(kernel.insists(directory, root), false, 'a listing is no reason');
  const attributes = await rig.vfs.current.fetch(inode, rig.caller());
  rig.vfs.replies.attributes(inode, attributes);
  t.equal(kernel.insists(inode, root), true);
  await rig.pass(3_000);
  t.equal(kernel.insists(inode, root), false, 'once the time has run out');
  rig.vfs.replies.attributes(inode, attributes);
  kernel.forget(inode);
  t.equal(kernel.insists(inode, root), false, 'once it was told to ask');
});

t.test("another client's change of a directory voids the names that the kernel knows in it", async (t) => {
  const rig = new Rig();
  for (const name of ['a', 'b']) rig.server.tree.file(name);
  await rig.vfs.current.fetch(rig.root, rig.caller());
  await known(rig, 'a');
  await known(rig, 'b');
  await rig.lookup.entry(rig.root, named('missing'), rig.caller());
  await rig.pass(10);
  rig.server.tree.file('c');
  rig.notices.length = 0;
  await rig.walk('c');
  t.same(
    rig.notices.filter((notice) => notice.startsWith('expire')),
    ['expire 1 a,b,missing'],
  );
  rig.notices.length = 0;
  await rig.make.create(rig.root, named('ours'), 0o644, false, rig.caller());
  t.same(
    rig.notices.filter((notice) => notice.startsWith('expire')),
    [],
    'a change of our own does not',
  );
});

t.test('a path walk through a link goes on once the kernel has taken the changed names', async (t) => {
  const rig = new Rig();
  rig.server.tree.symlink('link', 'missing');
  await rig.vfs.current.fetch(rig.root, rig.caller());
  await rig.lookup.entry(rig.root, named('missing'), rig.caller());
  await rig.pass(10);
  rig.server.tree.file('missing');
  let taken = () => {};
  const taking = new Promise<void>((resolve) => {
    taken = resolve;
  });
  rig.vfs.kernel.notifier = { ...rig.vfs.kernel.notifier, expireEntries: () => taking };
  const walk = rig.walk('link');
  // The lookup may hold the lock that the notification waits for.
  await rig.pass(10);
  const objects = new ObjectRequests(rig.vfs, rig.files);
  const target = objects.target(await walk, rig.caller());
  t.equal(await outcome(target), 'pending', 'the notification has not come through');
  taken();
  t.equal(Buffer.from(await target).toString(), 'missing');
});

/** A file that is open and read, which another client has changed since; pages are dropped by `invalidatePages`. */
async function changedWhileOpen(invalidatePages: () => Promise<void>) {
  const rig = new Rig();
  rig.server.tree.file('f', 'one');
  const { inode, fh } = await rig.open('f');
  await rig.read(fh, 0, 10);
  await rig.pass(10);
  rig.server.tree.write('f', 'one and two');
  rig.vfs.kernel.notifier = { ...rig.vfs.kernel.notifier, invalidatePages };
  return { rig, inode };
}

for (const [how, act] of Object.entries({
  'open(2)': (rig: Rig, inode: Inode) => rig.files.open(inode, O_RDWR, rig.caller()),
  'readdir(3)': async (rig: Rig) => rig.list((await rig.directories.open(rig.root, rig.caller())).fh),
})) {
  t.test(`${how} returns once the pages are gone of a file that it shows to be changed`, async (t) => {
    let gone = () => {};
    const going = new Promise<void>((resolve) => {
      gone = resolve;
    });
    let dropped = 0;
    const { rig, inode } = await changedWhileOpen(() => {
      dropped++;
      return going;
    });
    const acting = act(rig, inode);
    // A kernel that asks for the size now would ignore the answer: the notification comes after the question.
    t.equal(await outcome(acting), 'pending');
    t.equal(dropped, 1);
    gone();
    await acting;
  });

  t.test(`${how} waits no longer than a tenth of a second for a kernel that keeps the pages`, async () => {
    const { rig, inode } = await changedWhileOpen(() => new Promise(() => {}));
    const acting = act(rig, inode);
    await outcome(acting);
    await rig.pass(100);
    await acting;
  });
}

for (const [by, ask] of Object.entries({
  GETATTR: (rig: Rig, inode: Inode) =>
    rig.vfs.kernel.answer(inode, () => rig.vfs.current.fetch(inode, rig.caller())),
  LOOKUP: (rig: Rig) => rig.lookup.entry(rig.root, named('f'), rig.caller()),
})) {
  t.test(`no notification overtakes the attributes that the kernel is waiting for: ${by}`, async (t) => {
    const rig = new Rig();
    rig.server.tree.file('f', 'one');
    const { inode, fh } = await rig.open('f');
    await rig.read(fh, 0, 10);
    const seen = async (change: () => void) => {
      await rig.pass(30_001);
      rig.notices.length = 0;
      change();
      await ask(rig, inode);
      return rig.notices.filter((notice) => !notice.startsWith('expire'));
    };
    t.same(await seen(() => rig.server.tree.write('f', 'longer')), [], 'the kernel drops its pages itself');
    t.same(await seen(() => rig.server.tree.chmod('f', 0o600)), []);
    t.same(
      await seen(() => rig.server.tree.write('f', 'LONGER')),
      [`pages ${inode.nodeid} 0`],
      'old data would be served for new otherwise',
    );
  });
}

t.test('a name that the kernel need not ask for is asked of the server', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'x');
  await rig.vfs.current.fetch(rig.root, rig.caller());
  await known(rig, 'f');
  rig.server.forgetCalls();
  // O_EXCL and mkdir(2): the kernel would answer EEXIST by itself.
  await rig.lookup.entry(rig.root, named('f'), rig.caller());
  t.equal(rig.server.names(), 'LOOKUP');
  rig.server.forgetCalls();
  await rig.walk('f');
  t.equal(rig.server.names(), '', 'and answered from memory where its own trust has run out');
});

t.test('a file that moved away makes the kernel repeat open(2)', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('log', 'first');
  const inode = await known(rig, 'log');
  await rig.pass(10);
  rig.server.tree.rename('log', 'log.1');
  rig.server.tree.file('log', 'second');
  const caller = rig.caller();
  t.equal(await outcome(rig.files.open(inode, O_RDONLY, caller)), Errno.ESTALE);
  const again = await rig.walk('log', caller);
  t.not(again, inode);
  await rig.files.open(again, O_RDONLY, caller);
  const moved = await rig.walk('log.1', caller);
  t.equal(moved, inode);
  await rig.files.open(moved, O_RDONLY, caller);
});

t.test('a file that keeps changing its names is opened at the second try all the same', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'x');
  const inode = await known(rig, 'f');
  const node = rig.server.tree.at('f');
  rig.server.tree.attach(rig.server.root, 'g', node);
  node.nlink = 2;
  const caller = rig.caller();
  for (const expected of ['ESTALE', 'ok']) {
    await rig.pass(10);
    rig.server.tree.chmod('f', expected === 'ok' ? 0o640 : 0o644);
    const opening = rig.files.open(inode, O_RDONLY, caller);
    if (expected === 'ok') await opening;
    else t.equal(await outcome(opening), Errno.ESTALE);
  }
});
