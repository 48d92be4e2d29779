/** Before a session can serve, callers whom no answer reaches are let go. All else is left to the session. */
import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import type { RequestContext } from '../../lib/fuse/contract/operations.js';
import { InitFlag, Opcode } from '../../lib/fuse/contract/protocol.js';
import { FuseSession } from '../../lib/fuse/session/session.js';
import { type CallerFate, StandIn } from '../../lib/fuse/stand-in/stand-in.js';
import { MemoryChannel, u32, u64 } from '../support/memory-channel.js';
import { MemoryFileSystem } from '../support/memory-fs.js';

const AGREED = { protocolMinor: 45, maxWrite: 1 << 20, maxReadahead: 131_072, flags: InitFlag.HAS_RESEND };
const RESENT = 1n << 63n;
const F_WRLCK = 1;
const F_UNLCK = 2;
const BEGINS = [{ unique: 0n, error: 7 }];

function bench(connection = AGREED) {
  const channel = new MemoryChannel();
  const log: string[] = [];
  const state = { fate: 'waits' as CallerFate, asked: 0, opened: 0, callers: new Set<string>() };
  let timer: { readonly run: () => void; readonly milliseconds: number } | undefined;
  const standIn = new StandIn(
    () => {
      state.opened += 1;
      return channel;
    },
    {
      connection,
      fateOf: ({ pid, uid, gid }) => {
        state.callers.add(`${pid} ${uid} ${gid}`);
        state.asked += 1;
        return state.fate;
      },
      log: (line) => log.push(line),
      timers: {
        set: (run, milliseconds) => {
          timer = { run, milliseconds };
          return timer;
        },
        clear: (one) => {
          if (timer === one) timer = undefined;
        },
      },
    },
  );
  const tick = (times = 1) => {
    for (let i = 0; i < times; i++) timer?.run();
  };
  const begin = () => {
    standIn.begin();
    tick();
  };
  const interrupt = (unique: bigint) => channel.deliver(Opcode.INTERRUPT, 0, [u64(unique)], unique | 1n);
  const flush = (unique?: bigint) =>
    channel.deliver(Opcode.FLUSH, 1, [u64(7), u64(0), u64(99)], unique).unique;
  const access = (unique?: bigint) => channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)], unique).unique;
  const lock = (type: number) =>
    channel.deliver(Opcode.SETLKW, 1, [u64(7), u64(99), u64(0), u64(9), u32(type), u32(1), u64(0)]).unique;
  return { channel, state, standIn, tick, begin, interrupt, flush, access, lock, log, next: () => timer };
}

const opcodes = (left: readonly Uint8Array[]) => left.map((bytes) => Buffer.from(bytes).readUInt32LE(4));

t.test('it begins after a second, and asks for what was not answered', async (t) => {
  const { standIn, state, channel, tick, next, log } = bench();
  standIn.begin();
  standIn.begin();
  t.same([state.opened, next()?.milliseconds], [0, 1000]);
  tick();
  t.match(channel.written, BEGINS);
  t.ok(channel.maxRequest > AGREED.maxWrite);
  standIn.begin();
  t.equal(state.opened, 1);
  t.same(standIn.end(), []);
  t.same([channel.closed, next()], [true, undefined]);
  t.same(log, []);
});

t.test('a takeover that is done by then is not disturbed', async (t) => {
  const { standIn, state, next } = bench();
  standIn.begin();
  t.same(standIn.end(), []);
  t.same([state.opened, next()], [0, undefined]);
});

t.test('where the kernel cannot repeat requests, none are read', async (t) => {
  const { begin, state } = bench({ ...AGREED, flags: 0n });
  begin();
  t.equal(state.opened, 0);
});

t.test('a caller that is killed is let go: at the interrupt, or a second later without one', async (t) => {
  const { channel, state, begin, access, interrupt, tick } = bench();
  begin();
  const [first, second] = [access(RESENT | 10n), access(12n)];
  t.equal(state.asked, 0);
  state.fate = 'killed';
  interrupt(first);
  t.match(channel.answer(first), { error: -Errno.EINTR });
  t.equal(channel.answer(second), undefined);
  tick();
  t.match(channel.answer(second), { error: -Errno.EINTR });
  tick();
  t.equal(channel.written.length, 3, 'each once');
  t.same([...state.callers], ['4321 1000 100']);
});

t.test('a caller that lives is not told of a signal', async (t) => {
  const { channel, begin, access, interrupt, tick } = bench();
  begin();
  interrupt(access());
  tick(100);
  t.match(channel.written, BEGINS);
});

t.test('one that cannot be seen is let go when it is interrupted', async (t) => {
  const { channel, state, begin, access, interrupt, tick } = bench();
  state.fate = 'unseen';
  begin();
  const [first, second] = [access(), access()];
  tick(100);
  t.match(channel.written, BEGINS);
  interrupt(first);
  t.match(channel.answer(first), { error: -Errno.EINTR });
  t.equal(channel.answer(second), undefined);
});

t.test('a program that has ended is let go after a signal, or after half a minute', async (t) => {
  const { channel, state, begin, flush, interrupt, tick } = bench();
  state.fate = 'exiting';
  begin();
  const [first, second] = [flush(), flush()];
  interrupt(first);
  t.match(channel.answer(first), { error: -Errno.EINTR });
  tick(29);
  t.equal(channel.answer(second), undefined);
  tick();
  t.match(channel.answer(second), { error: -Errno.EINTR });
});

t.test('of many callers each has its turn', async (t) => {
  const { state, begin, access, tick, channel } = bench();
  begin();
  const all = Array.from({ length: 600 }, () => access());
  tick();
  t.equal(state.asked, 256);
  state.fate = 'killed';
  tick(2);
  t.equal(channel.written.length, 1 + 512);
  tick();
  t.ok(all.every((unique) => channel.answer(unique) !== undefined));
});

t.test('the session gets what has no answer, and the ends of locks of those that are gone', async (t) => {
  const { channel, state, standIn, begin, flush, access, lock, interrupt } = bench();
  begin();
  channel.deliver(Opcode.FORGET, 5, [u64(2)]);
  const gone = [flush(RESENT | 20n), access(), lock(F_WRLCK), lock(F_UNLCK)];
  const [stays] = [flush(), access()];
  channel.deliver(Opcode.BATCH_FORGET, 0, [u32(2), u32(0), u64(6), u64(1), u64(7), u64(3)]);
  state.fate = 'killed';
  for (const unique of gone) interrupt(unique);
  const left = standIn.end();
  const { FORGET, BATCH_FORGET, FLUSH, INTERRUPT, SETLKW } = Opcode;
  t.same(opcodes(left), [FORGET, BATCH_FORGET, FLUSH, INTERRUPT, SETLKW, INTERRUPT]);
  t.equal(channel.answer(stays), undefined, 'the kernel sends it again');
  t.same(standIn.end(), [], 'once');
  const seen: unknown[] = [];
  class Noting extends MemoryFileSystem {
    override forget(nodeid: number, nlookup: number): void {
      seen.push(['forget', nodeid, nlookup]);
    }
    override flush(ctx: RequestContext, nodeid: number, fh: number, lockOwner: bigint): Promise<void> {
      seen.push(['flush', nodeid, fh, lockOwner, ctx.resent]);
      return new Promise((resolve) => ctx.onCancel(resolve));
    }
  }
  const options = { resumed: AGREED, requests: left, interruptGraceMs: 0 };
  const session = new FuseSession(new MemoryChannel(), new Noting(), options);
  t.same(seen, [
    ['forget', 5, 2],
    ['forget', 6, 1],
    ['forget', 7, 3],
    ['flush', 1, 7, 99n, true],
  ]);
  await session.idle();
});

t.test('a connection that ends meanwhile is left alone', async (t) => {
  const { channel, standIn, begin, access, next } = bench();
  begin();
  access();
  channel.end('unmounted');
  t.same([channel.closed, next()], [true, undefined]);
  t.same(standIn.end(), []);
});
