import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import { Bench, outcome, settled } from './support/bench.js';

const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

/** Looks the name up as a kernel does whose own trust in it has run out. */
async function stat(bench: Bench, name: string): Promise<number> {
  bench.vfs.kernel.tellsName(bench.root, name, 0);
  const { nodeid } = await bench.names.lookup(bench.root, bytes(name), bench.caller());
  return nodeid;
}

t.test('a name is asked for once while its directory is unchanged', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f');
  await bench.vfs.current.fetch(bench.root, bench.caller());
  const first = await stat(bench, 'f');
  bench.server.forgetCalls();
  t.equal(await stat(bench, 'f'), first);
  t.equal(bench.server.names(), '');
  await bench.pass(3000);
  t.equal(await stat(bench, 'f'), first);
  t.equal(bench.server.names(), 'LOOKUP', 'its own attributes are in doubt');
});

t.test('a name that does not exist is remembered until the directory changes', async (t) => {
  const bench = new Bench();
  t.equal(await stat(bench, 'none'), 0);
  bench.server.forgetCalls();
  const reply = await bench.names.lookup(bench.root, bytes('none'), bench.caller());
  t.equal(reply.nodeid, 0);
  t.ok(reply.entryValidMs > 0 && reply.entryValidMs <= 30_000);
  t.equal(bench.server.names(), '');
  bench.server.tree.file('none');
  await bench.vfs.current.fetch(bench.root, bench.caller());
  t.not(await stat(bench, 'none'), 0);
});

t.test('lookupcache=pos remembers what exists, none nothing; the kernel is told the same', async (t) => {
  for (const [lookupCache, positive, negative] of [
    ['all', 0, 0],
    ['pos', 0, 1],
    ['none', 1, 1],
  ] as const) {
    const bench = new Bench({ config: { lookupCache } });
    bench.server.tree.file('f');
    await bench.vfs.current.fetch(bench.root, bench.caller());
    await stat(bench, 'f');
    await stat(bench, 'none');
    bench.server.forgetCalls();
    bench.vfs.kernel.tellsName(bench.root, 'f', 0);
    const found = await bench.names.lookup(bench.root, bytes('f'), bench.caller());
    t.equal(bench.server.count('LOOKUP'), positive, lookupCache);
    t.equal(found.entryValidMs > 0, positive === 0);
    bench.server.forgetCalls();
    const missing = await bench.names.lookup(bench.root, bytes('none'), bench.caller());
    t.equal(bench.server.count('LOOKUP'), negative, lookupCache);
    t.equal(missing.entryValidMs > 0, negative === 0);
  }
});

t.test('a change that another client makes during LOOKUP is not missed', async (t) => {
  const bench = new Bench();
  await bench.vfs.current.fetch(bench.root, bench.caller());
  const gate = bench.server.gate('LOOKUP', 'reply');
  const looking = stat(bench, 'f');
  await settled();
  bench.server.tree.file('f');
  await bench.vfs.current.fetch(bench.root, bench.caller());
  gate.open();
  t.equal(await looking, 0);
  t.not(await stat(bench, 'f'), 0);
});

t.test('an answer that a change of ours has overtaken is not believed', async (t) => {
  const bench = new Bench();
  await bench.vfs.current.fetch(bench.root, bench.caller());
  const gate = bench.server.gate('LOOKUP', 'reply');
  const looking = stat(bench, 'f');
  await settled();
  const { inode, fh } = await bench.create('f');
  gate.open();
  t.equal(await looking, inode.nodeid);
  t.equal(await stat(bench, 'f'), inode.nodeid);

  await bench.files.release(fh);
  await bench.pass(3000);
  const held = bench.server.gate('LOOKUP', 'reply');
  const again = stat(bench, 'f');
  await settled();
  await bench.removal.unlink(bench.root, bytes('f'), bench.caller());
  held.open();
  const result = await outcome(again);
  t.equal(result, 'ok');
  t.equal(await stat(bench, 'f'), 0, 'the name is gone');
});

t.test('"." and ".." never reach the server', async (t) => {
  const bench = new Bench();
  bench.server.tree.directory('d');
  const inode = await bench.walk('d');
  bench.server.forgetCalls();
  const self = await bench.names.lookup(inode, bytes('.'), bench.caller());
  const above = await bench.names.lookup(inode, bytes('..'), bench.caller());
  t.same([self.nodeid, above.nodeid], [inode.nodeid, bench.root.nodeid]);
  t.equal(bench.server.count('LOOKUP'), 0);
});

t.test("the kernel may trust a name no longer than its directory's attributes", async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f');
  await bench.vfs.current.fetch(bench.root, bench.caller());
  await bench.pass(1000);
  await stat(bench, 'f');
  const reply = await bench.names.lookup(bench.root, bytes('f'), bench.caller());
  if (reply.nodeid === 0) throw new Error('f exists');
  t.ok(reply.entryValidMs <= 30_000);
  t.equal('attrValidMs' in reply && reply.attrValidMs, 3000);
});

t.test('noac: the kernel is told to trust nothing', async (t) => {
  const bench = new Bench({ config: { attributeCache: false } });
  bench.server.tree.file('f');
  const reply = await bench.names.lookup(bench.root, bytes('f'), bench.caller());
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
      const bench = new Bench();
      const { tree } = bench.server;
      tree.directory('d');
      tree.directory('e');
      tree.file('e/x');
      tree.file('file');
      tree.symlink('another', 'e');
      const directory = await bench.walk('d');
      tree.remove('d');
      tree.symlink('d', target);
      const caller = { ...bench.caller(), tid: 7 };
      const looking = bench.names.lookup(directory, bytes('x'), caller);
      if (shown === 'found') {
        const x = await bench.walk('e/x');
        t.match(await looking, { nodeid: x.nodeid, entryValidMs: 0 }, target);
      } else {
        t.equal(await outcome(looking), shown, target);
      }
    }
  },
);
