/** The kernel's knowledge of names, and the names of one directory among many; more is in inode-table.test.ts. */
import t from 'tap';
import { FileType } from '../../../lib/programs/nfs3/index.js';
import { DentryCache } from '../../../lib/vfs/cache/dentry-cache.js';
import { describePath, type Inode } from '../../../lib/vfs/cache/inode.js';
import { InodeTable } from '../../../lib/vfs/cache/inode-table.js';
import { FakeTree, makeHandle } from '../support/fake-tree.js';
import { named } from '../support/named.js';

const tree = new FakeTree();
const directory = tree.attributes(tree.root);

function setup() {
  const table = new InodeTable(makeHandle('root'));
  const dentries = new DentryCache();
  const { root } = table;
  const inode = (name: string): Inode => table.intern(makeHandle(name));
  /** The names that are taken, with a minus before those that do not exist. */
  const take = (from: Inode, now: number): string[] =>
    dentries
      .takeTrusted(from, now)
      .map(({ name, exists }) => (exists ? '' : '-') + Buffer.from(name).toString('latin1'));
  return { table, dentries, root, inode, take };
}

t.test('the names that the kernel need not ask for are taken once, and those of one directory', async (t) => {
  const { dentries, root, inode, take } = setup();
  const a = inode('a');
  dentries.set(root, named('a'), a, 0);
  dentries.set(root, named('none\xe4'), undefined, 0);
  dentries.set(root, named('never told'), inode('b'), 0);
  dentries.set(root, named('run out'), inode('c'), 0);
  dentries.set(a, named('below'), inode('d'), 0);
  dentries.told(root, named('a'), 101);
  dentries.told(root, named('none\xe4'), 200);
  dentries.told(root, named('run out'), 100);
  dentries.told(root, named('unknown'), 200);
  dentries.told(a, named('below'), 200);
  t.same(take(root, 100).sort(), ['-none\xe4', 'a']);
  t.same(take(root, 100), []);
  t.same(take(a, 100), ['below']);
  t.same(take(inode('no names'), 0), []);
});

t.test('what the kernel was told stays true for it when the name gets another meaning', async (t) => {
  const { dentries, root, inode, take } = setup();
  dentries.set(root, named('x'), inode('a'), 0);
  dentries.told(root, named('x'), 100);
  dentries.set(root, named('x'), inode('b'), 0);
  dentries.set(root, named('x'), undefined, 0);
  t.same(take(root, 50), ['-x']);
  dentries.told(root, named('x'), 100);
  dentries.set(root, named('x'), inode('b'), 0);
  t.same(take(root, 50), ['x']);
});

t.test(
  'a name whose meaning is not known any more is not taken, and known when it comes again',
  async (t) => {
    const { dentries, root, inode, take } = setup();
    for (const [name, meaning] of [
      ['present', inode('a')],
      ['absent', undefined],
    ] as const) {
      dentries.set(root, named(name), meaning, 0);
      dentries.told(root, named(name), 100);
      dentries.delete(root, named(name));
      t.equal(dentries.getUnverified(root, named(name)), undefined);
      t.same(take(root, 50), []);
      dentries.set(root, named(name), meaning, 0);
      dentries.told(root, named(name), 100);
      t.equal(take(root, 50).length, 1);
      dentries.delete(root, named(name));
    }
    t.equal(dentries.size, 0);
  },
);

t.test('a name that is set again is still one of its directory', async (t) => {
  const { dentries, root, inode, take } = setup();
  for (const name of ['one', 'two', 'three', 'one']) {
    dentries.set(root, named(name), inode(name), 0);
    dentries.told(root, named(name), 100);
  }
  dentries.delete(root, named('two'));
  t.same(take(root, 50).sort(), ['one', 'three']);
});

t.test('an inode that goes takes its name along, unless the name leads elsewhere by now', async (t) => {
  const { dentries, root, inode } = setup();
  const [a, b] = [inode('a'), inode('b')];
  dentries.set(root, named('x'), a, 0);
  dentries.set(root, named('x'), b, 0);
  dentries.forget(a);
  t.equal(dentries.get(root, named('x'))?.inode, b);
  dentries.forget(b);
  t.equal(dentries.getUnverified(root, named('x')), undefined);
  dentries.set(root, named('x'), undefined, 0);
  dentries.forget(b);
  t.match(dentries.get(root, named('x')), { inode: undefined }, 'that the name is absent stays known');
  dentries.forget(inode('never named'));
});

t.test('a dentry is void when the names of its inode may have changed elsewhere', async (t) => {
  const { dentries, root, inode } = setup();
  const a = inode('a');
  dentries.set(root, named('x'), a, 0);
  a.namesGeneration++;
  t.equal(dentries.get(root, named('x')), undefined);
  dentries.set(root, named('x'), a, 0);
  t.equal(dentries.get(root, named('x'))?.inode, a);
});

t.test('an inode has the way up that was seen last, and the root has none', async (t) => {
  const { dentries, root, inode } = setup();
  const [a, b] = [inode('a'), inode('b')];
  root.epoch = 7;
  dentries.set(root, named('a'), a, 0);
  t.same([a.parent, a.name, a.parentEpoch], [root, 'a', 7]);
  dentries.set(a, named('b'), b, 0);
  dentries.set(root, named('b2'), b, 0);
  t.same([b.parent, b.name], [root, 'b2']);
  dentries.set(a, named('up'), root, 0);
  t.same([root.parent, root.name], [undefined, '']);
  a.attributes = { ...directory, type: FileType.DIR };
  dentries.set(a, named('self'), a, 0);
  t.equal(describePath(a), '/a');
});

t.test('a directory that appears above its former parent breaks the way of that parent alone', async (t) => {
  const { dentries, root, inode } = setup();
  const [a, b, c] = [inode('a'), inode('b'), inode('c')];
  for (const one of [a, b, c]) one.attributes = directory;
  dentries.set(root, named('a'), a, 0);
  dentries.set(a, named('b'), b, 0);
  dentries.set(b, named('c'), c, 0);
  dentries.set(c, named('a'), a, 0);
  t.same([a.parent, b.parent, c.parent], [c, undefined, b]);
});

t.test('a directory of unknown type that appears below itself breaks the circle, too', async (t) => {
  const { dentries, root, inode } = setup();
  const [a, b] = [inode('a'), inode('b')];
  dentries.set(root, named('a'), a, 0);
  dentries.set(a, named('b'), b, 0);
  dentries.set(b, named('a'), a, 0);
  t.same([a.parent, b.parent], [b, undefined]);
});

t.test('ten thousand names that do not exist are remembered, and the oldest goes first', async (t) => {
  const { dentries, root } = setup();
  for (let i = 0; i <= 10_000; i++) dentries.set(root, named(`${i}`), undefined, 0);
  t.equal(dentries.size, 10_000);
  t.equal(dentries.get(root, named('0')), undefined);
  t.ok(dentries.get(root, named('1')));
});
