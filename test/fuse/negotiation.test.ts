/** INIT: the capabilities that a session agrees on with the kernel. */
import t from 'tap';
import type { FuseCapabilities } from '../../lib/fuse/contract/capabilities.js';
import { Errno } from '../../lib/fuse/contract/errno.js';
import { InitFlag } from '../../lib/fuse/contract/protocol.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { serve } from './support/session-bench.js';

t.test(
  'INIT accepts the flags that we want among those offered, and none that breaks close-to-open',
  async (t) => {
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
    t.equal(
      flags & (WRITEBACK_CACHE | AUTO_INVAL_DATA | EXPLICIT_INVAL_DATA | ATOMIC_O_TRUNC | DONT_MASK),
      0n,
    );
    const { POSIX_LOCKS, FLOCK_LOCKS, CACHE_SYMLINKS, DIRECT_IO_ALLOW_MMAP } = InitFlag;
    for (const flag of [POSIX_LOCKS, FLOCK_LOCKS, CACHE_SYMLINKS, DIRECT_IO_ALLOW_MMAP])
      t.not(flags & flag, 0n);
  },
);

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
      idmappedMounts: false,
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
      idmappedMounts: InitFlag.ALLOW_IDMAP,
    };
    const always = await agreed(none);
    for (const [capability, flags] of Object.entries(flagsOf)) {
      t.equal(always & flags, 0n, `no ${capability} unless stated`);
      t.equal(await agreed({ ...none, [capability]: true }), always | flags, capability);
    }
  },
);

t.test('an old kernel without large requests gets the small ones that it supports', async (t) => {
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
