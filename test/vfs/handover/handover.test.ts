/** A process goes on with the mount of one that has died: inodes, open files, and what was believed of them. */
import t from 'tap';
import type { FileHandle } from '../../../lib/programs/nfs3/index.js';
import type { Inode } from '../../../lib/vfs/cache/inode.js';
import { unattended } from '../../../lib/vfs/caller/caller.js';
import { firstProcess, nextProcess } from '../support/handover-rig.js';
import { named } from '../support/named.js';
import { O_RDWR, type Rig, settled } from '../support/rig.js';

function known(rig: Rig, { nodeid }: Inode): Inode {
  return rig.vfs.inodes.get(nodeid);
}

t.test('node ids go on to stand for the same objects, with their counts, parents and names', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.directory('d');
  process.rig.server.tree.directory('d/e');
  process.rig.server.tree.file('d/e/f', 'x');
  const f = await process.rig.walk('d/e/f');
  await process.rig.walk('d/e/f');
  const { rig, memory } = await nextProcess(process);
  const after = known(rig, f);
  t.equal(after.handle, f.handle);
  t.equal(after.nlookup, f.nlookup);
  t.equal(after.name, 'f');
  t.equal(after.parent?.name, 'e');
  t.equal(after.parent?.parent?.parent, rig.root);
  const before = memory.count;
  rig.vfs.inodes.forget(f.nodeid, f.nlookup - 1);
  t.equal(memory.count, before);
  rig.vfs.inodes.forget(f.nodeid, 1);
  t.equal(memory.count, before - 1, 'what the kernel forgets is recorded no more');
});

t.test('new node ids are none that the kernel may still know', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('a', 'x');
  process.rig.server.tree.file('b', 'x');
  const a = await process.rig.walk('a');
  process.rig.vfs.inodes.forget(a.nodeid, a.nlookup);
  const { rig } = await nextProcess(process);
  const b = await rig.walk('b');
  t.ok(b.nodeid > a.nodeid);
});

t.test('a renamed file has its new place', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('a', 'x');
  process.rig.server.tree.directory('d');
  const d = await process.rig.walk('d');
  const a = await process.rig.walk('a');
  await process.rig.remove.rename(
    process.rig.at('a'),
    { parent: d, name: named('b') },
    0,
    process.rig.caller(),
  );
  const { rig } = await nextProcess(process);
  t.equal(known(rig, a).name, 'b');
  t.equal(known(rig, a).parent?.nodeid, d.nodeid);
});

t.test('open files go on to be read and written, and closed', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'hello');
  const { fh, inode } = await process.rig.open('f', O_RDWR);
  const { rig } = await nextProcess(process);
  t.equal(String(await rig.read(fh, 0, 5)), 'hello');
  await rig.write(fh, 0, 'HELLO');
  await rig.files.flush(fh);
  t.equal(String(rig.server.tree.at('f').data), 'HELLO');
  t.equal(known(rig, inode).opens, 1);
  await rig.files.release(fh);
  t.equal(known(rig, inode).opens, 0);
});

t.test('a new file handle is none that the kernel may still know', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'hello');
  const { fh } = await process.rig.open('f');
  await process.rig.files.release(fh);
  const { rig } = await nextProcess(process);
  t.ok((await rig.open('f')).fh > fh);
});

t.test('a file without a name goes on, and goes with its last close', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'hello');
  const { fh, inode } = await process.rig.open('f', O_RDWR);
  await process.rig.remove.unlink(process.rig.root, named('f'), process.rig.caller());
  const { rig } = await nextProcess(process);
  t.match(known(rig, inode).silly?.name, /^\.nfs/);
  t.equal(String(await rig.read(fh, 0, 5)), 'hello');
  await rig.files.release(fh);
  await settled();
  t.same(await rig.names_('/'), []);
});

t.test('a file without a name goes although the kernel has forgotten it and its directory', async (t) => {
  const process = firstProcess();
  const { rig: before } = process;
  before.server.tree.directory('d');
  before.server.tree.file('d/f', 'hello');
  const d = await before.walk('d');
  const { fh, inode } = await before.open('d/f', O_RDWR);
  await before.remove.unlink(d, named('f'), before.caller());
  before.vfs.inodes.forget(d.nodeid, d.nlookup);
  before.server.once('REMOVE', () => new Promise(() => {}));
  await before.files.release(fh);
  before.vfs.inodes.forget(inode.nodeid, inode.nlookup);
  await settled();
  const { rig } = await nextProcess(process);
  t.same([...rig.server.tree.at('d').children.keys()], []);
});

t.test(
  'nothing that the dead process believed is served: a file that has changed meanwhile is read anew',
  async (t) => {
    const process = firstProcess();
    const { tree } = process.rig.server;
    tree.file('f', 'old');
    const { fh, inode } = await process.rig.open('f');
    await process.rig.read(fh, 0, 3);
    tree.write('f', 'newer');
    const { rig } = await nextProcess(process);
    t.equal(String(await rig.read(fh, 0, 10)), 'newer');
    await rig.vfs.current.fetch(known(rig, inode), unattended(rig.caller().credential), 'object');
    t.match(rig.notices.join(), new RegExp(`(attributes|pages) ${inode.nodeid}`));
  },
);

t.test('records go with what they are about', async (t) => {
  const process = firstProcess();
  const { rig, memory } = process;
  const empty = memory.count;
  rig.server.tree.directory('d');
  for (let at = 0; at < 50; at++) rig.server.tree.file(`d/f${at}`, 'x');
  const inodes: Inode[] = [];
  for (let at = 0; at < 50; at++) {
    const { fh, inode } = await rig.open(`d/f${at}`, O_RDWR);
    inodes.push(inode);
    await rig.write(fh, 0, 'data');
    await rig.files.flush(fh);
    await rig.files.release(fh);
  }
  const d = await rig.walk('d');
  const { fh } = await rig.directories.open(d, rig.caller());
  for (const { entry } of await rig.list(fh)) if (entry) rig.vfs.inodes.forget(entry.nodeid, 1);
  rig.directories.release(fh);
  for (const inode of [...inodes, d]) rig.vfs.inodes.forget(inode.nodeid, inode.nlookup);
  t.equal(memory.count, empty);
});

t.test('other work goes on while a great many inodes are taken up', async (t) => {
  const process = firstProcess();
  const { inodes } = process.rig.vfs;
  for (let at = 0; at < 40_000; at++) inodes.hold(inodes.intern(`h${at}` as FileHandle));
  let turns = 0;
  const count = (): void => {
    turns++;
    turn = setImmediate(count);
  };
  let turn = setImmediate(count);
  const { rig } = await nextProcess(process);
  clearImmediate(turn);
  t.equal(rig.vfs.inodes.size, 40_001);
  t.ok(turns > 20, `${turns} turns`);
});
