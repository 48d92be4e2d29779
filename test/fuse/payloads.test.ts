/** Data of READ and WRITE: offsets at the edge of what numbers hold, pieces, and buffers that are still in use. */
import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import type { FuseRead, FuseWrite, RequestContext } from '../../lib/fuse/contract/operations.js';
import { Opcode } from '../../lib/fuse/contract/protocol.js';
import { settled } from '../support/memory-channel.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { readArguments, serve, writeArguments } from './support/session-bench.js';

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
  'a read across offset 2^53 gets the data before it, and nothing of a file that is longer',
  async (t) => {
    const asked: number[][] = [];
    class Sized extends MemoryFileSystem {
      size = 0n;
      override attributes(of: ReturnType<MemoryFileSystem['addFile']>) {
        return { ...super.attributes(of), size: this.size };
      }
      override read(_ctx: RequestContext, _node: number, { offset, size }: FuseRead) {
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
    override read(_ctx: RequestContext, _node: number, { size }: FuseRead) {
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
    override write(_ctx: RequestContext, _node: number, { data }: FuseWrite) {
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
  'pending payloads are bounded: the session then reads requests in steps, until one is answered',
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
