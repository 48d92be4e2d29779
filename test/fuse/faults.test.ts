/** Faults of the file system, of the kernel and of requests: each gets an errno, and the session lives on. */
import t from 'tap';
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type { RequestContext } from '../../lib/fuse/contract/operations.js';
import { Opcode } from '../../lib/fuse/contract/protocol.js';
import { name, raw, settled, u32, u64 } from '../support/memory-channel.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { readArguments, serve } from './support/session-bench.js';

t.test(
  'a fault in the file system fails one request with EIO and a log line, and the session goes on',
  async (t) => {
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
  },
);

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
