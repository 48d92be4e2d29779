/** Names of which the kernel may know an object: it must not be told that they are not there. */
import t from 'tap';
import { DentryCache } from '../../../lib/vfs/cache/dentry-cache.js';
import { HeldNames } from '../../../lib/vfs/cache/held-names.js';
import type { Inode } from '../../../lib/vfs/cache/inode.js';
import { InodeTable } from '../../../lib/vfs/cache/inode-table.js';
import { makeHandle } from '../support/fake-tree.js';
import { named } from '../support/named.js';

function setup(limits?: { present: number; absent: number }) {
  const table = new InodeTable(makeHandle('root'));
  const dentries = new DentryCache(limits);
  const { root } = table;
  const held = (name: string): Inode => {
    const inode = table.intern(makeHandle(name));
    table.hold(inode);
    return inode;
  };
  return { table, dentries, root, held };
}

t.test('a name that was never given out is not held, and one that stands for something is', async (t) => {
  const { dentries, root, table, held } = setup();
  t.equal(dentries.mayBeHeld(root, named('a')), false);
  dentries.set(root, named('a'), held('a'), 0);
  dentries.set(root, named('listed'), table.intern(makeHandle('listed')), 0);
  dentries.set(root, named('none'), undefined, 0);
  t.equal(dentries.mayBeHeld(root, named('a')), true);
  t.equal(dentries.mayBeHeld(root, named('listed')), true);
  t.equal(dentries.mayBeHeld(root, named('none')), false);
  t.equal(dentries.mayBeHeld(held('a'), named('a')), false, 'the same name elsewhere');
});

t.test('a name stays held when its meaning is lost, until the kernel forgets the object', async (t) => {
  for (const lose of ['delete', 'absent', 'no room'] as const) {
    const { dentries, root, table, held } = setup({ present: 2, absent: 2 });
    const inode = held('a');
    dentries.set(root, named('a'), inode, 0);
    if (lose === 'delete') dentries.delete(root, named('a'));
    if (lose === 'absent') dentries.set(root, named('a'), undefined, 0);
    if (lose === 'no room') for (const other of ['b', 'c']) dentries.set(root, named(other), held(other), 0);
    t.equal(dentries.getUnverified(root, named('a'))?.inode, undefined, lose);
    t.equal(dentries.mayBeHeld(root, named('a')), true, lose);
    table.forget(inode.nodeid, 1);
    t.equal(dentries.mayBeHeld(root, named('a')), false, lose);
    table.hold(inode);
    t.equal(dentries.mayBeHeld(root, named('a')), false, 'by another name, if at all');
  }
});

t.test('a name is held that the kernel is told after its meaning was lost', async (t) => {
  const { dentries, root, held } = setup();
  const inode = held('a');
  dentries.told(root, named('a'), 0, inode);
  t.equal(dentries.mayBeHeld(root, named('a')), true);
  dentries.told(root, named('b'), 0);
  t.equal(dentries.mayBeHeld(root, named('b')), false);
});

t.test('what the kernel renames is held by its new name, known or not', async (t) => {
  const { dentries, root, table, held } = setup();
  const from = { parent: root, name: named('old') };
  const known = held('known');
  dentries.set(root, named('old'), known, 0);
  dentries.delete(root, named('old'));
  dentries.kernelMoved(from, { parent: root, name: named('new') }, root);
  t.equal(dentries.mayBeHeld(root, named('new')), true);
  table.forget(known.nodeid, 1);
  t.equal(dentries.mayBeHeld(root, named('new')), false);
  dentries.kernelMoved(
    { parent: root, name: named('unknown') },
    { parent: root, name: named('there') },
    root,
  );
  t.equal(dentries.mayBeHeld(root, named('there')), true);
});

t.test('names of what the kernel has forgotten take no room for ever', async (t) => {
  const { table, held } = setup();
  const names = new HeldNames();
  for (let i = 0; i < 10_000; i++) {
    const inode = held(`${i}`);
    names.add(`1/${i}`, inode);
    if (i >= 600) table.forget(inode.nodeid, 1);
  }
  t.ok(names.size <= 1300, `${names.size} names`);
  for (let i = 0; i < 600; i++) if (names.get(`1/${i}`) === undefined) t.fail(`${i} is held`);
});
