/** Interrupted requests, and the end of the connection: operations are told, in this order, and the session ends after them. */
import t from 'tap';
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type { RequestContext } from '../../lib/fuse/contract/operations.js';
import { Opcode } from '../../lib/fuse/contract/protocol.js';
import { settled, u32, u64 } from '../support/memory-channel.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { serve, writeArguments } from './support/session-bench.js';

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

t.test(
  'the end of the connection cancels the waiting requests, and destroys the file system after them',
  async (t) => {
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
  },
);

t.test('operations that never end delay the end of the session no longer than its time limit', async (t) => {
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
