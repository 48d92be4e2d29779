/** fuse-native's callbacks over a file system in memory. */

import t from 'tap';
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type { FuseRead, FuseWrite, RequestContext } from '../../lib/fuse/contract/operations.js';
import { OpenFlag } from '../../lib/fuse/contract/protocol.js';
import { UTF8_ONLY } from '../../lib/fuse-native/path-text.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { FakeLibfuse, fileInfo } from './support.js';

const O_RDWR = 2;
const O_CREAT = 0o100;
const O_EXCL = 0o200;

/** Words of struct stat as the addon reads them. */
function stat(values: readonly unknown[]) {
  const words = values[0] as Uint32Array;
  const wide = (at: number) => (words[at] ?? 0) + (words[at + 1] ?? 0) * 2 ** 32;
  return {
    words: words.length,
    mode: words[0],
    size: wide(3),
    nlink: words[6],
    ino: words[7],
    atime: wide(12),
    mtime: wide(14),
  };
}

t.test('every operation gives back what it looked up', async (t) => {
  const fuse = new FakeLibfuse();
  t.equal(await fuse.result('mkdir', '/d', 0o755), 0);
  t.equal(await fuse.result('mkdir', '/d/e', 0o755), 0);
  const made = await fuse.call('create', ['/d/e/f', 0o644], { info: fileInfo(O_RDWR | O_CREAT) });
  t.equal(made.result, 0);
  const number = Number(made.values[0]);
  t.equal(fuse.held, 1, 'the open file is held');
  const memory = new Uint8Array(Buffer.from('content'));
  t.equal(await fuse.result('write', '/d/e/f', number, memory, 7, 0, 0), 7);
  t.match(stat((await fuse.call('getattr', ['/d/e/f'])).values), { words: 18, mode: 0o100644, size: 7 });
  t.match(stat((await fuse.call('fgetattr', ['/d/e/f', number])).values), { size: 7 });
  t.equal(await fuse.result('ftruncate', '/d/e/f', number, 4, 0), 0);
  t.equal(await fuse.result('truncate', '/d/e/f', 3, 0), 0);
  t.equal(await fuse.result('chmod', '/d/e/f', 0o100600), 0);
  t.equal(await fuse.result('link', '/d/e/f', '/d/g'), 0);
  t.equal(await fuse.result('symlink', 'target', '/d/s'), 0);
  t.same((await fuse.call('readlink', ['/d/s'])).values, ['target']);
  t.equal(await fuse.result('mknod', '/d/p', 0o010644, 0), 0);
  t.equal(await fuse.result('rename', '/d/p', '/d/q'), 0);
  t.equal(await fuse.result('access', '/d/q', 4), 0);
  t.equal((await fuse.call('statfs', ['/'])).result, 0);
  t.equal((await fuse.call('opendir', ['/d', 0, 0])).result, 0);
  const listing = await fuse.call('readdir', ['/d']);
  t.same(listing.values[0], ['.', '..', 'e', 'g', 's', 'q']);
  t.equal((listing.values[1] as unknown[]).length, 6);
  t.equal(await fuse.result('getattr', '/d/absent'), -Errno.ENOENT);
  t.equal(await fuse.result('getattr', '/d/absent/below'), -Errno.ENOENT);
  t.equal(await fuse.result('flush', '/d/e/f', number), 0);
  t.equal(await fuse.result('fsync', '/d/e/f', 0, number), 0);
  t.equal(await fuse.result('release', '/d/e/f', number), 0);
  for (const path of ['/d/e/f', '/d/g', '/d/s', '/d/q']) t.equal(await fuse.result('unlink', path), 0, path);
  t.equal(await fuse.result('rmdir', '/d/e'), 0);
  t.equal(fuse.held, 0, 'nothing is held');
  t.equal(fuse.files.size, 0);
  t.same(fuse.driver.counters.inFlight, 0);
  t.same(fuse.log, []);
});

t.test('reads and writes move bytes at offsets beyond 4 GiB', async (t) => {
  const seen: unknown[] = [];
  class Recorder extends MemoryFileSystem {
    override read(_ctx: RequestContext, _node: number, { offset, size }: FuseRead) {
      seen.push(['read', offset, size]);
      return [Buffer.from('ab'), Buffer.from('c')];
    }
    override write(_ctx: RequestContext, _node: number, { offset, data, fromPageCache }: FuseWrite) {
      seen.push(['write', offset, data.length, fromPageCache]);
      return data.length;
    }
  }
  const fuse = new FakeLibfuse(new Recorder());
  fuse.fs.addFile('f', Buffer.from('x'));
  const number = await fuse.open('/f');
  const memory = new Uint8Array(8);
  const read = await fuse.call('read', ['/f', number, memory, 8, 5, 3]);
  t.equal(read.result, 3);
  t.equal(Buffer.from(memory).toString('latin1', 0, 3), 'abc');
  t.equal(read.values[1], memory.buffer, 'the addon gets its memory back');
  await fuse.call('write', ['/f', number, memory, 8, 6, 3], { info: fileInfo(O_RDWR, 1) });
  t.same(seen, [
    ['read', 3 * 2 ** 32 + 5, 8],
    ['write', 3 * 2 ** 32 + 6, 8, true],
  ]);
  t.equal(await fuse.result('ftruncate', '/f', number, 0, 2 ** 31), -Errno.EFBIG, 'more than a number holds');
});

t.test('a failed read gives the memory back as well', async (t) => {
  const fuse = new FakeLibfuse();
  const memory = new Uint8Array(4);
  const { result, values } = await fuse.call('read', ['/f', 99, memory, 4, 0, 0]);
  t.equal(result, -Errno.EBADF);
  t.equal(values[1], memory.buffer);
});

t.test('an error of flush reaches close(2), and a bug is EIO with a line in the log', async (t) => {
  class Failing extends MemoryFileSystem {
    override flush(): void {
      throw new FuseError(Errno.ENOSPC);
    }
    override access(): void {
      throw new TypeError('a bug');
    }
  }
  const fuse = new FakeLibfuse(new Failing());
  fuse.fs.addFile('f', Buffer.from('x'));
  t.equal(await fuse.result('flush', '/f', await fuse.open('/f')), -Errno.ENOSPC);
  t.equal(await fuse.result('access', '/f', 4), -Errno.EIO);
  t.match(fuse.log, [/access "\/f" 4 failed: .*a bug/]);
  t.match(fuse.driver.counters, { faults: 1, errors: { ENOSPC: 1, EIO: 1 }, inFlight: 0 });
});

t.test('O_EXCL reaches the file system, and FOPEN_DIRECT_IO libfuse', async (t) => {
  let flags = 0;
  class Recorder extends MemoryFileSystem {
    override create(...args: Parameters<MemoryFileSystem['create']>) {
      flags = args[4];
      return super.create(...args);
    }
  }
  const fuse = new FakeLibfuse(new Recorder({ openFlags: OpenFlag.DIRECT_IO | OpenFlag.KEEP_CACHE }));
  const info = fileInfo(O_RDWR | O_CREAT | O_EXCL);
  const { result } = await fuse.call('create', ['/f', 0o644], { info });
  t.equal(result, 0);
  t.equal(flags, O_RDWR | O_CREAT | O_EXCL);
  t.equal(info.readUInt32LE(20), 1, 'direct_io, but never keep_cache: two names of a file have two caches');
});

t.test('utimens stores the second time, which fuse-native itself hands out wrong', async (t) => {
  const fuse = new FakeLibfuse();
  const node = fuse.fs.addFile('f', Buffer.from(''));
  const times = { atimeMs: 1_600_000_000_123n, mtimeMs: 1_500_000_000_987n };
  const low = Number(times.atimeMs & 0xffff_ffffn);
  const high = Number(times.atimeMs >> 32n);
  t.equal((await fuse.call('utimens', ['/f', low, high, low, high], times)).result, 0);
  t.same(node.atime, { seconds: 1_600_000_000, nanoseconds: 123_000_000 });
  t.same(node.mtime, { seconds: 1_500_000_000, nanoseconds: 987_000_000 });
  t.equal(
    (await fuse.call('utimens', ['/f', 1, high, 1, high], times)).result,
    -Errno.EOPNOTSUPP,
    'refused where the memory does not say what fuse-native said',
  );
});

t.test('a time set to what stat(2) showed keeps its nanoseconds', async (t) => {
  const fuse = new FakeLibfuse();
  const node = fuse.fs.addFile('f', Buffer.from(''));
  node.mtime = { seconds: 1_500_000_000, nanoseconds: 987_654_321 };
  node.atime = { seconds: 1_500_000_000, nanoseconds: 1 };
  const shown = stat((await fuse.call('getattr', ['/f'])).values);
  t.equal(shown.mtime, 1_500_000_000_987);
  const times = { atimeMs: 5_000n, mtimeMs: BigInt(shown.mtime) };
  t.equal((await fuse.call('utimens', ['/f', 5000, 0, 5000, 0], times)).result, 0);
  t.same(node.mtime, { seconds: 1_500_000_000, nanoseconds: 987_654_321 });
  t.same(node.atime, { seconds: 5, nanoseconds: 0 });
});

t.test('a time before 1970 is set as it is, and shown as 1970', async (t) => {
  const fuse = new FakeLibfuse();
  const node = fuse.fs.addFile('f', Buffer.from(''));
  const times = { atimeMs: -1500n, mtimeMs: -1n };
  const low = Number(BigInt.asUintN(32, -1500n));
  t.equal((await fuse.call('utimens', ['/f', low, 0, low, 0], times)).result, 0);
  t.same(node.atime, { seconds: -2, nanoseconds: 500_000_000 });
  t.same(node.mtime, { seconds: -1, nanoseconds: 999_000_000 });
  t.equal(stat((await fuse.call('getattr', ['/f'])).values).mtime, 0);
});

t.test('chown changes only what it was asked to', async (t) => {
  const fuse = new FakeLibfuse();
  const node = fuse.fs.addFile('f', Buffer.from(''));
  t.equal(await fuse.result('chown', '/f', 0xffff_ffff, 5), 0);
  t.match(node, { uid: 0, gid: 5 });
  t.equal(await fuse.result('chown', '/f', 6, 0xffff_ffff), 0);
  t.match(node, { uid: 6, gid: 5 });
});

t.test('what libfuse hides is removed in the file system’s own way, and stays usable', async (t) => {
  const fuse = new FakeLibfuse();
  fuse.fs.addFile('f', Buffer.from('content'));
  const number = await fuse.open('/f');
  const hidden = '/.fuse_hidden0000000200000001';
  t.equal(await fuse.result('getattr', hidden), -Errno.ENOENT);
  t.equal(await fuse.result('rename', '/f', hidden), 0);
  t.same([...fuse.fs.root.children.keys()], [], 'it was unlinked, not renamed');
  t.match(stat((await fuse.call('getattr', [hidden])).values), { size: 7, nlink: 0 });
  t.equal(await fuse.result('chmod', hidden, 0o600), 0);
  t.equal(await fuse.result('ftruncate', hidden, number, 3, 0), 0);
  t.match(stat((await fuse.call('fgetattr', [hidden, number])).values), { size: 3 });
  const made = await fuse.call('create', ['/f', 0o644], { info: fileInfo(O_RDWR | O_CREAT) });
  t.equal(made.result, 0, 'the name is free');
  t.equal(await fuse.result('release', '/f', made.values[0]), 0);
  t.equal(await fuse.result('release', hidden, number), 0);
  t.equal(await fuse.result('unlink', hidden), 0);
  t.same([...fuse.fs.root.children.keys()], ['f'], 'libfuse’s unlink did not reach another file');
  t.equal(await fuse.result('getattr', hidden), -Errno.ENOENT);
  t.equal(fuse.held, 0);
});

t.test('a program may rename a file that is not open to such a name', async (t) => {
  const fuse = new FakeLibfuse();
  fuse.fs.addFile('f', Buffer.from('content'));
  t.equal(await fuse.result('rename', '/f', '/.fuse_hidden0000000200000001'), 0);
  t.same([...fuse.fs.root.children.keys()], ['.fuse_hidden0000000200000001']);
});

t.test('open files follow the renames of the directories above them', async (t) => {
  const fuse = new FakeLibfuse();
  await fuse.call('mkdir', ['/d', 0o755]);
  await fuse.call('mkdir', ['/dd', 0o755]);
  const made = await fuse.call('create', ['/d/f', 0o644], { info: fileInfo(O_RDWR | O_CREAT) });
  t.equal(await fuse.result('rename', '/d', '/e'), 0);
  t.not(fuse.files.nodeAt('/e/f'), undefined);
  t.equal(fuse.files.nodeAt('/d/f'), undefined);
  t.equal(await fuse.result('rename', '/e/f', '/e/.fuse_hidden0000000300000001'), 0);
  t.equal(await fuse.result('rmdir', '/e'), 0, 'nothing is left in it');
  t.equal(await fuse.result('release', '/e/f', made.values[0]), 0);
});

t.test('a file that was replaced behind an open one is refused until that is closed', async (t) => {
  const fuse = new FakeLibfuse();
  fuse.fs.addFile('f', Buffer.from('old'));
  const number = await fuse.open('/f');
  fuse.fs.addFile('f', Buffer.from('new content'));
  t.equal(await fuse.result('getattr', '/f'), -Errno.ESTALE);
  t.equal((await fuse.call('open', ['/f', 0])).result, -Errno.ESTALE);
  t.equal(await fuse.result('truncate', '/f', 0, 0), -Errno.ESTALE);
  t.match(fuse.log, [/"\/f" was replaced on the server/], 'said once');
  t.match(stat((await fuse.call('fgetattr', ['/f', number])).values), { size: 3 });
  fuse.fs.root.children.delete('f');
  const made = await fuse.call('create', ['/f', 0o644], { info: fileInfo(O_RDWR | O_CREAT) });
  t.equal(made.result, -Errno.ESTALE, 'nor is a new one made there');
  t.equal(await fuse.result('release', '/f', number), 0);
  fuse.fs.addFile('f', Buffer.from('new content'));
  t.match(stat((await fuse.call('getattr', ['/f'])).values), { size: 11 });
  t.equal(fuse.held, 0);
});

t.test('an open file that another client removed can be replaced', async (t) => {
  const fuse = new FakeLibfuse();
  fuse.fs.addFile('f', Buffer.from('old'));
  const number = await fuse.open('/f');
  fuse.fs.root.children.delete('f');
  fuse.fs.addFile('g', Buffer.from('new'));
  // libfuse does this for rename(2) over an open file.
  t.equal(await fuse.result('rename', '/f', '/.fuse_hidden0000000200000001'), 0);
  t.equal(await fuse.result('rename', '/g', '/f'), 0);
  t.match(stat((await fuse.call('getattr', ['/f'])).values), { size: 3 });
  t.equal(await fuse.result('release', '/.fuse_hidden0000000200000001', number), 0);
});

t.test('names are bytes where libfuse translates', async (t) => {
  const fuse = new FakeLibfuse();
  const name = 'caf\xe9\xff';
  t.equal(await fuse.result('mkdir', `/${name}`, 0o755), 0);
  t.same([...fuse.fs.root.children.keys()], [name]);
  t.same((await fuse.call('readdir', ['/'])).values[0], ['.', '..', name]);
});

t.test('without that, a name that is not UTF-8 is hidden and refused, never mangled', async (t) => {
  const fuse = new FakeLibfuse(new MemoryFileSystem(), UTF8_ONLY);
  fuse.fs.addFile(Buffer.from([0x61, 0xff]), Buffer.from('x'));
  fuse.fs.addFile('ü', Buffer.from('x'));
  t.same((await fuse.call('readdir', ['/'])).values[0], ['.', '..', 'ü']);
  t.match(fuse.log, [/a name in "\/" is not UTF-8/]);
  t.equal(await fuse.result('getattr', '/a\ufffd'), -Errno.EILSEQ);
  t.equal(await fuse.result('mkdir', '/a\ufffd', 0o755), -Errno.EILSEQ);
  t.equal(await fuse.result('getattr', '/ü'), 0);
  t.equal(await fuse.result('symlink', 'to \ufffd', '/s'), -Errno.EILSEQ);
});

t.test('a request of another layout than the one known is refused', async (t) => {
  const fuse = new FakeLibfuse();
  t.equal((await fuse.call('getattr', ['/'], { requestBytes: 352 })).result, -Errno.EIO);
  t.match(fuse.log, [/another memory layout/]);
});

t.test('init is answered, and told', async (t) => {
  const fuse = new FakeLibfuse();
  t.equal((await fuse.call('init', [])).result, 0);
  t.equal(fuse.initialized, 1);
});
