import t, { type Test } from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import { isSillyName, sillyName } from '../../../lib/vfs/names/silly-rename.js';
import { named } from '../support/named.js';
import { O_RDWR, outcome, Rig, settled } from '../support/rig.js';

const sillyNames = (rig: Rig, path = ''): string[] =>
  [...rig.server.tree.at(path).children.keys()].filter(isSillyName);
const unlink = (rig: Rig, name: string, caller = rig.caller()) =>
  rig.remove.unlink(rig.root, named(name), caller);
const rename = (rig: Rig, from: string, to: string, flags = 0) =>
  rig.remove.rename(rig.at(from), rig.at(to), flags, rig.caller());

async function openFile(content = 'content') {
  const rig = new Rig();
  rig.server.tree.file('f', content);
  const { inode, fh } = await rig.open('f', O_RDWR);
  rig.server.forgetCalls();
  return { rig, server: rig.server, inode, fh };
}

t.test('silly names are .nfs, the fileid in 16 digits and a counter in 8', (t) => {
  t.equal(sillyName(0xabcdn, 0x12), '.nfs000000000000abcd00000012');
  t.equal(sillyName(2n ** 64n - 1n, 2 ** 32 - 1), '.nfsffffffffffffffffffffffff');
  t.equal(isSillyName(named('.nfs000000000000abcd00000012')), true);
  t.equal(isSillyName(named('.nfs000000000000ABCD00000012')), false);
  t.equal(isSillyName(named('.nfs1')), false);
  t.end();
});

t.test('a file that nobody has open is removed', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f');
  await rig.walk('f');
  rig.server.forgetCalls();
  await unlink(rig, 'f');
  t.equal(rig.server.names(), 'REMOVE');
  t.equal(rig.server.tree.has('f'), false);
});

t.test('what is removed leaves nothing in memory once the kernel has forgotten it', async (t) => {
  const rig = new Rig();
  const { inodes, dentries } = rig.vfs;
  const before = inodes.size;
  const caller = rig.caller();
  const round = async (forgetFirst: boolean) => {
    const [directory, file] = [`d${forgetFirst}`, `f${forgetFirst}`];
    rig.server.tree.directory(directory);
    rig.server.tree.file(file);
    const objects = [await rig.walk(directory), await rig.walk(file)];
    await Promise.all(objects.map((inode) => rig.permission.check(inode, 4, caller)));
    const forget = () => objects.forEach(({ nodeid }) => void inodes.forget(nodeid, 100));
    if (forgetFirst) forget();
    await rig.remove.rmdir(rig.root, named(directory), caller);
    await unlink(rig, file, caller);
    if (!forgetFirst) forget();
  };
  for (const forgetFirst of [false, true]) {
    await round(forgetFirst);
    t.equal(inodes.size, before, forgetFirst ? 'forgotten before' : 'forgotten after');
  }
  t.ok(dentries.size <= 4, 'but that the names do not exist');
});

t.test('an inode that goes takes its dentry along, but not that of its successor', async (t) => {
  const rig = new Rig({ maxIdle: 1 });
  for (const name of ['a', 'b', 'c']) rig.server.tree.file(name);
  const first = await rig.walk('a');
  rig.vfs.inodes.forget(first.nodeid, 100);
  for (const name of ['b', 'c']) rig.vfs.inodes.forget((await rig.walk(name)).nodeid, 100);
  t.equal(first.evicted, true);
  t.equal(rig.vfs.dentries.getUnverified(rig.root, named('a')), undefined);
  const second = await rig.walk('a');
  rig.vfs.dentries.forget(first);
  t.equal(rig.vfs.dentries.getUnverified(rig.root, named('a'))?.inode, second);
});

t.test('an open file goes on under another name until its last close', async (t) => {
  const { rig, server, inode, fh } = await openFile();
  const second = await rig.open('f');
  await unlink(rig, 'f');
  const [name] = sillyNames(rig);
  t.equal(name, sillyName(server.tree.at(name ?? '').fileid, 1));
  await rig.write(fh, 0, 'CONTENT');
  t.equal((await rig.read(fh, 0, 100)).toString(), 'CONTENT');
  const attributes = await rig.vfs.current.fetch(inode, rig.caller());
  t.equal(rig.vfs.replies.attributes(inode, attributes).attributes.nlink, 0);
  t.equal(await outcome(rig.walk('f')), Errno.ENOENT);
  await rig.files.release(fh);
  t.equal(sillyNames(rig).length, 1);
  await rig.files.release(second.fh);
  await settled();
  t.same(sillyNames(rig), []);
  t.equal(rig.silly.pending, 0);
  t.equal(rig.counters.sillyRemoves, 1);
});

t.test('names that somebody else has taken are stepped over', async (t) => {
  const { rig, server } = await openFile();
  const { fileid } = server.tree.at('f');
  server.tree.file(sillyName(fileid, 1), 'theirs');
  server.tree.file(sillyName(fileid, 2), 'theirs');
  await unlink(rig, 'f');
  t.ok(server.tree.has(sillyName(fileid, 3)));
  t.equal(server.tree.at(sillyName(fileid, 1)).data.toString(), 'theirs');
});

t.test('no free name can be found: EBUSY, rather than to delete a file in use', async (t) => {
  const { rig, server } = await openFile();
  server.on('LOOKUP', (args, execute) =>
    isSillyName(args.name) ? server.failure('LOOKUP', Status.ACCES) : execute(),
  );
  t.equal(await outcome(unlink(rig, 'f')), Errno.EBUSY);
  t.equal(server.count('REMOVE') + server.count('RENAME'), 0);
});

t.test('the visible .nfs name of an open file can be neither removed nor renamed', async (t) => {
  const { rig } = await openFile();
  await unlink(rig, 'f');
  const [name = ''] = sillyNames(rig);
  t.equal(await outcome(unlink(rig, name)), Errno.EBUSY);
  t.equal(await outcome(rename(rig, name, 'back')), Errno.EBUSY);
  rig.server.tree.file('g');
  t.equal(await outcome(rename(rig, 'g', name)), Errno.EBUSY);
});

/** Expects the file to be readable until its last close, and no name to be left after it. */
async function goesWithLastClose(t: Test, { rig, server, fh }: Awaited<ReturnType<typeof openFile>>) {
  t.equal((await rig.read(fh, 0, 7)).toString(), 'content');
  await rig.files.release(fh);
  await settled();
  t.equal(server.root.children.size, 0);
}

t.test('other names of a file that goes on under its silly name are ordinary names', async (t) => {
  const opened = await openFile();
  const { rig, inode } = opened;
  for (const name of ['g', 'h']) await rig.make.link(inode, rig.root, named(name), rig.caller());
  await unlink(rig, 'f');
  await rename(rig, 'g', 'i');
  t.equal(await outcome(unlink(rig, 'i')), 'ok');
  t.equal(await outcome(unlink(rig, 'h')), 'ok');
  t.equal(sillyNames(rig).length, 1);
  await goesWithLastClose(t, opened);
});

t.test('two names of an open file that go in the same moment', async (t) => {
  const opened = await openFile();
  const { rig, inode } = opened;
  await rig.make.link(inode, rig.root, named('g'), rig.caller());
  const results = await Promise.all([outcome(unlink(rig, 'f')), outcome(unlink(rig, 'g'))]);
  t.same(results, ['ok', 'ok']);
  await goesWithLastClose(t, opened);
});

t.test('the last close during the RENAME: the name goes right after it', async (t) => {
  const { rig, server, fh } = await openFile();
  const gate = server.gate('RENAME');
  const removing = unlink(rig, 'f');
  await settled();
  await rig.files.release(fh);
  gate.open();
  await removing;
  await settled();
  t.equal(server.root.children.size, 0);
});

t.test('an open during the REMOVE waits for it, and fails as for any removed file', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f');
  const inode = await rig.walk('f');
  const gate = rig.server.gate('REMOVE');
  const removing = unlink(rig, 'f');
  await settled();
  const opening = rig.files.open(inode, 0, rig.caller());
  t.equal(await outcome(opening), 'pending');
  gate.open();
  await removing;
  t.equal(await outcome(opening), Errno.ESTALE);
  t.equal(inode.opens, 0);
});

t.test('an open during a REMOVE that fails goes on', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f');
  const inode = await rig.walk('f');
  rig.server.fail('REMOVE', Status.ACCES);
  const gate = rig.server.gate('REMOVE');
  const removing = outcome(unlink(rig, 'f'));
  const opening = rig.files.open(inode, 0, rig.caller());
  await settled();
  gate.open();
  await Promise.all([removing, opening]);
  t.equal(inode.opens, 1);
});

t.test('it is removed with the credential of whoever took the name away', async (t) => {
  const { rig, server, fh } = await openFile();
  await unlink(rig, 'f', rig.caller(2000));
  server.forgetCalls();
  await rig.files.release(fh);
  await settled();
  t.equal(server.named('REMOVE')[0]?.uid, 2000);
});

t.test('a silly name that belongs to another file by now is not removed', async (t) => {
  const { rig, server, fh } = await openFile();
  await unlink(rig, 'f');
  const [name = ''] = sillyNames(rig);
  server.tree.remove(name);
  server.tree.file(name, 'theirs');
  await rig.files.release(fh);
  await settled();
  t.equal(server.tree.at(name).data.toString(), 'theirs');
});

t.test('a removal that fails is tried again, and at last logged with its path', async (t) => {
  const { rig, server, fh } = await openFile();
  await unlink(rig, 'f');
  const end = server.fail('REMOVE', Status.IO);
  await rig.files.release(fh);
  for (let i = 1; i <= 5; i++) await rig.pass(500 * i);
  t.equal(server.count('REMOVE'), 5);
  t.match(rig.log, [/\/\.nfs[0-9a-f]{24}: left behind.*NFS3ERR_IO/]);
  t.equal(rig.silly.pending, 0);
  end();
});

t.test('rmdir waits for removals under way in the directory', async (t) => {
  const rig = new Rig();
  rig.server.tree.directory('d');
  rig.server.tree.file('d/f');
  const directory = await rig.walk('d');
  const { fh } = await rig.open('d/f');
  await rig.remove.unlink(directory, named('f'), rig.caller());
  const removed = rig.remove.rmdir(rig.root, named('d'), rig.caller());
  t.equal(await outcome(removed), Errno.ENOTEMPTY, 'still open');
  const gate = rig.server.gate('REMOVE');
  await rig.files.release(fh);
  await settled();
  const removing = rig.remove.rmdir(rig.root, named('d'), rig.caller());
  t.equal(await outcome(removing), 'pending');
  gate.open();
  t.equal(await outcome(removing), 'ok');
});

t.test('a listing waits for removals under way in the directory', async (t) => {
  const { rig, server, fh } = await openFile();
  await unlink(rig, 'f');
  const { fh: reading } = await rig.directories.open(rig.root, rig.caller());
  t.match((await rig.list(reading)).map(({ name }) => name).filter(isSillyName), [/^\.nfs/], 'still open');
  const gate = server.gate('REMOVE');
  await rig.files.release(fh);
  await settled();
  const opening = rig.directories.open(rig.root, rig.caller());
  const rewinding = rig.list(reading);
  const { caller, cancel } = rig.interruptible();
  const impatient = rig.directories.open(rig.root, caller);
  t.equal(await outcome(opening), 'pending');
  t.equal(await outcome(rewinding), 'pending');
  cancel();
  t.equal(await outcome(impatient), Errno.EINTR);
  gate.open();
  const listed = await rig.list((await opening).fh);
  t.same(listed.map(({ name }) => name).filter(isSillyName), []);
  t.same((await rewinding).map(({ name }) => name).filter(isSillyName), []);
});

t.test('a signal ends the wait for a removal, or for a silly name, while the server is silent', async (t) => {
  for (const wait of ['rmdir', 'rename', 'open', 'unlink'] as const) {
    const rig = new Rig();
    const { server } = rig;
    server.tree.directory('d');
    server.tree.file('d/f', 'content');
    server.tree.directory('e');
    const directory = await rig.walk('d');
    await rig.walk('e');
    const { inode, fh } = await rig.open('d/f');
    const name = named('f');
    if (wait === 'unlink') await rig.make.link(inode, directory, named('g'), rig.caller());
    else await rig.remove.unlink(directory, name, rig.caller());
    const gate = server.gate(wait === 'unlink' ? 'RENAME' : 'REMOVE');
    const silent =
      wait === 'unlink' ? rig.remove.unlink(directory, name, rig.caller()) : rig.files.release(fh);
    await settled();
    t.equal(gate.waiting, 1, wait);
    const { caller, cancel } = rig.interruptible();
    const waiting = {
      rmdir: () => rig.remove.rmdir(rig.root, named('d'), caller),
      rename: () => rig.remove.rename(rig.at('e'), rig.at('d'), 0, caller),
      open: () => rig.files.open(inode, O_RDWR, caller),
      unlink: () => rig.remove.unlink(directory, named('g'), caller),
    }[wait]();
    t.equal(await outcome(waiting), 'pending', wait);
    server.forgetCalls();
    cancel();
    t.equal(await outcome(waiting), Errno.EINTR, wait);
    t.equal(server.names(), '', `${wait}: nothing was asked for`);
    gate.open();
    await silent;
    t.equal(inode.opening, 0);
  }
});

t.test('a listing does not wait for a removal that is to be tried again', async (t) => {
  const { rig, server, fh } = await openFile();
  await unlink(rig, 'f');
  server.once('REMOVE', () => server.failure('REMOVE', Status.IO));
  await rig.files.release(fh);
  await settled();
  t.equal(await outcome(rig.directories.open(rig.root, rig.caller())), 'ok');
  await rig.pass(500);
  t.same(sillyNames(rig), []);
});

t.test('rename over an open file: it goes on, and is gone at its last close', async (t) => {
  const { rig, server, fh } = await openFile('old');
  server.tree.file('g', 'new');
  await rename(rig, 'g', 'f');
  t.equal(server.tree.at('f').data.toString(), 'new');
  t.equal((await rig.read(fh, 0, 10)).toString(), 'old');
  await rig.files.release(fh);
  await settled();
  t.same([...server.root.children.keys()], ['f']);
});

t.test(
  'a rename over an open file that fails gives the name back, even if it was closed meanwhile',
  async (t) => {
    for (const closed of [false, true]) {
      const { rig, server, inode, fh } = await openFile('old');
      server.tree.file('g', 'new');
      await rig.walk('g');
      let renames = 0;
      server.on('RENAME', (_args, execute) =>
        ++renames === 2 ? server.failure('RENAME', Status.ACCES) : execute(),
      );
      const gate = server.gate('RENAME');
      const renaming = rename(rig, 'g', 'f');
      await settled();
      gate.release();
      await settled();
      if (closed) await rig.files.release(fh);
      gate.open();
      t.equal(await outcome(renaming), Errno.EACCES);
      t.equal(server.tree.at('f').data.toString(), 'old');
      t.same(sillyNames(rig), []);
      t.equal(inode.silly, undefined);
      t.equal(inode.opens, closed ? 0 : 1);
    }
  },
);

t.test('a rename that fails, and whose victim cannot get its name back, loses no data', async (t) => {
  const { rig, server, inode, fh } = await openFile('old');
  server.tree.file('g', 'new');
  await rig.walk('g');
  let renames = 0;
  server.on('RENAME', (_args, execute) =>
    ++renames === 1 ? execute() : server.failure('RENAME', Status.ACCES),
  );
  t.equal(await outcome(rename(rig, 'g', 'f')), Errno.EACCES);
  await rig.files.release(fh);
  await settled();
  const [kept = ''] = sillyNames(rig);
  t.equal(server.tree.at(kept).data.toString(), 'old', 'the last close does not remove it');
  t.equal(server.tree.at('g').data.toString(), 'new');
  t.equal(inode.silly, undefined);
  t.match(rig.log, [new RegExp(`/${kept}: a rename failed`)]);
});

t.test('a rename that succeeds although its caller sees it fail is not undone', async (t) => {
  const { rig, server, fh } = await openFile('old');
  server.tree.file('g', 'new');
  await rig.walk('g');
  let renames = 0;
  server.on('RENAME', async (_args, execute) => {
    const result = await execute();
    return ++renames === 2 ? server.failure('RENAME', Status.IO) : result;
  });
  t.equal(await outcome(rename(rig, 'g', 'f')), Errno.EIO);
  t.equal(server.tree.at('f').data.toString(), 'new');
  await rig.files.release(fh);
  await settled();
  t.same(sillyNames(rig), [], 'the file that was replaced goes with its last close');
});

t.test('rename of one name of an open file to another does nothing to either', async (t) => {
  const { rig, server, inode } = await openFile();
  await rig.make.link(inode, rig.root, named('g'), rig.caller());
  rig.vfs.dentries.delete(rig.root, named('f'));
  await rename(rig, 'f', 'g');
  t.same([...server.root.children.keys()], ['f', 'g']);
});

t.test('flags of renameat2(2) are refused', async (t) => {
  const { rig } = await openFile();
  t.equal(await outcome(rename(rig, 'f', 'g', 1)), Errno.EINVAL);
});

t.test('after a rename both names are known without asking', async (t) => {
  const { rig, server, inode } = await openFile();
  await rig.vfs.current.fetch(rig.root, rig.caller());
  await rename(rig, 'f', 'g');
  const moved = await rig.lookup.entry(rig.root, named('g'), rig.caller());
  t.equal(moved.nodeid, inode.nodeid);
  server.forgetCalls();
  t.equal((await rig.lookup.entry(rig.root, named('f'), rig.caller())).nodeid, 0);
  t.equal(server.names(), '');
});

t.test('the end of the mount removes every silly name, of open files too', async (t) => {
  const { rig, server } = await openFile();
  server.tree.file('g');
  await rig.open('g');
  await unlink(rig, 'f');
  await unlink(rig, 'g');
  t.equal(sillyNames(rig).length, 2);
  await rig.silly.finishAll();
  t.same(sillyNames(rig), []);
});

t.test('one of several names of a file goes: the others still lead to it', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'x');
  const inode = await rig.walk('f');
  await rig.make.link(inode, rig.root, named('g'), rig.caller());
  await unlink(rig, 'f');
  t.equal(await rig.walk('g'), inode);
  t.equal(inode.generation, 0);
  t.equal(inode.attributes?.nlink, 1);
});
