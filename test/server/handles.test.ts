/** File handles: the same object keeps its handle, and a handle never leads to another object. */
import {
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { all, made, ok, rig, statusOf, user } from './support/rig.js';

t.test('a handle goes on working while its object is renamed by this client', async (t) => {
  const r = await rig(t);
  const directory = made(await r.call(nfs.MKDIR, { where: r.at('d'), attributes: {} }));
  const file = made(await r.create('f', {}, undefined, directory));
  ok(await r.write(file, 0, 'here'));
  ok(await r.call(nfs.RENAME, { from: r.at('f', directory), to: r.at('g') }));
  ok(await r.call(nfs.RENAME, { from: r.at('d'), to: r.at('e') }));
  t.equal(await r.text(file), 'here');
  t.equal(await r.find('g'), file, 'and the new name leads to the same handle');
  t.equal(await r.find('e'), directory);
  t.equal(await r.probe(directory), 'NFS3_OK');
});

t.test(
  'a handle goes on working when a local process renames its object, or a directory above it',
  async (t) => {
    const r = await rig(t, { maxDirectories: 1, maxOpenFiles: 1 });
    const path = (name: string) => join(r.folder, name);
    mkdirSync(path('a/b'), { recursive: true });
    mkdirSync(path('other'));
    writeFileSync(path('a/b/file'), 'content');
    const directory = await r.find('a/b');
    const file = await r.find('a/b/file');

    renameSync(path('a/b/file'), path('a/b/renamed'));
    t.equal(await r.text(file), 'content', 'within its directory');
    renameSync(path('a/b/renamed'), path('other/moved'));
    t.equal(await r.text(file), 'content', 'to another directory');
    renameSync(path('a'), path('z'));
    // Another directory and file now take the places in the caches.
    await r.text(await r.find('other/moved'));
    t.equal(await r.probe(directory), 'NFS3_OK', 'a directory whose parent was renamed');
    writeFileSync(path('z/b/new'), '');
    t.equal((await r.lookup('new', directory)).status, nfs.Status.OK, 'and it is the same directory');
  },
);

t.test('a handle is stale when its object was deleted, by whomever', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  const other = made(await r.create('other'));
  const directory = made(await r.call(nfs.MKDIR, { where: r.at('d'), attributes: {} }));
  const localDirectory = made(await r.call(nfs.MKDIR, { where: r.at('l'), attributes: {} }));
  ok(await r.call(nfs.REMOVE, r.at('f')));
  ok(await r.call(nfs.RMDIR, r.at('d')));
  unlinkSync(join(r.folder, 'other'));
  rmdirSync(join(r.folder, 'l'));
  for (const handle of [file, other, directory, localDirectory]) {
    t.equal(await r.probe(handle), 'NFS3ERR_STALE');
  }
  t.equal(await statusOf(r.read(other, 0, 1)), 'NFS3ERR_STALE');
  t.equal(await statusOf(r.write(file, 0, 'x')), 'NFS3ERR_STALE');
  t.equal(await statusOf(r.lookup('x', localDirectory)), 'NFS3ERR_STALE');
});

t.test('a handle is stale when another object took the name, or the inode number', async (t) => {
  const r = await rig(t);
  const inodes = new Map<bigint, number>();
  const handles: nfs.FileHandle[] = [];
  for (let i = 0; i < 200; i++) {
    const file = made(await r.create('f'));
    const { fileid } = await r.attributes(file);
    inodes.set(fileid, (inodes.get(fileid) ?? 0) + 1);
    handles.push(file);
    if (i < 199) ok(await r.call(nfs.REMOVE, r.at('f')));
  }
  t.equal(new Set(handles).size, 200, 'no two of them have had the same handle');
  t.comment(`${inodes.size} inode numbers for 200 files`);
  const last = handles.pop();
  for (const handle of handles.slice(-20)) t.equal(await r.probe(handle), 'NFS3ERR_STALE');
  t.equal(last && (await r.probe(last)), 'NFS3_OK');
});

t.test('replacing a file by rename makes the handle of the replaced one stale', async (t) => {
  const r = await rig(t);
  const old = made(await r.create('target'));
  ok(await r.write(old, 0, 'old'));
  const fresh = made(await r.create('fresh'));
  ok(await r.call(nfs.RENAME, { from: r.at('fresh'), to: r.at('target') }));
  t.equal(await r.probe(old), 'NFS3ERR_STALE');
  t.equal(await statusOf(r.read(old, 0, 10)), 'NFS3ERR_STALE', 'though it was open in the server');
  t.equal(await r.find('target'), fresh);
});

t.test('all names of a file lead to one handle, which lives as long as any of them', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('one'));
  mkdirSync(join(r.folder, 'd'));
  const directory = await r.find('d');
  ok(await r.call(nfs.LINK, { file, link: r.at('two', directory) }));
  linkSync(join(r.folder, 'one'), join(r.folder, 'three'));
  t.equal(await r.find('d/two'), file);
  t.equal((await r.attributes(file)).nlink, 3);
  ok(await r.call(nfs.REMOVE, r.at('one')));
  t.equal(await r.probe(file), 'NFS3_OK');
  ok(await r.call(nfs.REMOVE, r.at('two', directory)));
  t.equal(await r.probe(file), 'NFS3_OK', 'a name that the server was never told of');
  unlinkSync(join(r.folder, 'three'));
  t.equal(await r.probe(file), 'NFS3ERR_STALE');
});

t.test('handles outlive a restart of the server', async (t) => {
  const r = await rig(t);
  mkdirSync(join(r.folder, 'a/b/c'), { recursive: true });
  for (let i = 0; i < 50; i++) writeFileSync(join(r.folder, 'a/b/c', `f${i}`), String(i));
  const deep = await r.find('a/b/c');
  const files = await Promise.all(Array.from({ length: 50 }, (_, i) => r.find(`f${i}`, deep)));
  unlinkSync(join(r.folder, 'a/b/c/f7'));
  renameSync(join(r.folder, 'a/b/c/f8'), join(r.folder, 'moved'));
  await r.server.restart();
  t.equal(await r.probe(deep), 'NFS3_OK');
  for (const [i, file] of files.entries()) {
    if (i === 7) t.equal(await r.probe(file), 'NFS3ERR_STALE');
    else t.equal(await r.text(file), String(i));
  }
  t.equal(await r.mount(), r.root);
  const again = new Set((await all(r.listPlus(deep))).map((entry) => entry.handle));
  t.equal(again.size, 48, 'and names found anew lead to the very same handles');
  for (const handle of again) t.ok(handle && files.includes(handle));
});

t.test('a server told to give new handles knows none of the old ones', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  await r.server.restart({ newHandles: true });
  t.equal(await r.probe(file), 'NFS3ERR_STALE');
  t.equal(await r.probe(r.root), 'NFS3ERR_STALE');
  const root = await r.mount();
  t.not(root, r.root);
  t.not(await r.find('f', root), file);
});

t.test('a directory put in the place of the exported one is exported by the next MNT', async (t) => {
  const r = await rig(t);
  writeFileSync(join(r.folder, 'old'), '');
  const file = await r.find('old');
  // A directory with another inode number, since the old one stays.
  renameSync(r.folder, `${r.folder}.old`);
  t.teardown(() => rmSync(`${r.folder}.old`, { recursive: true, force: true }));
  mkdirSync(r.folder);
  writeFileSync(join(r.folder, 'new'), '');
  t.equal(await r.probe(r.root), 'NFS3_OK', 'the mounted root stays');
  const root = await r.mount();
  t.equal((await r.lookup('new', root)).status, nfs.Status.OK);
  t.equal(await r.probe(file), 'NFS3ERR_STALE');
});

t.test('a handle that was never handed out is refused', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  const bytes = nfs.fileHandleToBytes(file);
  for (let at = 0; at < bytes.length; at++) {
    const forged = Buffer.from(bytes);
    forged[at] = (forged[at] ?? 0) ^ 1;
    const status = at < 4 ? 'NFS3ERR_BADHANDLE' : 'NFS3ERR_STALE';
    t.equal(await r.probe(nfs.fileHandleFromBytes(forged)), status, `byte ${at}`);
  }
  for (const length of [0, 1, 32, 64]) {
    t.equal(await r.probe(nfs.fileHandleFromBytes(Buffer.alloc(length, 1))), 'NFS3ERR_BADHANDLE');
  }
});

t.test('a handle works only with the server that sealed it, and cannot be made up', async (t) => {
  const key = Buffer.alloc(16, 7);
  const r = await rig(t, { handleKey: key });
  mkdirSync(join(r.folder, 'private'), { mode: 0o700 });
  writeFileSync(join(r.folder, 'private/readable'), 'text', { mode: 0o644 });
  // Somebody who knows all numbers of the file, and has a server of their own to make a handle of them.
  const other = await rig(t, {}, r.folder);
  const forged = await other.find('private/readable');
  t.equal(await statusOf(r.read(forged, 0, 4, user(1001))), 'NFS3ERR_STALE');
  t.equal(await statusOf(r.call(nfs.ACCESS, { object: forged, access: 0x3f }, user(1001))), 'NFS3ERR_STALE');
  const again = await rig(t, { handleKey: key }, r.folder);
  t.equal(
    await again.probe(await r.find('private/readable')),
    'NFS3_OK',
    'the same key makes the same handles',
  );
});

t.test('objects beyond the memory of the server are found again', async (t) => {
  const r = await rig(t, { maxInodes: 8, maxDirectories: 2, maxOpenFiles: 2 });
  const files: nfs.FileHandle[] = [];
  for (let d = 0; d < 6; d++) {
    mkdirSync(join(r.folder, `d${d}`));
    const directory = await r.find(`d${d}`);
    for (let f = 0; f < 6; f++) {
      const file = made(await r.create(`f${f}`, {}, undefined, directory));
      ok(await r.write(file, 0, `${d}.${f}`));
      files.push(file);
    }
  }
  for (const [i, file] of files.entries()) {
    t.equal(await r.text(file), `${Math.floor(i / 6)}.${i % 6}`);
  }
});

t.test('the search for lost handles ends at its limit, and logs that', async (t) => {
  const lines: string[] = [];
  const r = await rig(t, { maxWalkedEntries: 5, log: (line) => lines.push(line) });
  for (const name of ['a', 'b', 'c']) {
    mkdirSync(join(r.folder, name));
    for (let i = 0; i < 10; i++) writeFileSync(join(r.folder, name, `f${i}`), '');
  }
  const files = await Promise.all(['a/f1', 'b/f1', 'c/f1'].map((path) => r.find(path)));
  await r.server.restart();
  const statuses = await Promise.all(files.map((file) => r.probe(file)));
  t.ok(statuses.includes('NFS3ERR_STALE'));
  t.match(lines.join('\n'), /gave up looking for a lost file handle/);
});

t.test('the server holds a bounded number of descriptors, and gives them back', async (t) => {
  const open = () => readdirSync('/proc/self/fd').length;
  const before = open();
  const r = await rig(t, { maxDirectories: 4, maxOpenFiles: 4 });
  for (let i = 0; i < 40; i++) {
    const directory = made(await r.call(nfs.MKDIR, { where: r.at(`d${i}`), attributes: {} }));
    ok(await r.write(made(await r.create('f', {}, undefined, directory)), 0, 'x'));
  }
  t.ok(open() <= before + 20, `${open() - before} more descriptors than before`);
  t.equal(statSync(join(r.folder, 'd39/f')).size, 1);
});
