/** The errno and the line in the log that a thread gets for an object whose handle stays stale. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import { deep } from '../support/deep.js';
import { makeHandle } from '../support/fake-tree.js';

t.test('the failure of two operands is about the one that is stale', async (t) => {
  const { redriver, b, c, rig } = await deep();
  const caller = rig.caller(1000, 7);
  const fail = () => redriver.reportFailure({ status: Status.STALE }, [b, c], caller).errno;
  c.markStale();
  t.equal(fail(), Errno.ESTALE);
  t.same([b.staleReported, c.staleReported?.has(7)], [undefined, true]);
  c.revive();
  t.equal(fail(), Errno.ESTALE);
  t.equal(b.staleReported?.has(7), true, 'or about the first');
  t.equal(redriver.reportFailure({ status: Status.ACCES }, [b, c], caller).errno, Errno.EACCES);
  t.throws(() => redriver.reportFailure({ status: Status.OK }, [b], caller), /not a failure/);
});

t.test(
  'what is asked for by a descriptor is not asked for again, so that it never gets ESTALE',
  async (t) => {
    const { redriver, inode, rig } = await deep();
    const tell = (operand: Parameters<typeof redriver.reportStale>[2]) =>
      redriver.reportStale(inode, rig.caller(1000, 7), operand).errno;
    inode.markStale();
    t.same([tell('descriptor'), tell('listing'), tell('object')], [Errno.EIO, Errno.EIO, Errno.ENOENT]);
    t.match(rig.log, [/^\/a\/b\/f: the server calls its file handle stale;/]);
    inode.markStale(true);
    t.same([tell('descriptor'), tell('listing')], [Errno.EIO, Errno.ENOENT]);
  },
);

t.test('the log says that a file is gone where that is known', async (t) => {
  const { redriver, inode, rig } = await deep();
  inode.markStale(true);
  redriver.reportStale(inode, rig.caller(1000, 7), 'descriptor');
  t.match(rig.log, [/^\/a\/b\/f: no longer on the server;/]);
});

t.test(
  'threads that cannot be told apart get ESTALE for a file that is gone, and ENOENT for the rest',
  async (t) => {
    const { redriver, inode, b, rig } = await deep();
    const tell = (of = inode) => redriver.reportStale(of, rig.caller(1000, 0), 'path').errno;
    inode.markStale();
    t.same([tell(), tell()], [Errno.ENOENT, Errno.ENOENT]);
    inode.markStale(true);
    t.same([tell(), tell()], [Errno.ESTALE, Errno.ESTALE]);
    b.markStale(true);
    t.same([tell(b), tell(b)], [Errno.ENOENT, Errno.ENOENT]);
  },
);

t.test('so many threads are remembered as having been told, and that a line was logged stays', async (t) => {
  const { redriver, inode, rig } = await deep();
  const tell = (tid: number) => redriver.reportStale(inode, rig.caller(1000, tid), 'path').errno;
  inode.markStale();
  redriver.reportStale(inode, rig.caller(1000, 1), 'descriptor');
  for (let tid = 1; tid <= 255; tid++) t.equal(tell(tid), Errno.ESTALE);
  t.equal(inode.staleReported?.size, 256);
  t.equal(tell(256), Errno.ESTALE);
  t.same([...(inode.staleReported ?? [])].sort(), [0, 256]);
  redriver.reportStale(inode, rig.caller(1000, 1), 'descriptor');
  t.equal(rig.log.length, 1);
});

t.test('a thread that meets a directory that is gone above what it was told of works in it', async (t) => {
  const { redriver, inode, a, b, c, rig } = await deep();
  const tell = (of: typeof inode, tid = 7) => redriver.reportStale(of, rig.caller(1000, tid), 'path').errno;
  for (const one of [inode, a, b, c]) one.markStale(true);
  t.equal(tell(inode), Errno.ESTALE);
  t.equal(tell(c), Errno.ESTALE, 'not above it');
  t.equal(tell(inode, 8), Errno.ESTALE);
  t.equal(tell(a, 8), Errno.ENOENT);
  t.equal(tell(a, 9), Errno.ESTALE, 'another thread');
  t.equal(tell(inode, 10), Errno.ESTALE);
  b.markStale(false);
  t.equal(tell(b, 10), Errno.ESTALE, 'it is not known to be gone');
});

t.test('a file is not a directory in which somebody works', async (t) => {
  const { redriver, inode, rig } = await deep();
  const below = rig.vfs.inodes.intern(makeHandle('below'));
  below.parent = inode;
  for (const one of [inode, below]) one.markStale(true);
  const tell = (of: typeof inode) => redriver.reportStale(of, rig.caller(1000, 7), 'path').errno;
  t.same([tell(below), tell(inode)], [Errno.ESTALE, Errno.ESTALE]);
});

t.test('a way up that goes in a circle ends there, too', async (t) => {
  const { redriver, inode, a, b, c, rig } = await deep();
  a.parent = b;
  const tell = (of: typeof inode) => redriver.reportStale(of, rig.caller(1000, 7), 'path').errno;
  for (const one of [inode, c]) one.markStale(true);
  t.same([tell(inode), tell(c)], [Errno.ESTALE, Errno.ESTALE]);
});

t.test(
  'a thread whose look ended elsewhere is told again; what was logged is not logged again',
  async (t) => {
    const { redriver, inode, rig } = await deep();
    const caller = rig.caller(1000, 7);
    inode.markStale();
    redriver.retryEnded(inode, caller);
    redriver.reportStale(inode, caller, 'descriptor');
    t.equal(redriver.reportStale(inode, caller, 'path').errno, Errno.ESTALE);
    redriver.retryEnded(inode, caller);
    redriver.retryEnded(inode, rig.caller(1000, 0));
    t.equal(redriver.reportStale(inode, caller, 'path').errno, Errno.ESTALE);
    t.equal(redriver.reportStale(inode, caller, 'path').errno, Errno.ENOENT);
    redriver.reportStale(inode, caller, 'descriptor');
    t.equal(rig.log.length, 1);
  },
);

t.test('where the export is gone, no file has a line of its own', async (t) => {
  const { redriver, inode, rig } = await deep();
  inode.markStale();
  rig.root.markStale();
  redriver.reportStale(inode, rig.caller(), 'descriptor');
  t.same(rig.log, []);
});
