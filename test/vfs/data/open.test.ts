import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { OpenFlag } from '../../../lib/fuse/contract/protocol.js';
import { Credentials, withGroups } from '../../../lib/vfs/caller/caller.js';
import { named } from '../support/named.js';
import { NO_CHANGES } from '../support/no-changes.js';
import { O_RDONLY, O_RDWR, O_WRONLY, outcome, Rig, settled, TestContext } from '../support/rig.js';

/** Far enough from the last change for the server's clock to have moved on. */
const LATER = 100;

t.test('opening asks once: ACCESS the first time, GETATTR when the rights are known', async (t) => {
  const rig = new Rig({ config: { earlyRead: false } });
  rig.server.tree.file('f', 'content');
  const caller = rig.caller();
  // Twice: the root had changed since it was mounted.
  await rig.walk('f', caller);
  await rig.walk('f', caller);
  rig.server.forgetCalls();
  await rig.open('f', O_RDONLY, caller);
  t.equal(rig.server.names(), 'ACCESS');
  rig.server.forgetCalls();
  await rig.open('f', O_RDONLY, caller);
  t.equal(rig.server.names(), 'GETATTR');
});

t.test('nocto: opening asks nothing while attributes are trusted', async (t) => {
  const rig = new Rig({ config: { closeToOpen: false } });
  rig.server.tree.file('f', 'content');
  await rig.open('f');
  await rig.open('f');
  rig.server.forgetCalls();
  await rig.open('f');
  t.equal(rig.server.names(), '');
});

t.test('rights are asked for again after another client changed them', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'content', 0o644);
  const stranger = rig.caller(2000);
  await rig.open('f', O_RDONLY, stranger);
  rig.server.tree.chmod('f', 0o600);
  t.equal(await outcome(rig.open('f', O_RDONLY, stranger)), Errno.EACCES);
});

t.test('rights are of one credential each', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'content', 0o600);
  await rig.open('f', O_RDWR, rig.caller(1000));
  t.equal(await outcome(rig.open('f', O_RDONLY, rig.caller(2000))), Errno.EACCES);
});

t.test('of many groups, the one that counts is shown, also when it is seen only in the reply', async (t) => {
  const rig = new Rig();
  const { server } = rig;
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
  await rig.walk('f', caller);
  file.gid = 120;
  server.tree.changed(file);
  const { fh } = await rig.open('f', O_RDWR, caller);
  t.same(
    server.named('ACCESS').map((call) => call.groups.includes(120)),
    [false, true],
  );
  server.forgetCalls();
  await rig.read(fh, 0, 7);
  t.ok(server.named('READ')[0]?.groups.includes(120), 'what is read is read with the rights of the open');
  await rig.open('f', O_RDWR, withGroups(caller, 120));
  t.equal(server.count('ACCESS'), 0, 'the answer is kept');
  file.gid = 9;
  server.tree.changed(file);
  t.equal(await outcome(rig.open('f', O_RDWR, caller)), Errno.EACCES);
});

t.test('root is whom the server says, not whom the mode bits say', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'content', 0o600);
  await rig.open('f', O_RDWR, rig.caller(0));
  const squashed = new Rig();
  squashed.server.squash = true;
  squashed.server.tree.file('f', 'content', 0o600);
  t.equal(await outcome(squashed.open('f', O_RDONLY, squashed.caller(0))), Errno.EACCES);
});

t.test('access(2) answers from what open learnt', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', '', 0o640);
  const inode = await rig.walk('f');
  const stranger = rig.caller(2000);
  t.equal(await outcome(rig.permission.check(inode, 4, stranger)), Errno.EACCES);
  rig.server.forgetCalls();
  t.equal(await outcome(rig.permission.check(inode, 0, stranger)), 'ok');
  t.equal(rig.server.names(), '');
  t.equal(await outcome(rig.permission.check(inode, 2, stranger)), Errno.EACCES);
  t.equal(rig.server.names(), 'ACCESS', 'nobody is refused because of what is remembered');
  rig.server.tree.chmod('f', 0o666);
  t.equal(await outcome(rig.permission.check(inode, 2, stranger)), 'ok');
  rig.server.forgetCalls();
  t.equal(await outcome(rig.permission.check(inode, 4, stranger)), 'ok');
  t.equal(rig.server.names(), '', 'what was granted is remembered');
});

t.test('rights that were asked for before a change of ours are not kept', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', '', 0o644);
  const inode = await rig.walk('f');
  const stranger = rig.caller(2000);
  const gate = rig.server.gate('ACCESS', 'reply');
  const asking = rig.permission.check(inode, 4, stranger);
  await settled();
  await rig.files.setAttributes(inode, { ...NO_CHANGES, mode: 0o600 }, rig.caller());
  gate.open();
  await asking;
  t.equal(await outcome(rig.permission.check(inode, 4, stranger)), Errno.EACCES);
});

t.test('an unchanged file keeps its pages over an open, a changed one does not', async (t) => {
  const rig = new Rig();
  const { server } = rig;
  server.tree.file('f', 'old');
  rig.clock.advance(LATER);
  const first = await rig.open('f');
  t.equal(first.keep, false, 'the kernel has NO_CHANGES yet');
  await rig.pass(LATER);
  await rig.read(first.fh, 0, 10);
  await rig.files.release(first.fh);
  const second = await rig.open('f');
  t.equal(second.keep, true);
  await rig.files.release(second.fh);
  server.tree.write('f', 'new and longer');
  rig.notices.length = 0;
  const third = await rig.open('f');
  t.equal(third.keep, false);
  t.ok(rig.notices.includes(`attributes ${third.inode.nodeid}`), 'nor does the kernel go by the old size');
  t.equal((await rig.read(third.fh, 0, 100)).toString(), 'new and longer');
});

t.test('an open that learns of a change does not rely on pages being dropped some time', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'old');
  const first = await rig.open('f');
  await rig.pass(LATER);
  await rig.read(first.fh, 0, 10);
  let dropped = (): void => {};
  rig.vfs.kernel.notifier = {
    ...rig.vfs.kernel.notifier,
    invalidatePages: () =>
      new Promise((resolve) => {
        dropped = resolve;
      }),
  };
  const keeps = async () => {
    const opening = rig.open('f');
    // The lookup gives the notification some time, twice, and so does the open itself.
    for (let waits = 0; waits < 3; waits++) await rig.pass(LATER);
    return (await opening).keep;
  };
  rig.server.tree.write('f', 'new');
  t.equal(await keeps(), false);
  rig.server.tree.write('f', 'newer');
  await rig.vfs.current.fetch(first.inode, rig.caller());
  await rig.pass(LATER);
  t.equal(await keeps(), false, 'the pages are still being dropped');
  dropped();
  await settled();
  t.equal(await keeps(), true);
});

t.test("two changes within one tick of the server's clock are not missed", async (t) => {
  const rig = new Rig();
  const { tree } = rig.server;
  tree.file('f', 'zero');
  const before = await rig.open('f');
  await rig.files.release(before.fh);
  await rig.pass(LATER);
  tree.write('f', 'aaaa');
  const first = await rig.open('f');
  t.equal((await rig.read(first.fh, 0, 10)).toString(), 'aaaa');
  await rig.files.release(first.fh);
  tree.tick = 0;
  tree.write('f', 'bbbb');
  const second = await rig.open('f');
  t.equal(second.keep, false);
  await rig.pass(LATER);
  t.equal((await rig.read(second.fh, 0, 10)).toString(), 'bbbb');
  await rig.files.release(second.fh);
  t.equal((await rig.open('f')).keep, true, 'what was read later cannot have changed unseen');
});

t.test('a rename or a link of ours does not drop the pages of a file', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'content');
  const first = await rig.open('f');
  await rig.pass(LATER);
  await rig.read(first.fh, 0, 10);
  await rig.files.release(first.fh);
  await rig.make.link(first.inode, rig.root, named('g'), rig.caller());
  t.equal((await rig.open('g')).keep, true, 'after LINK');
  await rig.remove.rename(rig.at('g'), rig.at('h'), 0, rig.caller());
  t.equal((await rig.open('h')).keep, true, 'after RENAME');
  const open = await rig.open('h');
  await rig.remove.unlink(rig.root, named('h'), rig.caller());
  await rig.pass(LATER);
  await rig.read(open.fh, 0, 5);
  t.equal((await rig.open('f')).keep, true, 'after a silly rename');
  await rig.remove.rename(rig.at('f'), rig.at('i'), 0, rig.caller());
  rig.server.tree.write('i', 'CONTENT');
  await rig.open('i');
  t.ok(rig.notices.includes(`pages ${first.inode.nodeid} 0`), "another client's write is seen all the same");
});

t.test('what is open is counted: files and directories by inode, files by mount', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f');
  rig.server.tree.directory('d');
  const file = await rig.open('f');
  const again = await rig.open('f');
  const directory = await rig.walk('d');
  const gate = rig.server.gate('ACCESS');
  const opening = rig.directories.open(directory, rig.caller(3000));
  await settled();
  t.equal(directory.opens, 1, 'while it is being opened, too');
  gate.open();
  const { fh } = await opening;
  t.same([file.inode.opens, directory.opens, rig.vfs.open.files], [2, 1, 2]);
  rig.directories.release(fh);
  await rig.files.release(file.fh);
  await rig.files.release(again.fh);
  t.same([file.inode.opens, directory.opens, rig.vfs.open.files], [0, 0, 0]);
  rig.server.tree.chmod('f', 0);
  rig.server.tree.chmod('d', 0);
  t.equal(await outcome(rig.open('f', O_WRONLY, rig.caller(2000))), Errno.EACCES);
  t.equal(await outcome(rig.directories.open(directory, rig.caller(2000))), Errno.EACCES);
  t.same([file.inode.opens, directory.opens, rig.vfs.open.files], [0, 0, 0]);
});

t.test('a handle that answers for another object is not served as the old one', async (t) => {
  const rig = new Rig({ config: { earlyRead: false } });
  const { tree } = rig.server;
  const old = tree.file('f', 'old');
  const { inode, fh } = await rig.open('f');
  const other = tree.file('other', 'other');
  tree.assignHandle(old.handle, other);
  t.equal(await outcome(rig.read(fh, 0, 10)), Errno.EIO);
  t.equal(await outcome(rig.vfs.current.fetch(inode, rig.caller(1000, 5))), Errno.ESTALE);
  const found = rig.vfs.binding.bind({
    parent: rig.root,
    name: named('x'),
    handle: old.handle,
    attributes: tree.attributes(other),
    start: rig.vfs.attributes.start(),
    generation: 0,
  });
  t.not(found, inode);
  t.equal(found.attributes?.fileid, other.fileid);
});

/** Opens "f" for reading, and closes it. */
async function tellsOfClose(rig: Rig): Promise<boolean> {
  const { fh, openFlags } = await rig.open('f');
  await rig.files.release(fh);
  return (openFlags & OpenFlag.NOFLUSH) === 0;
}

t.test('close(2) of a reader is told of only where it may end locks', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'content');
  const isTold = () => tellsOfClose(rig);
  t.equal(await isTold(), false);
  const writer = await rig.open('f', O_RDWR);
  t.equal(writer.openFlags & OpenFlag.NOFLUSH, 0, 'a writer');
  t.equal(await isTold(), true, 'beside a writer, who may lock the file');
  await rig.files.release(writer.fh);
  t.equal(await isTold(), false);
  rig.vfs.closes.locksAreUsed();
  t.equal(await isTold(), true, 'once a program has locked some file');
});

t.test(
  'with -o lock the close(2) of every descriptor is told of, unless the kernel keeps these locks',
  async (t) => {
    for (const [localLock, told] of [
      ['none', true],
      ['flock', true],
      ['posix', false],
      ['all', false],
    ] as const) {
      const rig = new Rig({ config: { locks: 'insist', localLock } });
      rig.server.tree.file('f', 'content');
      t.equal(await tellsOfClose(rig), told, localLock);
    }
  },
);
