/** A session that hands its connection over to another process, and one that gets it: no request is lost or done twice. */
import t from 'tap';
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type { ConnectionInfo, RequestContext } from '../../lib/fuse/contract/operations.js';
import { InitFlag, Opcode } from '../../lib/fuse/contract/protocol.js';
import { settled, u32, u64 } from '../support/memory-channel.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { type Bench, serve, writeArguments } from './support/session-bench.js';

/** A kernel that cannot repeat requests. */
const OLD = InitFlag.INIT_EXT | InitFlag.MAX_PAGES;
const AGREED: ConnectionInfo = { protocolMinor: 38, maxWrite: 1 << 20, maxReadahead: 131_072, flags: OLD };

/** ACCESS waits for what the test says, or for its caller to go; WRITE only for the test. */
class Waiting extends MemoryFileSystem {
  readonly contexts: RequestContext[] = [];
  readonly finish: (() => void)[] = [];
  override access(ctx: RequestContext): Promise<void> {
    this.contexts.push(ctx);
    return new Promise((resolve, reject) => {
      this.finish.push(resolve);
      ctx.onCancel(() => reject(new FuseError(Errno.EINTR)));
    });
  }
  override write(ctx: RequestContext, _nodeid: number, { data }: { data: Uint8Array }): Promise<number> {
    this.contexts.push(ctx);
    return new Promise((resolve) => this.finish.push(() => resolve(data.length)));
  }
}

const access = ({ channel }: Bench, unique?: bigint): bigint =>
  channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)], unique).unique;

/** Ends the waits of a detach: the first for answers, then the one for cancelled operations. */
async function passTime({ timers }: Bench, milliseconds: number): Promise<void> {
  await settled();
  for (const timer of timers) if (timer.milliseconds === milliseconds && !timer.cleared) timer.callback();
  await settled();
}

function serveOld(fs = new Waiting(), options = {}): { fs: Waiting; bench: Bench } {
  const bench = serve(fs, options, false);
  bench.channel.init(OLD);
  return { fs, bench };
}

t.test(
  'a session without work lets go at once, and the connection is not over for the file system',
  async (t) => {
    const fs = new MemoryFileSystem();
    const { channel, session } = serve(fs);
    const done = session.detach();
    t.equal(channel.stopped, true, 'nothing is read from the call on');
    t.same(await done, { requests: [], unanswered: 0 });
    t.equal(channel.closed, true);
    await session.over;
    t.equal(await session.closed, 'detached');
    t.equal(fs.destroyed, 0);
  },
);

t.test('operations under way end and are answered before the session lets go', async (t) => {
  const { fs, bench } = serveOld();
  const unique = access(bench);
  let isDone = false;
  const done = bench.session.detach({ patienceMs: 700 }).finally(() => {
    isDone = true;
  });
  await settled();
  t.equal(isDone, false);
  t.equal(bench.timers[0]?.milliseconds, 700);
  fs.finish[0]?.();
  t.same(await done, { requests: [], unanswered: 0 });
  t.equal(bench.channel.answer(unique)?.error, 0);
  t.equal(fs.contexts[0]?.cancelled, false);
});

t.test(
  'an operation that waits too long is cancelled without an answer, and its request handed over',
  async (t) => {
    const cells = new Float64Array(64);
    const { fs, bench } = serveOld(new Waiting(), { underWay: cells });
    const unique = access(bench);
    const done = bench.session.detach({ patienceMs: 700 });
    await passTime(bench, 700);
    const handedOver = await done;
    t.equal(fs.contexts[0]?.cancelled, true);
    t.equal(bench.channel.answer(unique), undefined);
    t.equal(handedOver?.unanswered, 1);
    t.ok(cells.includes(Number(unique)), 'it is still noted');

    const next = new Waiting();
    const { requests = [] } = handedOver ?? {};
    const second = serve(next, { underWay: cells, resumed: AGREED, requests }, false);
    t.match(next.contexts, [{ unique: Number(unique), resent: true, uid: 1000, gid: 100, pid: 4321 }]);
    const later = access(second, 100n);
    t.match(next.contexts[1], { unique: 100, resent: false });
    for (const finish of next.finish) finish();
    await second.session.idle();
    t.equal(second.channel.answer(unique)?.error, 0);
    t.equal(second.channel.answer(later)?.error, 0);
    t.equal(second.channel.written.length, 2, 'nothing was ended with an error');
    t.notOk(cells.includes(Number(unique)));
  },
);

t.test('a lock that waits is left at once: its unlock may be among what is not read any more', async (t) => {
  class Locking extends Waiting {
    override setlk(ctx: RequestContext): Promise<void> {
      return this.access(ctx);
    }
  }
  const { fs, bench } = serveOld(new Locking());
  const lock = [u64(1), u64(7), u64(0), u64(9), u32(1), u32(0), u32(0), u32(0)];
  const waits = bench.channel.deliver(Opcode.SETLKW, 1, lock).unique;
  const other = access(bench);
  const done = bench.session.detach();
  await settled();
  t.same(
    fs.contexts.map(({ cancelled }) => cancelled),
    [true, false],
  );
  fs.finish[1]?.();
  const { requests = [], unanswered } = (await done) ?? {};
  t.equal(unanswered, 1);
  t.equal(requests[0] && Buffer.from(requests[0]).readBigUInt64LE(8), waits);
  t.equal(bench.channel.answer(other)?.error, 0);
});

t.test('where the kernel repeats requests, it is left to it', async (t) => {
  const fs = new Waiting();
  const bench = serve(fs);
  const unique = access(bench);
  const done = bench.session.detach({ patienceMs: 700 });
  await passTime(bench, 700);
  t.same(await done, { requests: [], unanswered: 1 });
  t.equal(fs.contexts[0]?.cancelled, true);
  t.equal(bench.channel.answer(unique), undefined);
});

t.test('an operation that ends well although it was cancelled is answered', async (t) => {
  class Stubborn extends Waiting {
    override access(ctx: RequestContext): Promise<void> {
      return new Promise((resolve) => ctx.onCancel(() => setImmediate(resolve)));
    }
  }
  const { bench } = serveOld(new Stubborn());
  const unique = access(bench);
  const done = bench.session.detach({ patienceMs: 700 });
  await passTime(bench, 700);
  t.same(await done, { requests: [], unanswered: 0 });
  t.equal(bench.channel.answer(unique)?.error, 0);
});

t.test(
  'data on its way is waited for and not cancelled; what is left of it is handed over whole',
  async (t) => {
    const { fs, bench } = serveOld();
    const small = Buffer.from('a few bytes');
    const large = Buffer.alloc(600_000, 'large');
    for (const data of [small, large]) bench.channel.deliver(Opcode.WRITE, 1, writeArguments(1, 0n, data));
    const done = bench.session.detach({ patienceMs: 700, cancelMs: 70 });
    await passTime(bench, 700);
    t.notOk(fs.contexts.some(({ cancelled }) => cancelled));
    await passTime(bench, 70);
    const { requests = [], unanswered } = (await done) ?? {};
    t.equal(unanswered, 2);
    const before = bench.channel.written.length;
    for (const finish of fs.finish) finish();
    await bench.session.closed;
    t.equal(bench.channel.written.length, before, 'no answer after the descriptor was closed');

    const seen: Buffer[] = [];
    class Noting extends MemoryFileSystem {
      override write(_ctx: RequestContext, _node: number, { data }: { data: Uint8Array }): Promise<number> {
        seen.push(Buffer.from(data));
        return Promise.resolve(data.length);
      }
    }
    const second = serve(new Noting(), { resumed: AGREED, requests }, false);
    await second.session.idle();
    t.same(seen, [small, large]);
    t.same(
      second.channel.written.map(({ error, payload }) => [error, payload.readUInt32LE(0)]),
      [
        [0, small.length],
        [0, large.length],
      ],
    );
  },
);

t.test('an interrupt that had come is handed over with its request', async (t) => {
  const { bench } = serveOld();
  const unique = access(bench);
  bench.channel.deliver(Opcode.INTERRUPT, 0, [u64(unique)], unique | 1n);
  const done = bench.session.detach({ patienceMs: 700 });
  await passTime(bench, 700);
  const { requests = [], unanswered } = (await done) ?? {};
  t.equal(unanswered, 1);
  const fs = new Waiting();
  const second = serve(fs, { resumed: AGREED, requests, underWay: new Float64Array(64) }, false);
  t.equal(fs.contexts[0]?.cancelled, false, 'it has its grace');
  t.equal(second.timers.length, 1);
  second.timers[0]?.callback();
  await second.session.idle();
  t.equal(second.channel.answer(unique)?.error, -Errno.EINTR);
});

t.test('a caller whose grace was over gets EINTR from the session that it waits for', async (t) => {
  class Deaf extends Waiting {
    override access(): Promise<void> {
      return new Promise((_, reject) => this.finish.push(() => reject(new FuseError(Errno.EINTR))));
    }
  }
  const deaf = new Deaf();
  const { bench: other } = serveOld(deaf);
  const unique = access(other);
  other.channel.deliver(Opcode.INTERRUPT, 0, [u64(unique)], unique | 1n);
  other.timers[0]?.callback();
  const done = other.session.detach({ patienceMs: 700 });
  await passTime(other, 700);
  deaf.finish[0]?.();
  t.same(await done, { requests: [], unanswered: 0 });
  t.equal(other.channel.answer(unique)?.error, -Errno.EINTR);
});

t.test('notifications on their way are waited for, with a bound', async (t) => {
  const bench = serve(new MemoryFileSystem());
  let flush: () => void = () => {};
  bench.channel.threadsFlushed = new Promise((resolve) => {
    flush = resolve;
  });
  let isDone = false;
  const done = bench.session.detach({ cancelMs: 70 }).finally(() => {
    isDone = true;
  });
  await settled();
  t.equal(isDone, false);
  flush();
  await done;

  const stuck = serve(new MemoryFileSystem());
  stuck.channel.threadsFlushed = new Promise(() => {});
  const left = stuck.session.detach({ cancelMs: 70 });
  await passTime(stuck, 70);
  t.match(await left, { unanswered: 0 });
});

t.test('a connection that ends meanwhile leaves nothing to hand over', async (t) => {
  const bench = serve(new Waiting());
  access(bench);
  const done = bench.session.detach({ patienceMs: 700 });
  await settled();
  bench.channel.end('unmounted');
  t.equal(await done, undefined);
  t.equal(await bench.session.closed, 'unmounted');
  t.equal(await bench.session.detach(), undefined);
});
