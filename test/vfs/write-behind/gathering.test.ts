import t from 'tap';
import type { UserCredential } from '../../../lib/vfs/caller/caller.js';
import { ByteBudget } from '../../../lib/vfs/memory/byte-budget.js';
import { TransferMemory } from '../../../lib/vfs/memory/transfer-memory.js';
import type { Extent } from '../../../lib/vfs/write-behind/extent.js';
import { Gathering } from '../../../lib/vfs/write-behind/gathering.js';
import type { WriteRecord } from '../../../lib/vfs/write-behind/write-record.js';
import { ManualClock } from '../../rpc/support/manual-clock.js';

const SOMEBODY = {} as UserCredential;

function setup(wsize = 100, record?: WriteRecord) {
  const clock = new ManualClock();
  const memory = new TransferMemory(new ByteBudget(1 << 20), new ByteBudget(1 << 20), wsize);
  const sent: Extent[] = [];
  let sequence = 0;
  const gathering: Gathering = new Gathering(
    { clock, memory, limits: { rsize: wsize, wsize, dtsize: 4096, nameMax: 255 } },
    () => {
      const extent = gathering.take();
      if (extent !== undefined) sent.push(extent);
    },
    () => ++sequence,
    record,
  );
  const add = (offset: number, data: string, credential = SOMEBODY): void => {
    memory.writeBudget.tryTake(data.length);
    gathering.add(offset, Buffer.from(data), credential);
  };
  const text = ({ offset, data, length }: Extent) => `${offset} ${data.subarray(0, length)}`;
  return {
    clock,
    memory,
    gathering,
    add,
    sent: () => sent.map(text),
    extents: sent,
    gathered: () => gathering.extent && text(gathering.extent),
  };
}

t.test('what goes on where the extent ends, or lies within it, is gathered', async (t) => {
  const { add, sent, gathered, memory } = setup();
  add(10, 'abcd');
  add(14, 'ef');
  add(12, 'CD');
  add(15, 'Fgh');
  add(10, 'A');
  t.equal(gathered(), '10 AbCDeFgh');
  t.same(sent(), []);
  t.equal(memory.writeBudget.used, 8, 'bytes that are written twice are held once');
});

t.test('what lies before it, behind a gap, or is another user’s does not go with it', async (t) => {
  for (const [offset, credential] of [
    [9, SOMEBODY],
    [15, SOMEBODY],
    [14, {} as UserCredential],
  ] as const) {
    const { add, sent, gathered, extents, gathering } = setup();
    add(10, 'abcd');
    add(offset, 'x', credential);
    t.same(sent(), ['10 abcd']);
    t.equal(gathered(), `${offset} x`);
    t.equal(gathering.extent?.credential, credential);
    t.same([extents[0]?.sequence, gathering.extent?.sequence], [1, 2]);
  }
});

t.test('a full extent goes at once, and the rest begins the next', async (t) => {
  const { add, sent, gathered } = setup(4);
  add(0, 'abc');
  t.same(sent(), []);
  add(3, 'd');
  t.same(sent(), ['0 abcd']);
  add(4, 'efghij');
  t.same(sent(), ['0 abcd', '4 efgh']);
  t.equal(gathered(), '8 ij');
});

t.test('a write of nothing gathers nothing', async (t) => {
  const { add, gathered, clock } = setup();
  add(0, '');
  t.equal(gathered(), undefined);
  t.equal(clock.next, undefined);
});

t.test('an extent waits a second from its first byte on, and the next one anew', async (t) => {
  const { add, sent, clock, gathering } = setup();
  add(0, 'a');
  clock.advance(600);
  add(1, 'b');
  clock.advance(399);
  t.same(sent(), []);
  clock.advance(1);
  t.same(sent(), ['0 ab']);
  add(2, 'c');
  clock.advance(999);
  t.equal(sent().length, 1);
  t.equal(gathering.take()?.length, 1);
  t.equal(clock.next, undefined, 'nothing is waited for when it was taken');
  t.equal(gathering.take(), undefined);
});

t.test('nothing is gathered while somebody waits for memory', async (t) => {
  const { add, sent, memory } = setup();
  await memory.writeBudget.take(1 << 20);
  void memory.writeBudget.take(1);
  add(0, 'a');
  t.same(sent(), ['0 a']);
});

const KIB = 1024;

/** The size of the buffer after writes of these many bytes, one behind the other. */
function room(wsize: number, ...writes: number[]): number | undefined {
  const { add, gathering } = setup(wsize);
  let offset = 0;
  for (const bytes of writes) {
    add(offset, 'x'.repeat(bytes));
    offset += bytes;
  }
  return gathering.extent?.data.length;
}

t.test('the buffer has room for what is likely to come', async (t) => {
  t.equal(room(1024 * KIB, 10), KIB);
  t.equal(room(1024 * KIB, 1500), 1500);
  t.equal(room(1024 * KIB, 128 * KIB - 1), 128 * KIB - 1);
  t.equal(room(1024 * KIB, 128 * KIB), 256 * KIB);
  t.equal(room(192 * KIB, 160 * KIB), 192 * KIB, 'and never for more than one WRITE');
  t.equal(room(4 * KIB, 5000), KIB, 'the rest of a write counts alone');
});

t.test('a buffer grows by four, or to what is needed, up to wsize', async (t) => {
  t.equal(room(1024 * KIB, 1000, 24), KIB);
  t.equal(room(1024 * KIB, 1000, 25), 4 * KIB);
  t.equal(room(1024 * KIB, 1000, 9000), 10_000);
  t.equal(room(1024 * KIB, 300_000, 300_001), 1024 * KIB);
});

t.test('buffers of wsize come from those that are kept', async (t) => {
  const { add, memory, gathering } = setup(256 * KIB);
  const kept = [memory.writeBuffers.take(), memory.writeBuffers.take()];
  for (const buffer of kept) memory.writeBuffers.give(buffer);
  add(0, 'x'.repeat(128 * KIB));
  t.ok(kept.includes(gathering.extent?.data as Buffer), 'one that is as large from the start');
  add(1_000_000, 'x'.repeat(120 * KIB));
  t.notOk(kept.includes(gathering.extent?.data as Buffer));
  add(1_000_000 + 120 * KIB, 'y'.repeat(KIB));
  t.ok(kept.includes(gathering.extent?.data as Buffer), 'one that has grown');
  t.equal(gathering.extent?.data.subarray(120 * KIB - 1, 121 * KIB).toString(), `x${'y'.repeat(KIB)}`);
});

t.test('a buffer that grows to wsize exactly is one of those that are kept, too', async (t) => {
  const { add, memory, gathering } = setup(64 * KIB);
  const kept = memory.writeBuffers.take();
  memory.writeBuffers.give(kept);
  add(0, 'x'.repeat(16 * KIB));
  add(16 * KIB, 'y');
  t.equal(gathering.extent?.data, kept);
});

t.test('a small extent lets go of the room that it does not need', async (t) => {
  const { add, gathering } = setup();
  add(0, 'abc');
  const extent = gathering.take();
  t.equal(extent?.data.toString(), 'abc');
});
