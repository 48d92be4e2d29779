/** The redrive of a stale handle step by step: what is asked, and what is taken for the same object. */
import t from 'tap';
import { Errno, FuseError } from '../../../lib/fuse/contract/errno.js';
import { FileType, Status } from '../../../lib/programs/nfs3/index.js';
import { deep } from '../support/deep.js';
import { makeHandle } from '../support/fake-tree.js';
import { outcome, settled } from '../support/rig.js';

t.test('a call with two directories asks which of them is stale, and redrives that one', async (t) => {
  const { server, tree, rig, rename } = await deep();
  tree.rehandle(tree.at('c'));
  await rename();
  t.equal(server.names().replace(/^LOOKUP /, ''), 'RENAME GETATTR GETATTR LOOKUP RENAME');
  t.equal(rig.counters.redrives, 1);
  t.ok(tree.has('c/g'));
});

t.test('a call within one directory has nothing to ask: that one is stale', async (t) => {
  const { server, tree, rig, b, rename } = await deep();
  tree.rehandle(tree.at('a/b'));
  await rename(b, b);
  t.equal(server.count('GETATTR'), 0);
  t.equal(server.count('RENAME'), 2);
  t.equal(rig.counters.redrives, 1);
});

t.test('a rename within one directory is one change of it, and nobody else’s', async (t) => {
  const { b, rename } = await deep();
  const { generation } = b;
  await rename(b, b);
  t.equal(b.generation, generation);
});

t.test('a rename between two directories is a change of ours in both', async (t) => {
  const { b, c, rename } = await deep();
  const generations = [b.generation, c.generation];
  await rename();
  t.same([b.generation, c.generation], generations);
});

t.test('a call is not repeated when one of its directories is gone', async (t) => {
  const { server, tree, c, rename } = await deep();
  tree.remove('c');
  t.equal(await outcome(rename()), Errno.ESTALE);
  t.equal(server.count('RENAME'), 1);
  t.equal(c.gone, true);
});

t.test('a directory that was found again meanwhile is not asked about', async (t) => {
  const { server, tree, rig, c, rename } = await deep();
  tree.rehandle(tree.at('c'));
  server.once('RENAME', (_args, execute) => {
    const result = execute();
    rig.vfs.inodes.rekey(c, tree.at('c').handle);
    return result;
  });
  await rename();
  t.equal(server.count('GETATTR'), 1, 'the other is');
  t.equal(rig.counters.redrives, 0);
  t.ok(tree.has('c/g'));
});

t.test(
  'both of two directories are as they were when the repeated call works, and not when it does not',
  async (t) => {
    for (const works of [true, false]) {
      const { server, b, c, rename } = await deep();
      let calls = 0;
      server.on('RENAME', (_args, execute) => {
        if (++calls === 1) return server.failure('RENAME', Status.STALE);
        for (const inode of [b, c]) inode.markStale();
        return works ? execute() : server.failure('RENAME', Status.STALE);
      });
      server.fail('GETATTR', Status.STALE);
      t.equal(await outcome(rename()), works ? 'ok' : Errno.ESTALE);
      t.same([b.stale, c.stale], [!works, !works]);
    }
  },
);

t.test('a handle that another call has found works for this one, too, or does not', async (t) => {
  for (const works of [true, false]) {
    const { server, tree, rig, inode } = await deep();
    const old = inode.handle;
    server.on('GETATTR', (args, execute) =>
      args.object === old || !works ? server.failure('GETATTR', Status.STALE) : execute(),
    );
    const gate = server.gate('GETATTR', 'reply');
    const answer = rig.vfs.current.fetch(inode, rig.caller());
    await settled();
    tree.rehandle(tree.at('a/b/f'));
    rig.vfs.inodes.rekey(inode, tree.at('a/b/f').handle);
    inode.markStale();
    gate.open();
    t.equal(await outcome(answer), works ? 'ok' : Errno.ESTALE);
    t.equal(inode.stale, !works);
    t.equal(rig.counters.redrives, 0);
  }
});

t.test('a redrive that ended while a call was on its way was for that call as well', async (t) => {
  for (const found of [true, false]) {
    const { server, tree, inode, rig } = await deep();
    let early = 2;
    server.on('GETATTR', (_args, execute) =>
      early-- > 0 ? server.failure('GETATTR', Status.STALE) : execute(),
    );
    const gate = server.gate('GETATTR', 'reply');
    if (!found) tree.remove('a/b/f');
    const calls = [7, 8].map((tid) =>
      rig.vfs.current.fetch(inode, rig.caller(1000, tid)).then(
        () => 'ok',
        ({ errno }: FuseError) => errno,
      ),
    );
    await settled();
    gate.release();
    await settled();
    gate.open();
    t.same(await Promise.all(calls), found ? ['ok', 'ok'] : [Errno.ESTALE, Errno.ESTALE]);
    t.equal(rig.counters.redrives, 1);
    t.equal(server.count('GETATTR'), found ? 4 : 2);
    t.equal(inode.stale, !found);
  }
});

t.test('ways up that go in a circle end', async (t) => {
  const { server, rig, a, b, stat } = await deep();
  a.parent = b;
  for (const name of ['GETATTR', 'LOOKUP']) server.fail(name, Status.STALE);
  t.equal(await stat(), Errno.ESTALE);
  t.equal(server.count('LOOKUP'), 3);
  t.equal(rig.counters.redrives, 3);
  t.equal(rig.counters.redrivesFailed, 3);
});

t.test('a server that cannot be asked for the path leaves open whether the object is gone', async (t) => {
  const { server, tree, inode, stat } = await deep();
  tree.rehandle(tree.at('a/b/f'));
  const end = server.on('LOOKUP', () => Promise.reject(new FuseError(Errno.ETIMEDOUT)));
  t.equal(await stat(), Errno.ESTALE);
  t.same([inode.stale, inode.gone], [true, false]);
  end();
  t.equal(await stat(), 'ok');
  t.equal(inode.stale, false);
});

t.test('a bug of ours while a path is looked up is not taken for an answer', async (t) => {
  const { rig, tree, inode } = await deep();
  tree.reexport();
  rig.findRoot = () => Promise.reject(new TypeError('a bug'));
  t.equal(await outcome(rig.vfs.current.fetch(inode, rig.caller())), 'TypeError: a bug');
});

t.test('the answer to a name says whether the object is gone, or only that it was not found', async (t) => {
  for (const [status, gone] of [
    [Status.NOENT, true],
    [Status.NOTDIR, true],
    [Status.ACCES, false],
    [Status.IO, false],
  ] as const) {
    const { server, inode, stat } = await deep();
    server.fail('GETATTR', Status.STALE);
    server.fail('LOOKUP', status);
    t.equal(await stat(), Errno.ESTALE);
    t.equal(server.count('GETATTR'), 1);
    t.same([inode.stale, inode.gone], [true, gone]);
  }
});

t.test('another object under the name says that the first one is gone', async (t) => {
  const { tree, inode, stat } = await deep();
  tree.remove('a/b/f');
  tree.file('a/b/f', 'another');
  t.equal(await stat(), Errno.ESTALE);
  t.same([inode.stale, inode.gone], [true, true]);
});

t.test('what lies below a directory that is gone is gone', async (t) => {
  const { server, tree, inode, b, stat } = await deep();
  tree.remove('a/b/f');
  tree.remove('a/b');
  t.equal(await stat(), Errno.ESTALE);
  t.same([b.gone, inode.gone], [true, true]);
  t.equal(server.count('LOOKUP'), 2, 'nothing is looked up in it any more');
});

t.test('what lies below a directory that cannot be looked up may be there', async (t) => {
  const { server, tree, inode, b, stat } = await deep();
  tree.rehandle(tree.at('a/b'));
  tree.rehandle(tree.at('a/b/f'));
  server.on('LOOKUP', ({ name }, execute) =>
    `${Buffer.from(name)}` === 'b' ? server.failure('LOOKUP', Status.ACCES) : execute(),
  );
  t.equal(await stat(), Errno.ESTALE);
  t.same([b.gone, inode.gone], [false, false]);
});

t.test('a directory that was found again while a name in it was looked up is not redriven', async (t) => {
  const { server, tree, rig, b, stat } = await deep();
  tree.rehandle(tree.at('a/b'));
  tree.rehandle(tree.at('a/b/f'));
  server.once('LOOKUP', (_args, execute) => {
    const result = execute();
    rig.vfs.inodes.rekey(b, tree.at('a/b').handle);
    return result;
  });
  t.equal(await stat(), 'ok');
  t.equal(rig.counters.redrives, 1);
});

t.test('an object whose name is not known is not looked for', async (t) => {
  const { server, rig } = await deep();
  const inode = rig.vfs.inodes.intern(makeHandle('nowhere'));
  t.equal(await outcome(rig.vfs.current.fetch(inode, rig.caller())), Errno.ESTALE);
  t.equal(server.names(), 'GETATTR');
  t.same([inode.stale, inode.gone], [true, false]);
});

t.test('names are looked up byte for byte', async (t) => {
  const { tree, stat } = await deep('\xe4');
  tree.rehandle(tree.at('a/b/\xe4'));
  t.equal(await stat(), 'ok');
});

t.test('a LOOKUP without attributes is followed by a GETATTR', async (t) => {
  for (const works of [true, false]) {
    const { server, tree, inode, stat } = await deep();
    tree.rehandle(tree.at('a/b/f'));
    server.on('LOOKUP', (_args, execute) => ({ ...execute(), attributes: undefined }));
    if (!works)
      server.on('GETATTR', ({ object }, execute) =>
        object === inode.handle ? execute() : server.failure('GETATTR', Status.IO),
      );
    t.equal(await stat(), works ? 'ok' : Errno.ESTALE);
    t.equal(server.count('GETATTR'), works ? 3 : 2);
    t.equal(inode.gone, false);
  }
});

t.test('mountd that answers with the old handle has mounted nothing anew', async (t) => {
  const { rig, server } = await deep();
  server.once('GETATTR', () => server.failure('GETATTR', Status.STALE));
  await rig.vfs.current.fetch(rig.root, rig.caller());
  t.equal(rig.counters.redrives, 1);
  t.equal(rig.counters.rootRemounts, 0);
  t.same(rig.log, []);
});

t.test('mountd that refuses leaves the root its handle, and open whether it is gone', async (t) => {
  const { rig, tree } = await deep();
  const { handle } = rig.root;
  rig.findRoot = () => Promise.resolve(undefined);
  tree.reexport();
  await outcome(rig.vfs.current.fetch(rig.root, rig.caller()));
  t.same([rig.root.handle, rig.root.stale, rig.root.gone], [handle, true, false]);
});

t.test(
  'an object that is found under the same handle is what it was; under another, it is counted',
  async (t) => {
    const { server, tree, inode, b, stat } = await deep();
    server.once('GETATTR', () => server.failure('GETATTR', Status.STALE));
    inode.staleReported = new Set([9]);
    t.equal(await stat(), 'ok');
    t.equal(inode.epoch, 0);
    t.ok(inode.staleReported);
    tree.rehandle(tree.at('a/b/f'));
    b.epoch = 5;
    t.equal(await stat(), 'ok');
    t.same([inode.epoch, inode.parentEpoch, inode.staleReported], [1, 5, undefined]);
  },
);

t.test(
  'the same object: number and type agree, and handle, ctime or a new epoch of the file system does',
  async (t) => {
    const { tree, redriver, inode, b } = await deep();
    const same = tree.attributes(tree.at('a/b/f'));
    const changed = { ...same, ctime: { seconds: 1, nanoseconds: 1 } };
    const other = makeHandle('other');
    const is = (handle = other, found = changed) => redriver.isSameObject(inode, b, handle, found);
    t.equal(is(), false);
    t.equal(is(other, same), true);
    t.equal(is(inode.handle), true);
    t.equal(is(inode.handle, { ...changed, fileid: 99n }), false);
    t.equal(is(inode.handle, { ...changed, type: FileType.DIR }), false);
    b.epoch++;
    t.equal(is(), true);
    t.equal(is(other, { ...changed, fsid: 99n }), false);
    inode.attributes = undefined;
    t.equal(is(), false);
    t.equal(is(inode.handle), true);
  },
);
