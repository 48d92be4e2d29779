/** CREATE in its three modes, MKDIR, SYMLINK, MKNOD, and what they leave. */
import { lstatSync, mkdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { made, ok, type Rig, rig, statusOf, user } from './support/rig.js';

const VERIFIER = Buffer.from('f00dfacecafebabe', 'hex');

function exclusive(r: Rig, name: string, verifier = VERIFIER): Promise<nfs.MakeResult> {
  return r.call(nfs.CREATE, { where: r.at(name), how: { mode: nfs.CreateMode.EXCLUSIVE, verifier } });
}

t.test('a replayed EXCLUSIVE create succeeds with the same file, another one fails', async (t) => {
  const r = await rig(t);
  const file = made(await exclusive(r, 'f'));
  t.equal(made(await exclusive(r, 'f')), file);
  t.equal(await statusOf(exclusive(r, 'f', Buffer.from('0123456701234567', 'hex'))), 'NFS3ERR_EXIST');
  ok(await r.write(file, 0, 'data'));
  ok(await r.call(nfs.SETATTR, { object: file, attributes: { mtime: 'server' }, guard: undefined }));
  t.equal(made(await exclusive(r, 'f')), file, 'also a replay that comes late');
  ok(await r.call(nfs.REMOVE, r.at('f')));
  t.not(made(await exclusive(r, 'f')), file, 'a new file after the removal');
});

t.test('a replayed EXCLUSIVE create is recognized after a restart by the times of the file', async (t) => {
  const r = await rig(t);
  const file = made(await exclusive(r, 'f'));
  await r.server.restart();
  t.equal(made(await exclusive(r, 'f')), file);
  t.equal(await statusOf(exclusive(r, 'f', Buffer.alloc(8, 1))), 'NFS3ERR_EXIST');
  ok(await r.call(nfs.SETATTR, { object: file, attributes: { mtime: 'server' }, guard: undefined }));
  await r.server.restart();
  t.equal(await statusOf(exclusive(r, 'f')), 'NFS3ERR_EXIST', 'until the client has set the times');
});

t.test('an EXCLUSIVE create over a file that it has not made fails', async (t) => {
  const r = await rig(t);
  mkdirSync(join(r.folder, 'd'));
  symlinkSync('nowhere', join(r.folder, 'l'));
  writeFileSync(join(r.folder, 'f'), '');
  for (const name of ['d', 'l', 'f']) t.equal(await statusOf(exclusive(r, name)), 'NFS3ERR_EXIST');
});

t.test('an UNCHECKED create takes a file that exists, and sets nothing but its size', async (t) => {
  const r = await rig(t);
  writeFileSync(join(r.folder, 'f'), 'content', { mode: 0o600 });
  const unchecked = (attributes: nfs.Sattr3, name = 'f') =>
    r.call(nfs.CREATE, { where: r.at(name), how: { mode: nfs.CreateMode.UNCHECKED, attributes } });
  const file = made(await unchecked({ mode: 0o777 }));
  t.equal(file, await r.find('f'));
  t.equal(await r.text(file), 'content');
  t.equal((await r.attributes(file)).mode, 0o600);
  t.equal(ok(await unchecked({ size: 0n })).attributes?.size, 0n);
  t.equal(await statusOf(r.create('f')), 'NFS3ERR_EXIST', 'GUARDED does not');
  mkdirSync(join(r.folder, 'd'));
  t.equal(await statusOf(unchecked({}, 'd')), 'NFS3ERR_EXIST');
  t.ok(made(await unchecked({}, 'new')));
});

t.test('a new object has exactly the attributes asked for, whatever the umask', async (t) => {
  const r = await rig(t);
  const before = process.umask(0o077);
  t.teardown(() => process.umask(before));
  const mtime = { seconds: 1234567890, nanoseconds: 123456789 };
  const attributes = { mode: 0o6757, uid: 1001, gid: 1002, mtime, atime: mtime };
  const expected = { ...attributes };
  t.match(ok(await r.create('f', { ...attributes, size: 5000n })).attributes, { ...expected, size: 5000n });
  t.match(ok(await r.call(nfs.MKDIR, { where: r.at('d'), attributes })).attributes, expected);
  const what = { type: nfs.FileType.FIFO, attributes } as const;
  t.match(ok(await r.call(nfs.MKNOD, { where: r.at('p'), what })).attributes, expected);
  const link = await r.call(nfs.SYMLINK, { where: r.at('l'), attributes, target: Buffer.from('to') });
  t.match(ok(link).attributes, { uid: 1001, gid: 1002, mtime, type: nfs.FileType.LNK, size: 2n });
  t.equal((await r.attributes(made(await r.create('read-only', { mode: 0o444 })))).mode, 0o444);
});

t.test('a new directory takes setgid and the group from its parent', async (t) => {
  const r = await rig(t);
  const parent = made(await r.call(nfs.MKDIR, { where: r.at('p'), attributes: { mode: 0o2755, gid: 4242 } }));
  const where = r.at('child', parent);
  const { attributes } = ok(await r.call(nfs.MKDIR, { where, attributes: { mode: 0o700 } }));
  t.match(attributes, { mode: 0o2700, gid: 4242 });
});

t.test('a new directory keeps setgid also for those who are not in its group', async (t) => {
  const r = await rig(t);
  const parent = made(await r.call(nfs.MKDIR, { where: r.at('p'), attributes: { mode: 0o2777, gid: 4242 } }));
  const before = process.umask(0o077);
  t.teardown(() => process.umask(before));
  for (const mode of [0o775, 0o700, 0o1777, 0o2755]) {
    const where = r.at(`${mode}`, parent);
    const { attributes } = ok(await r.call(nfs.MKDIR, { where, attributes: { mode } }, user(1001)));
    t.match(attributes, { uid: 1001, mode: mode | 0o2000, gid: 4242 }, mode.toString(8));
  }
  // A program would lend the group out.
  const file = ok(await r.create('f', { mode: 0o2755 }, user(1001), parent));
  t.match(file.attributes, { uid: 1001, mode: 0o755, gid: 4242 });
});

t.test('a creation that cannot be finished leaves nothing behind', async (t) => {
  const r = await rig(t);
  t.equal(await statusOf(r.create('f', { size: 1n << 62n })), 'NFS3ERR_FBIG');
  t.equal(await statusOf(r.lookup('f')), 'NFS3ERR_NOENT');
});

t.test('links carry any text, as bytes', async (t) => {
  const r = await rig(t);
  const symlink = (name: string, target: Uint8Array) =>
    r.call(nfs.SYMLINK, { where: r.at(name), attributes: {}, target });
  const target = Buffer.from([0x2f, 0xff, 0xfe, 0x20, 0x0a, 0x80]);
  const l = made(await symlink('l', target));
  t.same(ok(await r.call(nfs.READLINK, { symlink: l })).target, target);
  t.same(readlinkSync(join(r.folder, 'l'), 'buffer'), target);
  const longest = Buffer.alloc(4095, 'x');
  const long = made(await symlink('long', longest));
  t.same(ok(await r.call(nfs.READLINK, { symlink: long })).target, longest);
  t.equal(await statusOf(symlink('e', Buffer.alloc(0))), 'NFS3ERR_INVAL');
  t.equal(await statusOf(symlink('z', Buffer.from('a\0b'))), 'NFS3ERR_INVAL');
  t.equal(await statusOf(r.call(nfs.READLINK, { symlink: r.root })), 'NFS3ERR_INVAL');
  t.equal(await statusOf(r.call(nfs.READLINK, { symlink: made(await r.create('f')) })), 'NFS3ERR_INVAL');
});

t.test('MKNOD makes pipes, sockets and devices, and nothing else', async (t) => {
  const r = await rig(t);
  const { FileType } = nfs;
  const mknod = (name: string, what: nfs.MknodWhat) => r.call(nfs.MKNOD, { where: r.at(name), what });
  const attributes = { mode: 0o600 };
  for (const [name, type] of [
    ['fifo', FileType.FIFO],
    ['sock', FileType.SOCK],
  ] as const) {
    t.equal(ok(await mknod(name, { type, attributes })).attributes?.type, type);
  }
  for (const [name, type] of [
    ['chr', FileType.CHR],
    ['blk', FileType.BLK],
  ] as const) {
    const what = { type, attributes, rdevMajor: 0xabc, rdevMinor: 0x12345 };
    t.match(ok(await mknod(name, what)).attributes, { type, rdevMajor: 0xabc, rdevMinor: 0x12345 });
    t.equal(lstatSync(join(r.folder, name)).isBlockDevice(), type === FileType.BLK);
  }
  const big = { type: FileType.CHR, attributes, rdevMajor: 0x1000, rdevMinor: 0 };
  t.equal(await statusOf(mknod('x', big)), 'NFS3ERR_INVAL');
  for (const type of [FileType.REG, FileType.DIR, FileType.LNK]) {
    t.equal(await statusOf(mknod('x', { type })), 'NFS3ERR_BADTYPE');
  }
  t.equal(await statusOf(r.read(await r.find('fifo'), 0, 1)), 'NFS3ERR_INVAL', 'a pipe is not opened');
});

t.test('a name is any bytes but slash and zero', async (t) => {
  const r = await rig(t);
  const name = Buffer.from([0xff, 0xfe, 0x20, 0x0a, 0xc3, 0x28]);
  const how = { mode: nfs.CreateMode.GUARDED, attributes: {} } as const;
  const file = made(await r.call(nfs.CREATE, { where: r.at(name), how }));
  t.equal(ok(await r.call(nfs.LOOKUP, r.at(name))).object, file);
  t.ok(lstatSync(Buffer.concat([Buffer.from(`${r.folder}/`), name])).isFile());
  ok(await r.call(nfs.RENAME, { from: r.at(name), to: r.at('n'.repeat(255)) }));
  t.equal(await r.find('n'.repeat(255)), file);
});
