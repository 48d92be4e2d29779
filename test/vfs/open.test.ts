import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import { Credentials, concerning } from '../../lib/vfs/caller/caller.js';
import { Bench, O_RDONLY, O_RDWR, O_WRONLY, outcome, settled, TestContext } from './support/bench.js';

/** Far enough from the last change for the server's clock to have moved on. */
const LATER = 100;

t.test('opening asks once: ACCESS the first time, GETATTR when the rights are known', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'content');
  const caller = bench.caller();
  // Twice: the root had changed since it was mounted.
  await bench.walk('f', caller);
  await bench.walk('f', caller);
  bench.server.forgetCalls();
  await bench.open('f', O_RDONLY, caller);
  t.equal(bench.server.names(), 'ACCESS');
  bench.server.forgetCalls();
  await bench.open('f', O_RDONLY, caller);
  t.equal(bench.server.names(), 'GETATTR');
});

t.test('nocto: opening asks nothing while attributes are trusted', async (t) => {
  const bench = new Bench({ config: { closeToOpen: false } });
  bench.server.tree.file('f', 'content');
  await bench.open('f');
  await bench.open('f');
  bench.server.forgetCalls();
  await bench.open('f');
  t.equal(bench.server.names(), '');
});

t.test('rights are asked for again after another client changed them', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'content', 0o644);
  const stranger = bench.caller(2000);
  await bench.open('f', O_RDONLY, stranger);
  bench.server.tree.chmod('f', 0o600);
  t.equal(await outcome(bench.open('f', O_RDONLY, stranger)), Errno.EACCES);
});

t.test('rights are of one credential each', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'content', 0o600);
  await bench.open('f', O_RDWR, bench.caller(1000));
  t.equal(await outcome(bench.open('f', O_RDONLY, bench.caller(2000))), Errno.EACCES);
});

t.test('of many groups, the one that counts is shown, also when it is seen only in the reply', async (t) => {
  const bench = new Bench();
  const { server } = bench;
  const groups = Array.from({ length: 24 }, (_, i) => 100 + i);
  const credentials = new Credentials({ machineName: 'm', now: () => 0, groupsOf: () => groups });
  const caller = credentials.caller(new TestContext(2000, 1));
  const file = server.tree.file('f', 'content', 0o660);
  // The fake server knows no groups of its own.
  server.on('ACCESS', (args, answer) => {
    const result = answer() as { access: number };
    const member = server.calls.at(-1)?.groups.includes(file.gid) === true;
    return { ...result, access: member ? (args as { access: number }).access : 0 };
  });
  await bench.walk('f', caller);
  file.gid = 120;
  server.tree.changed(file);
  const { fh } = await bench.open('f', O_RDWR, caller);
  t.same(
    server.named('ACCESS').map((call) => call.groups.includes(120)),
    [false, true],
  );
  server.forgetCalls();
  await bench.read(fh, 0, 7);
  t.ok(server.named('READ')[0]?.groups.includes(120), 'what is read is read with the rights of the open');
  await bench.open('f', O_RDWR, concerning(caller, 120));
  t.equal(server.count('ACCESS'), 0, 'the answer is kept');
  file.gid = 9;
  server.tree.changed(file);
  t.equal(await outcome(bench.open('f', O_RDWR, caller)), Errno.EACCES);
});

t.test('root is whom the server says, not whom the mode bits say', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'content', 0o600);
  await bench.open('f', O_RDWR, bench.caller(0));
  const squashed = new Bench();
  squashed.server.squash = true;
  squashed.server.tree.file('f', 'content', 0o600);
  t.equal(await outcome(squashed.open('f', O_RDONLY, squashed.caller(0))), Errno.EACCES);
});

t.test('access(2) answers from what open learnt', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', '', 0o640);
  const inode = await bench.walk('f');
  const stranger = bench.caller(2000);
  t.equal(await outcome(bench.permission.check(inode, 4, stranger)), Errno.EACCES);
  bench.server.forgetCalls();
  t.equal(await outcome(bench.permission.check(inode, 0, stranger)), 'ok');
  t.equal(bench.server.names(), '');
  t.equal(await outcome(bench.permission.check(inode, 2, stranger)), Errno.EACCES);
  t.equal(bench.server.names(), 'ACCESS', 'nobody is refused because of what is remembered');
  bench.server.tree.chmod('f', 0o666);
  t.equal(await outcome(bench.permission.check(inode, 2, stranger)), 'ok');
  bench.server.forgetCalls();
  t.equal(await outcome(bench.permission.check(inode, 4, stranger)), 'ok');
  t.equal(bench.server.names(), '', 'what was granted is remembered');
});

t.test('rights that were asked for before a change of ours are not kept', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', '', 0o644);
  const inode = await bench.walk('f');
  const stranger = bench.caller(2000);
  const gate = bench.server.gate('ACCESS', 'reply');
  const asking = bench.permission.check(inode, 4, stranger);
  await settled();
  const none = {
    uid: undefined,
    gid: undefined,
    size: undefined,
    atime: undefined,
    mtime: undefined,
    fh: undefined,
  };
  await bench.files.setAttributes(inode, { ...none, mode: 0o600 }, bench.caller());
  gate.open();
  await asking;
  t.equal(await outcome(bench.permission.check(inode, 4, stranger)), Errno.EACCES);
});

t.test('an unchanged file keeps its pages over an open, a changed one does not', async (t) => {
  const bench = new Bench();
  const { server } = bench;
  server.tree.file('f', 'old');
  bench.clock.advance(LATER);
  const first = await bench.open('f');
  t.equal(first.keep, false, 'the kernel has none yet');
  await bench.pass(LATER);
  await bench.read(first.fh, 0, 10);
  await bench.files.release(first.fh);
  const second = await bench.open('f');
  t.equal(second.keep, true);
  await bench.files.release(second.fh);
  server.tree.write('f', 'new and longer');
  bench.notices.length = 0;
  const third = await bench.open('f');
  t.equal(third.keep, false);
  t.ok(bench.notices.includes(`attributes ${third.inode.nodeid}`), 'nor does the kernel go by the old size');
  t.equal((await bench.read(third.fh, 0, 100)).toString(), 'new and longer');
});

t.test('an open that learns of a change does not rely on pages being dropped some time', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'old');
  const first = await bench.open('f');
  await bench.pass(LATER);
  await bench.read(first.fh, 0, 10);
  let dropped = (): void => {};
  bench.vfs.kernel.notifier = {
    ...bench.vfs.kernel.notifier,
    invalidatePages: () =>
      new Promise((resolve) => {
        dropped = resolve;
      }),
  };
  const keeps = async () => {
    const opening = bench.open('f');
    // Its lookup gives the notification some time.
    await bench.pass(LATER);
    return (await opening).keep;
  };
  bench.server.tree.write('f', 'new');
  t.equal(await keeps(), false);
  bench.server.tree.write('f', 'newer');
  await bench.vfs.current.fetch(first.inode, bench.caller());
  await bench.pass(LATER);
  t.equal(await keeps(), false, 'the pages are still being dropped');
  dropped();
  await settled();
  t.equal(await keeps(), true);
});

t.test("two changes within one tick of the server's clock are not missed", async (t) => {
  const bench = new Bench();
  const { tree } = bench.server;
  tree.file('f', 'zero');
  const before = await bench.open('f');
  await bench.files.release(before.fh);
  await bench.pass(LATER);
  tree.write('f', 'aaaa');
  const first = await bench.open('f');
  t.equal((await bench.read(first.fh, 0, 10)).toString(), 'aaaa');
  await bench.files.release(first.fh);
  tree.tick = 0;
  tree.write('f', 'bbbb');
  const second = await bench.open('f');
  t.equal(second.keep, false);
  await bench.pass(LATER);
  t.equal((await bench.read(second.fh, 0, 10)).toString(), 'bbbb');
  await bench.files.release(second.fh);
  t.equal((await bench.open('f')).keep, true, 'what was read later cannot have changed unseen');
});

t.test('a rename or a link of ours does not drop the pages of a file', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'content');
  const first = await bench.open('f');
  await bench.pass(LATER);
  await bench.read(first.fh, 0, 10);
  await bench.files.release(first.fh);
  const bytes = (name: string) => Buffer.from(name);
  await bench.making.link(first.inode, bench.root, bytes('g'), bench.caller());
  t.equal((await bench.open('g')).keep, true, 'after LINK');
  await bench.removal.rename(bench.root, bytes('g'), bench.root, bytes('h'), 0, bench.caller());
  t.equal((await bench.open('h')).keep, true, 'after RENAME');
  const open = await bench.open('h');
  await bench.removal.unlink(bench.root, bytes('h'), bench.caller());
  await bench.pass(LATER);
  await bench.read(open.fh, 0, 5);
  t.equal((await bench.open('f')).keep, true, 'after a silly rename');
  await bench.removal.rename(bench.root, bytes('f'), bench.root, bytes('i'), 0, bench.caller());
  bench.server.tree.write('i', 'CONTENT');
  await bench.open('i');
  t.ok(
    bench.notices.includes(`pages ${first.inode.nodeid} 0`),
    "another client's write is seen all the same",
  );
});

t.test('what is open is counted: files and directories by inode, files by mount', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f');
  bench.server.tree.directory('d');
  const file = await bench.open('f');
  const again = await bench.open('f');
  const directory = await bench.walk('d');
  const gate = bench.server.gate('ACCESS');
  const opening = bench.directories.open(directory, bench.caller(3000));
  await settled();
  t.equal(directory.opens, 1, 'while it is being opened, too');
  gate.open();
  const { fh } = await opening;
  t.same([file.inode.opens, directory.opens, bench.vfs.open.files], [2, 1, 2]);
  bench.directories.release(fh);
  await bench.files.release(file.fh);
  await bench.files.release(again.fh);
  t.same([file.inode.opens, directory.opens, bench.vfs.open.files], [0, 0, 0]);
  bench.server.tree.chmod('f', 0);
  bench.server.tree.chmod('d', 0);
  t.equal(await outcome(bench.open('f', O_WRONLY, bench.caller(2000))), Errno.EACCES);
  t.equal(await outcome(bench.directories.open(directory, bench.caller(2000))), Errno.EACCES);
  t.same([file.inode.opens, directory.opens, bench.vfs.open.files], [0, 0, 0]);
});

t.test('a handle that answers for another object is not served as the old one', async (t) => {
  const bench = new Bench();
  const { tree } = bench.server;
  const old = tree.file('f', 'old');
  const { inode, fh } = await bench.open('f');
  const other = tree.file('other', 'other');
  tree.assignHandle(old.handle, other);
  t.equal(await outcome(bench.read(fh, 0, 10)), Errno.EIO);
  t.equal(await outcome(bench.vfs.current.fetch(inode, bench.caller(1000, 5))), Errno.ESTALE);
  const found = bench.vfs.binding.bind({
    parent: bench.root,
    name: 'x',
    handle: old.handle,
    attributes: tree.attributes(other),
    start: bench.vfs.attributes.start(),
    generation: 0,
  });
  t.not(found, inode);
  t.equal(found.attributes?.fileid, other.fileid);
});
