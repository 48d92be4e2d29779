/** A session that goes on with the connection of a process that has died: no INIT, and requests that come again. */
import t from 'tap';
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type { ConnectionInfo, RequestContext } from '../../lib/fuse/contract/operations.js';
import { InitFlag, Opcode } from '../../lib/fuse/contract/protocol.js';
import { FuseSession } from '../../lib/fuse/session/session.js';
import { MemoryChannel, u32, u64 } from '../support/memory-channel.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { serve } from './support/session-bench.js';

const RESENT = 1n << 63n;
const AGREED: ConnectionInfo = {
  protocolMinor: 45,
  maxWrite: 1 << 20,
  maxReadahead: 131_072,
  flags: InitFlag.INIT_EXT | InitFlag.MAX_PAGES | InitFlag.HAS_RESEND | InitFlag.HAS_EXPIRE_ONLY,
};

t.test('INIT asks that requests may come again, unless that is not wanted', async (t) => {
  const agreed = async (resend?: boolean) => {
    const { session } = serve(new MemoryFileSystem(), { resend });
    return (await session.ready).flags & InitFlag.HAS_RESEND;
  };
  t.equal(await agreed(), 1n << 39n);
  t.equal(await agreed(true), InitFlag.HAS_RESEND);
  t.equal(await agreed(false), 0n);
});

t.test('a connection that is resumed is ready at once, and asks for what was not answered', async (t) => {
  const fs = new MemoryFileSystem();
  const { channel, session } = serve(fs, { resumed: AGREED }, false);
  t.equal(fs.connection, AGREED);
  t.equal(fs.notifier, session.notifier);
  t.equal(session.connection, AGREED);
  t.equal(await session.ready, AGREED);
  t.equal(session.notifier.expiresEntries, true, 'the notifier knows what this kernel understands');
  t.match(channel.written, [{ unique: 0n, error: 7, payload: Buffer.alloc(0) }]);
  const { unique } = channel.deliver(Opcode.GETATTR, 1, [u32(0), u32(0), u64(0)]);
  t.equal(channel.answer(unique)?.error, 0);
  channel.end('unmounted');
  t.equal(await session.closed, 'unmounted');
});

t.test('INIT is asked for again where somebody may have read it, and is then negotiated', async (t) => {
  const lines: string[] = [];
  const { channel, session, log } = serve(
    new MemoryFileSystem(),
    { restarted: true, debug: (line) => lines.push(line) },
    false,
  );
  t.match(channel.written, [{ unique: 0n, error: 7 }]);
  channel.init();
  t.not((await session.ready).flags & InitFlag.HAS_RESEND, 0n);
  t.match(lines[0], 'notify RESEND = ok');
  const old = new MemoryChannel();
  old.nextErrno = Errno.EINVAL;
  new FuseSession(old, new MemoryFileSystem(), { restarted: true, log: (line) => log.push(line) });
  t.equal(old.nextErrno, 0);
  t.same(log, [], 'an old kernel does not know it');
});

t.test('a kernel that cannot send requests again is not asked to', async (t) => {
  const resumed = { ...AGREED, flags: AGREED.flags & ~InitFlag.HAS_RESEND };
  const { channel, session } = serve(new MemoryFileSystem(), { resumed }, false);
  await session.ready;
  t.equal(channel.written.length, 0);
});

t.test('the requests of a connection that is resumed may be as long as was agreed', async (t) => {
  const resumed = { ...AGREED, maxWrite: 1 << 20 };
  const { channel } = serve(new MemoryFileSystem(), { resumed, maxWrite: 4096 }, false);
  t.ok(channel.maxRequest > 1 << 20);
});

t.test('the agreement is noted before the kernel has the answer to INIT', async (t) => {
  const noted: { connection: ConnectionInfo; answers: number }[] = [];
  const bench = serve(
    new MemoryFileSystem(),
    { agreed: (connection) => noted.push({ connection, answers: bench.channel.written.length }) },
    false,
  );
  bench.channel.init();
  t.same(noted, [{ connection: await bench.session.ready, answers: 0 }]);
});

t.test('an INIT that the dead process has noted and not answered is answered as it had noted', async (t) => {
  const fs = new MemoryFileSystem();
  let inits = 0;
  fs.init = () => {
    inits += 1;
  };
  const { channel, session } = serve(fs, { resumed: AGREED }, false);
  const { unique } = channel.deliver(
    Opcode.INIT,
    0,
    [u32(7), u32(45), u32(131_072), u32(0xffff_ffff), u32(0xffff_ffff), u64(0)],
    RESENT | 2n,
  );
  const answer = channel.answer(unique);
  t.equal(answer?.error, 0);
  const payload = answer?.payload ?? Buffer.alloc(64);
  t.equal(BigInt(payload.readUInt32LE(12)) | (BigInt(payload.readUInt32LE(32)) << 32n), AGREED.flags);
  t.equal(session.connection, AGREED);
  t.equal(inits, 1);
});

t.test('a request that comes again says so, has its old number, and is answered as it came', async (t) => {
  const seen: RequestContext[] = [];
  class Noting extends MemoryFileSystem {
    override access(ctx: RequestContext): Promise<void> {
      seen.push(ctx);
      return Promise.resolve();
    }
  }
  const lines: string[] = [];
  const debug = (line: string) => void lines.push(line);
  const { channel, session } = serve(new Noting(), { resumed: AGREED, debug }, false);
  const large = 0x12_3456_789an;
  channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)], large);
  channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)], RESENT | 18n);
  await session.idle();
  t.match(seen, [
    { unique: Number(large), resent: false },
    { unique: 18, resent: true },
  ]);
  t.equal(channel.answer(RESENT | 18n)?.error, 0);
  t.equal(channel.answer(large)?.error, 0);
  t.match(lines.join('\n'), /> ACCESS #18 again node=1/);
  t.match(lines.join('\n'), /< ACCESS #18 ok/);
});

t.test('the interrupt of a request that comes again finds it, before it and after it', async (t) => {
  class Waiting extends MemoryFileSystem {
    override access(ctx: RequestContext): Promise<void> {
      return new Promise((_, reject) => ctx.onCancel(() => reject(new FuseError(Errno.EINTR))));
    }
  }
  const { channel, session, timers } = serve(new Waiting(), { resumed: AGREED }, false);
  channel.deliver(Opcode.INTERRUPT, 0, [u64(RESENT | 20n)], RESENT | 21n);
  for (const unique of [20n, 22n]) channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)], RESENT | unique);
  channel.deliver(Opcode.INTERRUPT, 0, [u64(RESENT | 22n)], RESENT | 23n);
  t.equal(timers.length, 2);
  for (const { callback } of timers) callback();
  await session.idle();
  for (const unique of [20n, 22n]) t.equal(channel.answer(RESENT | unique)?.error, -Errno.EINTR);
});

t.test('a connection that has ended before it is taken over ends without a complaint', async (t) => {
  const channel = new MemoryChannel();
  channel.nextErrno = Errno.ENODEV;
  const log: string[] = [];
  const session = new FuseSession(channel, new MemoryFileSystem(), {
    resumed: AGREED,
    log: (line) => log.push(line),
  });
  t.equal(channel.nextErrno, 0, 'it has asked');
  channel.end('unmounted');
  t.equal(await session.closed, 'unmounted');
  t.same(log, []);
});
