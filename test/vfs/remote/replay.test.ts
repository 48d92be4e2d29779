import t from 'tap';
import { Inode } from '../../../lib/vfs/cache/inode.js';
import { Replay } from '../../../lib/vfs/remote/replay.js';
import { FakeTree, makeHandle } from '../support/fake-tree.js';

const tree = new FakeTree();
const directory = tree.attributes(tree.root);
const at = (seconds: number) => ({ ...directory, ctime: { seconds, nanoseconds: 5 } });

t.test('a call counts as sent again once it was', async (t) => {
  const replay = new Replay(new Inode(1, makeHandle('d')));
  t.equal(replay.retransmitted, false);
  replay.onRetransmit();
  t.equal(replay.retransmitted, true);
});

t.test('a call may have made what changed no earlier than its directory had when it was sent', async (t) => {
  const inode = new Inode(1, makeHandle('d'));
  inode.attributes = at(100);
  const replay = new Replay(inode);
  inode.attributes = at(200);
  t.equal(replay.mayHaveMade(at(99)), false);
  t.equal(replay.mayHaveMade(at(100)), true);
  t.equal(replay.mayHaveMade(at(101)), true);
});

t.test('nothing speaks against it where nothing was known of the directory', async (t) => {
  t.equal(new Replay(new Inode(1, makeHandle('d'))).mayHaveMade(at(1)), true);
});
