/** GETATTR, SETATTR, ACCESS, FSSTAT, FSINFO, PATHCONF, and the wcc data of what changes. */
import { lstatSync, statfsSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { made, ok, type Rig, rig, statusOf, user } from './support/rig.js';

function setattr(
  r: Rig,
  object: nfs.FileHandle,
  attributes: nfs.Sattr3,
  guard?: nfs.NfsTime,
  credential = user(0),
): Promise<nfs.WccResult> {
  return r.call(nfs.SETATTR, { object, attributes, guard }, credential);
}

t.test('attributes are those of the local file, to the nanosecond', async (t) => {
  const r = await rig(t);
  writeFileSync(join(r.folder, 'f'), 'x'.repeat(10_000), { mode: 0o640 });
  const a = await r.attributes(await r.find('f'));
  const s = lstatSync(join(r.folder, 'f'), { bigint: true });
  const nanoseconds = (time: nfs.NfsTime) => BigInt(time.seconds) * 1_000_000_000n + BigInt(time.nanoseconds);
  t.match(a, {
    type: nfs.FileType.REG,
    mode: 0o640,
    nlink: 1,
    uid: 0,
    gid: 0,
    size: 10_000n,
    used: s.blocks * 512n,
    fileid: s.ino,
  });
  t.equal(nanoseconds(a.atime), s.atimeNs);
  t.equal(nanoseconds(a.mtime), s.mtimeNs);
  t.equal(nanoseconds(a.ctime), s.ctimeNs);
  t.equal(a.fsid, (await r.attributes(r.root)).fsid);
});

t.test('times are set to the nanosecond, one without the other, or to the clock', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  const atime = { seconds: 1_000_000_001, nanoseconds: 999_999_999 };
  const mtime = { seconds: 2_147_483_648, nanoseconds: 1 };
  ok(await setattr(r, file, { atime, mtime }));
  t.match(await r.attributes(file), { atime, mtime });
  ok(await setattr(r, file, { mtime: { seconds: 5, nanoseconds: 6 } }));
  t.match(await r.attributes(file), { atime, mtime: { seconds: 5, nanoseconds: 6 } });
  const before = Math.floor(Date.now() / 1000);
  ok(await setattr(r, file, { atime: 'server' }));
  const after = await r.attributes(file);
  t.ok(after.atime.seconds >= before);
  t.same(after.mtime, { seconds: 5, nanoseconds: 6 });
  utimesSync(join(r.folder, 'f'), new Date(-1000), new Date(-1000));
  t.equal((await r.attributes(file)).mtime.seconds, 0xffff_ffff, 'before 1970: as other servers have it');
});

t.test('size, owner and mode are set together', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  const attributes = { size: 12_345n, uid: 1, gid: 2, mode: 0o4711 };
  const { wcc } = ok(await setattr(r, file, attributes));
  t.match(wcc.after, attributes);
  t.equal(wcc.before?.size, 0n);
  t.match(ok(await setattr(r, file, { size: 3n })).wcc.after, { size: 3n, uid: 1, gid: 2 });
  t.equal(await statusOf(setattr(r, file, { size: 1n << 60n })), 'NFS3ERR_FBIG');
  t.equal(await statusOf(setattr(r, r.root, { size: 0n })), 'NFS3ERR_ISDIR');
});

t.test('the guard refuses a change to an object that has changed', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  const { ctime } = await r.attributes(file);
  ok(await setattr(r, file, { mode: 0o600 }, ctime));
  const wrong = { ...ctime, nanoseconds: (ctime.nanoseconds + 1) % 1_000_000_000 };
  t.equal(await statusOf(setattr(r, file, { mode: 0o666 }, wrong)), 'NFS3ERR_NOT_SYNC');
  t.equal((await r.attributes(file)).mode, 0o600);
});

t.test('wcc data of every change joins the attributes before with those after', async (t) => {
  const r = await rig(t);
  let last = await r.attributes(r.root);
  const follows = (wcc: nfs.WccData, what: string) => {
    const { mtime, ctime, size } = last;
    t.match(wcc.before, { mtime, ctime, size }, `${what}: before is the after of the last change`);
    t.ok(wcc.after, `${what}: after`);
    if (wcc.after) last = wcc.after;
  };
  const attributes = {};
  const file = await r.create('f');
  follows(ok(file).directoryWcc, 'CREATE');
  follows(ok(await r.call(nfs.MKDIR, { where: r.at('d'), attributes })).directoryWcc, 'MKDIR');
  const symlink = { where: r.at('l'), attributes, target: Buffer.from('x') };
  follows(ok(await r.call(nfs.SYMLINK, symlink)).directoryWcc, 'SYMLINK');
  const mknod = { where: r.at('p'), what: { type: nfs.FileType.FIFO, attributes } };
  follows(ok(await r.call(nfs.MKNOD, mknod)).directoryWcc, 'MKNOD');
  const link = ok(await r.call(nfs.LINK, { file: made(file), link: r.at('h') }));
  follows(link.directoryWcc, 'LINK');
  t.equal(link.attributes?.nlink, 2);
  const renamed = ok(await r.call(nfs.RENAME, { from: r.at('h'), to: r.at('i') }));
  follows(renamed.fromWcc, 'RENAME');
  t.same(renamed.toWcc.after, last);
  follows(ok(await r.call(nfs.REMOVE, r.at('i'))).wcc, 'REMOVE');
  follows(ok(await r.call(nfs.RMDIR, r.at('d'))).wcc, 'RMDIR');
  const refused = await r.create('f');
  t.equal(refused.status, nfs.Status.EXIST);
  follows(refused.directoryWcc, 'a refused CREATE');
  t.same(await r.attributes(r.root), last);
});

t.test('removals and renames fail as the file system says', async (t) => {
  const r = await rig(t);
  const d = made(await r.call(nfs.MKDIR, { where: r.at('d'), attributes: {} }));
  const file = made(await r.create('f'));
  made(await r.create('inner', {}, undefined, d));
  const rename = (from: nfs.DirectoryName, to: nfs.DirectoryName) =>
    statusOf(r.call(nfs.RENAME, { from, to }));
  t.equal(await statusOf(r.call(nfs.REMOVE, r.at('d'))), 'NFS3ERR_ISDIR');
  t.equal(await statusOf(r.call(nfs.RMDIR, r.at('f'))), 'NFS3ERR_NOTDIR');
  t.equal(await statusOf(r.call(nfs.RMDIR, r.at('d'))), 'NFS3ERR_NOTEMPTY');
  t.equal(await statusOf(r.call(nfs.REMOVE, r.at('n'))), 'NFS3ERR_NOENT');
  t.equal(await statusOf(r.call(nfs.REMOVE, r.at('f', file))), 'NFS3ERR_NOTDIR');
  t.equal(await statusOf(r.call(nfs.LINK, { file: d, link: r.at('x') })), 'NFS3ERR_ISDIR');
  t.equal(await rename(r.at('n'), r.at('x')), 'NFS3ERR_NOENT');
  t.equal(await rename(r.at('d'), r.at('x', d)), 'NFS3ERR_INVAL', 'into itself');
  t.equal(await rename(r.at('f'), r.at('d')), 'NFS3ERR_ISDIR');
  t.equal(await rename(r.at('d'), r.at('f')), 'NFS3ERR_NOTDIR');
  t.equal(await rename(r.at('f'), r.at('f')), 'NFS3_OK', 'onto itself');
  t.equal(await r.probe(file), 'NFS3_OK');
});

t.test('ACCESS answers what was asked for and is granted', async (t) => {
  const r = await rig(t);
  const { READ, LOOKUP, MODIFY, EXTEND, DELETE, EXECUTE } = nfs.Access;
  const all = READ | LOOKUP | MODIFY | EXTEND | DELETE | EXECUTE;
  const access = async (object: nfs.FileHandle, credential: ReturnType<typeof user>, asked = all) =>
    ok(await r.call(nfs.ACCESS, { object, access: asked }, credential)).access;
  const file = made(await r.create('f', { mode: 0o754, uid: 10, gid: 20 }));
  t.equal(await access(file, user(10)), READ | MODIFY | EXTEND | EXECUTE);
  t.equal(await access(file, user(11, 20)), READ | EXECUTE);
  t.equal(await access(file, user(11, 12, [19, 20])), READ | EXECUTE, 'by a supplementary group');
  t.equal(await access(file, user(11)), READ);
  t.equal(await access(file, user(0)), READ | MODIFY | EXTEND | EXECUTE);
  t.equal(await access(file, user(10), READ | DELETE), READ);
  const plain = made(await r.create('g', { mode: 0o600 }));
  t.equal(await access(plain, user(0)), READ | MODIFY | EXTEND, 'root does not run what nobody may');
  const attributes = { mode: 0o731, uid: 10, gid: 20 };
  const directory = made(await r.call(nfs.MKDIR, { where: r.at('d'), attributes }));
  t.equal(await access(directory, user(10)), READ | LOOKUP | MODIFY | EXTEND | DELETE);
  t.equal(await access(directory, user(11, 20)), LOOKUP | MODIFY | EXTEND | DELETE);
  t.equal(await access(directory, user(11)), LOOKUP);
});

t.test('FSSTAT, FSINFO and PATHCONF tell of the file system and of the server', async (t) => {
  const r = await rig(t);
  const s = statfsSync(r.folder, { bigint: true });
  const file = made(await r.create('f'));
  for (const object of [r.root, file]) {
    const space = ok(await r.call(nfs.FSSTAT, { object }));
    t.equal(space.totalBytes, s.blocks * s.bsize);
    t.equal(space.totalFiles, s.files);
    t.ok(space.availableBytes <= space.freeBytes && space.freeBytes <= space.totalBytes);
    t.equal(space.attributes?.fileid, (await r.attributes(object)).fileid);
    t.match(ok(await r.call(nfs.FSINFO, { object })), { rtmax: 1 << 20, wtmax: 1 << 20, properties: 0x1b });
    t.match(ok(await r.call(nfs.PATHCONF, { object })), {
      nameMax: 255,
      noTrunc: true,
      casePreserving: true,
    });
  }
});
