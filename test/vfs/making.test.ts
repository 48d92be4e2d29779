import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import { CreateMode, FileType, Status } from '../../lib/programs/nfs3/index.js';
import { mknodWhat } from '../../lib/vfs/names/make.js';
import { Bench, outcome } from './support/bench.js';

const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

/** Looks the name up as a kernel does whose own trust in it has run out. */
async function stat(bench: Bench, name: string): Promise<number> {
  bench.vfs.kernel.tellsName(bench.root, name, 0);
  const { nodeid } = await bench.names.lookup(bench.root, bytes(name), bench.caller());
  return nodeid;
}

t.test('names are bytes', async (t) => {
  const bench = new Bench();
  const name = Buffer.from([0xff, 0xfe, 0x80, 0x41]);
  await bench.making.create(bench.root, name, 0o644, false, bench.caller());
  t.same(bench.server.named('CREATE')[0]?.args.where.name, name);
  t.ok(bench.server.tree.has(name.toString('latin1')));
});

t.test('a handle or attributes that a reply leaves out are asked for', async (t) => {
  for (const [answers, names] of [
    ['full', 'MKDIR'],
    ['no-attributes', 'MKDIR GETATTR'],
    ['nothing', 'MKDIR LOOKUP'],
  ] as const) {
    const bench = new Bench();
    bench.server.makeAnswers = answers;
    const made = await bench.making.mkdir(bench.root, bytes('d'), 0o700, bench.caller());
    t.equal(bench.server.names(), names);
    t.equal(made.attributes.mode, 0o700);
    t.equal(made.inode.handle, bench.server.tree.at('d').handle);
  }
});

t.test('what we made is known without asking', async (t) => {
  const bench = new Bench();
  const made = await bench.making.mkdir(bench.root, bytes('d'), 0o755, bench.caller());
  bench.server.forgetCalls();
  t.equal(await stat(bench, 'd'), made.inode.nodeid);
  t.equal(bench.server.names(), '');
  t.equal(bench.root.generation, 0, 'the directory changed by our own doing');
});

t.test('O_EXCL: EXCLUSIVE with a verifier, then SETATTR for mode and times', async (t) => {
  const bench = new Bench();
  const made = await bench.making.create(bench.root, bytes('f'), 0o640, true, bench.caller());
  t.equal(bench.server.names(), 'CREATE SETATTR');
  const [create, setattr] = bench.server.calls;
  t.equal(create?.args.how.mode, CreateMode.EXCLUSIVE);
  t.equal(create?.args.how.verifier.length, 8);
  t.match(setattr?.args.attributes, { mode: 0o640, atime: 'server', mtime: 'server' });
  t.equal(made.attributes.mode, 0o640);
  await bench.making.create(bench.root, bytes('g'), 0o640, true, bench.caller());
  t.notSame(bench.server.named('CREATE')[1]?.args.how.verifier, create?.args.how.verifier);
  t.equal(
    await outcome(bench.making.create(bench.root, bytes('f'), 0o640, true, bench.caller())),
    Errno.EEXIST,
  );
});

t.test('a server that cannot do EXCLUSIVE gets GUARDED', async (t) => {
  const bench = new Bench();
  bench.server.exclusiveCreate = false;
  const made = await bench.making.create(bench.root, bytes('f'), 0o640, true, bench.caller());
  t.same(
    bench.server.named('CREATE').map(({ args }) => args.how.mode),
    [CreateMode.EXCLUSIVE, CreateMode.GUARDED],
  );
  t.equal(made.attributes.mode, 0o640);
});

t.test('O_CREAT without O_EXCL: UNCHECKED, and never with a size', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'content');
  await bench.making.create(bench.root, bytes('f'), 0o644, false, bench.caller());
  t.equal(bench.server.tree.at('f').data.toString(), 'content');
  const [create] = bench.server.named('CREATE');
  t.equal(create?.args.how.mode, CreateMode.UNCHECKED);
  t.equal(create?.args.how.attributes.size, undefined, 'a late copy would empty the file again');
});

t.test('a create that failed leaves no negative dentry: it may have happened', async (t) => {
  const bench = new Bench();
  t.equal(await stat(bench, 'f'), 0);
  bench.server.once('CREATE', (_args, execute) => {
    execute();
    return bench.server.failure('CREATE', Status.IO);
  });
  t.equal(
    await outcome(bench.making.create(bench.root, bytes('f'), 0o644, false, bench.caller())),
    Errno.EIO,
  );
  t.not(await stat(bench, 'f'), 0);
});

t.test('symlink, mknod and link make what they say', async (t) => {
  const bench = new Bench();
  const { tree } = bench.server;
  await bench.making.symlink(bench.root, bytes('s'), bytes('to/there'), bench.caller());
  t.equal(tree.at('s').target.toString(), 'to/there');
  const fifo = mknodWhat(0o010644, 0, 0);
  if (fifo === undefined) throw new Error('a FIFO is made by MKNOD');
  await bench.making.mknod(bench.root, bytes('p'), fifo, bench.caller());
  t.equal(tree.at('p').type, FileType.FIFO);
  t.match(mknodWhat(0o060600, 8, 1), { type: FileType.BLK, rdevMajor: 8, rdevMinor: 1 });
  t.match(mknodWhat(0o020600, 1, 3), { type: FileType.CHR, attributes: { mode: 0o600 } });
  t.match(mknodWhat(0o140777, 0, 0), { type: FileType.SOCK });
  t.equal(mknodWhat(0o100644, 0, 0), undefined, 'regular files go through CREATE');

  tree.file('f', 'x');
  const inode = await bench.walk('f');
  const linked = await bench.making.link(inode, bench.root, bytes('g'), bench.caller());
  t.equal(linked.inode, inode);
  t.equal(linked.attributes.nlink, 2);
  t.equal(inode.generation, 0, 'the new ctime is our doing');
  t.equal(await outcome(bench.making.link(inode, bench.root, bytes('g'), bench.caller())), Errno.EEXIST);
});
