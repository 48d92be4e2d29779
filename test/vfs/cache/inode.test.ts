import t from 'tap';
import { FileType } from '../../../lib/programs/nfs3/index.js';
import { describePath, Inode } from '../../../lib/vfs/cache/inode.js';
import { file } from '../support/attributes.js';
import { makeHandle } from '../support/fake-tree.js';
import { named as fileName } from '../support/named.js';

let nodeid = 2;
function named(name: string, parent?: Inode): Inode {
  const inode = new Inode(nodeid++, makeHandle(name));
  inode.name = fileName(name);
  inode.parent = parent;
  return inode;
}

t.test('a type is not known before the attributes are', async (t) => {
  const inode = named('a');
  t.same([inode.isDirectory, inode.isRegular], [false, false]);
  inode.attributes = file(0);
  t.same([inode.isDirectory, inode.isRegular], [false, true]);
  inode.attributes = file(0, { type: FileType.DIR });
  t.same([inode.isDirectory, inode.isRegular], [true, false]);
});

t.test(
  'a handle that is stale is gone only where that is known, and stays so until it works again',
  async (t) => {
    const inode = named('a');
    inode.markStale();
    t.same([inode.stale, inode.gone], [true, false]);
    inode.markStale(true);
    inode.markStale();
    t.same([inode.stale, inode.gone], [true, true]);
    inode.markStale(false);
    t.same([inode.stale, inode.gone], [true, false]);
    inode.markStale(true);
    inode.revive();
    t.same([inode.stale, inode.gone], [false, false]);
  },
);

t.test('a new inode has no pages and counts nothing', async (t) => {
  const inode = named('a');
  t.same(
    [inode.pagesFilled, inode.pagesRacy, inode.evicted, inode.ctimeMoving],
    [false, false, false, false],
  );
  t.ok(inode.pagesGeneration < inode.generation, 'pages of no generation');
});

t.test('a path is shown as text, from the root on', async (t) => {
  const root = new Inode(1, makeHandle('root'));
  t.equal(describePath(root), '/');
  t.equal(describePath(named('b', named('\xc3\xa4', root))), '/ä/b');
  t.equal(describePath(named('lost')), '/lost', 'as far as it is known');
});

t.test('a path that goes in a circle is shown up to a depth that no path has', async (t) => {
  const inode = named('a');
  inode.parent = inode;
  t.equal(describePath(inode), '/a'.repeat(4096));
});
