/** READDIR and READDIRPLUS: each entry once, whatever happens meanwhile, in replies of the size asked for. */
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { XdrWriter } from '../../lib/xdr/xdr-writer.js';
import { all, ok, type Rig, rig, statusOf, user } from './support/rig.js';

function fill(folder: string, count: number): Set<string> {
  const names = new Set<string>();
  for (let i = 0; i < count; i++) {
    const name = `${'entry'.repeat(i % 7)}-${i}`;
    writeFileSync(join(folder, name), '');
    names.add(name);
  }
  return names;
}

const nameOf = (entry: nfs.DirectoryEntry): string => nfs.fileNameToText(entry.name);

function start(r: Rig, maxcount: number, dircount = maxcount): Promise<nfs.ReaddirplusResult> {
  const args = { directory: r.root, cookie: 0n, cookieVerifier: Buffer.alloc(8), dircount, maxcount };
  return r.call(nfs.READDIRPLUS, args);
}

t.test('every entry of a directory of 5000 is listed once while those seen are deleted', async (t) => {
  const sizes = { list: 1000, listPlus: 5000 } as const;
  for (const list of ['list', 'listPlus'] as const) {
    const r = await rig(t);
    const expected = fill(r.folder, sizes[list]);
    const seen = new Set<string>();
    let repeated = 0;
    for await (const entry of r[list](r.root, 4096)) {
      const name = nameOf(entry);
      if (seen.has(name)) repeated += 1;
      seen.add(name);
      ok(await r.call(nfs.REMOVE, r.at(entry.name)));
    }
    t.equal(repeated, 0);
    t.same(seen, expected, list);
    t.same(await all(r.list()), [], 'nothing is left');
  }
});

t.test('entries that stay are listed once, while others come and go', async (t) => {
  // A clock that runs fast: every reply finds its listing outdated, and makes another.
  let now = 0;
  const r = await rig(t, { now: () => (now += 5000) });
  const expected = fill(r.folder, 800);
  const seen = new Map<string, number>();
  let turn = 0;
  for await (const entry of r.listPlus(r.root, 2048)) {
    seen.set(nameOf(entry), (seen.get(nameOf(entry)) ?? 0) + 1);
    turn += 1;
    writeFileSync(join(r.folder, `new${turn}`), '');
    if (turn % 2 === 0) unlinkSync(join(r.folder, `new${turn - 1}`));
  }
  for (const name of expected) if (seen.get(name) !== 1) t.fail(`${name} was listed ${seen.get(name)} times`);
  t.pass();
});

t.test('a listing goes on where it was after a restart of the server', async (t) => {
  const r = await rig(t);
  const expected = fill(r.folder, 500);
  const seen: string[] = [];
  for await (const entry of r.list()) {
    seen.push(nameOf(entry));
    if (seen.length === 200) await r.server.restart();
  }
  t.equal(seen.length, 500);
  t.same(new Set(seen), expected);
});

t.test('two listings of one directory do not disturb each other', async (t) => {
  const r = await rig(t);
  const expected = fill(r.folder, 300);
  const one = r.list(r.root, 1024);
  const seen = new Set<string>();
  for await (const entry of one) {
    seen.add(nameOf(entry));
    if (seen.size % 100 === 0) t.equal((await all(r.listPlus())).length, 300);
  }
  t.same(seen, expected);
});

t.test('a reply is as long as asked for and never longer', async (t) => {
  const r = await rig(t);
  fill(r.folder, 300);
  for (let count = 200; count < 3000; count += 97) {
    const args = { directory: r.root, cookie: 0n, cookieVerifier: Buffer.alloc(8) };
    const readdir = ok(await r.call(nfs.READDIR, { ...args, count }));
    const writer = new XdrWriter();
    nfs.READDIR.encodeResult(writer, readdir);
    t.ok(writer.length <= count && writer.length > count - 68, `${writer.length} of ${count} bytes`);
    const plus = await r.call(nfs.READDIRPLUS, { ...args, dircount: 8192, maxcount: count });
    if (plus.status !== nfs.Status.OK) {
      t.ok(count < 272, `${nfs.statusName(plus.status)} at ${count}`);
      continue;
    }
    const plusWriter = new XdrWriter();
    nfs.READDIRPLUS.encodeResult(plusWriter, plus);
    t.ok(plusWriter.length <= count && plusWriter.length > count - 200, `${plusWriter.length} of ${count}`);
  }
});

t.test('dircount bounds the names by themselves', async (t) => {
  const r = await rig(t);
  for (let i = 0; i < 100; i++) writeFileSync(join(r.folder, `n${String(i).padStart(3, '0')}`), '');
  // Fileid, length, name of four bytes (dots: padded to four), cookie, and "one more".
  t.equal(ok(await start(r, 65536, 28 * 10)).entries.length, 10);
  t.equal(ok(await start(r, 65536, 28 * 11 - 1)).entries.length, 10);
});

t.test('a reply without room for one entry fails with NFS3ERR_TOOSMALL', async (t) => {
  const r = await rig(t);
  const args = { directory: r.root, cookie: 0n, cookieVerifier: Buffer.alloc(8) };
  t.equal(await statusOf(r.call(nfs.READDIR, { ...args, count: 0 })), 'NFS3ERR_TOOSMALL');
  t.equal(await statusOf(r.call(nfs.READDIR, { ...args, count: 108 + 27 })), 'NFS3ERR_TOOSMALL');
  t.equal(await statusOf(r.call(nfs.READDIR, { ...args, count: 108 + 28 })), 'NFS3_OK');
  t.equal(await statusOf(start(r, 100)), 'NFS3ERR_TOOSMALL');
  t.equal(await statusOf(start(r, 4096, 27)), 'NFS3ERR_TOOSMALL');
});

t.test('a cookie or verifier that the server has not made is refused', async (t) => {
  const r = await rig(t);
  fill(r.folder, 50);
  const directory = r.root;
  const first = ok(await start(r, 1000));
  const cookie = first.entries.at(-1)?.cookie ?? 0n;
  const { cookieVerifier } = first;
  const next = (changes: object) =>
    statusOf(r.call(nfs.READDIR, { directory, cookie, cookieVerifier, count: 4096, ...changes }));
  t.equal(await next({}), 'NFS3_OK');
  t.equal(await next({ cookieVerifier: Buffer.alloc(8) }), 'NFS3ERR_BAD_COOKIE');
  t.equal(await next({ cookieVerifier: Buffer.alloc(8, 7) }), 'NFS3ERR_BAD_COOKIE');
  t.equal(await next({ cookie: 1n << 60n }), 'NFS3ERR_BAD_COOKIE');
  t.equal(await next({ directory: await r.find('-0') }), 'NFS3ERR_NOTDIR');
});

t.test('entries carry the fileids, attributes and handles of what they name', async (t) => {
  const r = await rig(t);
  writeFileSync(join(r.folder, 'f'), 'four');
  mkdirSync(join(r.folder, 'd'));
  symlinkSync('x', join(r.folder, 'l'));
  const plain = new Map((await all(r.list())).map((entry) => [nameOf(entry), entry.fileid]));
  for (const entry of await all(r.listPlus())) {
    const found = ok(await r.lookup(nameOf(entry)));
    t.equal(entry.handle, found.object);
    t.same(entry.attributes, found.attributes);
    t.equal(entry.fileid, found.attributes?.fileid);
    t.equal(plain.get(nameOf(entry)), entry.fileid);
  }
  t.equal(plain.size, 3);
});

t.test(
  'a caller without the right to search gets names only, and one without the right to read none',
  async (t) => {
    const r = await rig(t);
    mkdirSync(join(r.folder, 'd'));
    writeFileSync(join(r.folder, 'd/f'), '');
    const directory = await r.find('d');
    const args = { directory, cookie: 0n, cookieVerifier: Buffer.alloc(8), dircount: 4096, maxcount: 4096 };
    chmodSync(join(r.folder, 'd'), 0o744);
    const { entries } = ok(await r.call(nfs.READDIRPLUS, args, user(1500)));
    t.same(entries.map(nameOf).sort(), ['.', '..', 'f']);
    for (const { attributes, handle } of entries) t.same([attributes, handle], [undefined, undefined]);
    chmodSync(join(r.folder, 'd'), 0o711);
    t.equal(await statusOf(r.call(nfs.READDIRPLUS, args, user(1500))), 'NFS3ERR_ACCES');
    t.equal(await statusOf(r.call(nfs.READDIR, { ...args, count: 4096 }, user(1500))), 'NFS3ERR_ACCES');
  },
);

t.test(
  'an entry renamed or removed between two replies is left out or found under its new name',
  async (t) => {
    const r = await rig(t);
    fill(r.folder, 100);
    const listed = r.listPlus(r.root, 1000);
    const first = await listed.next();
    const rest = (await all(r.list())).map(nameOf).filter((name) => name !== nameOf(first.value));
    const last = rest.at(-1) ?? '';
    rmSync(join(r.folder, last));
    renameSync(join(r.folder, rest.at(-2) ?? ''), join(r.folder, 'renamed'));
    const names = (await all(listed)).map(nameOf);
    t.notOk(names.includes(last));
    t.equal(new Set(names).size, names.length);
  },
);
