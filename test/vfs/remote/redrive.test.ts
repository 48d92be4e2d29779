import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import { named } from '../support/named.js';
import { O_RDWR, outcome, Rig, settled } from '../support/rig.js';

async function deep() {
  const rig = new Rig();
  const { tree } = rig.server;
  tree.directory('a');
  tree.directory('a/b');
  tree.file('a/b/f', 'content');
  const { inode, fh } = await rig.open('a/b/f', O_RDWR);
  rig.server.forgetCalls();
  return { rig, server: rig.server, tree, inode, fh };
}

t.test('the same object under a new handle: the operation is repeated, and nobody notices', async (t) => {
  const { rig, tree, inode, fh } = await deep();
  tree.rehandle(tree.at('a/b/f'));
  t.equal((await rig.read(fh, 0, 100)).toString(), 'content');
  t.equal(inode.handle, tree.at('a/b/f').handle);
  t.equal(rig.counters.redrives, 1);
});

t.test(
  'everything has a new handle, the root too: mountd is asked, and the whole way is found again',
  async (t) => {
    const { rig, tree, inode, fh } = await deep();
    tree.reexport();
    t.equal((await rig.read(fh, 0, 100)).toString(), 'content');
    t.equal(rig.root.handle, tree.root.handle);
    t.equal(rig.counters.rootRemounts, 1);
    await rig.write(fh, 0, 'CONTENT');
    await rig.files.flush(fh);
    t.equal(tree.at('a/b/f').stable.toString(), 'CONTENT');
    t.equal(inode.handle, tree.at('a/b/f').handle);
  },
);

t.test(
  'after a re-export the kernel finds the objects that it knew, under the node ids that it knew',
  async (t) => {
    const { rig, tree, inode, fh } = await deep();
    tree.reexport();
    t.equal(await rig.walk('a/b/f'), inode);
    t.equal((await rig.read(fh, 0, 100)).toString(), 'content');
  },
);

t.test(
  'an object that the kernel already found under another node id serves the old descriptor as well',
  async (t) => {
    const { rig, tree, inode, fh } = await deep();
    tree.rehandle(tree.at('a/b/f'));
    // A path names the new handle before the descriptor meets the old one.
    await rig.vfs.current.fetch(await rig.walk('a/b'), rig.caller());
    tree.chmod('a/b', 0o777);
    await rig.vfs.current.fetch(await rig.walk('a/b'), rig.caller());
    await rig.walk('a/b/f');
    t.equal((await rig.read(fh, 0, 100)).toString(), 'content');
    t.equal(inode.handle, tree.at('a/b/f').handle);
  },
);

t.test('many operations on one stale handle share one redrive', async (t) => {
  const { rig, server, tree, inode } = await deep();
  tree.rehandle(tree.at('a/b/f'));
  const all = Array.from({ length: 100 }, () => rig.vfs.current.fetch(inode, rig.caller()));
  await Promise.all(all);
  t.equal(rig.counters.redrives, 1);
  t.equal(server.count('LOOKUP'), 1);
  t.equal(server.count('GETATTR'), 200);
});

t.test('replies that come after the redrive has ended need no other', async (t) => {
  const { rig, server, tree, inode } = await deep();
  tree.remove('a/b/f');
  const gate = server.gate('GETATTR', 'reply');
  const all = Array.from({ length: 10 }, (_, i) =>
    outcome(rig.vfs.current.fetch(inode, rig.caller(1000, i + 50))),
  );
  await settled();
  for (let i = 0; i < 10; i++) {
    gate.release();
    await settled();
  }
  await Promise.all(all);
  t.equal(rig.counters.redrives, 1);
});

t.test('a path that names nothing any more: ESTALE once for each thread, then ENOENT', async (t) => {
  const { rig, tree, inode } = await deep();
  tree.remove('a/b/f');
  for (const tid of [7, 8]) {
    t.equal(await outcome(rig.vfs.current.fetch(inode, rig.caller(1000, tid))), Errno.ESTALE);
    t.equal(await outcome(rig.vfs.current.fetch(inode, rig.caller(1000, tid))), Errno.ENOENT);
  }
});

t.test('a path that names another object is not the same object', async (t) => {
  const { rig, tree, inode, fh } = await deep();
  tree.remove('a/b/f');
  tree.file('a/b/f', 'another');
  t.equal(await outcome(rig.read(fh, 0, 100)), Errno.EIO);
  t.equal(await outcome(rig.vfs.current.fetch(inode, rig.caller(1000, 7))), Errno.ESTALE);
  const found = await rig.walk('a/b/f');
  t.not(found.nodeid, inode.nodeid);
});

t.test('a new file that got the fileid of a deleted one is not the deleted one', async (t) => {
  const { rig, tree, inode, fh } = await deep();
  const { fileid } = tree.at('a/b/f');
  tree.remove('a/b/f');
  const directory = tree.at('a/b');
  tree.attach(directory, 'f', tree.make(1, 0o644, fileid));
  t.equal(await outcome(rig.read(fh, 0, 100)), Errno.EIO);
  t.not((await rig.walk('a/b/f')).nodeid, inode.nodeid);
});

t.test('data of a descriptor whose file is gone: EIO, and one line in the log', async (t) => {
  const { rig, tree, fh } = await deep();
  tree.remove('a/b/f');
  for (let i = 0; i < 3; i++) t.equal(await outcome(rig.read(fh, i, 1)), Errno.EIO);
  await rig.write(fh, 0, 'x');
  t.equal(await outcome(rig.files.flush(fh)), Errno.EIO);
  t.match(rig.log, [/^\/a\/b\/f: /]);
  t.equal(rig.log.length, 1);
});

t.test('the log names the file even if a path met the stale handle first', async (t) => {
  const { rig, tree, inode, fh } = await deep();
  tree.remove('a/b/f');
  await outcome(rig.vfs.current.fetch(inode, rig.caller(1000, 7)));
  await outcome(rig.read(fh, 0, 1));
  t.equal(rig.log.length, 1);
});

t.test('mountd refuses: errors, once the root is asked for, and recovery as soon as it grants', async (t) => {
  const { rig, tree, fh } = await deep();
  const { findRoot } = rig;
  rig.findRoot = () => Promise.resolve(undefined);
  tree.reexport();
  t.equal(await outcome(rig.read(fh, 0, 10)), Errno.EIO);
  rig.findRoot = findRoot;
  t.equal((await rig.read(fh, 0, 100)).toString(), 'content');
});

t.test('a server that calls every handle stale is asked a bounded number of times', async (t) => {
  const { rig, server, inode, fh } = await deep();
  for (const name of ['READ', 'LOOKUP', 'GETATTR']) server.fail(name, Status.STALE);
  t.equal(await outcome(rig.read(fh, 0, 10)), Errno.EIO);
  t.equal(await outcome(rig.vfs.current.fetch(inode, rig.caller(1000, 7))), Errno.ESTALE);
  t.ok(server.count() < 40, `${server.count()} calls`);
});

t.test('BADHANDLE counts as stale', async (t) => {
  const { rig, server, fh } = await deep();
  server.once('READ', () => server.failure('READ', Status.BADHANDLE));
  t.equal((await rig.read(fh, 0, 100)).toString(), 'content');
});

t.test('NOENT in answer to a handle counts as stale, and in answer to a name as missing', async (t) => {
  const { rig, server, tree, inode, fh } = await deep();
  const end = server.on('READ', (_args, execute) => {
    const result = execute();
    return result.status === Status.STALE ? { ...result, status: Status.NOENT } : result;
  });
  tree.rehandle(tree.at('a/b/f'));
  t.equal((await rig.read(fh, 0, 100)).toString(), 'content');
  t.equal(rig.counters.redrives, 1);
  tree.remove('a/b/f');
  t.equal(await outcome(rig.read(fh, 3, 1)), Errno.EIO);
  end();
  server.fail('GETATTR', Status.NOENT);
  t.equal(await outcome(rig.vfs.current.fetch(inode, rig.caller(1000, 7))), Errno.ESTALE);
  t.equal(await outcome(rig.vfs.current.fetch(inode, rig.caller(1000, 7))), Errno.ENOENT);
  const { redrives } = rig.counters;
  const directory = await rig.walk('a/b');
  t.equal(await outcome(rig.remove.unlink(directory, named('none'), rig.caller())), Errno.ENOENT);
  t.equal(rig.counters.redrives, redrives);
});

t.test('LINK of a file that lost its names: the path is looked up again', async (t) => {
  const { rig, server, inode } = await deep();
  const directory = await rig.walk('a/b');
  server.fail('LINK', Status.NOENT);
  const link = () => outcome(rig.make.link(inode, directory, named('g'), rig.caller(1000, 7)));
  t.equal(await link(), Errno.ESTALE);
  t.equal(await link(), Errno.ENOENT);
});

t.test('a handle that works again is as it was', async (t) => {
  const { rig, server, inode, fh } = await deep();
  const end = server.fail('LOOKUP', Status.NOENT);
  server.once('READ', () => server.failure('READ', Status.STALE));
  t.equal(await outcome(rig.read(fh, 0, 10)), Errno.EIO);
  t.equal(inode.stale, true);
  end();
  t.equal((await rig.read(fh, 0, 100)).toString(), 'content');
  t.equal(inode.stale, false);
});

t.test('a rename between two directories of which one is stale', async (t) => {
  const { rig, tree } = await deep();
  tree.directory('c');
  const from = await rig.walk('a/b');
  const to = await rig.walk('c');
  tree.rehandle(tree.at('c'));
  await rig.remove.rename(rig.at('f', from), rig.at('g', to), 0, rig.caller());
  t.ok(tree.has('c/g'));
});

t.test('nothing cached of a stale handle is used', async (t) => {
  const { rig, tree } = await deep();
  const directory = await rig.walk('a/b');
  const { generation, accessGeneration } = directory;
  tree.rehandle(tree.at('a/b'));
  await rig.vfs.current.fetch(directory, rig.caller());
  t.ok(directory.generation > generation);
  t.ok(directory.accessGeneration > accessGeneration);
});

t.test('a write that meets a stale handle is written to the object found again', async (t) => {
  const { rig, tree, fh } = await deep();
  await rig.write(fh, 0, 'C'.repeat(3000));
  tree.reexport();
  await rig.files.flush(fh);
  t.equal(tree.at('a/b/f').stable.toString(), 'C'.repeat(3000));
});
