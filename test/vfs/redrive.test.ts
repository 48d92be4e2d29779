import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import { Status } from '../../lib/programs/nfs3/index.js';
import { Bench, O_RDWR, outcome, settled } from './support/bench.js';

async function deep() {
  const bench = new Bench();
  const { tree } = bench.server;
  tree.directory('a');
  tree.directory('a/b');
  tree.file('a/b/f', 'content');
  const { inode, fh } = await bench.open('a/b/f', O_RDWR);
  bench.server.forgetCalls();
  return { bench, server: bench.server, tree, inode, fh };
}

t.test('the same object under a new handle: the operation is repeated, and nobody notices', async (t) => {
  const { bench, tree, inode, fh } = await deep();
  tree.rehandle(tree.at('a/b/f'));
  t.equal((await bench.read(fh, 0, 100)).toString(), 'content');
  t.equal(inode.handle, tree.at('a/b/f').handle);
  t.equal(bench.counters.redrives, 1);
});

t.test(
  'everything has a new handle, the root too: mountd is asked, and the whole way is found again',
  async (t) => {
    const { bench, tree, inode, fh } = await deep();
    tree.reexport();
    t.equal((await bench.read(fh, 0, 100)).toString(), 'content');
    t.equal(bench.root.handle, tree.root.handle);
    t.equal(bench.counters.rootRemounts, 1);
    await bench.write(fh, 0, 'CONTENT');
    await bench.files.flush(fh);
    t.equal(tree.at('a/b/f').stable.toString(), 'CONTENT');
    t.equal(inode.handle, tree.at('a/b/f').handle);
  },
);

t.test(
  'after a re-export the kernel finds the objects that it knew, under the node ids that it knew',
  async (t) => {
    const { bench, tree, inode, fh } = await deep();
    tree.reexport();
    t.equal(await bench.walk('a/b/f'), inode);
    t.equal((await bench.read(fh, 0, 100)).toString(), 'content');
  },
);

t.test(
  'an object that the kernel already found under another node id serves the old descriptor as well',
  async (t) => {
    const { bench, tree, inode, fh } = await deep();
    tree.rehandle(tree.at('a/b/f'));
    // A path names the new handle before the descriptor meets the old one.
    await bench.vfs.current.fetch(await bench.walk('a/b'), bench.caller());
    tree.chmod('a/b', 0o777);
    await bench.vfs.current.fetch(await bench.walk('a/b'), bench.caller());
    await bench.walk('a/b/f');
    t.equal((await bench.read(fh, 0, 100)).toString(), 'content');
    t.equal(inode.handle, tree.at('a/b/f').handle);
  },
);

t.test('many operations on one stale handle share one redrive', async (t) => {
  const { bench, server, tree, inode } = await deep();
  tree.rehandle(tree.at('a/b/f'));
  const all = Array.from({ length: 100 }, () => bench.vfs.current.fetch(inode, bench.caller()));
  await Promise.all(all);
  t.equal(bench.counters.redrives, 1);
  t.equal(server.count('LOOKUP'), 1);
  t.equal(server.count('GETATTR'), 200);
});

t.test('replies that come after the redrive has ended need no other', async (t) => {
  const { bench, server, tree, inode } = await deep();
  tree.remove('a/b/f');
  const gate = server.gate('GETATTR', 'reply');
  const all = Array.from({ length: 10 }, (_, i) =>
    outcome(bench.vfs.current.fetch(inode, bench.caller(1000, i + 50))),
  );
  await settled();
  for (let i = 0; i < 10; i++) {
    gate.release();
    await settled();
  }
  await Promise.all(all);
  t.equal(bench.counters.redrives, 1);
});

t.test('a path that names nothing any more: ESTALE once for each thread, then ENOENT', async (t) => {
  const { bench, tree, inode } = await deep();
  tree.remove('a/b/f');
  for (const tid of [7, 8]) {
    t.equal(await outcome(bench.vfs.current.fetch(inode, bench.caller(1000, tid))), Errno.ESTALE);
    t.equal(await outcome(bench.vfs.current.fetch(inode, bench.caller(1000, tid))), Errno.ENOENT);
  }
});

t.test('a path that names another object is not the same object', async (t) => {
  const { bench, tree, inode, fh } = await deep();
  tree.remove('a/b/f');
  tree.file('a/b/f', 'another');
  t.equal(await outcome(bench.read(fh, 0, 100)), Errno.EIO);
  t.equal(await outcome(bench.vfs.current.fetch(inode, bench.caller(1000, 7))), Errno.ESTALE);
  const found = await bench.walk('a/b/f');
  t.not(found.nodeid, inode.nodeid);
});

t.test('a new file that got the fileid of a deleted one is not the deleted one', async (t) => {
  const { bench, tree, inode, fh } = await deep();
  const { fileid } = tree.at('a/b/f');
  tree.remove('a/b/f');
  const directory = tree.at('a/b');
  tree.attach(directory, 'f', tree.make(1, 0o644, fileid));
  t.equal(await outcome(bench.read(fh, 0, 100)), Errno.EIO);
  t.not((await bench.walk('a/b/f')).nodeid, inode.nodeid);
});

t.test('data of a descriptor whose file is gone: EIO, and one line in the log', async (t) => {
  const { bench, tree, fh } = await deep();
  tree.remove('a/b/f');
  for (let i = 0; i < 3; i++) t.equal(await outcome(bench.read(fh, i, 1)), Errno.EIO);
  await bench.write(fh, 0, 'x');
  t.equal(await outcome(bench.files.flush(fh)), Errno.EIO);
  t.match(bench.log, [/^\/a\/b\/f: /]);
  t.equal(bench.log.length, 1);
});

t.test('the log names the file even if a path met the stale handle first', async (t) => {
  const { bench, tree, inode, fh } = await deep();
  tree.remove('a/b/f');
  await outcome(bench.vfs.current.fetch(inode, bench.caller(1000, 7)));
  await outcome(bench.read(fh, 0, 1));
  t.equal(bench.log.length, 1);
});

t.test('mountd refuses: errors, once the root is asked for, and recovery as soon as it grants', async (t) => {
  const { bench, tree, fh } = await deep();
  const { findRoot } = bench;
  bench.findRoot = () => Promise.resolve(undefined);
  tree.reexport();
  t.equal(await outcome(bench.read(fh, 0, 10)), Errno.EIO);
  bench.findRoot = findRoot;
  t.equal((await bench.read(fh, 0, 100)).toString(), 'content');
});

t.test('a server that calls every handle stale is asked a bounded number of times', async (t) => {
  const { bench, server, inode, fh } = await deep();
  for (const name of ['READ', 'LOOKUP', 'GETATTR']) server.fail(name, Status.STALE);
  t.equal(await outcome(bench.read(fh, 0, 10)), Errno.EIO);
  t.equal(await outcome(bench.vfs.current.fetch(inode, bench.caller(1000, 7))), Errno.ESTALE);
  t.ok(server.count() < 40, `${server.count()} calls`);
});

t.test('BADHANDLE counts as stale', async (t) => {
  const { bench, server, fh } = await deep();
  server.once('READ', () => server.failure('READ', Status.BADHANDLE));
  t.equal((await bench.read(fh, 0, 100)).toString(), 'content');
});

t.test('NOENT in answer to a handle counts as stale, and in answer to a name as missing', async (t) => {
  const { bench, server, tree, inode, fh } = await deep();
  const end = server.on('READ', (_args, execute) => {
    const result = execute();
    return result.status === Status.STALE ? { ...result, status: Status.NOENT } : result;
  });
  tree.rehandle(tree.at('a/b/f'));
  t.equal((await bench.read(fh, 0, 100)).toString(), 'content');
  t.equal(bench.counters.redrives, 1);
  tree.remove('a/b/f');
  t.equal(await outcome(bench.read(fh, 3, 1)), Errno.EIO);
  end();
  server.fail('GETATTR', Status.NOENT);
  t.equal(await outcome(bench.vfs.current.fetch(inode, bench.caller(1000, 7))), Errno.ESTALE);
  t.equal(await outcome(bench.vfs.current.fetch(inode, bench.caller(1000, 7))), Errno.ENOENT);
  const { redrives } = bench.counters;
  const directory = await bench.walk('a/b');
  t.equal(await outcome(bench.removal.unlink(directory, Buffer.from('none'), bench.caller())), Errno.ENOENT);
  t.equal(bench.counters.redrives, redrives);
});

t.test('LINK of a file that lost its names: the path is looked up again', async (t) => {
  const { bench, server, inode } = await deep();
  const directory = await bench.walk('a/b');
  server.fail('LINK', Status.NOENT);
  const link = () => outcome(bench.making.link(inode, directory, Buffer.from('g'), bench.caller(1000, 7)));
  t.equal(await link(), Errno.ESTALE);
  t.equal(await link(), Errno.ENOENT);
});

t.test('a handle that works again is as it was', async (t) => {
  const { bench, server, inode, fh } = await deep();
  const end = server.fail('LOOKUP', Status.NOENT);
  server.once('READ', () => server.failure('READ', Status.STALE));
  t.equal(await outcome(bench.read(fh, 0, 10)), Errno.EIO);
  t.equal(inode.stale, true);
  end();
  t.equal((await bench.read(fh, 0, 100)).toString(), 'content');
  t.equal(inode.stale, false);
});

t.test('a rename between two directories of which one is stale', async (t) => {
  const { bench, tree } = await deep();
  tree.directory('c');
  const from = await bench.walk('a/b');
  const to = await bench.walk('c');
  tree.rehandle(tree.at('c'));
  await bench.removal.rename(from, Buffer.from('f'), to, Buffer.from('g'), 0, bench.caller());
  t.ok(tree.has('c/g'));
});

t.test('nothing cached of a stale handle is used', async (t) => {
  const { bench, tree } = await deep();
  const directory = await bench.walk('a/b');
  const { generation, accessGeneration } = directory;
  tree.rehandle(tree.at('a/b'));
  await bench.vfs.current.fetch(directory, bench.caller());
  t.ok(directory.generation > generation);
  t.ok(directory.accessGeneration > accessGeneration);
});

t.test('a write that meets a stale handle is written to the object found again', async (t) => {
  const { bench, tree, fh } = await deep();
  await bench.write(fh, 0, 'C'.repeat(3000));
  tree.reexport();
  await bench.files.flush(fh);
  t.equal(tree.at('a/b/f').stable.toString(), 'C'.repeat(3000));
});
