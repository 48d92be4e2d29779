/** The cache on the local disk, from mount to mount: what it saves, and that it never gives out what the server would not. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { CacheFolder } from '../../../lib/vfs/disk-cache/cache-folder.js';
import { FakeServer } from '../support/fake-server.js';
import { O_RDONLY, O_RDWR, outcome, Rig, type RigOptions, settled } from '../support/rig.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const O_DIRECT = 0o40000;
/** Far enough from the last change for the server's clock to have moved on. */
const LATER = 100;
const SIZE = 300 * KIB + 123;

function content(size: number, seed = 1): Buffer {
  return Buffer.from(Array.from({ length: size }, (_, at) => (at * 31 + (at >> 8) * seed + seed) & 0xff));
}

/** A folder, and mounts of one server that keep what they read there. */
function cached(t: Test, options: RigOptions = {}) {
  const path = mkdtempSync(join(tmpdir(), 'nfs-fuse-test-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const server = new FakeServer();
  return {
    path,
    server,
    async mount(more: RigOptions = {}): Promise<Rig> {
      const cacheFolder = await CacheFolder.open(path, '/nowhere');
      const limits = { rsize: 256 * KIB, ...options.limits };
      const rig = new Rig({ ...options, server, readBudget: 8 * MIB, cacheFolder, ...more, limits });
      t.teardown(() => rig.vfs.disk?.close().catch(() => {}));
      // The server's clock is known to be past the last change of any file.
      server.tree.file('clock', '');
      await rig.walk('clock');
      server.tree.remove('clock');
      return rig;
    },
    entries: (): string[] =>
      readdirSync(join(path, 'v1')).flatMap((shard) =>
        readdirSync(join(path, 'v1', shard)).map((name) => join(path, 'v1', shard, name)),
      ),
  };
}

/** Opens, reads all and closes, as a program does with pages of 128 KiB. Waits until the disk has it. */
async function readAll(rig: Rig, path: string, flags = O_RDONLY, caller = rig.caller()): Promise<Buffer> {
  const { fh, inode } = await rig.open(path, flags, caller);
  const size = Number(inode.attributes?.size ?? 0n);
  const parts: Buffer[] = [];
  for (let at = 0; at < size; at += 128 * KIB) parts.push(await rig.read(fh, at, 128 * KIB));
  await rig.files.release(fh);
  await stored(rig);
  return Buffer.concat(parts);
}

async function stored(rig: Rig): Promise<void> {
  await settled();
  await rig.vfs.disk?.settled();
}

/** Two seconds by the mount's clock, in which the disk gets its turns as well. */
async function someTime(rig: Rig): Promise<void> {
  for (let i = 0; i < 40; i++) {
    await rig.pass(50);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await stored(rig);
  }
}

/** A file that was not changed lately. */
async function file(rig: { readonly server: FakeServer }, data: Buffer, name = 'f'): Promise<void> {
  const { tree } = rig.server;
  tree.file(name, data);
  const nanoseconds = tree.nanoseconds + LATER * 1e6;
  tree.seconds += Math.floor(nanoseconds / 1e9);
  tree.nanoseconds = nanoseconds % 1e9;
}

t.test('the next mount reads a file without a READ, and so does another beside it', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  const first = await place.mount();
  t.ok((await readAll(first, 'f')).equals(content(SIZE)));
  t.match(first.counters.disk, { hits: 0, bytesStored: SIZE });
  const beside = await place.mount();
  await first.vfs.disk?.close();
  for (const rig of [beside, await place.mount()]) {
    place.server.forgetCalls();
    t.ok((await readAll(rig, 'f')).equals(content(SIZE)));
    t.equal(place.server.names(), 'LOOKUP ACCESS');
    t.match(rig.counters.disk, { bytesRead: SIZE, misses: 0, stored: 0, damaged: 0 });
  }
});

t.test('a small file comes from the disk along with its open, and no READ goes out', async (t) => {
  const place = cached(t);
  await file(place, content(5000));
  await readAll(await place.mount(), 'f');
  const next = await place.mount();
  place.server.forgetCalls();
  t.ok((await readAll(next, 'f')).equals(content(5000)));
  t.equal(place.server.names(), 'LOOKUP ACCESS');
  t.match(next.counters, { earlyReadHits: 1, disk: { hits: 1 } });
});

t.test('what is missing is read from the server and stored, the rest is not asked for', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  const first = await place.mount({ readBudget: 0 });
  const { fh } = await first.open('f');
  await first.read(fh, 32 * KIB, 64 * KIB);
  await stored(first);
  t.equal(first.counters.disk?.bytesStored, 64 * KIB);
  // Parts of blocks are not stored.
  await first.read(fh, 160 * KIB + 1, 16 * KIB);
  await first.read(fh, 200 * KIB, 4 * KIB);
  await stored(first);
  t.equal(first.counters.disk?.bytesStored, 64 * KIB);
  place.server.forgetCalls();
  const second = await place.mount({ readBudget: 0 });
  t.ok((await readAll(second, 'f')).equals(content(SIZE)));
  const asked = place.server.named('READ').map(({ args }) => {
    const { offset, count } = args as { offset: number; count: number };
    return [offset / KIB, count / KIB];
  });
  t.same(asked, [
    [0, 32],
    [96, 32],
    [128, 128],
    [256, 128],
  ]);
  place.server.forgetCalls();
  await readAll(await place.mount({ readBudget: 0 }), 'f');
  t.equal(place.server.count('READ'), 0);
});

t.test('a file that was changed between the mounts is read anew, and its old version goes', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  await readAll(await place.mount(), 'f');
  const [old = ''] = place.entries();
  place.server.tree.write('f', content(SIZE, 2));
  await file(place, content(1), 'other');
  const next = await place.mount();
  t.ok((await readAll(next, 'f')).equals(content(SIZE, 2)));
  t.equal(place.entries().length, 1);
  t.notOk(existsSync(old));
});

t.test('size and mtime put back do not hide a change: the ctime tells', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  await readAll(await place.mount(), 'f');
  const node = place.server.tree.at('f');
  const { mtime } = node;
  place.server.tree.write('f', content(SIZE, 2));
  node.mtime = mtime;
  await file(place, content(1), 'other');
  t.ok((await readAll(await place.mount(), 'f')).equals(content(SIZE, 2)));
});

t.test('a handle that was given to another file, and a server in the place of another', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  await readAll(await place.mount(), 'f');
  const before = place.server.tree.at('f');
  const { handle, mtime, ctime } = before;
  place.server.tree.remove('f');
  place.server.tree.file('f', content(SIZE, 2));
  const after = place.server.tree.at('f');
  place.server.tree.assignHandle(handle, after);
  Object.assign(after, { handle, mtime, ctime });
  t.not(after.fileid, before.fileid);
  t.ok((await readAll(await place.mount(), 'f')).equals(content(SIZE, 2)), 'the fileid differs');
  place.server.forgetCalls();
  const elsewhere = await place.mount({ config: { host: 'elsewhere' } });
  await readAll(elsewhere, 'f');
  t.ok(place.server.count('READ') > 0, 'another server');
});

t.test('data is not stored where a second change could leave the same attributes', async (t) => {
  const place = cached(t);
  place.server.tree.file('f', content(SIZE));
  // Its ctime is the newest that this mount has seen of the server's clock.
  const rig = await place.mount();
  place.server.tree.write('f', content(SIZE));
  const { fh } = await rig.open('f');
  await rig.read(fh, 0, 128 * KIB);
  await stored(rig);
  t.equal(rig.counters.disk?.stored, 0);
  await rig.pass(LATER);
  await rig.read(fh, 256 * KIB, 128 * KIB);
  await stored(rig);
  t.ok((rig.counters.disk?.stored ?? 0) > 0, 'the server’s clock has moved on');
  // Another mount knows no more of the server's clock than that ctime.
  const other = await place.mount();
  const later = await other.open('f');
  t.ok((await other.read(later.fh, 0, 128 * KIB)).equals(content(SIZE).subarray(0, 128 * KIB)));
});

t.test('what was read too early is read once more after the file was closed, and once only', async (t) => {
  for (const nanoseconds of [1, 0]) {
    const place = cached(t);
    const rig = await place.mount();
    place.server.tree.file('f', content(SIZE));
    place.server.tree.nanoseconds = nanoseconds;
    place.server.tree.at('f').ctime = place.server.tree.now();
    place.server.tree.at('f').mtime = place.server.tree.now();
    t.ok((await readAll(rig, 'f')).equals(content(SIZE)));
    t.equal(rig.counters.disk?.stored, 0);
    place.server.forgetCalls();
    await someTime(rig);
    t.equal(rig.counters.disk?.bytesStored, SIZE);
    t.match(place.server.names(), /^READ( READ)*$/);
    t.equal(rig.vfs.memory.readBudget.used, 0);
    place.server.forgetCalls();
    t.ok((await readAll(await place.mount(), 'f')).equals(content(SIZE)));
    t.equal(place.server.count('READ'), 0);
    await someTime(rig);
    t.equal(place.server.count('READ'), 0);
  }
});

t.test('a file that changes all the time, or is gone, is not read over and over', async (t) => {
  const place = cached(t);
  const rig = await place.mount();
  place.server.tree.file('f', content(SIZE));
  await readAll(rig, 'f');
  place.server.forgetCalls();
  place.server.tree.remove('f');
  await someTime(rig);
  t.ok(place.server.count('READ') <= 1);
  t.same(rig.log, []);
  place.server.tree.file('g', content(SIZE));
  await readAll(rig, 'g');
  place.server.forgetCalls();
  place.server.on('READ', (_args, execute) => {
    place.server.tree.write('g', content(SIZE));
    return execute();
  });
  await someTime(rig);
  t.ok(place.server.count('READ') <= 3);
  t.equal(rig.counters.disk?.stored, 0);
});

t.test('what did not fit into the queue is read once more as well', async (t) => {
  // Three times as much as the queue holds. The second time, some READs go over the end of a group of the entry.
  for (const first of [256 * KIB, 128 * KIB]) {
    const place = cached(t, { config: { readAhead: 0 }, readBudget: 0 });
    const data = content(12 * MIB);
    await file(place, data);
    const rig = await place.mount();
    const { fh } = await rig.open('f');
    const starts = [0];
    for (let at = first; at < data.length; at += 256 * KIB) starts.push(at);
    // All at once: the disk gets no turn in between.
    await Promise.all(starts.map((at) => rig.read(fh, at, at === 0 ? first : 256 * KIB)));
    await rig.files.release(fh);
    const dropped = rig.counters.disk?.dropped ?? 0;
    place.server.forgetCalls();
    await someTime(rig);
    t.ok(dropped > 24, 'some did not fit');
    t.equal(rig.counters.disk?.bytesStored, data.length);
    t.equal(rig.counters.disk?.dropped, dropped);
    t.ok(place.server.count('READ') <= dropped + 12);
  }
});

t.test('data is not stored where the file changed while it was read', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  const rig = await place.mount({ readBudget: 0 });
  const { fh } = await rig.open('f');
  // The server reads, the file changes, and then the server looks at the attributes.
  place.server.once('READ', (_args, execute) => {
    const { data } = execute() as { data: Buffer };
    place.server.tree.write('f', content(SIZE, 2));
    return { ...(execute() as object), data };
  });
  await rig.read(fh, 0, 128 * KIB);
  // A server that says nothing about attributes vouches for nothing.
  place.server.once('READ', (_args, execute) => ({ ...(execute() as object), attributes: undefined }));
  await rig.read(fh, 128 * KIB, 128 * KIB);
  await stored(rig);
  t.equal(rig.counters.disk?.stored, 0);
  await file(place, content(1), 'other');
  t.ok((await readAll(await place.mount(), 'f')).equals(content(SIZE, 2)));
});

t.test('while this mount writes to a file, the disk is left alone', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  await readAll(await place.mount(), 'f');
  const rig = await place.mount();
  const { fh } = await rig.open('f', O_RDWR);
  const gate = place.server.gate('WRITE');
  await rig.write(fh, 0, 'new');
  place.server.forgetCalls();
  const reading = rig.read(fh, 128 * KIB, 16 * KIB);
  await settled();
  t.ok(place.server.count('READ') > 0 || gate.waiting > 0);
  gate.open();
  t.ok((await reading).equals(content(SIZE).subarray(128 * KIB, 144 * KIB)));
  t.equal((await rig.read(fh, 0, 5)).subarray(0, 3).toString(), 'new');
  await stored(rig);
  t.match(rig.counters.disk, { hits: 0, stored: 0 });
  await rig.files.flush(fh);
  await rig.files.release(fh);
  await rig.pass(LATER);
  const now = Buffer.from(content(SIZE));
  now.write('new');
  t.ok((await readAll(rig, 'f')).equals(now));
  t.ok((await readAll(await place.mount(), 'f')).equals(now));
});

t.test(
  'attributes that have run out are asked for before the disk answers, and a change is seen',
  async (t) => {
    const place = cached(t);
    await file(place, content(SIZE));
    await readAll(await place.mount(), 'f');
    const rig = await place.mount({ readBudget: 0 });
    const { fh } = await rig.open('f');
    await rig.pass(3_000);
    place.server.forgetCalls();
    await rig.read(fh, 0, 128 * KIB);
    t.equal(place.server.names(), 'GETATTR');
    await rig.read(fh, 128 * KIB, 128 * KIB);
    t.equal(place.server.names(), 'GETATTR', 'once for as long as they are trusted');
    await rig.pass(100_000);
    place.server.tree.write('f', content(SIZE, 2));
    t.ok((await rig.read(fh, 0, 128 * KIB)).equals(content(SIZE, 2).subarray(0, 128 * KIB)));
    t.equal(place.server.names(), 'GETATTR GETATTR READ');
  },
);

t.test('O_DIRECT reads from the server', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  await readAll(await place.mount(), 'f');
  const rig = await place.mount();
  t.ok((await readAll(rig, 'f', O_RDONLY | O_DIRECT)).equals(content(SIZE)));
  t.match(rig.counters.disk, { hits: 0, misses: 0 });
});

t.test('whom the server refuses gets nothing from the disk', async (t) => {
  const place = cached(t);
  await file(place, content(5000));
  place.server.tree.at('f').mode = 0o600;
  const rig = await place.mount();
  await readAll(rig, 'f', O_RDONLY, rig.caller(1000));
  const next = await place.mount();
  t.equal(await outcome(next.open('f', O_RDONLY, next.caller(2000))), Errno.EACCES);
  t.ok((await readAll(next, 'f', O_RDONLY, next.caller(1000))).equals(content(5000)));
  place.server.tree.chmod('f', 0);
  t.equal(await outcome(next.open('f', O_RDONLY, next.caller(1001))), Errno.EACCES);
});

t.test('damage on the disk is read from the server, counted, and mended', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  const first = await place.mount();
  await readAll(first, 'f');
  await first.vfs.disk?.close();
  const [entry = ''] = place.entries();
  const { size } = statSync(entry);
  writeFileSync(entry, Buffer.alloc(100, 7), { flag: 'r+' });
  const second = await place.mount();
  t.ok((await readAll(second, 'f')).equals(content(SIZE)), 'the header is gone');
  t.equal(second.counters.disk?.hits, 0);
  await second.vfs.disk?.close();
  const spoil = Buffer.alloc(size);
  spoil.fill(7, 4096 + 4096 + 20_000, 4096 + 4096 + 20_100);
  const good = readFileSync(entry);
  writeFileSync(entry, Buffer.from(good.map((byte, at) => byte ^ (spoil[at] ?? 0))));
  const third = await place.mount();
  t.ok((await readAll(third, 'f')).equals(content(SIZE)), 'a block is spoilt');
  t.ok((third.counters.disk?.damaged ?? 0) >= 1);
  await third.vfs.disk?.close();
  const fourth = await place.mount();
  t.ok((await readAll(fourth, 'f')).equals(content(SIZE)));
  t.match(fourth.counters.disk, { damaged: 0, misses: 0, bytesRead: SIZE });
});

t.test('a disk that fails costs one line in the log, and no error', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  rmSync(join(place.path, 'v1'), { recursive: true, force: true });
  writeFileSync(join(place.path, 'v1'), 'no folder');
  const rig = await place.mount();
  for (let i = 0; i < 3; i++) {
    t.ok((await readAll(rig, 'f')).equals(content(SIZE)));
    await rig.pass(100_000);
  }
  t.match(rig.log, [/fails at reading \(ENOTDIR\)/, /fails at storing \(/]);
  t.equal(rig.log.length, 2);
});

t.test('a folder that is emptied while it is in use fills again', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  const rig = await place.mount();
  await readAll(rig, 'f');
  await rig.pass(20_000);
  for (const name of readdirSync(place.path)) rmSync(join(place.path, name), { recursive: true });
  t.ok((await readAll(rig, 'f')).equals(content(SIZE)));
  t.equal(place.entries().length, 1);
  t.same(rig.log, []);
});

t.test('above its limit, what was used longest ago goes, whoever stored it', async (t) => {
  const place = cached(t, { config: { diskCacheSize: MIB } });
  for (let i = 0; i < 6; i++) await file(place, content(SIZE, i), `f${i}`);
  const bytes = () => place.entries().reduce((sum, path) => sum + statSync(path).blocks * 512, 0);
  const ages = new Map<string, number>();
  let evicted = 0;
  for (let i = 0; i < 6; i++) {
    const rig = await place.mount();
    const before = new Set(place.entries());
    await readAll(rig, `f${i}`);
    await rig.vfs.disk?.close();
    await rig.vfs.disk?.settled();
    for (const path of place.entries()) if (!before.has(path)) ages.set(path, i);
    // As if an hour had gone by between the mounts.
    for (const [path, age] of ages)
      if (existsSync(path)) utimesSync(path, 1e9 + age * 3600, 1e9 + age * 3600);
    evicted += rig.counters.disk?.evicted ?? 0;
  }
  const rig = await place.mount();
  await readAll(rig, 'f5');
  await file(place, content(50_000), 'last');
  await readAll(rig, 'last');
  t.ok(bytes() <= 1.4 * MIB, `${bytes()} bytes`);
  t.ok(evicted > 0);
  const left = place.entries().map((path) => ages.get(path) ?? 9);
  t.notOk(left.includes(0), 'the oldest is gone');
  t.ok(left.includes(5), 'the newest is there');
});

t.test('of a file that is larger than half the limit, only so much is stored', async (t) => {
  const place = cached(t, { config: { diskCacheSize: MIB } });
  const large = content(900 * KIB);
  await file(place, large);
  await readAll(await place.mount(), 'f');
  const rig = await place.mount();
  t.ok((await readAll(rig, 'f')).equals(large));
  t.equal(rig.counters.disk?.bytesRead, 512 * KIB);
});

t.test('nothing but entries is ever removed', async (t) => {
  const place = cached(t, { config: { diskCacheSize: MIB } });
  for (let i = 0; i < 6; i++) await file(place, content(SIZE, i), `f${i}`);
  const rig = await place.mount();
  const own = join(place.path, 'v1', 'abc');
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, 'my letter'), Buffer.alloc(3 * MIB));
  utimesSync(join(own, 'my letter'), 1e9, 1e9);
  for (let i = 0; i < 6; i++) await readAll(rig, `f${i}`);
  t.ok((rig.counters.disk?.evicted ?? 0) > 0);
  t.ok(existsSync(join(own, 'my letter')));
  t.ok(existsSync(join(place.path, 'CACHEDIR.TAG')));
});

t.test('the end of a mount stores what waits, and nothing after it', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  const rig = await place.mount();
  const { fh } = await rig.open('f');
  for (let at = 0; at < SIZE; at += 128 * KIB) await rig.read(fh, at, 128 * KIB);
  await rig.vfs.disk?.close();
  t.equal(rig.counters.disk?.bytesStored, SIZE);
  t.equal((await rig.read(fh, 0, 10)).length, 10, 'a late read goes to the server');
  t.same(rig.log, []);
});

t.test('a disk that is too slow for the end of a mount is said to fail at nothing', async (t) => {
  const place = cached(t);
  await file(place, content(5000));
  const rig = await place.mount({ readBudget: 0 });
  const { fh } = await rig.open('f');
  await rig.read(fh, 0, 8 * KIB);
  const closing = rig.vfs.disk?.close();
  // Before the disk has had a turn.
  rig.clock.advance(2_000);
  await closing;
  await stored(rig);
  t.equal(rig.counters.disk?.stored, 0);
  t.same(rig.log, []);
});

t.test('a READ that is never answered keeps no other part from being read once more', async (t) => {
  const rig = await cached(t).mount();
  const done: string[] = [];
  const stuck = rig.vfs.disk?.inTurn(() => new Promise(() => {}));
  const next = rig.vfs.disk?.inTurn(async () => void done.push('next'));
  await rig.pass(29_000);
  t.same(done, [], 'one at a time');
  await rig.pass(1_000);
  await Promise.all([stuck, next]);
  t.same(done, ['next']);
});

t.test('a folder that others may enter, or that is none, is refused', async (t) => {
  const { path } = cached(t);
  chmodSync(path, 0o750);
  await t.rejects(CacheFolder.open(path, '/nowhere'), {
    message: /may be entered by other users/,
    remedy: /chmod 700/,
  });
  chmodSync(path, 0o700);
  writeFileSync(join(path, 'file'), '');
  await t.rejects(CacheFolder.open(join(path, 'file'), '/nowhere'), { message: /is no folder/ });
  await t.rejects(CacheFolder.open(join(path, 'no', 'such'), '/nowhere'), {
    message: /cannot be made \(ENOENT\)/,
  });
  await t.rejects(CacheFolder.open(path, path), { message: /below the mount point/ });
  await t.rejects(CacheFolder.open(join(path, 'in'), path), { message: /below the mount point/ });
});

t.test('a change that is seen while the disk is read makes its data void', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  await readAll(await place.mount(), 'f');
  const rig = await place.mount({ readBudget: 0 });
  const { fh, inode } = await rig.open('f');
  const reading = rig.read(fh, 0, 16 * KIB);
  // The disk is being asked: that takes a thread, and this one goes on.
  for (let i = 0; i < 5; i++) await Promise.resolve();
  place.server.tree.write('f', content(SIZE, 2));
  inode.advanceGeneration();
  t.ok((await reading).equals(content(SIZE, 2).subarray(0, 16 * KIB)));
  t.equal(rig.counters.disk?.hits, 0);
});

t.test(
  'a READ that shows another ctime than was known is not stored, though this mount has moved it',
  async (t) => {
    const place = cached(t);
    await file(place, content(SIZE));
    const rig = await place.mount({ readBudget: 0 });
    const { fh, inode } = await rig.open('f');
    rig.vfs.attributes.expectCtime(inode);
    place.server.tree.changed(place.server.tree.at('f'));
    await file(place, content(1), 'other');
    await file(place, content(1), 'later');
    await rig.walk('later');
    await rig.read(fh, 0, 128 * KIB);
    await stored(rig);
    t.equal(rig.counters.disk?.stored, 0);
    await rig.read(fh, 128 * KIB, 128 * KIB);
    await stored(rig);
    t.equal(rig.counters.disk?.stored, 1, 'the next one shows what is known');
  },
);

t.test('a new entry takes away old versions of its own object, and nothing of others', async (t) => {
  const place = cached(t);
  await file(place, content(SIZE));
  await readAll(await place.mount(), 'f');
  const [entry = ''] = place.entries();
  const beside = join(entry, '..', `${'0'.repeat(40)}-${'0'.repeat(24)}`);
  writeFileSync(beside, '');
  place.server.tree.write('f', content(SIZE, 2));
  await file(place, content(1), 'other');
  await readAll(await place.mount(), 'f');
  t.ok(existsSync(beside));
  t.notOk(existsSync(entry));
});
