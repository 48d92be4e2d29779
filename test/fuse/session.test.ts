import t from 'tap';
import type { FuseCapabilities } from '../../lib/fuse/contract/capabilities.js';
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type { FuseOperations, RequestContext } from '../../lib/fuse/contract/operations.js';
import { InitFlag, Opcode } from '../../lib/fuse/contract/protocol.js';
import { FuseSession, type SessionOptions } from '../../lib/fuse/session/session.js';
import { MemoryChannel, name, raw, settled, u32, u64 } from '../support/memory-channel.js';
import { MemoryFileSystem } from '../support/memory-fs.js';

interface Bench {
  readonly channel: MemoryChannel;
  readonly session: FuseSession;
  readonly log: string[];
  readonly timers: { callback: () => void; milliseconds: number; cleared: boolean }[];
}

/** A session over memory whose grace periods run only when the test says so. */
function serve(operations: FuseOperations, options: SessionOptions = {}, init = true): Bench {
  const channel = new MemoryChannel();
  const log: string[] = [];
  const timers: Bench['timers'] = [];
  const session = new FuseSession(channel, operations, {
    log: (line) => log.push(line),
    timers: {
      set: (callback, milliseconds) => {
        const timer = { callback, milliseconds, cleared: false };
        timers.push(timer);
        return timer;
      },
      clear: (timer) => {
        (timer as Bench['timers'][number]).cleared = true;
      },
    },
    ...options,
  });
  if (init) channel.init();
  return { channel, session, log, timers };
}

const readArguments = (fh: number, offset: bigint, size: number) => [
  u64(fh),
  u64(offset),
  u32(size),
  u32(0),
  u64(0),
  u32(0),
  u32(0),
];
const writeArguments = (fh: number, offset: bigint, data: Buffer) => [
  u64(fh),
  u64(offset),
  u32(data.length),
  u32(0),
  u64(0),
  u32(0),
  u32(0),
  raw(data),
];

t.test('INIT accepts what we want of what is offered, and nothing that breaks close-to-open', async (t) => {
  const fs = new MemoryFileSystem({ capabilities: { cachedSymlinks: true } });
  const { channel, session } = serve(fs, {}, false);
  const answer = channel.init();
  t.equal(answer?.error, 0);
  t.equal(answer?.payload.length, 64);
  const payload = answer?.payload ?? Buffer.alloc(64);
  t.equal(payload.readUInt32LE(0), 7);
  t.equal(payload.readUInt32LE(20), 1 << 20, 'max_write');
  t.equal(payload.readUInt32LE(24), 1, 'time_gran');
  t.equal(payload.readUInt16LE(28), 256, 'max_pages');
  t.ok(payload.readUInt16LE(16) >= 64, 'max_background');
  t.ok(payload.readUInt16LE(18) < payload.readUInt16LE(16), 'congestion threshold below it');
  const flags = BigInt(payload.readUInt32LE(12)) | (BigInt(payload.readUInt32LE(32)) << 32n);
  t.equal((await session.ready).flags, flags);
  t.equal(fs.connection?.flags, flags);
  const { WRITEBACK_CACHE, AUTO_INVAL_DATA, EXPLICIT_INVAL_DATA, ATOMIC_O_TRUNC, DONT_MASK } = InitFlag;
  t.equal(flags & (WRITEBACK_CACHE | AUTO_INVAL_DATA | EXPLICIT_INVAL_DATA | ATOMIC_O_TRUNC | DONT_MASK), 0n);
  const { POSIX_LOCKS, FLOCK_LOCKS, CACHE_SYMLINKS, DIRECT_IO_ALLOW_MMAP } = InitFlag;
  for (const flag of [POSIX_LOCKS, FLOCK_LOCKS, CACHE_SYMLINKS, DIRECT_IO_ALLOW_MMAP])
    t.not(flags & flag, 0n);
});

t.test('locks stay local to the kernel where the file system has none', async (t) => {
  const { session } = serve(new MemoryFileSystem({ capabilities: { posixLocks: false, flockLocks: false } }));
  const { flags } = await session.ready;
  t.equal(flags & (InitFlag.POSIX_LOCKS | InitFlag.FLOCK_LOCKS), 0n);
});

t.test(
  'each capability of the file system makes INIT ask for its own flags, and for no others',
  async (t) => {
    const none: FuseCapabilities = {
      posixLocks: false,
      flockLocks: false,
      readdirplus: false,
      lookupOfDots: false,
      clearsSetIdBits: false,
      cachedSymlinks: false,
    };
    const agreed = async (capabilities: FuseCapabilities): Promise<bigint> => {
      const { session } = serve(new MemoryFileSystem({ capabilities }));
      return (await session.ready).flags;
    };
    const flagsOf: Record<keyof FuseCapabilities, bigint> = {
      posixLocks: InitFlag.POSIX_LOCKS,
      flockLocks: InitFlag.FLOCK_LOCKS,
      readdirplus: InitFlag.DO_READDIRPLUS | InitFlag.READDIRPLUS_AUTO,
      lookupOfDots: InitFlag.EXPORT_SUPPORT,
      clearsSetIdBits: InitFlag.HANDLE_KILLPRIV,
      cachedSymlinks: InitFlag.CACHE_SYMLINKS,
    };
    const always = await agreed(none);
    for (const [capability, flags] of Object.entries(flagsOf)) {
      t.equal(always & flags, 0n, `no ${capability} unless stated`);
      t.equal(await agreed({ ...none, [capability]: true }), always | flags, capability);
    }
  },
);

t.test('an old kernel without large requests gets what it can do', async (t) => {
  const { channel, session } = serve(new MemoryFileSystem(), {}, false);
  channel.init(InitFlag.BIG_WRITES, 31);
  t.match(await session.ready, { maxWrite: 131072, protocolMinor: 31, flags: InitFlag.BIG_WRITES });
});

t.test('a kernel that is too old is refused with an explanation', async (t) => {
  const fs = new MemoryFileSystem();
  const { channel, session } = serve(fs, {}, false);
  const answer = channel.init(0n, 30);
  t.equal(answer?.error, -Errno.EPROTO);
  const end = await session.closed;
  t.match(end, /7\.30.*7\.31/);
  await t.rejects(session.ready, /7\.31/);
  t.equal(fs.destroyed, 1);
});

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
    [Opcode.RENAME, [u64(8), name('n'), name('m')], ['rename', 9, 'n', 8, 'm', 0]],
    [Opcode.RENAME2, [u64(8), u32(1), u32(0), name('n'), name('m')], ['rename', 9, 'n', 8, 'm', 1]],
    [Opcode.LINK, [u64(8), name('n')], ['link', 8, 9, 'n']],
    [Opcode.OPEN, [u32(2), u32(0)], ['open', 9, 2]],
    [
      Opcode.CREATE,
      [u32(0x8042), u32(0o100644), u32(0), u32(0), name('n')],
      ['create', 9, 'n', 0o100644, 0x8042],
    ],
    [Opcode.READ, readArguments(4, 2n ** 52n, 4096), ['read', 9, 4, 2 ** 52, 4096, 0, false]],
    [Opcode.WRITE, writeArguments(4, 5n, Buffer.from('hi')), ['write', 9, 4, 5, 'hi', 0, false, false]],
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
    const shown = calls[0]?.map((value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString() : value,
    );
    t.match(shown, expected);
  }
});

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

t.test('what NFS has no counterpart of is answered ENOSYS, so that the kernel stops asking', async (t) => {
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
});

t.test('a fault in the file system is EIO and a log line, and the session lives on', async (t) => {
  class Faulty extends MemoryFileSystem {
    override lookup(): never {
      throw new TypeError('lookup is broken');
    }
    override async mkdir(): Promise<never> {
      await settled();
      throw new TypeError('mkdir is broken');
    }
    override unlink(): never {
      throw new FuseError(10008); // not an errno that the kernel may see
    }
  }
  const { channel, session, log } = serve(new Faulty());
  const sync = channel.deliver(Opcode.LOOKUP, 1, [name('a"b')]);
  const later = channel.deliver(Opcode.MKDIR, 1, [u32(0o755), u32(0), name('d')]);
  const internal = channel.deliver(Opcode.UNLINK, 1, [name('u')]);
  await session.idle();
  for (const { unique } of [sync, later, internal]) t.equal(channel.answer(unique)?.error, -Errno.EIO);
  t.match(log, [/LOOKUP of node 1 name "a\\"b".*lookup is broken/, /UNLINK/, /MKDIR.*mkdir is broken/]);
  t.equal(session.counters.faults, 3);
  t.equal(channel.answer(channel.deliver(Opcode.GETATTR, 1, [u32(0), u32(0), u64(0)]).unique)?.error, 0);
});

t.test('an answer that cannot be encoded becomes EIO rather than silence', async (t) => {
  class Faulty extends MemoryFileSystem {
    override read() {
      return Buffer.alloc(100);
    }
    override async statfs() {
      await settled();
      return { ...super.statfs({} as RequestContext, 1), blocks: 1 } as never;
    }
  }
  const { channel, session, log } = serve(new Faulty());
  const tooMuch = channel.deliver(Opcode.READ, 1, readArguments(1, 0n, 99));
  const wrongType = channel.deliver(Opcode.STATFS, 1);
  await session.idle();
  t.equal(channel.answer(tooMuch.unique)?.error, -Errno.EIO);
  t.equal(channel.answer(wrongType.unique)?.error, -Errno.EIO);
  t.equal(log.length, 2);
});

t.test('an answer that the kernel refuses is followed by EIO', async (t) => {
  const { channel, log } = serve(new MemoryFileSystem());
  channel.nextErrno = Errno.EINVAL;
  const { unique } = channel.deliver(Opcode.STATFS, 1);
  t.equal(channel.answer(unique)?.error, -Errno.EIO);
  t.match(log, [/STATFS.*EINVAL/]);
  channel.nextErrno = Errno.ENOENT;
  channel.deliver(Opcode.STATFS, 1);
  t.equal(log.length, 1, 'but a request that the kernel has given up is nothing to tell');
});

t.test('malformed requests are refused one by one', async (t) => {
  const { channel } = serve(new MemoryFileSystem());
  const short = channel.deliver(Opcode.READ, 1, [u64(1)]);
  const unterminated = channel.deliver(Opcode.LOOKUP, 1, [raw(Buffer.alloc(8000, 0x61))]);
  const lying = channel.deliver(Opcode.WRITE, 1, [u64(1), u64(0), u32(5000), u32(0), u64(0), u32(0), u32(0)]);
  for (const { unique } of [short, unterminated, lying])
    t.equal(channel.answer(unique)?.error, -Errno.EINVAL);
  t.equal(channel.answer(channel.deliver(Opcode.STATFS, 2n ** 60n).unique)?.error, -Errno.ESTALE);
});

t.test(
  'offsets of 2^53 and more are refused for writing, and are end of file for reading a shorter one',
  async (t) => {
    const fs = new MemoryFileSystem();
    const node = fs.addFile('f', Buffer.from('data'));
    class Huge extends MemoryFileSystem {
      override attributes(of: typeof node) {
        return { ...super.attributes(of), size: 2n ** 62n };
      }
    }
    const small = serve(fs);
    const write = small.channel.deliver(
      Opcode.WRITE,
      node.id,
      writeArguments(1, 2n ** 53n, Buffer.from('x')),
    );
    t.equal(small.channel.answer(write.unique)?.error, -Errno.EFBIG);
    const read = small.channel.deliver(Opcode.READ, node.id, readArguments(1, 2n ** 53n, 10));
    await small.session.idle();
    t.match(small.channel.answer(read.unique), { error: 0, payload: Buffer.alloc(0) });
    const huge = new Huge();
    const big = huge.addFile('f', Buffer.from('data'));
    const { channel, session } = serve(huge);
    const beyond = channel.deliver(Opcode.READ, big.id, readArguments(1, 2n ** 53n, 10));
    await session.idle();
    t.equal(channel.answer(beyond.unique)?.error, -Errno.EFBIG);
  },
);

t.test(
  'a read that goes on beyond 2^53 gets what is before it, and nothing of a file that is longer',
  async (t) => {
    const asked: number[][] = [];
    class Sized extends MemoryFileSystem {
      size = 0n;
      override attributes(of: ReturnType<MemoryFileSystem['addFile']>) {
        return { ...super.attributes(of), size: this.size };
      }
      override read(_ctx: RequestContext, _node: number, _fh: number, offset: number, size: number) {
        asked.push([offset, size]);
        return Promise.resolve(Buffer.from('data').subarray(0, size));
      }
    }
    const fs = new Sized();
    const { channel, session } = serve(fs);
    const node = fs.addFile('f', Buffer.from('data'));
    const limit = 2n ** 53n;
    const reads = async (offset: bigint, length: number) => {
      const { unique } = channel.deliver(Opcode.READ, node.id, readArguments(1, offset, length));
      await session.idle();
      return channel.answer(unique);
    };
    fs.size = limit;
    t.match(await reads(limit - 3n, 10), { error: 0, payload: Buffer.from('dat') });
    fs.size = limit + 1n;
    t.equal((await reads(limit - 3n, 10))?.error, -Errno.EFBIG);
    t.match(
      await reads(limit - 3n, 3),
      { error: 0, payload: Buffer.from('dat') },
      'what ends before it is read',
    );
    t.same(asked, [
      [2 ** 53 - 3, 3],
      [2 ** 53 - 3, 3],
    ]);
  },
);

t.test('read data in several pieces arrives whole, short or long', async (t) => {
  const pieces = [Buffer.from('one'), Buffer.alloc(0), Buffer.alloc(40_000, 7), Buffer.from('end')];
  class Pieces extends MemoryFileSystem {
    override read(_ctx: RequestContext, _node: number, _fh: number, _offset: number, size: number) {
      return size < 1000 ? [Buffer.from('one'), Buffer.from('two')] : pieces;
    }
  }
  const { channel } = serve(new Pieces());
  const short = channel.deliver(Opcode.READ, 1, readArguments(1, 0n, 100));
  const long = channel.deliver(Opcode.READ, 1, readArguments(1, 0n, 65536));
  t.equal(channel.answer(short.unique)?.payload.toString(), 'onetwo');
  t.ok(channel.answer(long.unique)?.payload.equals(Buffer.concat(pieces)));
});

t.test('the payload of a pending WRITE stays untouched until its answer', async (t) => {
  const pending: { data: Uint8Array; resolve: (count: number) => void }[] = [];
  class Slow extends MemoryFileSystem {
    override write(_c: RequestContext, _n: number, _f: number, _o: number, data: Uint8Array) {
      return new Promise<number>((resolve) => pending.push({ data, resolve }));
    }
  }
  const { channel, session } = serve(new Slow());
  const large = channel.deliver(Opcode.WRITE, 1, writeArguments(1, 0n, Buffer.alloc(100_000, 1)));
  const small = channel.deliver(Opcode.WRITE, 1, writeArguments(1, 0n, Buffer.alloc(1000, 2)));
  t.equal(large.kept, true, 'a large payload keeps the buffer it came in');
  t.equal(small.kept, false, 'a small one must not pin a megabyte');
  t.ok(Buffer.from(pending[0]?.data ?? []).equals(Buffer.alloc(100_000, 1)));
  t.ok(Buffer.from(pending[1]?.data ?? []).equals(Buffer.alloc(1000, 2)));
  t.equal(channel.released.length, 0);
  for (const { data, resolve } of pending) resolve(data.length);
  await session.idle();
  t.equal(channel.released.length, 1);
  t.equal(channel.answer(large.unique)?.payload.readUInt32LE(0), 100_000);
  t.equal(channel.answer(small.unique)?.payload.readUInt32LE(0), 1000);
});

t.test('a write that is answered at once does not keep its buffer', async (t) => {
  const fs = new MemoryFileSystem();
  const node = fs.addFile('f', Buffer.alloc(0));
  const { channel } = serve(fs);
  t.equal(channel.deliver(Opcode.WRITE, node.id, writeArguments(1, 0n, Buffer.alloc(50_000))).kept, false);
  t.equal(channel.released.length, 0);
  t.equal(node.size, 50_000);
});

t.test(
  'pending payloads are bounded: reading goes on in steps, and as usual when one is answered',
  async (t) => {
    const resolves: ((count: number) => void)[] = [];
    class Slow extends MemoryFileSystem {
      override write() {
        return new Promise<number>((resolve) => resolves.push(resolve));
      }
    }
    const { channel, session, timers } = serve(new Slow());
    const megabyte = Buffer.alloc(1 << 20);
    let sent = 0;
    while (!channel.paused && sent < 100) {
      channel.deliver(Opcode.WRITE, 1, writeArguments(1, 0n, megabyte));
      sent += 1;
    }
    t.ok(sent >= 60 && sent <= 64, `${sent} large writes at a time`);
    timers.at(-1)?.callback();
    t.equal(channel.steps, 1, 'interrupts and other callers are looked for');
    resolves[0]?.(megabyte.length);
    await settled();
    t.equal(channel.paused, false);
    for (const resolve of resolves) resolve(megabyte.length);
    await session.idle();
  },
);

t.test('an interrupted request gets its grace, then its operation is told', async (t) => {
  let told = 0;
  let ctx: RequestContext | undefined;
  class Waiting extends MemoryFileSystem {
    override open(context: RequestContext): Promise<never> {
      ctx = context;
      return new Promise((_, reject) => {
        context.onCancel(() => {
          told += 1;
          reject(new FuseError(Errno.EINTR));
        });
      });
    }
  }
  const { channel, session, timers } = serve(new Waiting(), { interruptGraceMs: 250 });
  const { unique } = channel.deliver(Opcode.OPEN, 1, [u32(0), u32(0)]);
  t.equal(ctx?.cancelled, false);
  channel.deliver(Opcode.INTERRUPT, 0, [u64(unique)], unique | 1n);
  channel.deliver(Opcode.INTERRUPT, 0, [u64(unique)], unique | 1n);
  t.equal(timers.length, 1);
  t.equal(timers[0]?.milliseconds, 250);
  t.equal(told, 0, 'not before the grace is over');
  timers[0]?.callback();
  t.equal(told, 1);
  t.equal(ctx?.cancelled, true);
  await session.idle();
  t.equal(channel.answer(unique)?.error, -Errno.EINTR);
  t.match(ctx, { uid: 1000, gid: 100, pid: 4321 });
  ctx?.onCancel(() => {
    told += 1;
  });
  t.equal(told, 2, 'a listener that comes late is called at once');
});

t.test('an interrupted request that answers within the grace is answered normally', async (t) => {
  let resolve: () => void = () => {};
  class Slow extends MemoryFileSystem {
    override access() {
      return new Promise<void>((done) => {
        resolve = done;
      });
    }
  }
  const { channel, session, timers } = serve(new Slow());
  const { unique } = channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)]);
  channel.deliver(Opcode.INTERRUPT, 0, [u64(unique)], unique | 1n);
  resolve();
  await session.idle();
  t.equal(channel.answer(unique)?.error, 0);
  t.equal(timers[0]?.cleared, true);
});

t.test(
  'an interrupt that overtakes its request still counts, one for a finished request does not',
  async (t) => {
    class Slow extends MemoryFileSystem {
      override access(ctx: RequestContext) {
        return new Promise<void>((_, reject) => ctx.onCancel(() => reject(new FuseError(Errno.EINTR))));
      }
    }
    const { channel, session, timers } = serve(new Slow());
    const done = channel.deliver(Opcode.STATFS, 1);
    for (let i = 0; i < 200; i++) channel.deliver(Opcode.INTERRUPT, 0, [u64(done.unique)], done.unique | 1n);
    channel.deliver(Opcode.INTERRUPT, 0, [u64(5000)], 5001n);
    t.equal(timers.length, 0);
    channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)], 5000n);
    t.equal(timers.length, 1);
    timers[0]?.callback();
    await session.idle();
    t.equal(channel.answer(5000n)?.error, -Errno.EINTR);
  },
);

t.test('the end of the connection cancels who waits, and destroys the file system after them', async (t) => {
  const order: string[] = [];
  let finishWrite: () => void = () => {};
  class Slow extends MemoryFileSystem {
    override access(ctx: RequestContext) {
      return new Promise<void>((_, reject) =>
        ctx.onCancel(() => {
          order.push('cancelled');
          reject(new FuseError(Errno.EINTR));
        }),
      );
    }
    override write(ctx: RequestContext) {
      ctx.onCancel(() => order.push('write cancelled'));
      return new Promise<number>((resolve) => {
        finishWrite = () => {
          order.push('written');
          resolve(1);
        };
      });
    }
    override destroy() {
      order.push('destroyed');
    }
  }
  const { channel, session } = serve(new Slow());
  channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)]);
  channel.deliver(Opcode.WRITE, 1, writeArguments(1, 0n, Buffer.from('x')));
  const answered = channel.written.length;
  channel.end('unmounted');
  channel.end('aborted');
  await settled();
  t.equal(channel.closed, true);
  t.same(order, ['cancelled'], 'data on its way is not dropped');
  finishWrite();
  t.equal(await session.closed, 'unmounted');
  t.same(order, ['cancelled', 'written', 'destroyed']);
  t.equal(channel.written.length, answered, 'nothing is written to a closed connection');
});

t.test('operations that never end delay the end of the session only so long', async (t) => {
  class Hung extends MemoryFileSystem {
    override flush() {
      return new Promise<void>(() => {});
    }
  }
  const fs = new Hung();
  const { channel, session, timers } = serve(fs, { drainMs: 777 });
  channel.deliver(Opcode.FLUSH, 1, [u64(1), u32(0), u32(0), u64(0)]);
  session.abort();
  t.equal(fs.destroyed, 0);
  t.equal(timers[0]?.milliseconds, 777);
  timers[0]?.callback();
  t.equal(await session.closed, 'aborted');
  t.equal(fs.destroyed, 1);
});

t.test('notifications: attributes at once, pages and names from another thread', async (t) => {
  const { channel, session } = serve(new MemoryFileSystem());
  const before = channel.written.length;
  session.notifier.invalidateAttributes(7);
  const attributes = channel.written[before];
  t.match(attributes, { unique: 0n, error: 2 });
  t.same(attributes?.payload, Buffer.from(new BigInt64Array([7n, -1n, 0n]).buffer));
  await session.notifier.invalidatePages(7, 2 ** 40, 4096);
  await session.notifier.invalidateEntry(1, Buffer.from([0xff, 0x61]));
  t.equal(channel.written.length, before + 1);
  const [pages, entry] = channel.fromThread;
  t.match(pages, { unique: 0n, error: 2 });
  t.same(pages?.payload, Buffer.from(new BigInt64Array([7n, 2n ** 40n, 4096n]).buffer));
  t.match(entry, { unique: 0n, error: 3 });
  t.same(entry?.payload, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x61, 0]));
});

t.test('names are asked for again; where that would unhash them, only those that do not exist', async (t) => {
  const names = [
    { name: Buffer.from('there'), exists: true },
    { name: Buffer.from('missing'), exists: false },
  ];
  const expire = async (offered?: bigint) => {
    const { channel, session } = serve(new MemoryFileSystem(), {}, false);
    channel.init(offered);
    const before = channel.written.length;
    await session.notifier.expireEntries(1, names);
    t.equal(channel.written.length, before, 'nothing from the thread that serves requests');
    t.equal(session.notifier.expiresEntries, offered === undefined);
    return channel.fromThread.map(({ error, payload }) => ({
      error,
      flags: payload.readUInt32LE(12),
      name: payload.subarray(16, -1).toString(),
    }));
  };
  t.same(await expire(), [
    { error: 3, flags: 1, name: 'there' },
    { error: 3, flags: 1, name: 'missing' },
  ]);
  t.same(await expire(InitFlag.BIG_WRITES), [{ error: 3, flags: 0, name: 'missing' }]);
});

t.test('a notification about what the kernel does not know is no event; a refused one is', async (t) => {
  const { channel, session, log } = serve(new MemoryFileSystem());
  channel.nextErrno = Errno.ENOENT;
  session.notifier.invalidateAttributes(7);
  t.equal(log.length, 0);
  channel.nextErrno = Errno.EINVAL;
  await session.notifier.invalidatePages(7, 0, 0);
  t.match(log, [/INVAL_INODE.*EINVAL/]);
  channel.end('unmounted');
  await session.closed;
  session.notifier.invalidateAttributes(7);
  await session.notifier.invalidateEntry(1, Buffer.from('x'));
  t.equal(channel.fromThread.length, 0);
});
