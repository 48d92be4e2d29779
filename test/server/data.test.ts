/** READ, WRITE, COMMIT: bytes, ends of files, stability, and what a crash may lose. */
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { isOpenHere, made, ok, rig, statusOf, user } from './support/rig.js';

const { UNSTABLE, DATA_SYNC, FILE_SYNC } = nfs.StableHow;

function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let x = seed;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    bytes[i] = x >>> 16;
  }
  return bytes;
}

t.test('READ returns the data that WRITE has written, of any size and at any place', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  const expected = Buffer.alloc(3_000_000);
  for (const [i, length] of [1, 511, 4096, 65_535, 65_536, 65_537, 1_000_000, 1_048_576].entries()) {
    const data = pattern(length, i + 1);
    const offset = i * 13_331;
    const { count } = ok(await r.write(file, offset, data));
    t.equal(count, length);
    data.copy(expected, offset);
    const read = ok(await r.read(file, offset, length));
    t.ok(Buffer.from(read.data).equals(data), `${length} bytes at ${offset}`);
    t.equal(read.eof, BigInt(offset + length) === read.attributes?.size);
  }
  const onDisk = readFileSync(join(r.folder, 'f'));
  t.ok(onDisk.equals(expected.subarray(0, onDisk.length)));
});

t.test('a read stops at the end of the file and says so', async (t) => {
  const r = await rig(t);
  writeFileSync(join(r.folder, 'f'), '0123456789');
  const file = await r.find('f');
  const read = async (offset: number, count: number) => {
    const result = ok(await r.read(file, offset, count));
    return [Buffer.from(result.data).toString(), result.eof];
  };
  t.same(await read(0, 5), ['01234', false]);
  t.same(await read(5, 5), ['56789', true]);
  t.same(await read(8, 100), ['89', true]);
  t.same(await read(10, 1), ['', true]);
  t.same(await read(1_000_000, 1), ['', true]);
  t.same(await read(0, 0), ['', false]);
});

t.test('data beyond 4 GiB is at the right place', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  const far = 5 * 2 ** 40 + 123;
  ok(await r.write(file, far, 'far'));
  t.equal((await r.attributes(file)).size, BigInt(far + 3));
  t.equal(Buffer.from(ok(await r.read(file, far, 3)).data).toString(), 'far');
  const hole = ok(await r.read(file, 2 ** 32 - 2, 4));
  t.same(Buffer.from(hole.data), Buffer.alloc(4));
  t.equal(await statusOf(r.write(file, Number.MAX_SAFE_INTEGER - 1, 'x')), 'NFS3ERR_FBIG');
});

t.test('many writes at once leave every byte, and wcc data without gaps', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  const pieces = Array.from({ length: 40 }, (_, i) => pattern(i % 3 === 0 ? 200_000 : 5000, i));
  const offsets = pieces.map((_, i) => i * 200_000);
  const results = await Promise.all(pieces.map((data, i) => r.write(file, offsets[i] ?? 0, data)));
  const content = readFileSync(join(r.folder, 'f'));
  for (const [i, data] of pieces.entries()) {
    const offset = offsets[i] ?? 0;
    t.ok(content.subarray(offset, offset + data.length).equals(data), `piece ${i}`);
  }
  // One after the other: some write's attributes of after are the next one's of before.
  const afters = new Set(results.map(({ wcc }) => wcc.after?.size));
  const befores = results.map(({ wcc }) => wcc.before?.size);
  t.equal(befores.filter((size) => size !== 0n && !afters.has(size)).length, 0);
});

t.test('a stable write is answered as stable, and COMMIT with the same verifier', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  const verifiers = new Set<string>();
  for (const how of [UNSTABLE, DATA_SYNC, FILE_SYNC]) {
    const result = ok(await r.write(file, 0, 'data', how));
    t.equal(result.committed, how);
    verifiers.add(result.verifier);
  }
  const commit = ok(await r.call(nfs.COMMIT, { file, offset: 0, count: 0 }));
  verifiers.add(commit.verifier);
  t.equal(verifiers.size, 1);
  t.equal(commit.wcc.after?.size, 4n);
  await r.server.restart();
  const { verifier } = ok(await r.write(file, 0, 'data'));
  t.not(verifiers.has(verifier), 'another one after a restart');
});

t.test('a crash loses UNSTABLE writes since the last COMMIT, and nothing else', async (t) => {
  const r = await rig(t, { undoUnstable: true });
  const f = made(await r.create('f'));
  const g = made(await r.create('g'));
  const gone = made(await r.create('gone'));
  ok(await r.write(f, 0, 'stable....', FILE_SYNC));
  ok(await r.write(f, 0, 'committed.'));
  ok(await r.call(nfs.COMMIT, { file: f, offset: 0, count: 0 }));
  ok(await r.write(f, 4, 'LOST'));
  ok(await r.write(f, 6, 'lost and longer'));
  ok(await r.write(f, 1000, 'far'));
  ok(await r.write(g, 0, 'lost too'));
  ok(await r.write(gone, 0, 'x'));
  ok(await r.call(nfs.REMOVE, r.at('gone')));
  t.equal(await r.text(g), 'lost too', 'until then they can be read');
  const before = r.server.writeVerifier;
  await r.server.restart({ loseUncommitted: true });
  t.not(r.server.writeVerifier, before);
  t.equal(await r.text(f), 'committed.');
  t.equal(await r.text(g), '');
  ok(await r.write(f, 0, 'KEPT'));
  await r.server.restart();
  t.equal(await r.text(f), 'KEPTitted.', 'an orderly restart loses nothing');
  const ordinary = await rig(t);
  await t.rejects(ordinary.server.restart({ loseUncommitted: true }), /undoUnstable/);
});

t.test('a truncation is no less stable than the data before it', async (t) => {
  const r = await rig(t, { undoUnstable: true });
  const file = made(await r.create('f'));
  ok(await r.write(file, 0, '0123456789'));
  ok(await r.call(nfs.SETATTR, { object: file, attributes: { size: 4n }, guard: undefined }));
  await r.server.restart({ loseUncommitted: true });
  t.equal(await r.text(file), '0123');
});

t.test('a crash undoes the unstable data of a file that has lost its only known name, too', async (t) => {
  const r = await rig(t, { undoUnstable: true, maxOpenFiles: 1 });
  const file = made(await r.create('f'));
  ok(await r.write(file, 0, '0123', FILE_SYNC));
  const known = async (name: string, next: string) => {
    ok(await r.call(nfs.LINK, { file, link: r.at(next) }));
    // Afterwards it is known by the name that is asked for, and by no other.
    await r.server.restart();
    ok(await r.call(nfs.LOOKUP, r.at(name)));
  };
  await known('f', 'g');
  ok(await r.write(file, 4, '45', FILE_SYNC));
  ok(await r.call(nfs.REMOVE, r.at('f')));
  ok(await r.write(file, 6, '67'));
  ok(await r.call(nfs.COMMIT, { file, offset: 0, count: 0 }));
  await r.server.restart({ loseUncommitted: true });
  t.equal(await r.text(file), '01234567', 'committed data stays');
  await known('g', 'h');
  ok(await r.write(file, 0, 'LOST'));
  ok(await r.call(nfs.REMOVE, r.at('g')));
  made(await r.create('other'));
  await r.server.restart({ loseUncommitted: true });
  t.equal(await r.text(file), '01234567', 'other data goes');
});

t.test('the owner may read and write a file whose mode forbids it, others may not', async (t) => {
  const r = await rig(t, { maxOpenFiles: 1 });
  const owner = user(1500);
  const file = made(await r.create('f', { mode: 0, uid: 1500, gid: 1500 }));
  made(await r.create('other'));
  ok(await r.write(file, 0, 'mine', UNSTABLE, owner));
  t.equal(Buffer.from(ok(await r.read(file, 0, 10, owner)).data).toString(), 'mine');
  for (const other of [user(1501), user(1501, 1500)]) {
    t.equal(await statusOf(r.read(file, 0, 10, other)), 'NFS3ERR_ACCES');
    t.equal(await statusOf(r.write(file, 0, 'x', UNSTABLE, other)), 'NFS3ERR_ACCES');
  }
  const program = made(await r.create('p', { mode: 0o711 }));
  t.equal(
    await statusOf(r.read(program, 0, 10, user(1501))),
    'NFS3_OK',
    'a program that may be run may be read',
  );
});

t.test('writing takes setuid and setgid away, unless root writes', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f', { mode: 0o6777 }));
  ok(await r.write(file, 0, 'x'));
  t.equal((await r.attributes(file)).mode, 0o6777);
  t.equal(ok(await r.write(file, 0, 'x', UNSTABLE, user(1500))).wcc.after?.mode, 0o777);
  const locking = made(await r.create('g', { mode: 0o6767 }));
  ok(await r.write(locking, 0, 'x', UNSTABLE, user(1500)));
  t.equal((await r.attributes(locking)).mode, 0o2767, 'setgid without group execution is no such right');
});

t.test('READ and WRITE refuse directories and special files', async (t) => {
  const r = await rig(t);
  t.equal(await statusOf(r.read(r.root, 0, 1)), 'NFS3ERR_ISDIR');
  t.equal(await statusOf(r.write(r.root, 0, 'x')), 'NFS3ERR_ISDIR');
  t.equal(await statusOf(r.call(nfs.COMMIT, { file: r.root, offset: 0, count: 0 })), 'NFS3ERR_ISDIR');
});

t.test('transfers are limited to the sizes in FSINFO', async (t) => {
  const r = await rig(t, { limits: { rtmax: 4096, wtmax: 8192 } });
  const info = ok(await r.call(nfs.FSINFO, { object: r.root }));
  t.match(info, { rtmax: 4096, wtmax: 8192 });
  const file = made(await r.create('f'));
  t.equal(ok(await r.write(file, 0, pattern(10_000))).count, 8192);
  const read = ok(await r.read(file, 0, 8192));
  t.equal(read.data.length, 4096);
  t.equal(read.eof, false);
});

t.test('a full file system answers NFS3ERR_NOSPC, and a read-only server NFS3ERR_ROFS', async (t) => {
  const full = await rig(t, {}, '/dev/shm');
  const name = `nfs-fuse-test-${process.pid}`;
  const file = made(await full.create(name));
  t.teardown(() => full.call(nfs.REMOVE, full.at(name)).catch(() => {}));
  const space = ok(await full.call(nfs.FSSTAT, { object: full.root }));
  t.equal(
    await statusOf(full.write(file, Number(space.totalBytes) * 1024, 'x')),
    'NFS3_OK',
    'holes are free',
  );

  const folder = join(full.folder, '..');
  t.ok(statSync(folder).isDirectory());
  const r = await rig(t, { readOnly: true });
  writeFileSync(join(r.folder, 'f'), 'text');
  const f = await r.find('f');
  t.equal(await r.text(f), 'text');
  const attributes = { mode: 0o777 };
  const statuses = await Promise.all([
    statusOf(r.write(f, 0, 'x')),
    statusOf(r.create('n')),
    statusOf(r.call(nfs.SETATTR, { object: f, attributes, guard: undefined })),
    statusOf(r.call(nfs.MKDIR, { where: r.at('d'), attributes })),
    statusOf(r.call(nfs.SYMLINK, { where: r.at('l'), attributes: {}, target: Buffer.from('x') })),
    statusOf(r.call(nfs.MKNOD, { where: r.at('p'), what: { type: nfs.FileType.FIFO, attributes } })),
    statusOf(r.call(nfs.REMOVE, r.at('f'))),
    statusOf(r.call(nfs.RMDIR, r.at('f'))),
    statusOf(r.call(nfs.RENAME, { from: r.at('f'), to: r.at('g') })),
    statusOf(r.call(nfs.LINK, { file: f, link: r.at('g') })),
  ]);
  t.same(new Set(statuses), new Set(['NFS3ERR_ROFS']));
  const access = ok(await r.call(nfs.ACCESS, { object: f, access: 0x3f })).access;
  t.equal(access, nfs.Access.READ, 'and ACCESS promises nothing else');
});

t.test('a file is not held open for long: it can be run, and its space is given back', async (t) => {
  const r = await rig(t, { closeIdleAfter: 5 });
  const file = made(await r.create('program', { mode: 0o755 }));
  ok(await r.write(file, 0, '#!/bin/sh\necho ran\n'));
  const path = join(r.folder, 'program');
  const isOpen = () => isOpenHere(path);
  while (isOpen()) await nextTurn();
  t.equal(execFileSync(path, { encoding: 'utf8' }), 'ran\n');
  ok(await r.call(nfs.COMMIT, { file, offset: 0, count: 0 }));
  ok(await r.write(file, 0, 'more'));
});

t.test('clients see local changes at once', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  ok(await r.write(file, 0, '0123456789'));
  const local = openSync(join(r.folder, 'f'), 'r+');
  t.teardown(() => closeSync(local));
  ftruncateSync(local, 3);
  t.equal((await r.attributes(file)).size, 3n);
  t.equal(await r.text(file), '012');
});
