import t from 'tap';
import { InodeTable } from '../../../lib/vfs/cache/inode-table.js';
import { OpenObjects } from '../../../lib/vfs/cache/open-objects.js';
import { makeHandle } from '../support/fake-tree.js';
import { settled } from '../support/rig.js';

function setup() {
  const table = new InodeTable(makeHandle('root'));
  const open = new OpenObjects(table);
  const a = table.intern(makeHandle('a'));
  table.hold(a);
  // So that it goes as soon as nothing holds it.
  a.markStale();
  return { table, open, a, forget: () => table.forget(a.nodeid, 1) };
}

t.test('an open object stays until the last one closes it', async (t) => {
  const { open, a, forget } = setup();
  open.open(a);
  open.openFile(a);
  forget();
  open.close(a);
  t.equal(a.evicted, false);
  open.closeFile(a);
  t.equal(a.evicted, true);
});

t.test('an object that was idle when it was opened stays, too', async (t) => {
  const table = new InodeTable(makeHandle('root'), 1);
  const open = new OpenObjects(table);
  const a = table.intern(makeHandle('a'));
  open.open(a);
  for (const name of ['b', 'c', 'd']) table.intern(makeHandle(name));
  t.equal(a.evicted, false);
  open.close(a);
  table.intern(makeHandle('e'));
  t.equal(a.evicted, true);
});

t.test('files are counted, one for each open(2), and directories are not', async (t) => {
  const { open, a } = setup();
  open.open(a);
  t.equal(open.files, 0);
  open.openFile(a);
  open.openFile(a);
  t.equal(open.files, 2);
  open.closeFile(a);
  t.equal(open.files, 1);
  open.close(a);
  t.equal(open.files, 1);
});

t.test('the last work on an object runs when nothing else has it open, and before it goes', async (t) => {
  const { open, a, forget } = setup();
  let runs = 0;
  let end = (): void => {};
  const last = (): Promise<void> => {
    runs++;
    return new Promise((resolve) => {
      end = resolve;
    });
  };
  open.openFile(a);
  open.openFile(a);
  forget();
  open.closeFile(a, last);
  t.equal(runs, 0);
  open.closeFile(a, last);
  await settled();
  t.equal(runs, 1);
  t.equal(a.evicted, false);
  end();
  await settled();
  t.equal(a.evicted, true);
});

t.test('an object goes at once where its last work has nothing to do', async (t) => {
  const { open, a, forget } = setup();
  open.open(a);
  forget();
  open.close(a, () => undefined);
  t.equal(a.evicted, true);
});
