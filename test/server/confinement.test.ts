/** Nothing outside the exported directory can be reached, whatever names, links and races a client comes up with. */
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MNT } from '../../lib/programs/mount3/procedures.js';
import { MountStatus } from '../../lib/programs/mount3/types.js';
import * as nfs from '../../lib/programs/nfs3/index.js';
import type { EmbeddedServerOptions } from '../../lib/server/index.js';
import { all, made, ok, type Rig, rig, scratch, statusOf } from './support/rig.js';
import { Swapper } from './support/swapper.js';

/** An export beside a folder with a secret. */
async function besideSecret(
  t: Test,
  options: Partial<EmbeddedServerOptions> = {},
): Promise<{ r: Rig; outside: string }> {
  const parent = scratch(t);
  const outside = join(parent, 'outside');
  const inside = join(parent, 'inside');
  mkdirSync(outside);
  mkdirSync(inside);
  writeFileSync(join(outside, 'secret'), 'secret', { mode: 0o600 });
  return { r: await rig(t, options, inside), outside };
}

t.test('symbolic links are objects, never followed', async (t) => {
  const { r, outside } = await besideSecret(t);
  symlinkSync(outside, join(r.folder, 'toDirectory'));
  symlinkSync(join(outside, 'secret'), join(r.folder, 'toFile'));
  const toDirectory = await r.find('toDirectory');
  const toFile = await r.find('toFile');
  t.equal((await r.attributes(toDirectory)).type, nfs.FileType.LNK);
  t.equal(ok(await r.call(nfs.READLINK, { symlink: toFile })).target.toString(), join(outside, 'secret'));
  t.equal(await statusOf(r.lookup('secret', toDirectory)), 'NFS3ERR_NOTDIR');
  t.equal(await statusOf(r.read(toFile, 0, 10)), 'NFS3ERR_INVAL');
  t.equal(await statusOf(r.write(toFile, 0, 'x')), 'NFS3ERR_INVAL');
  const truncate = { object: toFile, attributes: { size: 0n }, guard: undefined };
  t.equal(await statusOf(r.call(nfs.SETATTR, truncate)), 'NFS3ERR_INVAL');
  const chmod = { object: toFile, attributes: { mode: 0o777 }, guard: undefined };
  t.equal(await statusOf(r.call(nfs.SETATTR, chmod)), 'NFS3ERR_NOTSUPP');
  const times = { seconds: 1, nanoseconds: 1 };
  ok(await r.call(nfs.SETATTR, { object: toFile, attributes: { mtime: times, uid: 7 }, guard: undefined }));
  t.same((await r.attributes(toFile)).mtime, times, 'times and owner are set on the link itself');
  const how = { mode: nfs.CreateMode.UNCHECKED, attributes: { size: 0n } } as const;
  t.equal(await statusOf(r.call(nfs.CREATE, { where: r.at('toFile'), how })), 'NFS3ERR_EXIST');
  ok(await r.call(nfs.LINK, { file: toFile, link: r.at('second') }));
  t.equal((await r.attributes(await r.find('second'))).type, nfs.FileType.LNK, 'a hard link to the link');
  ok(await r.call(nfs.REMOVE, r.at('toFile')));
  const secret = statSync(join(outside, 'secret'));
  t.equal(secret.size, 6);
  t.equal(secret.mode & 0o777, 0o600);
  t.equal(secret.uid, 0);
});

t.test('".." of the root is the root', async (t) => {
  const { r } = await besideSecret(t);
  mkdirSync(join(r.folder, 'a/b'), { recursive: true });
  const above = ok(await r.lookup('..'));
  t.equal(above.object, r.root);
  t.equal(above.attributes?.fileid, (await r.attributes(r.root)).fileid);
  t.equal(ok(await r.lookup('.')).object, r.root);
  const b = await r.find('a/b');
  t.equal(await r.find('..', b), await r.find('a'));
  t.equal(await r.find('../..', b), r.root);
  t.equal(await r.find('../../../..', b), r.root);
  const dots = async (directory: nfs.FileHandle) => {
    const args = { directory, cookie: 0n, cookieVerifier: Buffer.alloc(8), dircount: 4096, maxcount: 4096 };
    return ok(await r.call(nfs.READDIRPLUS, args)).entries.slice(0, 2);
  };
  const [rootDot, rootDotDot] = await dots(r.root);
  t.equal(rootDotDot?.fileid, rootDot?.fileid);
  t.equal(rootDotDot?.handle, r.root);
  const [, bDotDot] = await dots(b);
  t.equal(bDotDot?.handle, await r.find('a'));
});

t.test('every procedure that takes a name refuses one that is a path', async (t) => {
  const { r } = await besideSecret(t);
  const file = made(await r.create('file'));
  const attributes = {};
  const target = Buffer.from('x');
  const how = { mode: nfs.CreateMode.GUARDED, attributes } as const;
  const what = { type: nfs.FileType.FIFO, attributes } as const;
  for (const bad of ['../outside/secret', 'a/b', '/', 'x\0', '\0']) {
    const where = r.at(bad);
    const statuses = await Promise.all([
      statusOf(r.lookup(bad)),
      statusOf(r.call(nfs.CREATE, { where, how })),
      statusOf(r.call(nfs.MKDIR, { where, attributes })),
      statusOf(r.call(nfs.SYMLINK, { where, attributes, target })),
      statusOf(r.call(nfs.MKNOD, { where, what })),
      statusOf(r.call(nfs.REMOVE, where)),
      statusOf(r.call(nfs.RMDIR, where)),
      statusOf(r.call(nfs.RENAME, { from: where, to: r.at('n') })),
      statusOf(r.call(nfs.RENAME, { from: r.at('file'), to: where })),
      statusOf(r.call(nfs.LINK, { file, link: where })),
    ]);
    t.same(new Set(statuses), new Set(['NFS3ERR_ACCES']), JSON.stringify(bad));
  }
  t.equal(await statusOf(r.lookup('')), 'NFS3ERR_INVAL');
  t.equal(await statusOf(r.create('')), 'NFS3ERR_INVAL');
  t.equal(await statusOf(r.create('.')), 'NFS3ERR_EXIST');
  t.equal(await statusOf(r.call(nfs.MKDIR, { where: r.at('..'), attributes })), 'NFS3ERR_EXIST');
  t.equal(await statusOf(r.call(nfs.RMDIR, r.at('.'))), 'NFS3ERR_INVAL');
  t.equal(await statusOf(r.call(nfs.RMDIR, r.at('..'))), 'NFS3ERR_EXIST');
  t.equal(await statusOf(r.call(nfs.REMOVE, r.at('..'))), 'NFS3ERR_INVAL');
  t.equal(await statusOf(r.call(nfs.RENAME, { from: r.at('.'), to: r.at('n') })), 'NFS3ERR_INVAL');
  t.equal(await statusOf(r.create('n'.repeat(256))), 'NFS3ERR_NAMETOOLONG');
  t.same((await all(r.list())).map(String).length, 1, 'and nothing was made');
});

t.test('MNT does not follow links, nor leave the export', async (t) => {
  const { r, outside } = await besideSecret(t);
  symlinkSync(outside, join(r.folder, 'link'));
  writeFileSync(join(r.folder, 'file'), '');
  const mount = async (path: string) => (await r.call(MNT, Buffer.from(path))).status;
  t.equal(await mount('/export/link'), MountStatus.NOTDIR);
  t.equal(await mount('/export/file'), MountStatus.NOTDIR);
  t.equal(await mount('/export/../outside'), MountStatus.ACCES);
  t.equal(await mount('/export/missing'), MountStatus.NOENT);
  t.equal(await mount(outside), MountStatus.NOENT);
  t.equal(await mount('export'), MountStatus.OK, 'a path without its slash');
});

t.test('a directory exchanged for a link under its handle leads nowhere', async (t) => {
  const { r, outside } = await besideSecret(t, { maxDirectories: 1 });
  mkdirSync(join(r.folder, 'd'));
  mkdirSync(join(r.folder, 'e'));
  const d = await r.find('d');
  renameSync(join(r.folder, 'd'), join(r.folder, 'away'));
  symlinkSync(outside, join(r.folder, 'd'));
  t.equal((await all(r.list(await r.find('e')))).length, 0, 'which takes the only descriptor');
  t.equal(await statusOf(r.lookup('secret', d)), 'NFS3ERR_NOENT', 'it is the directory that it always was');
  made(await r.create('made', {}, undefined, d));
  t.equal(statSync(join(r.folder, 'away/made')).size, 0);
});

t.test('a directory moved out of the export is out of reach', async (t) => {
  // A clock that stands still: nothing seen before is believed.
  const { r, outside } = await besideSecret(t, { insideFor: -1, now: () => 0 });
  mkdirSync(join(r.folder, 'd/sub'), { recursive: true });
  const d = await r.find('d');
  const sub = await r.find('d/sub');
  renameSync(join(r.folder, 'd'), join(outside, 'd'));
  t.equal(await statusOf(r.lookup('..', d)), 'NFS3ERR_STALE');
  t.equal(await statusOf(r.lookup('sub', d)), 'NFS3ERR_STALE');
  t.equal(await r.probe(sub), 'NFS3ERR_STALE', 'and what is in it');
  renameSync(join(outside, 'd'), join(r.folder, 'back'));
  t.equal(await r.probe(sub), 'NFS3_OK', 'until it comes back');
});

t.test('a file moved out of the export is out of reach, though the server has it open', async (t) => {
  let now = 0;
  const { r, outside } = await besideSecret(t, { insideFor: 1000, now: () => now });
  const inside = (name: string) => join(r.folder, name);
  const file = made(await r.create('f'));
  const named = made(await r.create('named'));
  ok(await r.write(file, 0, 'text'));
  ok(await r.write(named, 0, 'text'));
  renameSync(inside('f'), join(outside, 'f'));
  // Its last name in the export is removed, another one stays elsewhere.
  linkSync(inside('named'), join(outside, 'named'));
  unlinkSync(inside('named'));
  now += 1001;
  for (const handle of [file, named]) {
    t.equal(await statusOf(r.write(handle, 0, 'changed')), 'NFS3ERR_STALE');
    t.equal(await statusOf(r.read(handle, 0, 10)), 'NFS3ERR_STALE');
    t.equal(await r.probe(handle), 'NFS3ERR_STALE');
    const attributes = { size: 0n };
    t.equal(
      await statusOf(r.call(nfs.SETATTR, { object: handle, attributes, guard: undefined })),
      'NFS3ERR_STALE',
    );
  }
  t.equal(readFileSync(join(outside, 'f'), 'utf8'), 'text');
  t.equal(readFileSync(join(outside, 'named'), 'utf8'), 'text');
  renameSync(join(outside, 'f'), inside('back'));
  now += 1001;
  t.equal(await r.text(file), 'text', 'until it comes back');
});

t.test('deep directories, beyond the length of any path, are inside all the same', async (t) => {
  const { r } = await besideSecret(t, { insideFor: -1 });
  let directory = r.root;
  const where = (name: string) => ({ where: r.at(name, directory), attributes: {} });
  for (let depth = 0; depth < 24; depth++) {
    directory = made(await r.call(nfs.MKDIR, where('n'.repeat(250))));
  }
  const file = made(await r.create('file', {}, undefined, directory));
  ok(await r.write(file, 0, 'deep'));
  t.equal(await r.text(file), 'deep');
  await r.server.restart();
  t.equal(await r.text(file), 'deep');
});

t.test('a link swapped in and out while requests run never shows what is outside', async (t) => {
  const { r, outside } = await besideSecret(t, { maxDirectories: 1, maxOpenFiles: 1 });
  const at = (name: string) => join(r.folder, name);
  mkdirSync(at('d'));
  writeFileSync(at('d/secret'), 'public', { mode: 0o644 });
  chmodSync(at('d/secret'), 0o644);
  symlinkSync(outside, at('link'));
  const d = await r.find('d');
  const publicFile = await r.find('secret', d);
  const other = made(await r.call(nfs.MKDIR, { where: r.at('other'), attributes: {} }));
  const swapper = new Swapper({ name: at('d'), link: at('link'), directory: at('parked') });
  const seen = new Set<string>();
  for (let i = 0; i < 400; i++) {
    // By name from the root, as a client does that has nothing cached.
    const found = await r.lookup('d');
    if (found.status === nfs.Status.OK) {
      const inner = await r.lookup('secret', found.object);
      if (inner.status === nfs.Status.OK) {
        t.equal(inner.object, publicFile);
        const read = await r.read(inner.object, 0, 100);
        if (read.status === nfs.Status.OK) seen.add(Buffer.from(read.data).toString());
        const mode = { object: inner.object, attributes: { mode: 0o644 }, guard: undefined };
        await r.call(nfs.SETATTR, mode);
        await r.write(inner.object, 0, 'public');
      }
    }
    await r.create('made', {}, undefined, d);
    await r.call(nfs.REMOVE, r.at('made', d));
    // Takes the descriptor's place in the cache, so that the next request opens its own again.
    await r.lookup('x', other);
  }
  const turns = await swapper.stop();
  t.ok(turns > 100, `${turns} exchanges`);
  t.same(seen, new Set(['public']));
  t.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret');
  t.equal(statSync(join(outside, 'secret')).mode & 0o777, 0o600);
});
