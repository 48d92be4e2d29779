/** open(2) with O_CREAT. */

import t from 'tap';
import { Errno, FuseError } from '../../../lib/fuse/contract/errno.js';
import { Claim } from '../../../lib/vfs/caller/claim.js';
import { Creation } from '../../../lib/vfs/data/creation.js';
import { named } from '../support/named.js';
import { O_RDWR, outcome, Rig } from '../support/rig.js';

const O_EXCL = 0o200;
const O_TRUNC = 0o1000;

function setup() {
  const rig = new Rig();
  const creation = new Creation(rig.make, rig.files);
  const open = (flags: number, caller = rig.caller(), mode = 0o640) =>
    creation.open(rig.root, named('f'), { mode, flags: O_RDWR | flags }, caller);
  return { rig, server: rig.server, tree: rig.server.tree, open };
}

t.test('a file is made and opened, with the mode bits that a file can have', async (t) => {
  const { rig, tree, open } = setup();
  const { found, open: opened } = await open(0, rig.caller(), 0o107_640);
  t.equal(tree.at('f').mode, 0o7640);
  t.equal(found.inode.opens, 1);
  await rig.write(opened.fh, 0, 'content');
  await rig.files.flush(opened.fh);
  t.equal(tree.at('f').data.toString(), 'content');
});

t.test(
  'where another client was faster its file is opened, and cut only if that was asked for',
  async (t) => {
    for (const [flags, left] of [
      [0, 'theirs'],
      [O_TRUNC, ''],
    ] as const) {
      const { tree, open } = setup();
      tree.file('f', 'theirs');
      const { found } = await open(flags);
      t.equal(tree.at('f').data.toString(), left);
      t.equal(found.attributes.size, BigInt(left.length));
    }
  },
);

t.test('an empty file is not cut once more', async (t) => {
  const { server, tree, open } = setup();
  tree.file('f');
  await open(O_TRUNC);
  t.equal(server.count('SETATTR'), 0);
});

t.test('a file whose data has not reached the server is cut, though it is empty there', async (t) => {
  const { rig, server, tree, open } = setup();
  const { open: first } = await open(0);
  await rig.write(first.fh, 0, 'behind');
  server.forgetCalls();
  await open(O_TRUNC);
  t.equal(server.count('SETATTR'), 1);
  await rig.files.flush(first.fh);
  t.equal(tree.at('f').data.toString(), '');
});

t.test('a file whose data is on stable storage and cut needs nothing', async (t) => {
  const { rig, server, open } = setup();
  const { open: first } = await open(0);
  await rig.files.flush(first.fh);
  await open(O_TRUNC);
  t.equal(server.count('SETATTR'), 0);
});

t.test('O_EXCL: an existing file is an error', async (t) => {
  const { tree, open } = setup();
  tree.file('f', 'theirs');
  t.equal(await outcome(open(O_EXCL)), Errno.EEXIST);
});

t.test(
  'a caller whose rights are claimed never opens an existing file unchecked: the kernel looks again',
  async (t) => {
    const { rig, tree, open } = setup();
    const claim = new Claim({ isUser: () => true, isMember: () => true });
    const claimed = { ...rig.caller(), claim };
    tree.file('f', 'theirs');
    await t.rejects(open(0, claimed), new FuseError(Errno.ESTALE, 'made meanwhile'));
    t.equal(await outcome(open(O_EXCL, claimed)), Errno.EEXIST);
  },
);

t.test('other errors stay what they are', async (t) => {
  const { rig, server, open } = setup();
  server.fail('CREATE', 28);
  t.equal(await outcome(open(0)), Errno.ENOSPC);
  const claim = new Claim({ isUser: () => true, isMember: () => true });
  t.equal(await outcome(open(0, { ...rig.caller(), claim })), Errno.ENOSPC);
});

t.test('something else than a file has the name: the kernel looks again', async (t) => {
  const { server, tree, open } = setup();
  tree.directory('d');
  server.once('CREATE', (_args, execute) => ({
    ...execute(),
    object: tree.at('d').handle,
    attributes: tree.attributes(tree.at('d')),
  }));
  t.equal(await outcome(open(0)), Errno.ESTALE);
});
