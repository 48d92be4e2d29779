/** Requests reach the operations of the file system with their arguments, and get the reply of the right shape. */
import t from 'tap';
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import { Opcode } from '../../lib/fuse/contract/protocol.js';
import { type MemoryChannel, name, u32, u64 } from '../support/memory-channel.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { readArguments, serve, writeArguments } from './support/session-bench.js';

t.test('a lookup is answered with the entry, a missing name with ENOENT', async (t) => {
  const fs = new MemoryFileSystem();
  const node = fs.addFile(Buffer.from([0xff, 0x80]), Buffer.from('data'));
  const { channel, session } = serve(fs);
  const found = channel.deliver(Opcode.LOOKUP, 1, [name(Buffer.from([0xff, 0x80]))]);
  const missing = channel.deliver(Opcode.LOOKUP, 1, [name('missing')]);
  t.equal(channel.answer(found.unique)?.payload.readBigUInt64LE(0), BigInt(node.id));
  t.equal(channel.answer(missing.unique)?.error, -Errno.ENOENT);
  t.match(session.counters, { requests: { LOOKUP: 2, INIT: 1 }, errors: { ENOENT: 1 }, inFlight: 0 });
});

t.test('a negative entry has node id 0 and its validity', async (t) => {
  class Negative extends MemoryFileSystem {
    override lookup() {
      return { nodeid: 0, entryValidMs: 2500 } as const;
    }
  }
  const { channel } = serve(new Negative());
  const { unique } = channel.deliver(Opcode.LOOKUP, 1, [name('x')]);
  const payload = channel.answer(unique)?.payload ?? Buffer.alloc(0);
  t.equal(payload.length, 128);
  t.equal(payload.readBigUInt64LE(0), 0n);
  t.equal(payload.readBigUInt64LE(16), 2n);
  t.equal(payload.readUInt32LE(32), 500_000_000);
});

t.test('every operation receives its arguments as the kernel laid them out', async (t) => {
  const calls: [string, ...unknown[]][] = [];
  const recorder = new Proxy(new MemoryFileSystem(), {
    get(target, property, receiver) {
      const value: unknown = Reflect.get(target, property, receiver);
      if (typeof property !== 'string' || typeof value !== 'function' || property === 'init') return value;
      return (...args: unknown[]) => {
        calls.push([property, ...args.slice(property === 'forget' ? 0 : 1)]);
        throw new FuseError(Errno.EPERM);
      };
    },
  });
  const { channel } = serve(recorder);
  const lock = [
    u64(5),
    u64(0xffff_ffff_ffff_fff0n),
    u64(7),
    u64(2n ** 63n - 1n),
    u32(1),
    u32(99),
    u32(1),
    u32(0),
  ];
  const setattr = (valid: number) => [
    ...[u32(valid), u32(0), u64(6), u64(2n ** 40n), u64(0)],
    ...[u64(-5n & 0xffff_ffff_ffff_ffffn), u64(1000), u64(0), u32(111), u32(222), u32(0)],
    ...[u32(0o640), u32(0), u32(501), u32(502), u32(0)],
  ];
  const undefineds = { mode: undefined, uid: undefined, gid: undefined, size: undefined };
  const cases: [number, Parameters<MemoryChannel['deliver']>[2], [string, ...unknown[]]][] = [
    [Opcode.GETATTR, [u32(0), u32(0), u64(3)], ['getattr', 9, undefined]],
    [Opcode.GETATTR, [u32(1), u32(0), u64(3)], ['getattr', 9, 3]],
    [
      Opcode.SETATTR,
      setattr(0x7f),
      [
        'setattr',
        9,
        {
          ...{ fh: 6, mode: 0o640, uid: 501, gid: 502, size: 2n ** 40n },
          atime: { seconds: -5, nanoseconds: 111 },
          mtime: { seconds: 1000, nanoseconds: 222 },
        },
      ],
    ],
    [
      Opcode.SETATTR,
      setattr(0x1b0),
      ['setattr', 9, { fh: undefined, ...undefineds, atime: 'now', mtime: 'now' }],
    ],
    [Opcode.READLINK, [], ['readlink', 9]],
    [Opcode.SYMLINK, [name('n'), name('to/target')], ['symlink', 9, 'n', 'to/target']],
    [Opcode.MKNOD, [u32(0o20644), u32(259), u32(0), u32(0), name('n')], ['mknod', 9, 'n', 0o20644, 259]],
    [Opcode.MKDIR, [u32(0o755), u32(0), name('n')], ['mkdir', 9, 'n', 0o755]],
    [Opcode.UNLINK, [name('n')], ['unlink', 9, 'n']],
    [Opcode.RMDIR, [name('n')], ['rmdir', 9, 'n']],
    [
      Opcode.RENAME,
      [u64(8), name('n'), name('m')],
      ['rename', { parent: 9, name: 'n' }, { parent: 8, name: 'm' }, 0],
    ],
    [
      Opcode.RENAME2,
      [u64(8), u32(1), u32(0), name('n'), name('m')],
      ['rename', { parent: 9, name: 'n' }, { parent: 8, name: 'm' }, 1],
    ],
    [Opcode.LINK, [u64(8), name('n')], ['link', 8, 9, 'n']],
    [Opcode.OPEN, [u32(2), u32(0)], ['open', 9, 2]],
    [
      Opcode.CREATE,
      [u32(0x8042), u32(0o100644), u32(0), u32(0), name('n')],
      ['create', 9, 'n', 0o100644, 0x8042],
    ],
    [
      Opcode.READ,
      readArguments(4, 2n ** 52n, 4096),
      ['read', 9, { fh: 4, offset: 2 ** 52, size: 4096, flags: 0, direct: false }],
    ],
    [
      Opcode.WRITE,
      writeArguments(4, 5n, Buffer.from('hi')),
      ['write', 9, { fh: 4, offset: 5, data: 'hi', flags: 0, fromPageCache: false, direct: false }],
    ],
    [
      Opcode.FLUSH,
      [u64(4), u32(0), u32(0), u64(0xffff_ffff_ffff_ffffn)],
      ['flush', 9, 4, 0xffff_ffff_ffff_ffffn],
    ],
    [Opcode.RELEASE, [u64(4), u32(0), u32(0), u64(3)], ['release', 9, 4, undefined]],
    [Opcode.RELEASE, [u64(4), u32(0), u32(2), u64(3)], ['release', 9, 4, 3n]],
    [Opcode.FSYNC, [u64(4), u32(1), u32(0)], ['fsync', 9, 4, true]],
    [Opcode.OPENDIR, [u32(0o200000), u32(0)], ['opendir', 9, 0o200000]],
    [Opcode.RELEASEDIR, [u64(4), u32(0), u32(0), u64(0)], ['releasedir', 9, 4]],
    [Opcode.FSYNCDIR, [u64(4), u32(0), u32(0)], ['fsyncdir', 9, 4, false]],
    [Opcode.STATFS, [], ['statfs', 9]],
    [Opcode.ACCESS, [u32(5), u32(0)], ['access', 9, 5]],
    [
      Opcode.SETLKW,
      lock,
      [
        'setlk',
        9,
        {
          fh: 5,
          owner: 0xffff_ffff_ffff_fff0n,
          lock: { start: 7n, end: 2n ** 63n - 1n, type: 1, pid: 99 },
          flock: true,
        },
        true,
      ],
    ],
    [Opcode.SETLK, lock, ['setlk', 9, { fh: 5 }, false]],
    [Opcode.GETLK, lock, ['getlk', 9, { flock: true }]],
  ];
  for (const [opcode, fields, expected] of cases) {
    calls.length = 0;
    const { unique } = channel.deliver(opcode, 9, fields);
    t.equal(channel.answer(unique)?.error, -Errno.EPERM, expected[0]);
    t.match(calls[0]?.map(withTexts), expected);
  }
});

/** `value` with text in the place of bytes. */
function withTexts(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString();
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withTexts(part)]));
}

t.test('FORGET and BATCH_FORGET reach the file system and are not answered', async (t) => {
  const forgotten: [number, number][] = [];
  class Recording extends MemoryFileSystem {
    override forget(nodeid: number, nlookup: number) {
      forgotten.push([nodeid, nlookup]);
      if (nodeid === 6) throw new Error('forget is broken');
    }
  }
  const { channel, log } = serve(new Recording());
  const before = channel.written.length;
  channel.deliver(Opcode.FORGET, 5, [u64(3)]);
  channel.deliver(Opcode.BATCH_FORGET, 0, [u32(2), u32(0), u64(6), u64(1), u64(7), u64(2)]);
  channel.deliver(Opcode.BATCH_FORGET, 0, [u32(1000), u32(0), u64(8), u64(1)]);
  t.same(forgotten, [
    [5, 3],
    [6, 1],
    [7, 2],
    [8, 1],
  ]);
  t.equal(channel.written.length, before);
  t.match(log, [/FORGET of node 6.*forget is broken/]);
});

t.test(
  'an operation that NFS does not have is answered with ENOSYS, so that the kernel stops asking',
  async (t) => {
    const { channel } = serve(new MemoryFileSystem());
    const { GETXATTR, SETXATTR, LISTXATTR, FALLOCATE, COPY_FILE_RANGE, LSEEK, IOCTL, POLL, BMAP } = Opcode;
    for (const opcode of [
      GETXATTR,
      SETXATTR,
      LISTXATTR,
      FALLOCATE,
      COPY_FILE_RANGE,
      LSEEK,
      IOCTL,
      POLL,
      BMAP,
      4000,
    ])
      t.equal(channel.answer(channel.deliver(opcode, 1, [u64(0), u64(0)]).unique)?.error, -Errno.ENOSYS);
  },
);
