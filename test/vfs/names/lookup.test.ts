import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { named } from '../support/named.js';
import { outcome, Rig, settled } from '../support/rig.js';
import { stat } from '../support/stat.js';

t.test('a name is asked for once while its directory is unchanged', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f');
  await rig.vfs.current.fetch(rig.root, rig.caller());
  const first = await stat(rig, 'f');
  rig.server.forgetCalls();
  t.equal(await stat(rig, 'f'), first);
  t.equal(rig.server.names(), '');
  await rig.pass(3000);
  t.equal(await stat(rig, 'f'), first);
  t.equal(rig.server.names(), 'LOOKUP', 'its own attributes are in doubt');
});

t.test('a name that does not exist is remembered until the directory changes', async (t) => {
  const rig = new Rig();
  t.equal(await stat(rig, 'none'), 0);
  rig.server.forgetCalls();
  const reply = await rig.lookup.entry(rig.root, named('none'), rig.caller());
  t.equal(reply.nodeid, 0);
  t.ok(reply.entryValidMs > 0 && reply.entryValidMs <= 30_000);
  t.equal(rig.server.names(), '');
  rig.server.tree.file('none');
  await rig.vfs.current.fetch(rig.root, rig.caller());
  t.not(await stat(rig, 'none'), 0);
});

t.test('lookupcache=pos remembers what exists, none nothing; the kernel is told the same', async (t) => {
  for (const [lookupCache, positive, negative] of [
    ['all', 0, 0],
    ['pos', 0, 1],
    ['none', 1, 1],
  ] as const) {
    const rig = new Rig({ config: { lookupCache } });
    rig.server.tree.file('f');
    await rig.vfs.current.fetch(rig.root, rig.caller());
    await stat(rig, 'f');
    await stat(rig, 'none');
    rig.server.forgetCalls();
    rig.vfs.kernel.tellsName(rig.root, named('f'), undefined, 0);
    const found = await rig.lookup.entry(rig.root, named('f'), rig.caller());
    t.equal(rig.server.count('LOOKUP'), positive, lookupCache);
    t.equal(found.entryValidMs > 0, positive === 0);
    rig.server.forgetCalls();
    const missing = await rig.lookup.entry(rig.root, named('none'), rig.caller());
    t.equal(rig.server.count('LOOKUP'), negative, lookupCache);
    t.equal(missing.entryValidMs > 0, negative === 0);
  }
});

t.test('a change that another client makes during LOOKUP is not missed', async (t) => {
  const rig = new Rig();
  await rig.vfs.current.fetch(rig.root, rig.caller());
  const gate = rig.server.gate('LOOKUP', 'reply');
  const looking = stat(rig, 'f');
  await settled();
  rig.server.tree.file('f');
  await rig.vfs.current.fetch(rig.root, rig.caller());
  gate.open();
  t.equal(await looking, 0);
  t.not(await stat(rig, 'f'), 0);
});

t.test('an answer that a change of ours has overtaken is not believed', async (t) => {
  const rig = new Rig();
  await rig.vfs.current.fetch(rig.root, rig.caller());
  const gate = rig.server.gate('LOOKUP', 'reply');
  const looking = stat(rig, 'f');
  await settled();
  const { inode, fh } = await rig.create('f');
  gate.open();
  t.equal(await looking, inode.nodeid);
  t.equal(await stat(rig, 'f'), inode.nodeid);

  await rig.files.release(fh);
  await rig.pass(3000);
  const held = rig.server.gate('LOOKUP', 'reply');
  const again = stat(rig, 'f');
  await settled();
  await rig.remove.unlink(rig.root, named('f'), rig.caller());
  held.open();
  const result = await outcome(again);
  t.equal(result, 'ok');
  t.equal(await stat(rig, 'f'), 0, 'the name is gone');
});

t.test('"." and ".." never reach the server', async (t) => {
  const rig = new Rig();
  rig.server.tree.directory('d');
  const inode = await rig.walk('d');
  rig.server.forgetCalls();
  const self = await rig.lookup.entry(inode, named('.'), rig.caller());
  const above = await rig.lookup.entry(inode, named('..'), rig.caller());
  t.same([self.nodeid, above.nodeid], [inode.nodeid, rig.root.nodeid]);
  t.equal(rig.server.count('LOOKUP'), 0);
});

t.test("the kernel may trust a name no longer than its directory's attributes", async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f');
  await rig.vfs.current.fetch(rig.root, rig.caller());
  await rig.pass(1000);
  await stat(rig, 'f');
  const reply = await rig.lookup.entry(rig.root, named('f'), rig.caller());
  if (reply.nodeid === 0) throw new Error('f exists');
  t.ok(reply.entryValidMs <= 30_000);
  t.equal('attrValidMs' in reply && reply.attrValidMs, 3000);
});

t.test('noac: the kernel is told to trust nothing', async (t) => {
  const rig = new Rig({ config: { attributeCache: false } });
  rig.server.tree.file('f');
  const reply = await rig.lookup.entry(rig.root, named('f'), rig.caller());
  t.match(reply, { entryValidMs: 0, attrValidMs: 0 });
});

t.test(
  'below a directory that a link has replaced: what the link leads to, if the kernel need not find it',
  async (t) => {
    for (const [target, shown] of [
      ['e', 'found'],
      ['./e//', 'found'],
      ['e/../e', 'found'],
      ['missing', Errno.ESTALE],
      ['file', Errno.ENOTDIR],
      ['another', Errno.ESTALE],
      ['/e', Errno.ESTALE],
      ['../e', Errno.ESTALE],
    ] as const) {
      const rig = new Rig();
      const { tree } = rig.server;
      tree.directory('d');
      tree.directory('e');
      tree.file('e/x');
      tree.file('file');
      tree.symlink('another', 'e');
      const directory = await rig.walk('d');
      tree.remove('d');
      tree.symlink('d', target);
      const caller = { ...rig.caller(), tid: 7 };
      const looking = rig.lookup.entry(directory, named('x'), caller);
      if (shown === 'found') {
        const x = await rig.walk('e/x');
        t.match(await looking, { nodeid: x.nodeid, entryValidMs: 0 }, target);
      } else {
        t.equal(await outcome(looking), shown, target);
      }
    }
  },
);
