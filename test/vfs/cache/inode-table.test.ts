import t from 'tap';
import { Errno, FuseError } from '../../../lib/fuse/contract/errno.js';
import { FileType } from '../../../lib/programs/nfs3/index.js';
import { DentryCache } from '../../../lib/vfs/cache/dentry-cache.js';
import { describePath } from '../../../lib/vfs/cache/inode.js';
import { InodeTable } from '../../../lib/vfs/cache/inode-table.js';
import { ByteBudget } from '../../../lib/vfs/memory/byte-budget.js';
import { FakeTree, makeHandle } from '../support/fake-tree.js';
import { named } from '../support/named.js';

const tree = new FakeTree();
const directory = tree.attributes(tree.root);
const handle = makeHandle;

t.test('an inode lives as long as the kernel refers to it, and is idle afterwards', (t) => {
  const table = new InodeTable(handle('root'), 2);
  const a = table.intern(handle('a'));
  table.hold(a);
  table.hold(a);
  for (const name of ['b', 'c', 'd', 'e']) table.intern(handle(name));
  t.equal(table.get(a.nodeid), a, 'held ones are not evicted');
  table.forget(a.nodeid, 1);
  for (const name of ['f', 'g', 'h']) table.intern(handle(name));
  t.equal(table.get(a.nodeid), a);
  table.forget(a.nodeid, 1);
  t.equal(table.findByHandle(handle('a')), a, 'idle, but known');
  for (const name of ['i', 'j']) table.intern(handle(name));
  t.throws(() => table.get(a.nodeid), new FuseError(Errno.ESTALE, `unknown node id ${a.nodeid}`));
  t.equal(a.evicted, true);
  t.equal(table.findByHandle(handle('a')), undefined);
  t.end();
});

t.test('the table does not grow with the objects that went by', (t) => {
  const table = new InodeTable(handle('root'), 10);
  for (let i = 0; i < 1000; i++) {
    const inode = table.intern(handle(`x${i}`));
    if (i % 3 === 0) {
      table.hold(inode);
      table.forget(inode.nodeid, 1);
    }
  }
  t.equal(table.size, 11);
  for (let i = 990; i < 1000; i++) t.ok(table.findByHandle(handle(`x${i}`)), `x${i} is among the last ten`);
  t.end();
});

t.test('node ids are never used twice', (t) => {
  const table = new InodeTable(handle('root'), 1);
  const first = table.intern(handle('a'));
  table.intern(handle('b'));
  const again = table.intern(handle('a'));
  t.not(again.nodeid, first.nodeid);
  t.end();
});

t.test('an open inode stays when the kernel forgets it', (t) => {
  const table = new InodeTable(handle('root'), 1);
  const a = table.intern(handle('a'));
  table.hold(a);
  a.opens++;
  table.pin(a);
  table.forget(a.nodeid, 1);
  table.intern(handle('b'));
  table.intern(handle('c'));
  t.equal(table.get(a.nodeid), a);
  a.opens--;
  table.release(a);
  table.intern(handle('d'));
  t.equal(a.evicted, true);
  t.end();
});

t.test('what was deleted does not wait among the idle', (t) => {
  const table = new InodeTable(handle('root'));
  const a = table.intern(handle('a'));
  table.hold(a);
  a.markStale();
  table.forget(a.nodeid, 1);
  t.equal(a.evicted, true);
  t.equal(table.size, 1);
  t.end();
});

t.test('the root is never forgotten', (t) => {
  const table = new InodeTable(handle('root'));
  table.forget(1, 1000);
  t.equal(table.get(1), table.root);
  t.end();
});

t.test('rekey: the inode is found by the new handle alone', (t) => {
  const table = new InodeTable(handle('root'));
  const a = table.intern(handle('old'));
  table.rekey(a, handle('new'));
  t.equal(table.findByHandle(handle('new')), a);
  t.equal(table.findByHandle(handle('old')), undefined);
  t.equal(a.handle, 'new');
  t.end();
});

t.test('rekey: an inode that nobody holds gives way, one that the kernel holds stays', (t) => {
  const table = new InodeTable(handle('root'));
  const a = table.intern(handle('old'));
  table.hold(a);
  const idle = table.intern(handle('new'));
  table.rekey(a, handle('new'));
  t.equal(idle.evicted, true);
  t.equal(table.findByHandle(handle('new')), a);

  const held = table.intern(handle('newer'));
  table.hold(held);
  table.rekey(a, handle('newer'));
  t.equal(a.handle, 'newer', 'both go on with it');
  t.equal(table.findByHandle(handle('newer')), held);
  table.forget(a.nodeid, 1);
  t.equal(table.findByHandle(handle('newer')), held);
  t.end();
});

t.test('a disowned handle is another object when it comes again', (t) => {
  const table = new InodeTable(handle('root'));
  const a = table.intern(handle('a'));
  table.hold(a);
  table.disown(a);
  t.not(table.intern(handle('a')), a);
  t.equal(table.get(a.nodeid), a);
  t.end();
});

t.test('the root is not among the idle, however often it is forgotten', (t) => {
  const table = new InodeTable(handle('root'), 1);
  table.forget(1, 1000);
  for (const name of ['a', 'b', 'c']) table.intern(handle(name));
  t.equal(table.get(1), table.root);
  t.end();
});

t.test('a node id that is not known any more is forgotten without more ado', (t) => {
  const table = new InodeTable(handle('root'));
  t.doesNotThrow(() => table.forget(99, 1));
  t.end();
});

t.test('whoever keeps something of an inode is told when it goes', (t) => {
  const table = new InodeTable(handle('root'), 1);
  const told: unknown[] = [];
  table.onDropped((inode) => told.push(inode));
  const a = table.intern(handle('a'));
  t.same(told, []);
  table.intern(handle('b'));
  t.equal(told.length, 1);
  t.equal(told[0], a);
  t.end();
});

t.test('an inode without links goes as soon as nothing holds it', (t) => {
  const table = new InodeTable(handle('root'));
  const a = table.intern(handle('a'));
  table.hold(a);
  a.attributes = { ...directory, nlink: 0 };
  table.forget(a.nodeid, 5);
  t.equal(a.evicted, true);
  t.end();
});

t.test('an inode that is released when it has gone already does not come back', (t) => {
  const table = new InodeTable(handle('root'), 1);
  const a = table.intern(handle('a'));
  table.intern(handle('b'));
  t.equal(a.evicted, true);
  table.release(a);
  t.equal(table.size, 2);
  t.ok(table.findByHandle(handle('b')));
  t.end();
});

t.test('rekey to the handle that it has changes nothing', (t) => {
  const table = new InodeTable(handle('root'));
  const a = table.intern(handle('a'));
  table.rekey(a, handle('a'));
  t.equal(a.evicted, false);
  t.equal(table.findByHandle(handle('a')), a);
  t.end();
});

t.test('an inode that shares a handle leaves it to the one that is found by it', (t) => {
  const shared = () => {
    const table = new InodeTable(handle('root'));
    const [owner, sharer] = [table.intern(handle('new')), table.intern(handle('old'))];
    table.hold(owner);
    table.hold(sharer);
    table.rekey(sharer, handle('new'));
    return { table, sharer, isOwned: () => table.findByHandle(handle('new')) === owner };
  };
  for (const act of [
    ({ table, sharer }) => table.rekey(sharer, handle('newer')),
    ({ table, sharer }) => table.disown(sharer),
    ({ table, sharer }) => {
      sharer.markStale();
      table.forget(sharer.nodeid, 1);
    },
  ] satisfies ((parts: ReturnType<typeof shared>) => void)[]) {
    const parts = shared();
    act(parts);
    t.equal(parts.isOwned(), true);
  }
  t.end();
});

t.test('rekey: an inode that is open stays, though the kernel does not hold it', (t) => {
  const table = new InodeTable(handle('root'));
  const [a, open] = [table.intern(handle('old')), table.intern(handle('new'))];
  table.hold(a);
  open.opens++;
  table.pin(open);
  table.rekey(a, handle('new'));
  t.equal(open.evicted, false);
  t.end();
});

t.test('the root is always found by its handle', (t) => {
  const table = new InodeTable(handle('root'));
  const held = table.intern(handle('new'));
  table.hold(held);
  table.rekey(table.root, handle('new'));
  t.equal(table.findByHandle(handle('new')), table.root);
  table.disown(table.root);
  t.equal(table.findByHandle(handle('new')), table.root);
  t.end();
});

t.test('a dentry is good while the directory is as it was before the LOOKUP', (t) => {
  const table = new InodeTable(handle('root'));
  const dentries = new DentryCache();
  const a = table.intern(handle('a'));
  const { generation } = table.root;
  dentries.set(table.root, named('a'), a, generation);
  dentries.set(table.root, named('none'), undefined, generation);
  t.equal(dentries.get(table.root, named('a'))?.inode, a);
  t.match(dentries.get(table.root, named('none')), { inode: undefined, generation });
  table.root.advanceGeneration();
  t.equal(dentries.get(table.root, named('a')), undefined);
  t.equal(dentries.get(table.root, named('none')), undefined);
  t.equal(dentries.getUnverified(table.root, named('a'))?.inode, a, 'it is still a hint');
  dentries.set(table.root, named('a'), a, generation);
  t.equal(
    dentries.get(table.root, named('a')),
    undefined,
    'a reply to a call from before the change says nothing now',
  );
  t.end();
});

t.test('names that do not exist are forgotten before they push out names that do', (t) => {
  const table = new InodeTable(handle('root'));
  const dentries = new DentryCache({ present: 2, absent: 2 });
  const a = table.intern(handle('a'));
  dentries.set(table.root, named('a'), a, 0);
  for (const name of ['x', 'y', 'z']) dentries.set(table.root, named(name), undefined, 0);
  t.equal(dentries.size, 3);
  t.equal(dentries.get(table.root, named('a'))?.inode, a);
  t.equal(dentries.get(table.root, named('x')), undefined);
  dentries.set(table.root, named('z'), a, 0);
  t.equal(dentries.get(table.root, named('z'))?.inode, a, 'a name that exists again');
  dentries.set(table.root, named('z'), undefined, 0);
  t.match(dentries.get(table.root, named('z')), { inode: undefined, generation: 0 }, 'and is gone again');
  t.end();
});

t.test('a dentry of an inode that is gone is void', (t) => {
  const table = new InodeTable(handle('root'));
  const dentries = new DentryCache();
  for (const flag of ['stale', 'evicted'] as const) {
    const inode = table.intern(handle(flag));
    dentries.set(table.root, named(flag), inode, 0);
    if (flag === 'stale') inode.markStale();
    else inode[flag] = true;
    t.equal(dentries.get(table.root, named(flag)), undefined);
  }
  t.end();
});

t.test('ways up never form a circle, whatever the server says', (t) => {
  const table = new InodeTable(handle('root'));
  const dentries = new DentryCache();
  const [a, b, c] = ['a', 'b', 'c'].map((name) => table.intern(handle(name)));
  if (a === undefined || b === undefined || c === undefined) throw new Error('no inodes');
  a.attributes = directory;
  b.attributes = directory;
  dentries.set(table.root, named('a'), a, 0);
  dentries.set(a, named('b'), b, 0);
  dentries.set(b, named('c'), c, 0);
  t.equal(describePath(c), '/a/b/c');
  dentries.set(c, named('a'), a, 0);
  t.equal(describePath(a), '/b/c/a', 'b, which was below a, lost its way up');
  dentries.set(b, named('a'), a, 0);
  dentries.set(a, named('a'), a, 0);
  dentries.set(a, named('b'), b, 0);
  for (const inode of [a, b, c]) {
    let steps = 0;
    for (let at = inode.parent; at !== undefined && steps < 100; at = at.parent) steps++;
    t.ok(steps < 100, 'every way up ends');
  }
  // A way up that does not end would hang this one.
  const d = table.intern(handle('d'));
  d.attributes = { ...directory, type: FileType.DIR };
  dentries.set(a, named('d'), d, 0);
  t.equal(d.parent, a);
  t.end();
});

t.test('budget: takers of more than is left wait their turn; one always fits', async (t) => {
  const budget = new ByteBudget(100);
  await budget.take(500);
  t.equal(budget.used, 500);
  t.equal(budget.tryTake(1), false);
  const order: string[] = [];
  const big = budget.take(90).then(() => order.push('big'));
  const small = budget.take(5).then(() => order.push('small'));
  t.equal(budget.waiting, 2);
  budget.give(500);
  await Promise.all([big, small]);
  t.same(order, ['big', 'small']);
  t.equal(budget.used, 95);
  budget.give(95);
  t.equal(budget.used, 0);
});

t.test('budget: who stops waiting takes nothing, and lets the next have its turn', async (t) => {
  const budget = new ByteBudget(100);
  await budget.take(60);
  const listeners: (() => void)[] = [];
  const cancellation = {
    cancelled: false,
    onCancel: (listener: () => void) => void listeners.push(listener),
  };
  const big = budget.take(90, cancellation);
  let small = false;
  const after = budget.take(30).then(() => {
    small = true;
  });
  t.equal(small, false);
  for (const listener of listeners) listener();
  await t.rejects(big, new FuseError(Errno.EINTR));
  await after;
  t.equal(budget.used, 90);
  t.equal(budget.waiting, 0);
});

t.test('budget: those who hold memory hear that somebody waits for it', async (t) => {
  const budget = new ByteBudget(100);
  await budget.take(60);
  let asked = 0;
  budget.onShortage = () => {
    asked++;
    if (asked === 1) budget.give(60);
  };
  await budget.take(90);
  t.equal(asked, 1);
  t.equal(budget.used, 90);
});
