import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import { Status } from '../../lib/programs/nfs3/index.js';
import { isSillyName, sillyName } from '../../lib/vfs/names/silly-rename.js';
import { Bench, O_RDWR, outcome, settled } from './support/bench.js';

const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');
const sillyNames = (bench: Bench, path = ''): string[] =>
  [...bench.server.tree.at(path).children.keys()].filter(isSillyName);
const unlink = (bench: Bench, name: string, caller = bench.caller()) =>
  bench.removal.unlink(bench.root, bytes(name), caller);
const rename = (bench: Bench, from: string, to: string, flags = 0) =>
  bench.removal.rename(bench.root, bytes(from), bench.root, bytes(to), flags, bench.caller());

async function openFile(content = 'content') {
  const bench = new Bench();
  bench.server.tree.file('f', content);
  const { inode, fh } = await bench.open('f', O_RDWR);
  bench.server.forgetCalls();
  return { bench, server: bench.server, inode, fh };
}

t.test('silly names are .nfs, the fileid in 16 digits and a counter in 8', (t) => {
  t.equal(sillyName(0xabcdn, 0x12), '.nfs000000000000abcd00000012');
  t.equal(sillyName(2n ** 64n - 1n, 2 ** 32 - 1), '.nfsffffffffffffffffffffffff');
  t.equal(isSillyName('.nfs000000000000abcd00000012'), true);
  t.equal(isSillyName('.nfs000000000000ABCD00000012'), false);
  t.equal(isSillyName('.nfs1'), false);
  t.end();
});

t.test('a file that nobody has open is removed', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f');
  await bench.walk('f');
  bench.server.forgetCalls();
  await unlink(bench, 'f');
  t.equal(bench.server.names(), 'REMOVE');
  t.equal(bench.server.tree.has('f'), false);
});

t.test('what is removed leaves nothing in memory once the kernel has forgotten it', async (t) => {
  const bench = new Bench();
  const { inodes, dentries } = bench.vfs;
  const before = inodes.size;
  const caller = bench.caller();
  const round = async (forgetFirst: boolean) => {
    const [directory, file] = [`d${forgetFirst}`, `f${forgetFirst}`];
    bench.server.tree.directory(directory);
    bench.server.tree.file(file);
    const objects = [await bench.walk(directory), await bench.walk(file)];
    await Promise.all(objects.map((inode) => bench.permission.check(inode, 4, caller)));
    const forget = () => objects.forEach(({ nodeid }) => void inodes.forget(nodeid, 100));
    if (forgetFirst) forget();
    await bench.removal.rmdir(bench.root, bytes(directory), caller);
    await unlink(bench, file, caller);
    if (!forgetFirst) forget();
  };
  for (const forgetFirst of [false, true]) {
    await round(forgetFirst);
    t.equal(inodes.size, before, forgetFirst ? 'forgotten before' : 'forgotten after');
  }
  t.ok(dentries.size <= 4, 'but that the names do not exist');
});

t.test('an inode that goes takes its dentry along, but not that of its successor', async (t) => {
  const bench = new Bench({ maxIdle: 1 });
  for (const name of ['a', 'b', 'c']) bench.server.tree.file(name);
  const first = await bench.walk('a');
  bench.vfs.inodes.forget(first.nodeid, 100);
  for (const name of ['b', 'c']) bench.vfs.inodes.forget((await bench.walk(name)).nodeid, 100);
  t.equal(first.evicted, true);
  t.equal(bench.vfs.dentries.getUnverified(bench.root, 'a'), undefined);
  const second = await bench.walk('a');
  bench.vfs.dentries.forget(first);
  t.equal(bench.vfs.dentries.getUnverified(bench.root, 'a')?.inode, second);
});

t.test('an open file goes on under another name until its last close', async (t) => {
  const { bench, server, inode, fh } = await openFile();
  const second = await bench.open('f');
  await unlink(bench, 'f');
  const [name] = sillyNames(bench);
  t.equal(name, sillyName(server.tree.at(name ?? '').fileid, 1));
  await bench.write(fh, 0, 'CONTENT');
  t.equal((await bench.read(fh, 0, 100)).toString(), 'CONTENT');
  const attributes = await bench.vfs.current.fetch(inode, bench.caller());
  t.equal(bench.vfs.replies.attributes(inode, attributes).attributes.nlink, 0);
  t.equal(await outcome(bench.walk('f')), Errno.ENOENT);
  await bench.files.release(fh);
  t.equal(sillyNames(bench).length, 1);
  await bench.files.release(second.fh);
  await settled();
  t.same(sillyNames(bench), []);
  t.equal(bench.silly.pending, 0);
  t.equal(bench.counters.sillyRemoves, 1);
});

t.test('names that somebody else has taken are stepped over', async (t) => {
  const { bench, server } = await openFile();
  const { fileid } = server.tree.at('f');
  server.tree.file(sillyName(fileid, 1), 'theirs');
  server.tree.file(sillyName(fileid, 2), 'theirs');
  await unlink(bench, 'f');
  t.ok(server.tree.has(sillyName(fileid, 3)));
  t.equal(server.tree.at(sillyName(fileid, 1)).data.toString(), 'theirs');
});

t.test('no free name can be found: EBUSY, rather than to delete a file in use', async (t) => {
  const { bench, server } = await openFile();
  server.on('LOOKUP', (args, execute) =>
    isSillyName(args.name.toString()) ? server.failure('LOOKUP', Status.ACCES) : execute(),
  );
  t.equal(await outcome(unlink(bench, 'f')), Errno.EBUSY);
  t.equal(server.count('REMOVE') + server.count('RENAME'), 0);
});

t.test('the visible .nfs name of an open file can be neither removed nor renamed', async (t) => {
  const { bench } = await openFile();
  await unlink(bench, 'f');
  const [name = ''] = sillyNames(bench);
  t.equal(await outcome(unlink(bench, name)), Errno.EBUSY);
  t.equal(await outcome(rename(bench, name, 'back')), Errno.EBUSY);
  bench.server.tree.file('g');
  t.equal(await outcome(rename(bench, 'g', name)), Errno.EBUSY);
});

t.test('other names of a file that goes on under its silly name are ordinary names', async (t) => {
  const { bench, server, inode, fh } = await openFile();
  for (const name of ['g', 'h']) await bench.making.link(inode, bench.root, bytes(name), bench.caller());
  await unlink(bench, 'f');
  await rename(bench, 'g', 'i');
  t.equal(await outcome(unlink(bench, 'i')), 'ok');
  t.equal(await outcome(unlink(bench, 'h')), 'ok');
  t.equal(sillyNames(bench).length, 1);
  t.equal((await bench.read(fh, 0, 7)).toString(), 'content');
  await bench.files.release(fh);
  await settled();
  t.equal(server.root.children.size, 0);
});

t.test('two names of an open file that go in the same moment', async (t) => {
  const { bench, server, inode, fh } = await openFile();
  await bench.making.link(inode, bench.root, bytes('g'), bench.caller());
  const results = await Promise.all([outcome(unlink(bench, 'f')), outcome(unlink(bench, 'g'))]);
  t.same(results, ['ok', 'ok']);
  t.equal((await bench.read(fh, 0, 7)).toString(), 'content');
  await bench.files.release(fh);
  await settled();
  t.equal(server.root.children.size, 0);
});

t.test('the last close during the RENAME: the name goes right after it', async (t) => {
  const { bench, server, fh } = await openFile();
  const gate = server.gate('RENAME');
  const removing = unlink(bench, 'f');
  await settled();
  await bench.files.release(fh);
  gate.open();
  await removing;
  await settled();
  t.equal(server.root.children.size, 0);
});

t.test('an open during the REMOVE waits for it, and fails as for any removed file', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f');
  const inode = await bench.walk('f');
  const gate = bench.server.gate('REMOVE');
  const removing = unlink(bench, 'f');
  await settled();
  const opening = bench.files.open(inode, 0, bench.caller());
  t.equal(await outcome(opening), 'pending');
  gate.open();
  await removing;
  t.equal(await outcome(opening), Errno.ESTALE);
  t.equal(inode.opens, 0);
});

t.test('an open during a REMOVE that fails goes on', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f');
  const inode = await bench.walk('f');
  bench.server.fail('REMOVE', Status.ACCES);
  const gate = bench.server.gate('REMOVE');
  const removing = outcome(unlink(bench, 'f'));
  const opening = bench.files.open(inode, 0, bench.caller());
  await settled();
  gate.open();
  await Promise.all([removing, opening]);
  t.equal(inode.opens, 1);
});

t.test('it is removed with the credential of whoever took the name away', async (t) => {
  const { bench, server, fh } = await openFile();
  await unlink(bench, 'f', bench.caller(2000));
  server.forgetCalls();
  await bench.files.release(fh);
  await settled();
  t.equal(server.named('REMOVE')[0]?.uid, 2000);
});

t.test('a silly name that belongs to another file by now is not removed', async (t) => {
  const { bench, server, fh } = await openFile();
  await unlink(bench, 'f');
  const [name = ''] = sillyNames(bench);
  server.tree.remove(name);
  server.tree.file(name, 'theirs');
  await bench.files.release(fh);
  await settled();
  t.equal(server.tree.at(name).data.toString(), 'theirs');
});

t.test('a removal that fails is tried again, and at last logged with its path', async (t) => {
  const { bench, server, fh } = await openFile();
  await unlink(bench, 'f');
  const end = server.fail('REMOVE', Status.IO);
  await bench.files.release(fh);
  for (let i = 1; i <= 5; i++) await bench.pass(500 * i);
  t.equal(server.count('REMOVE'), 5);
  t.match(bench.log, [/\/\.nfs[0-9a-f]{24}: left behind.*NFS3ERR_IO/]);
  t.equal(bench.silly.pending, 0);
  end();
});

t.test('rmdir waits for removals under way in the directory', async (t) => {
  const bench = new Bench();
  bench.server.tree.directory('d');
  bench.server.tree.file('d/f');
  const directory = await bench.walk('d');
  const { fh } = await bench.open('d/f');
  await bench.removal.unlink(directory, bytes('f'), bench.caller());
  const removed = bench.removal.rmdir(bench.root, bytes('d'), bench.caller());
  t.equal(await outcome(removed), Errno.ENOTEMPTY, 'still open');
  const gate = bench.server.gate('REMOVE');
  await bench.files.release(fh);
  await settled();
  const removing = bench.removal.rmdir(bench.root, bytes('d'), bench.caller());
  t.equal(await outcome(removing), 'pending');
  gate.open();
  t.equal(await outcome(removing), 'ok');
});

t.test('a listing waits for removals under way in the directory', async (t) => {
  const { bench, server, fh } = await openFile();
  await unlink(bench, 'f');
  const { fh: reading } = await bench.directories.open(bench.root, bench.caller());
  t.match((await bench.list(reading)).map(({ name }) => name).filter(isSillyName), [/^\.nfs/], 'still open');
  const gate = server.gate('REMOVE');
  await bench.files.release(fh);
  await settled();
  const opening = bench.directories.open(bench.root, bench.caller());
  const rewinding = bench.list(reading);
  const { caller, cancel } = bench.interruptible();
  const impatient = bench.directories.open(bench.root, caller);
  t.equal(await outcome(opening), 'pending');
  t.equal(await outcome(rewinding), 'pending');
  cancel();
  t.equal(await outcome(impatient), Errno.EINTR);
  gate.open();
  const listed = await bench.list((await opening).fh);
  t.same(listed.map(({ name }) => name).filter(isSillyName), []);
  t.same((await rewinding).map(({ name }) => name).filter(isSillyName), []);
});

t.test('a listing does not wait for a removal that is to be tried again', async (t) => {
  const { bench, server, fh } = await openFile();
  await unlink(bench, 'f');
  server.once('REMOVE', () => server.failure('REMOVE', Status.IO));
  await bench.files.release(fh);
  await settled();
  t.equal(await outcome(bench.directories.open(bench.root, bench.caller())), 'ok');
  await bench.pass(500);
  t.same(sillyNames(bench), []);
});

t.test('rename over an open file: it goes on, and is gone at its last close', async (t) => {
  const { bench, server, fh } = await openFile('old');
  server.tree.file('g', 'new');
  await rename(bench, 'g', 'f');
  t.equal(server.tree.at('f').data.toString(), 'new');
  t.equal((await bench.read(fh, 0, 10)).toString(), 'old');
  await bench.files.release(fh);
  await settled();
  t.same([...server.root.children.keys()], ['f']);
});

t.test(
  'a rename over an open file that fails gives the name back, even if it was closed meanwhile',
  async (t) => {
    for (const closed of [false, true]) {
      const { bench, server, inode, fh } = await openFile('old');
      server.tree.file('g', 'new');
      await bench.walk('g');
      let renames = 0;
      server.on('RENAME', (_args, execute) =>
        ++renames === 2 ? server.failure('RENAME', Status.ACCES) : execute(),
      );
      const gate = server.gate('RENAME');
      const renaming = rename(bench, 'g', 'f');
      await settled();
      gate.release();
      await settled();
      if (closed) await bench.files.release(fh);
      gate.open();
      t.equal(await outcome(renaming), Errno.EACCES);
      t.equal(server.tree.at('f').data.toString(), 'old');
      t.same(sillyNames(bench), []);
      t.equal(inode.silly, undefined);
      t.equal(inode.opens, closed ? 0 : 1);
    }
  },
);

t.test('a rename that fails, and whose victim cannot get its name back, loses no data', async (t) => {
  const { bench, server, inode, fh } = await openFile('old');
  server.tree.file('g', 'new');
  await bench.walk('g');
  let renames = 0;
  server.on('RENAME', (_args, execute) =>
    ++renames === 1 ? execute() : server.failure('RENAME', Status.ACCES),
  );
  t.equal(await outcome(rename(bench, 'g', 'f')), Errno.EACCES);
  await bench.files.release(fh);
  await settled();
  const [kept = ''] = sillyNames(bench);
  t.equal(server.tree.at(kept).data.toString(), 'old', 'the last close does not remove it');
  t.equal(server.tree.at('g').data.toString(), 'new');
  t.equal(inode.silly, undefined);
  t.match(bench.log, [new RegExp(`/${kept}: a rename failed`)]);
});

t.test('a rename that succeeds although its caller sees it fail is not undone', async (t) => {
  const { bench, server, fh } = await openFile('old');
  server.tree.file('g', 'new');
  await bench.walk('g');
  let renames = 0;
  server.on('RENAME', async (_args, execute) => {
    const result = await execute();
    return ++renames === 2 ? server.failure('RENAME', Status.IO) : result;
  });
  t.equal(await outcome(rename(bench, 'g', 'f')), Errno.EIO);
  t.equal(server.tree.at('f').data.toString(), 'new');
  await bench.files.release(fh);
  await settled();
  t.same(sillyNames(bench), [], 'the file that was replaced goes with its last close');
});

t.test('rename of one name of an open file to another does nothing to either', async (t) => {
  const { bench, server, inode } = await openFile();
  await bench.making.link(inode, bench.root, bytes('g'), bench.caller());
  bench.vfs.dentries.delete(bench.root, 'f');
  await rename(bench, 'f', 'g');
  t.same([...server.root.children.keys()], ['f', 'g']);
});

t.test('flags of renameat2(2) are refused', async (t) => {
  const { bench } = await openFile();
  t.equal(await outcome(rename(bench, 'f', 'g', 1)), Errno.EINVAL);
});

t.test('after a rename both names are known without asking', async (t) => {
  const { bench, server, inode } = await openFile();
  await bench.vfs.current.fetch(bench.root, bench.caller());
  await rename(bench, 'f', 'g');
  const moved = await bench.names.lookup(bench.root, bytes('g'), bench.caller());
  t.equal(moved.nodeid, inode.nodeid);
  server.forgetCalls();
  t.equal((await bench.names.lookup(bench.root, bytes('f'), bench.caller())).nodeid, 0);
  t.equal(server.names(), '');
});

t.test('the end of the mount removes every silly name, of open files too', async (t) => {
  const { bench, server } = await openFile();
  server.tree.file('g');
  await bench.open('g');
  await unlink(bench, 'f');
  await unlink(bench, 'g');
  t.equal(sillyNames(bench).length, 2);
  await bench.silly.finishAll();
  t.same(sillyNames(bench), []);
});

t.test('one of several names of a file goes: the others still lead to it', async (t) => {
  const bench = new Bench();
  bench.server.tree.file('f', 'x');
  const inode = await bench.walk('f');
  await bench.making.link(inode, bench.root, bytes('g'), bench.caller());
  await unlink(bench, 'f');
  t.equal(await bench.walk('g'), inode);
  t.equal(inode.generation, 0);
  t.equal(inode.attributes?.nlink, 1);
});
