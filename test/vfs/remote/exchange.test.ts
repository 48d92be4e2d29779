/** Calls about an object, and what their replies and failures mean for what is known of it. */
import t from 'tap';
import { Errno, FuseError } from '../../../lib/fuse/contract/errno.js';
import { outcome, Rig, settled } from '../support/rig.js';

async function opened() {
  const rig = new Rig();
  rig.server.tree.file('f', 'content');
  return { rig, server: rig.server, inode: await rig.walk('f') };
}

t.test('attributes are as old as the call that brought them', async (t) => {
  const { rig, server, inode } = await opened();
  rig.vfs.attributes.expire(inode);
  const gate = server.gate('GETATTR', 'reply');
  const fetched = rig.vfs.current.fetch(inode, rig.caller());
  await settled();
  await rig.pass(1000);
  gate.open();
  await fetched;
  t.equal(rig.vfs.attributes.remaining(inode), 2000);
});

const NO_CHANGE = { mode: undefined, uid: undefined, gid: undefined, size: undefined, fh: undefined };
const CHMOD = { ...NO_CHANGE, mode: 0o600, atime: undefined, mtime: undefined };

t.test('a change of ours is accounted for, and as old as its call', async (t) => {
  const { rig, server, inode } = await opened();
  const { generation } = inode;
  const gate = server.gate('SETATTR', 'reply');
  const changed = rig.files.setAttributes(inode, CHMOD, rig.caller());
  await settled();
  t.equal(inode.own?.active, 1);
  await rig.pass(1000);
  gate.open();
  await changed;
  t.equal(inode.own, undefined);
  t.equal(inode.generation, generation);
  t.equal(rig.vfs.attributes.remaining(inode), 2000);
});

t.test('the account of a change that gets no answer ends in doubt', async (t) => {
  const { rig, server, inode } = await opened();
  server.on('SETATTR', () => Promise.reject(new FuseError(Errno.ETIMEDOUT)));
  t.equal(await outcome(rig.files.setAttributes(inode, CHMOD, rig.caller())), Errno.ETIMEDOUT);
  t.equal(inode.own, undefined);
  t.equal(rig.vfs.attributes.isFresh(inode), false);
});

t.test('a rename within one directory is one change of it, and not another client’s', async (t) => {
  const { rig } = await opened();
  await rig.pass(10);
  const { generation } = rig.root;
  rig.notices.length = 0;
  await rig.remove.rename(rig.at('f'), rig.at('g'), 0, rig.caller());
  t.equal(rig.root.own, undefined, 'nothing is left to be accounted for');
  t.equal(rig.root.generation, generation);
  t.same(
    rig.notices.filter((notice) => notice.startsWith('expire')),
    [],
  );
});

t.test('a rename between two directories is a change of each', async (t) => {
  const { rig, server } = await opened();
  server.tree.directory('d');
  const directory = await rig.walk('d');
  await rig.pass(10);
  const generations = [rig.root.generation, directory.generation];
  await rig.remove.rename(rig.at('f'), rig.at('f', directory), 0, rig.caller());
  t.same([rig.root.own, directory.own], [undefined, undefined]);
  t.same([rig.root.generation, directory.generation], generations);
});
