import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { CreateMode, FileType, fileNameFromBytes, Status } from '../../../lib/programs/nfs3/index.js';
import { mknodWhat } from '../../../lib/vfs/names/make.js';
import { named } from '../support/named.js';
import { outcome, Rig } from '../support/rig.js';
import { stat } from '../support/stat.js';

const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

t.test('names are bytes', async (t) => {
  const rig = new Rig();
  const name = fileNameFromBytes(Buffer.from([0xff, 0xfe, 0x80, 0x41]));
  await rig.make.create(rig.root, name, 0o644, false, rig.caller());
  t.same(rig.server.named('CREATE')[0]?.args.where.name, name);
  t.ok(rig.server.tree.has(name));
});

t.test('a handle or attributes that a reply leaves out are asked for', async (t) => {
  for (const [answers, names] of [
    ['full', 'MKDIR'],
    ['no-attributes', 'MKDIR GETATTR'],
    ['nothing', 'MKDIR LOOKUP'],
  ] as const) {
    const rig = new Rig();
    rig.server.makeAnswers = answers;
    const made = await rig.make.mkdir(rig.root, named('d'), 0o700, rig.caller());
    t.equal(rig.server.names(), names);
    t.equal(made.attributes.mode, 0o700);
    t.equal(made.inode.handle, rig.server.tree.at('d').handle);
  }
});

t.test('what we made is known without asking', async (t) => {
  const rig = new Rig();
  const made = await rig.make.mkdir(rig.root, named('d'), 0o755, rig.caller());
  rig.server.forgetCalls();
  t.equal(await stat(rig, 'd'), made.inode.nodeid);
  t.equal(rig.server.names(), '');
  t.equal(rig.root.generation, 0, 'the directory changed by our own doing');
});

t.test('O_EXCL: EXCLUSIVE with a verifier, then SETATTR for mode and times', async (t) => {
  const rig = new Rig();
  const made = await rig.make.create(rig.root, named('f'), 0o640, true, rig.caller());
  t.equal(rig.server.names(), 'CREATE SETATTR');
  const [create, setattr] = rig.server.calls;
  t.equal(create?.args.how.mode, CreateMode.EXCLUSIVE);
  t.equal(create?.args.how.verifier.length, 8);
  t.match(setattr?.args.attributes, { mode: 0o640, atime: 'server', mtime: 'server' });
  t.equal(made.attributes.mode, 0o640);
  await rig.make.create(rig.root, named('g'), 0o640, true, rig.caller());
  t.notSame(rig.server.named('CREATE')[1]?.args.how.verifier, create?.args.how.verifier);
  t.equal(await outcome(rig.make.create(rig.root, named('f'), 0o640, true, rig.caller())), Errno.EEXIST);
});

t.test('a server that cannot do EXCLUSIVE gets GUARDED', async (t) => {
  const rig = new Rig();
  rig.server.exclusiveCreate = false;
  const made = await rig.make.create(rig.root, named('f'), 0o640, true, rig.caller());
  t.same(
    rig.server.named('CREATE').map(({ args }) => args.how.mode),
    [CreateMode.EXCLUSIVE, CreateMode.GUARDED],
  );
  t.equal(made.attributes.mode, 0o640);
});

t.test('O_CREAT without O_EXCL: UNCHECKED, and never with a size', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'content');
  await rig.make.create(rig.root, named('f'), 0o644, false, rig.caller());
  t.equal(rig.server.tree.at('f').data.toString(), 'content');
  const [create] = rig.server.named('CREATE');
  t.equal(create?.args.how.mode, CreateMode.UNCHECKED);
  t.equal(create?.args.how.attributes.size, undefined, 'a late copy would empty the file again');
});

t.test('a create that failed leaves no negative dentry: it may have happened', async (t) => {
  const rig = new Rig();
  t.equal(await stat(rig, 'f'), 0);
  rig.server.once('CREATE', (_args, execute) => {
    execute();
    return rig.server.failure('CREATE', Status.IO);
  });
  t.equal(await outcome(rig.make.create(rig.root, named('f'), 0o644, false, rig.caller())), Errno.EIO);
  t.not(await stat(rig, 'f'), 0);
});

t.test('symlink, mknod and link make what they say', async (t) => {
  const rig = new Rig();
  const { tree } = rig.server;
  await rig.make.symlink(rig.root, named('s'), bytes('to/there'), rig.caller());
  t.equal(tree.at('s').target.toString(), 'to/there');
  const fifo = mknodWhat(0o010644, 0, 0);
  if (fifo === undefined) throw new Error('a FIFO is made by MKNOD');
  await rig.make.mknod(rig.root, named('p'), fifo, rig.caller());
  t.equal(tree.at('p').type, FileType.FIFO);
  t.match(mknodWhat(0o060600, 8, 1), { type: FileType.BLK, rdevMajor: 8, rdevMinor: 1 });
  t.match(mknodWhat(0o020600, 1, 3), { type: FileType.CHR, attributes: { mode: 0o600 } });
  t.match(mknodWhat(0o140777, 0, 0), { type: FileType.SOCK });
  t.equal(mknodWhat(0o100644, 0, 0), undefined, 'regular files go through CREATE');

  tree.file('f', 'x');
  const inode = await rig.walk('f');
  const linked = await rig.make.link(inode, rig.root, named('g'), rig.caller());
  t.equal(linked.inode, inode);
  t.equal(linked.attributes.nlink, 2);
  t.equal(inode.generation, 0, 'the new ctime is our doing');
  t.equal(await outcome(rig.make.link(inode, rig.root, named('g'), rig.caller())), Errno.EEXIST);
});
