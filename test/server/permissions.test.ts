/** Permissions: the kernel decides by the caller's own uid and groups, or all callers act as the server's user. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { until } from '../support/process.js';
import { isOpenHere, made, NOBODY, ok, ROOT, rig, scratch, statusOf, user } from './support/rig.js';

t.test('a new object belongs to the user who makes it, and is made only where that user may', async (t) => {
  const r = await rig(t);
  const alice = user(1001, 1001, [2000]);
  t.equal(await statusOf(r.create('f', {}, alice)), 'NFS3ERR_ACCES');
  chmodSync(r.folder, 0o777);
  t.match(ok(await r.create('f', { mode: 0o640 }, alice)).attributes, { uid: 1001, gid: 1001, mode: 0o640 });
  const attributes = { mode: 0o750 };
  t.match(ok(await r.call(nfs.MKDIR, { where: r.at('d'), attributes }, alice)).attributes, { uid: 1001 });
  const target = Buffer.from('x');
  const symlink = { where: r.at('l'), attributes: {}, target };
  t.match(ok(await r.call(nfs.SYMLINK, symlink, alice)).attributes, { uid: 1001, gid: 1001 });
  const fifo = { where: r.at('p'), what: { type: nfs.FileType.FIFO, attributes: {} } };
  t.match(ok(await r.call(nfs.MKNOD, fifo, alice)).attributes, { uid: 1001 });
  const device = { type: nfs.FileType.CHR, attributes: {}, rdevMajor: 1, rdevMinor: 3 };
  t.equal(await statusOf(r.call(nfs.MKNOD, { where: r.at('c'), what: device }, alice)), 'NFS3ERR_PERM');
  t.match(ok(await r.create('given', { uid: 5, gid: 5 }, alice)).attributes, { uid: 1001, gid: 1001 });
  t.match(ok(await r.create('anonymous', {}, NOBODY)).attributes, { uid: 65534, gid: 65534 });
});

t.test('only the owner changes attributes, and only root gives files away', async (t) => {
  const r = await rig(t);
  const alice = user(1001, 1001, [2000]);
  const bob = user(1002);
  const object = made(await r.create('f', { uid: 1001, gid: 1001, mode: 0o666 }));
  const setattr = (attributes: nfs.Sattr3, who = alice) =>
    statusOf(r.call(nfs.SETATTR, { object, attributes, guard: undefined }, who));
  t.equal(await setattr({ mode: 0o600 }, bob), 'NFS3ERR_PERM');
  t.equal(await setattr({ mtime: { seconds: 1, nanoseconds: 0 } }, bob), 'NFS3ERR_PERM');
  t.equal(
    await setattr({ mtime: 'server', atime: 'server' }, bob),
    'NFS3_OK',
    'a caller who may write may touch',
  );
  t.equal(await setattr({ uid: 1002 }), 'NFS3ERR_PERM');
  t.equal(await setattr({ gid: 3000 }), 'NFS3ERR_PERM');
  t.equal(await setattr({ gid: 2000 }), 'NFS3_OK', 'to a group of his own');
  t.equal(await setattr({ mode: 0o600 }), 'NFS3_OK');
  t.equal(await setattr({ size: 0n }, bob), 'NFS3ERR_ACCES');
  t.match(await r.attributes(object), { uid: 1001, gid: 2000, mode: 0o600 });
  t.equal(await setattr({ uid: 1002 }, ROOT), 'NFS3_OK');
});

t.test('names are changed by those who may write the directory, and not past its sticky bit', async (t) => {
  const r = await rig(t);
  const alice = user(1001);
  const bob = user(1002);
  const mode = (bits: number) => chmodSync(r.folder, bits);
  mode(0o1777);
  made(await r.create('f', {}, alice));
  const renameIt = (who: typeof alice) =>
    statusOf(r.call(nfs.RENAME, { from: r.at('f'), to: r.at('g') }, who));
  t.equal(await statusOf(r.call(nfs.REMOVE, r.at('f'), bob)), 'NFS3ERR_PERM');
  t.equal(await renameIt(bob), 'NFS3ERR_PERM');
  mode(0o755);
  t.equal(await statusOf(r.call(nfs.REMOVE, r.at('f'), alice)), 'NFS3ERR_ACCES');
  t.equal(await renameIt(alice), 'NFS3ERR_ACCES');
  mode(0o1777);
  t.equal(await renameIt(alice), 'NFS3_OK');
  t.equal(await statusOf(r.call(nfs.REMOVE, r.at('g'), alice)), 'NFS3_OK');
});

t.test(
  'a directory that the caller may not search hides its names, but a handle from it still works',
  async (t) => {
    const r = await rig(t);
    mkdirSync(join(r.folder, 'd'));
    writeFileSync(join(r.folder, 'd/f'), 'text');
    const file = await r.find('d/f');
    const d = await r.find('d');
    chmodSync(join(r.folder, 'd'), 0o700);
    t.equal(await statusOf(r.lookup('f', d, user(1001))), 'NFS3ERR_ACCES');
    t.equal(await statusOf(r.lookup('missing', d, user(1001))), 'NFS3ERR_ACCES');
    t.equal(Buffer.from(ok(await r.read(file, 0, 4, user(1001))).data).toString(), 'text');
    const access = await r.call(nfs.ACCESS, { object: file, access: nfs.Access.READ }, user(1001));
    t.equal(ok(access).access, nfs.Access.READ);
  },
);

t.test('only callers who may search a directory learn whether a name exists', async (t) => {
  const r = await rig(t);
  mkdirSync(join(r.folder, 'd'), { mode: 0o700 });
  chmodSync(r.folder, 0o777);
  writeFileSync(join(r.folder, 'd/f'), '');
  const d = await r.find('d');
  const alice = user(1001);
  for (const name of ['f', 'missing']) {
    const to = r.at('anything');
    t.equal(await statusOf(r.call(nfs.RENAME, { from: r.at(name, d), to }, alice)), 'NFS3ERR_ACCES', name);
    t.equal(await statusOf(r.call(nfs.REMOVE, r.at(name, d), alice)), 'NFS3ERR_ACCES', name);
    t.equal(await statusOf(r.create(name, {}, alice, d)), 'NFS3ERR_ACCES', name);
  }
});

t.test('a call that is refused does not open the file', async (t) => {
  const r = await rig(t);
  const path = join(r.folder, 'f');
  writeFileSync(path, 'text', { mode: 0o600 });
  chmodSync(r.folder, 0o777);
  const object = await r.find('f');
  const bob = user(1002);
  const attributes = { size: 0n };
  const how = { mode: nfs.CreateMode.UNCHECKED, attributes } as const;
  const refused: Record<string, Promise<{ status: number }>> = {
    WRITE: r.write(object, 0, 'x', nfs.StableHow.UNSTABLE, bob),
    READ: r.read(object, 0, 1, bob),
    COMMIT: r.call(nfs.COMMIT, { file: object, offset: 0, count: 0 }, bob),
    SETATTR: r.call(nfs.SETATTR, { object, attributes, guard: undefined }, bob),
    CREATE: r.call(nfs.CREATE, { where: r.at('f'), how }, bob),
  };
  const isOpen = () => isOpenHere(path);
  for (const [name, result] of Object.entries(refused)) {
    t.equal(await statusOf(result), 'NFS3ERR_ACCES', name);
    t.notOk(isOpen(), name);
  }
  ok(await r.write(object, 0, 'x'));
  t.ok(isOpen(), 'one that is not refused does');
});

t.test("calls on the kernel's switches are refused: they would go by the server's rights", async (t) => {
  const child = spawn('setpriv', ['--reuid=1001', '--regid=1001', '--clear-groups', 'sleep', '1000']);
  t.teardown(() => child.kill());
  const of = (name: string) => `/proc/${child.pid}/${name}`;
  await until('it runs as its user', () => statSync(of('oom_score_adj')).uid === 1001);
  await until('it is the program', () => readlinkSync(of('exe')).endsWith('sleep'));
  const r = await rig(t, {}, '/proc');
  const file = await r.find(`${child.pid}/oom_score_adj`);
  const before = readFileSync(of('oom_score_adj'), 'utf8');
  // Only privilege makes it smaller.
  t.equal(await statusOf(r.write(file, 0, '-500', nfs.StableHow.UNSTABLE, user(1001))), 'NFS3ERR_ACCES');
  t.equal(readFileSync(of('oom_score_adj'), 'utf8'), before);
  const symlink = await r.find(`${child.pid}/cwd`);
  t.equal(await statusOf(r.call(nfs.READLINK, { symlink }, user(1002))), 'NFS3ERR_ACCES');
});

t.test('a truncation takes the setuid bit of a program away, unless root does it', async (t) => {
  const r = await rig(t);
  const object = made(await r.create('f', { uid: 1001, mode: 0o6777 }));
  ok(await r.write(object, 0, 'program'));
  const truncate = (size: bigint, who: typeof ROOT) =>
    r.call(nfs.SETATTR, { object, attributes: { size }, guard: undefined }, who);
  ok(await truncate(6n, ROOT));
  t.equal((await r.attributes(object)).mode, 0o6777);
  ok(await truncate(5n, user(1002)));
  t.equal((await r.attributes(object)).mode, 0o777);
  t.equal((await r.attributes(object)).size, 5n);
});

t.test('root is squashed with the option for root, and every caller with the option for all', async (t) => {
  const squashed = await rig(t, { rootSquash: true, anonymousUid: 4000, anonymousGid: 4001 });
  chmodSync(squashed.folder, 0o777);
  t.match(ok(await squashed.create('f')).attributes, { uid: 4000, gid: 4001 });
  t.match(ok(await squashed.create('g', {}, user(1001))).attributes, { uid: 1001, gid: 1001 });
  const all = await rig(t, { allSquash: true });
  chmodSync(all.folder, 0o777);
  t.match(ok(await all.create('g', {}, user(1001))).attributes, { uid: 65534, gid: 65534 });
});

t.test('one caller never gets the identity of another, however they are mixed', async (t) => {
  const r = await rig(t);
  chmodSync(r.folder, 0o777);
  const uids = Array.from({ length: 60 }, (_, i) => 2000 + (i % 6));
  const results = await Promise.all(
    uids.map((uid, i) => r.create(`f${i}`, {}, uid === 2000 ? ROOT : user(uid))),
  );
  const owners = results.map((result) => ok(result).attributes?.uid);
  t.same(
    owners,
    uids.map((uid) => (uid === 2000 ? 0 : uid)),
  );
  writeFileSync(join(r.folder, 'own'), '');
  t.equal(statSync(join(r.folder, 'own')).uid, 0, 'and the process itself is what it was');
});

t.test('a server without privileges does everything as its own user', async (t) => {
  const folder = scratch(t);
  const uid = 3456;
  chownSync(folder, uid, uid);
  const { seteuid, setegid } = process;
  if (seteuid === undefined || setegid === undefined) throw new Error('no seteuid here');
  setegid.call(process, uid);
  seteuid.call(process, uid);
  t.teardown(() => {
    seteuid.call(process, 0);
    setegid.call(process, 0);
  });
  const r = await rig(t, { maxOpenFiles: 1 }, folder);
  t.equal(r.server.impersonating, false);
  const file = made(await r.create('f', { mode: 0o444, uid: 0, gid: 0 }));
  made(await r.create('pushes the first out of the cache'));
  t.match(await r.attributes(file), { uid, gid: uid, mode: 0o444 });
  ok(await r.write(file, 0, 'text'));
  t.equal(await r.text(file), 'text', 'a file that its mode protects');
  t.equal((await r.attributes(file)).mode, 0o444);
  const attributes = { uid: 0 };
  t.equal(
    await statusOf(r.call(nfs.SETATTR, { object: file, attributes, guard: undefined })),
    'NFS3ERR_PERM',
  );
  const foreign = await r.find('f');
  const access = await r.call(nfs.ACCESS, { object: foreign, access: 0x3f }, user(1));
  t.equal(ok(access).access, nfs.Access.READ, 'for every caller');
});
