/** Notes of requests under way, by which a later process ends what nobody can answer any more. */
import t, { type Test } from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import type { ConnectionInfo } from '../../lib/fuse/contract/operations.js';
import { InitFlag, Opcode } from '../../lib/fuse/contract/protocol.js';
import { UnderWayNotes } from '../../lib/fuse/session/under-way-notes.js';
import { MemoryChannel, u32, u64 } from '../support/memory-channel.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { serve } from './support/session-bench.js';

const AGREED: ConnectionInfo = { protocolMinor: 38, maxWrite: 1 << 20, maxReadahead: 131_072, flags: 0n };
const OFFERED = InitFlag.INIT_EXT | InitFlag.MAX_PAGES;

/** The numbers that a process ends which goes on with these notes. Checks that each gets EIO. */
function ended(t: Test, cells: Float64Array): Set<number> {
  const channel = new MemoryChannel();
  new UnderWayNotes(cells).endLeft(channel);
  t.ok(channel.written.every(({ error, payload }) => error === -Errno.EIO && payload.length === 0));
  const numbers = channel.written.map(({ unique }) => Number(unique));
  t.equal(new Set(numbers).size, numbers.length, 'each once');
  return new Set(numbers);
}

/** Of these, all in order that are in the set. */
const among = (set: Set<number>, numbers: readonly number[]) => numbers.filter((number) => set.has(number));

t.test('exactly the requests that were not answered are ended, and those that may have been read', (t) => {
  const cells = new Float64Array(64);
  const notes = new UnderWayNotes(cells);
  notes.keep([]);
  const places = [2, 4, 6, 8].map((unique) => notes.begun(unique));
  notes.ended(places[1] ?? 0);
  const left = ended(t, cells);
  t.same(among(left, [2, 4, 6, 8, 10, 12, 1000]), [2, 6, 8, 10, 12, 1000]);
  const again = ended(t, cells);
  t.same(among(again, [2, 4, 6, 8, 10]), [10], 'the next process does not end them once more');
  t.end();
});

t.test('a FORGET whose number is far ahead hides no request that was read after it', (t) => {
  const cells = new Float64Array(64);
  const notes = new UnderWayNotes(cells);
  notes.keep([]);
  notes.ended(notes.begun(10));
  notes.forget(40_000);
  t.same(among(ended(t, cells), [10, 12, 20_000, 40_000, 40_002]), [12, 20_000, 40_000, 40_002]);
  t.end();
});

t.test('requests beyond the last cell are ended as well, until they are answered', (t) => {
  const cells = new Float64Array(64);
  const notes = new UnderWayNotes(cells);
  notes.keep([]);
  const places = Array.from({ length: 100 }, (_, i) => notes.begun(2 + 2 * i));
  places.forEach((place, i) => {
    if (i !== 70) notes.ended(place);
  });
  t.ok(ended(t, cells.slice()).has(2 + 2 * 70));
  notes.ended(places[70] ?? 0);
  t.same(among(ended(t, cells.slice()), [2, 2 + 2 * 70, 200, 202]), [202]);
  const more = notes.begun(500);
  t.same(among(ended(t, cells.slice()), [142, 498, 500]), [500], 'cells are free again');
  notes.ended(more);
  t.end();
});

t.test('requests that are handed over stay noted until the next process has answered them', (t) => {
  const cells = new Float64Array(64);
  const first = new UnderWayNotes(cells);
  first.keep([]);
  for (const unique of [2, 4, 6]) first.begun(unique);
  const second = new UnderWayNotes(cells);
  second.keep([2, 6]);
  t.same(among(ended(t, cells.slice()), [2, 4, 6, 8]), [2, 6, 8], 'before they are delivered');
  const place = second.begun(2);
  t.same(among(ended(t, cells.slice()), [2, 4, 6, 8]), [2, 6, 8], 'once they are');
  second.ended(place);
  t.same(among(ended(t, cells.slice()), [2, 4, 6, 8]), [6, 8]);
  t.end();
});

t.test('numbers beyond 32 bits are written whole', (t) => {
  const cells = new Float64Array(64);
  const notes = new UnderWayNotes(cells);
  notes.keep([]);
  const large = 0x12_3456_789a;
  notes.begun(large);
  t.ok(ended(t, cells).has(large));
  t.throws(() => new UnderWayNotes(new Float64Array(63)), RangeError);
  t.end();
});

t.test('a session notes what it has not answered, in whatever way an answer goes out', async (t) => {
  const cells = new Float64Array(64);
  let finish: () => void = () => {};
  class Slow extends MemoryFileSystem {
    override access() {
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    }
  }
  const { channel, session } = serve(new Slow(), { underWay: cells }, false);
  channel.init(OFFERED);
  const numbers = [
    channel.deliver(Opcode.STATFS, 1),
    channel.deliver(Opcode.GETXATTR, 1),
    channel.deliver(Opcode.LOOKUP, 99, []),
    channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)]),
  ].map(({ unique }) => Number(unique));
  channel.deliver(Opcode.FORGET, 5, [u64(1)]);
  t.same(among(ended(t, cells.slice()), numbers), numbers.slice(3));
  finish();
  await session.idle();
  t.same(among(ended(t, cells.slice()), numbers), []);
});

t.test('where the kernel repeats requests, nothing is noted and nothing ended', async (t) => {
  const cells = new Float64Array(64);
  class Stuck extends MemoryFileSystem {
    override access() {
      return new Promise<void>(() => {});
    }
  }
  const { channel } = serve(new Stuck(), { underWay: cells });
  channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)]);
  t.ok(cells.every((cell) => cell === 0));
  const resumed = { ...AGREED, flags: InitFlag.HAS_RESEND };
  const next = serve(new MemoryFileSystem(), { underWay: cells, resumed }, false);
  t.equal(next.channel.written.length, 1, 'the order to repeat');
});

t.test('a session that resumes ends what was left before it reads, and goes on with the notes', async (t) => {
  const cells = new Float64Array(64);
  class Stuck extends MemoryFileSystem {
    override access() {
      return new Promise<void>(() => {});
    }
  }
  const first = serve(new Stuck(), { underWay: cells }, false);
  first.channel.init(OFFERED);
  const { unique } = first.channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)]);
  first.session.abort();
  const second = serve(new Stuck(), { underWay: cells, resumed: AGREED }, false);
  t.equal(second.channel.answer(unique)?.error, -Errno.EIO);
  second.channel.deliver(Opcode.ACCESS, 1, [u32(4), u32(0)], 50_000n);
  const third = serve(new MemoryFileSystem(), { underWay: cells, resumed: AGREED }, false);
  t.equal(third.channel.answer(50_000n)?.error, -Errno.EIO);
  t.equal(third.channel.answer(unique), undefined);
});
