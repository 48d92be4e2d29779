/** Data gathers where the next process of the mount can find it: what is recorded of it, and when its place is used again. */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { RecordMemory } from '../../../lib/records/index.js';
import type { UserCredential } from '../../../lib/vfs/caller/caller.js';
import { KeptData } from '../../../lib/vfs/handover/kept-data.js';
import { RecordKind, RecordText } from '../../../lib/vfs/handover/record-text.js';
import type { Room } from '../../../lib/vfs/write-behind/write-record.js';
import { firstProcess, nextProcess, type Successive } from '../support/handover-rig.js';
import { O_DSYNC, O_RDWR, outcome, type Rig, settled } from '../support/rig.js';

const EIO = 5;
const KIB = 1024;
const MIB = 1024 * KIB;
const LARGE = { limits: { rsize: MIB, wsize: MIB } };

/** Records of data that the next process will find. */
function recorded({ memory }: Successive): number {
  return [...memory.records()].filter(({ kind }) => kind === RecordKind.DATA).length;
}

async function write(rig: Rig, fh: number, offset: number, data: Buffer): Promise<void> {
  await rig.write(fh, offset, data);
}

t.test('pieces that follow one another, or lie within, are one record', async (t) => {
  const process = firstProcess(LARGE);
  process.rig.server.tree.file('f', '');
  const { fh } = await process.rig.open('f', O_RDWR);
  const data = randomBytes(900);
  for (let at = 0; at < 900; at += 30) await write(process.rig, fh, at, data.subarray(at, at + 30));
  const inner = randomBytes(100);
  await write(process.rig, fh, 450, inner);
  inner.copy(data, 450);
  t.equal(recorded(process), 1);
  const { rig } = await nextProcess(process, LARGE);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  t.same(rig.server.tree.at('f').data, data);
});

t.test('what gathers moves to larger memory, and is recorded there alone', async (t) => {
  const process = firstProcess(LARGE);
  process.rig.server.tree.file('f', '');
  const { fh } = await process.rig.open('f', O_RDWR);
  const data = randomBytes(150 * KIB);
  for (let at = 0; at < data.length; at += 700) await write(process.rig, fh, at, data.subarray(at, at + 700));
  t.equal(recorded(process), 1);
  t.ok(process.memory.bytes < 8 * MIB, 'one block of each size is kept for the next');
  const { rig } = await nextProcess(process, LARGE);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  t.ok(data.equals(rig.server.tree.at('f').data));
});

t.test('pieces in any order, over one another, come back as they were written', async (t) => {
  const process = firstProcess(LARGE);
  process.rig.server.tree.file('f', '');
  const { fh } = await process.rig.open('f', O_RDWR);
  const model = Buffer.alloc(256 * KIB);
  for (let round = 0; round < 200; round++) {
    const length = 1 + ((round * 7919) % (round % 7 === 0 ? 40_000 : 900));
    const offset = (round * 104_729) % (model.length - length);
    const data = Buffer.alloc(length, round + 1);
    data.copy(model, offset);
    await write(process.rig, fh, offset, data);
  }
  const { rig } = await nextProcess(await nextProcess(process, LARGE), LARGE);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  const { data } = rig.server.tree.at('f');
  t.ok(model.subarray(0, data.length).equals(data));
});

t.test('memory is used again for later data, and given back when nothing is being written', async (t) => {
  const process = firstProcess(LARGE);
  process.rig.server.tree.file('f', '');
  const { fh } = await process.rig.open('f', O_RDWR);
  const some = randomBytes(MIB);
  let most = 0;
  for (let round = 0; round < 4; round++) {
    for (let at = 0; at < 8; at++) await write(process.rig, fh, at * MIB, some);
    most = Math.max(most, process.memory.bytes);
    t.equal(await outcome(process.rig.files.flush(fh)), 'ok');
    t.equal(recorded(process), 0, 'nothing is left of what is stable');
  }
  t.ok(most < 24 * MIB, `${most} bytes`);
  for (let at = 0; at < 32; at++) await write(process.rig, fh, at * MIB, some);
  await process.rig.files.flush(fh);
  t.ok(process.memory.bytes < 24 * MIB, `${process.memory.bytes} bytes afterwards`);
});

for (const flags of [O_RDWR, O_RDWR | O_DSYNC])
  t.test(`memory is bounded while one place is written again and again (flags ${flags})`, async (t) => {
    const process = firstProcess({ ...LARGE, writeBudget: 256 * MIB });
    process.rig.server.tree.file('f', '');
    const { fh, inode } = await process.rig.open('f', O_RDWR);
    const again = await process.rig.open('f', flags);
    // It waits for a COMMIT, and nothing is written over it.
    await write(process.rig, fh, 2 * MIB, randomBytes(MIB));
    await inode.writer?.drain();
    let last = randomBytes(MIB);
    for (let round = 0; round < 200; round++) {
      last = randomBytes(MIB);
      await write(process.rig, again.fh, 0, last);
      await settled();
    }
    t.ok(process.memory.bytes < 80 * MIB, `${process.memory.bytes} bytes`);
    t.ok(recorded(process) < 64, `${recorded(process)} copies`);
    const { rig } = await nextProcess(process, { ...LARGE, writeBudget: 256 * MIB });
    t.equal(await outcome(rig.files.flush(fh)), 'ok');
    t.ok(last.equals(rig.server.tree.at('f').stable.subarray(0, MIB)));
  });

t.test('a part that was cut off does not come back, and the rest of the same place does', async (t) => {
  const process = firstProcess(LARGE);
  process.rig.server.tree.file('f', '');
  const { fh, inode } = await process.rig.open('f', O_RDWR);
  const data = randomBytes(300 * KIB);
  for (let at = 0; at < data.length; at += 50 * KIB)
    await write(process.rig, fh, at, data.subarray(at, at + 50 * KIB));
  const changes = { mode: undefined, uid: undefined, gid: undefined, atime: undefined, mtime: undefined, fh };
  await process.rig.files.setAttributes(inode, { ...changes, size: 70_000n }, process.rig.caller());
  const { rig } = await nextProcess(process, LARGE);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  t.ok(data.subarray(0, 70_000).equals(rig.server.tree.at('f').data));
});

t.test('where no memory is left for what grows, it gathers in memory of its own', async (t) => {
  const process = firstProcess(LARGE);
  process.rig.server.tree.file('f', '');
  const { fh } = await process.rig.open('f', O_RDWR);
  const data = randomBytes(20_000);
  await write(process.rig, fh, 0, data.subarray(0, 1_000));
  const { memory } = process;
  const takeBlock = memory.takeBlock.bind(memory);
  Object.assign(memory, { takeBlock: () => undefined });
  await write(process.rig, fh, 1_000, data.subarray(1_000, 2_000));
  const second = await nextProcess(process, LARGE);
  t.same(second.rig.log, [], 'a small place was free for the second piece');
  Object.assign(second.memory, { takeBlock: () => undefined });
  await write(second.rig, fh, 2_000, data.subarray(2_000, 10_000));
  Object.assign(second.memory, { takeBlock });
  const { rig } = await nextProcess(second, LARGE);
  t.match(rig.log.join('\n'), /\/f: data between bytes 0 and 12288 was written, and died/);
  t.equal(await outcome(rig.files.flush(fh)), EIO, 'the third is told as lost');
  t.ok(data.subarray(0, 2_000).equals(rig.server.tree.at('f').data.subarray(0, 2_000)));
});

t.test('a loss that is told leaves the copies of other data of the same file', async (t) => {
  const process = firstProcess(LARGE);
  process.rig.server.tree.file('f', '');
  const { fh } = await process.rig.open('f', O_RDWR);
  const data = randomBytes(1_000);
  await write(process.rig, fh, 0, data);
  Object.assign(process.memory, { takeBlock: () => undefined });
  await write(process.rig, fh, MIB, randomBytes(100 * KIB));
  const second = await nextProcess(process, LARGE);
  t.match(second.rig.log.join('\n'), /\/f: data between bytes 1048576 and 1150976 was written, and died/);
  t.equal(recorded(second), 1);
  const { rig } = await nextProcess(second, LARGE);
  t.equal(await outcome(rig.files.flush(fh)), EIO);
  t.ok(data.equals(rig.server.tree.at('f').data.subarray(0, data.length)));
});

t.test('a place that somebody may still read is not used for other data', (t) => {
  const memory = RecordMemory.create();
  if (memory === undefined) throw new Error('this machine gives no memory that can be shared');
  const kept = new KeptData(memory, new RecordText());
  const credential = { uid: 0, gid: 0, groups: [] } as unknown as UserCredential;
  const copies = kept.of(7);
  const take = (sequence: number): Room => {
    const room = copies.room(MIB, sequence);
    if (room === undefined) throw new Error('there is no room');
    room.bytes.fill(sequence);
    copies.keep({ sequence, offset: 0, data: room.bytes.subarray(0, 10), credential, room });
    return room;
  };
  const first = take(1);
  kept.beginReading();
  kept.beginReading();
  copies.dropBelow(2);
  const second = take(2);
  kept.endReading();
  const third = take(3);
  t.same(
    [first, second, third].map(({ bytes }) => bytes[0]),
    [1, 2, 3],
  );
  kept.endReading();
  take(4);
  t.equal(first.bytes[0], 4, 'then it is');
  t.end();
});
