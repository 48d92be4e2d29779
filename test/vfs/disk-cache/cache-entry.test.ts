/** A file of the cache on the local disk: whatever happens to it, it gives the bytes that were stored, or none. */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type Fattr3, type FileHandle, FileType } from '../../../lib/programs/nfs3/index.js';
import { BlockMemory } from '../../../lib/vfs/disk-cache/block-memory.js';
import { CacheEntry } from '../../../lib/vfs/disk-cache/cache-entry.js';
import {
  BLOCK,
  type EntryKey,
  entryKey,
  GROUP,
  groupStart,
  HEADER,
  INDEX,
} from '../../../lib/vfs/disk-cache/entry-format.js';
import { SeededRandom } from '../../support/seeded-random.js';

const folder = mkdtempSync(join(tmpdir(), 'nfs-fuse-test-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const memory = new BlockMemory();
let files = 0;
const newPath = (): string => join(folder, `entry${files++}`);

const AT = { host: 'server', port: 2049, exportPath: Buffer.from('/export') };
const HANDLE = 'handle' as FileHandle;

function version(size: number, changes: Partial<Fattr3> = {}): Fattr3 {
  return {
    type: FileType.REG,
    mode: 0o644,
    nlink: 1,
    uid: 0,
    gid: 0,
    size: BigInt(size),
    used: BigInt(size),
    rdevMajor: 0,
    rdevMinor: 0,
    fsid: 7n,
    fileid: 8n,
    atime: { seconds: 1, nanoseconds: 1 },
    mtime: { seconds: 2, nanoseconds: 2 },
    ctime: { seconds: 3, nanoseconds: 3 },
    ...changes,
  };
}

function keyOf(attributes: Fattr3, handle = HANDLE, at = AT): EntryKey {
  const key = entryKey(at, handle, attributes);
  if (key === undefined) throw new Error('no key');
  return key;
}

/** Bytes that differ from block to block. */
function content(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at++)
    bytes[at] = (at * 7 + Math.floor(at / 251) + Math.floor(at / BLOCK)) & 0xff;
  return bytes;
}

async function stored(path: string, key: EntryKey, data: Buffer, offset = 0): Promise<void> {
  const entry = await CacheEntry.open(path, key, true);
  await entry?.store(offset, data);
  await entry?.close();
}

/** All that the file has, piece by piece, with `undefined` for what is missing. */
async function pieces(path: string, key: EntryKey, step = GROUP): Promise<(Buffer | undefined)[]> {
  const entry = await CacheEntry.open(path, key, false);
  const found: (Buffer | undefined)[] = [];
  for (let at = 0; at < key.size && entry !== undefined; ) {
    const { data, gap } = await entry.read(at, Math.min(step, key.size - at), memory);
    const piece = data === undefined ? undefined : Buffer.from(data);
    if (data !== undefined) memory.give(data);
    at += piece?.length ?? gap;
    found.push(piece);
    if ((piece?.length ?? gap) === 0) throw new Error('no headway');
  }
  await entry?.close();
  return found;
}

async function whole(path: string, key: EntryKey, step?: number): Promise<Buffer | undefined> {
  const all = await pieces(path, key, step);
  return all.length === 0 || all.includes(undefined) ? undefined : Buffer.concat(all as Buffer[]);
}

t.test('what is stored is read again, in pieces of any size, over groups and to the last byte', async (t) => {
  for (const size of [1, BLOCK - 1, BLOCK, BLOCK + 1, GROUP, 2 * GROUP + 3 * BLOCK + 5]) {
    const path = newPath();
    const key = keyOf(version(size));
    const data = content(size);
    await stored(path, key, data);
    for (const step of [GROUP, 100_000, BLOCK, 12_345])
      t.ok((await whole(path, key, step))?.equals(data), `${size} bytes in steps of ${step}`);
  }
});

t.test('missing blocks are told with their length, and the others are there', async (t) => {
  const key = keyOf(version(GROUP + 10 * BLOCK));
  const data = content(key.size);
  const path = newPath();
  const block = (from: number, to: number): Buffer => data.subarray(from * BLOCK, to * BLOCK);
  await stored(path, key, block(2, 3), 2 * BLOCK);
  await stored(path, key, block(20, 64), 20 * BLOCK);
  await stored(path, key, block(64, 66), 64 * BLOCK);
  const entry = await CacheEntry.open(path, key, false);
  const read = async (from: number, blocks: number) => {
    const kept = await entry?.read(from * BLOCK, blocks * BLOCK, memory);
    if (kept?.data !== undefined)
      t.ok(kept.data.equals(data.subarray(from * BLOCK, from * BLOCK + kept.data.length)));
    return kept && [(kept.data?.length ?? 0) / BLOCK, kept.gap / BLOCK];
  };
  t.same(await read(0, 64), [0, 2]);
  t.same(await read(2, 62), [1, 0]);
  t.same(await read(3, 61), [0, 17]);
  t.same(await read(20, 64), [44, 0], 'no further than the group');
  t.same(await read(30, 5), [5, 0]);
  t.same(await read(64, 10), [2, 0]);
  t.same(await read(66, 8), [0, 8]);
  await entry?.close();
});

t.test('two that store the same file at once, in pieces, both find all of it', async (t) => {
  const key = keyOf(version(3 * GROUP));
  const data = content(key.size);
  const path = newPath();
  const [one, other] = [await CacheEntry.open(path, key, true), await CacheEntry.open(path, key, true)];
  const at = (entry: CacheEntry | undefined, block: number) =>
    entry?.store(block * BLOCK, data.subarray(block * BLOCK, (block + 8) * BLOCK));
  const blocks = Array.from({ length: 24 }, (_, i) => i * 8);
  await Promise.all([
    ...blocks.map((block) => at(one, block)),
    ...blocks.reverse().map((block) => at(other, block)),
  ]);
  await one?.close();
  await other?.close();
  t.ok((await whole(path, key))?.equals(data));
});

t.test(
  'a flipped bit anywhere costs blocks, never gives another byte, and is mended by storing again',
  async (t) => {
    const size = 2 * BLOCK + 700;
    const key = keyOf(version(size));
    const data = content(size);
    const path = newPath();
    await stored(path, key, data);
    const good = readFileSync(path);
    const random = new SeededRandom(Number(process.env.NFS_FUSE_TEST_SEED ?? 1));
    const sums = Array.from({ length: 24 }, (_, at) => HEADER + at);
    const text = Array.from({ length: 120 }, (_, at) => at);
    const places = [
      ...text,
      ...sums,
      ...Array.from({ length: 60 }, () => random.below(HEADER)),
      ...Array.from({ length: 100 }, () => HEADER + INDEX + random.below(size)),
    ];
    let damaged = 0;
    for (const place of places) {
      const bad = Buffer.from(good);
      bad[place] = (bad[place] ?? 0) ^ (1 << random.below(8));
      writeFileSync(path, bad);
      let at = 0;
      for (const piece of await pieces(path, key, BLOCK)) {
        if (piece === undefined) damaged++;
        else t.ok(piece.equals(data.subarray(at, at + piece.length)), `byte ${place} flipped`);
        at += piece?.length ?? Math.min(BLOCK, size - at);
      }
      await stored(path, key, data);
      if (!(await whole(path, key))?.equals(data)) t.fail(`not mended after byte ${place}`);
    }
    t.ok(damaged >= places.length, `each flip cost a block at least: ${damaged} of ${places.length}`);
  },
);

t.test('a file that was cut off anywhere has what is left of it', async (t) => {
  const size = 3 * BLOCK + 100;
  const key = keyOf(version(size));
  const data = content(size);
  const path = newPath();
  const ends = [0, 1, HEADER - 1, HEADER, HEADER + 7, HEADER + INDEX, HEADER + INDEX + BLOCK - 1];
  for (let block = 1; block <= 3; block++)
    ends.push(groupStart(0) + INDEX + block * BLOCK, groupStart(0) + INDEX + block * BLOCK + 1);
  for (const end of ends) {
    await stored(path, key, data);
    truncateSync(path, end);
    let at = 0;
    for (const piece of await pieces(path, key, BLOCK)) {
      if (piece !== undefined) {
        t.ok(piece.equals(data.subarray(at, at + piece.length)));
        t.ok(at + piece.length <= end - HEADER - INDEX, `cut off at ${end}`);
      }
      at += piece?.length ?? Math.min(BLOCK, size - at);
    }
    rmSync(path);
  }
});

t.test('a file of another object or version, or parts of one, count for nothing', async (t) => {
  const size = 2 * BLOCK;
  const key = keyOf(version(size));
  const other = keyOf(version(size, { ctime: { seconds: 4, nanoseconds: 4 } }));
  const [path, foreign] = [newPath(), newPath()];
  await stored(path, key, content(size));
  await stored(foreign, other, content(size).reverse());
  t.equal(await whole(foreign, key), undefined, 'under the wrong name');
  // With the right header in front of the wrong checksums and data.
  writeFileSync(foreign, Buffer.concat([key.header, readFileSync(foreign).subarray(HEADER)]));
  t.equal(await whole(foreign, key), undefined, 'with a header put in front');
  const mixed = Buffer.concat([readFileSync(path).subarray(0, HEADER + INDEX), content(size).reverse()]);
  writeFileSync(path, mixed);
  t.equal(await whole(path, key), undefined, 'with other data behind the right checksums');
  const swapped = Buffer.concat([content(size).subarray(BLOCK), content(size).subarray(0, BLOCK)]);
  await stored(foreign, key, swapped);
  copyFileSync(foreign, path);
  t.not((await whole(path, key))?.equals(content(size)), true, 'blocks know their place');
});

t.test('what is no file is no entry', async (t) => {
  const key = keyOf(version(BLOCK));
  const [directory, fifo, link] = [newPath(), newPath(), newPath()];
  mkdirSync(directory);
  execFileSync('mkfifo', [fifo]);
  symlinkSync('/etc/passwd', link);
  t.equal(await CacheEntry.open(fifo, key, true), undefined);
  await t.rejects(CacheEntry.open(directory, key, false), { code: 'EISDIR' });
  await t.rejects(CacheEntry.open(link, key, false), { code: 'ELOOP' });
  await t.rejects(CacheEntry.open(link, key, true), { code: 'ELOOP' });
});

t.test('one that was removed meanwhile is told from one that is there', async (t) => {
  const key = keyOf(version(BLOCK));
  const path = newPath();
  const entry = await CacheEntry.open(path, key, true);
  t.ok(((await entry?.store(0, content(BLOCK))) ?? 0) >= BLOCK);
  rmSync(path);
  await new Promise((resolve) => setTimeout(resolve, 600));
  t.equal(await entry?.store(0, content(BLOCK)), undefined);
  await entry?.close();
});

t.test(
  'every part of the identity and of the version gives another name, and time of access does not',
  async (t) => {
    const base = keyOf(version(5));
    const others: [string, EntryKey][] = [
      ['size', keyOf(version(6))],
      ['mtime', keyOf(version(5, { mtime: { seconds: 2, nanoseconds: 3 } }))],
      ['ctime', keyOf(version(5, { ctime: { seconds: 3, nanoseconds: 4 } }))],
      ['fileid', keyOf(version(5, { fileid: 9n }))],
      ['fsid', keyOf(version(5, { fsid: 9n }))],
      ['handle', keyOf(version(5), 'handlf' as FileHandle)],
      ['host', keyOf(version(5), HANDLE, { ...AT, host: 'other' })],
      ['port', keyOf(version(5), HANDLE, { ...AT, port: 2050 })],
      ['export', keyOf(version(5), HANDLE, { ...AT, exportPath: Buffer.from('/other') })],
    ];
    for (const [what, other] of others) {
      t.not(other.name, base.name, what);
      t.notOk(other.header.equals(base.header), what);
      const isVersion = ['size', 'mtime', 'ctime', 'fileid', 'fsid'].includes(what);
      t.equal(
        other.object === base.object,
        isVersion,
        `${what} is of the ${isVersion ? 'version' : 'object'}`,
      );
    }
    t.equal(
      keyOf(version(5, { atime: { seconds: 9, nanoseconds: 9 }, mode: 0o600, nlink: 2 })).name,
      base.name,
    );
    t.equal(entryKey({ ...AT, exportPath: Buffer.alloc(4096) }, HANDLE, version(5)), undefined);
    t.equal(entryKey(AT, HANDLE, version(5, { size: 2n ** 60n })), undefined);
  },
);
