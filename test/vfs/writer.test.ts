/** The state of one file's writer: what it says of data on its way, and when it sends WRITE and COMMIT. */
import t from 'tap';
import { StableHow, Status } from '../../lib/programs/nfs3/index.js';
import { writerOf } from '../../lib/vfs/data/write-behind.js';
import { O_RDWR, outcome, Rig, settled } from './support/rig.js';

const KIB = 1024;
const MIB = 1024 * KIB;

async function opened(options: ConstructorParameters<typeof Rig>[0] = {}) {
  const rig = new Rig(options);
  rig.server.tree.file('f');
  const { inode, fh } = await rig.open('f', O_RDWR);
  rig.server.forgetCalls();
  const write = (offset: number, length: number) => rig.write(fh, offset, Buffer.alloc(length, 'x'));
  await write(0, 0);
  const writer = writerOf(inode);
  if (writer === undefined) throw new Error('no writer');
  return { rig, server: rig.server, inode, fh, write, writer };
}

type Writer = Awaited<ReturnType<typeof opened>>['writer'];
const state = ({ clean, dirty, unwrittenBytes }: Writer) => ({ clean, dirty, unwrittenBytes });

t.test('data counts as unwritten from write(2) until a COMMIT was answered', async (t) => {
  const { rig, server, fh, write, writer } = await opened();
  t.same(state(writer), { clean: true, dirty: false, unwrittenBytes: 0 });
  await write(0, 100);
  t.same(state(writer), { clean: false, dirty: true, unwrittenBytes: 100 }, 'gathered');
  const gates = { write: server.gate('WRITE'), commit: server.gate('COMMIT') };
  await write(100, KIB);
  await settled();
  t.same(state(writer), { clean: false, dirty: true, unwrittenBytes: KIB + 100 }, 'sent, and gathered');
  gates.write.open();
  await writer.drain();
  t.same(state(writer), { clean: false, dirty: false, unwrittenBytes: KIB + 100 }, 'unstable');
  const flushed = rig.files.flush(fh);
  await settled();
  t.same(state(writer), { clean: false, dirty: false, unwrittenBytes: KIB + 100 }, 'covered by a COMMIT');
  gates.commit.open();
  await flushed;
  t.same(state(writer), { clean: true, dirty: false, unwrittenBytes: 0 });
});

t.test('a read waits for what it overlaps, gathered or sent, and for nothing else', async (t) => {
  const { server, write, writer } = await opened();
  const gate = server.gate('WRITE');
  await write(5 * KIB, KIB);
  await write(9 * KIB, 10);
  t.equal(writer.overlaps(5 * KIB - 1, 5 * KIB), false);
  t.equal(writer.overlaps(6 * KIB - 1, 6 * KIB), true);
  t.equal(writer.overlaps(6 * KIB, 9 * KIB), false);
  t.equal(writer.overlaps(6 * KIB, 9 * KIB + 1), true);
  gate.open();
  await writer.drain();
  t.equal(writer.overlaps(0, 10 * KIB), false, 'what the server has is read from there');
});

t.test('the size counts what is gathered, sent and unstable, and what the server has beyond', async (t) => {
  const { server, write, writer } = await opened();
  t.equal(writer.sizeWith(7n), 7n);
  await write(10, 10);
  t.same([writer.sizeWith(7n), writer.sizeWith(20n), writer.sizeWith(21n)], [20n, 20n, 21n]);
  t.equal(writer.unstableEnd, 0);
  const gate = server.gate('WRITE');
  await write(KIB, KIB);
  await write(8 * KIB, 0);
  await settled();
  t.equal(writer.sizeWith(0n), BigInt(2 * KIB));
  t.equal(writer.unstableEnd, 2 * KIB);
  gate.open();
  await writer.drain();
  t.equal(writer.sizeWith(0n), BigInt(2 * KIB));
  t.equal(writer.unstableEnd, 2 * KIB);
});

t.test('what a READ may miss comes in the order in which it was written', async (t) => {
  const { server, write, writer } = await opened();
  const gate = server.gate('WRITE');
  await write(4 * KIB, KIB);
  await write(0, KIB);
  await write(8 * KIB, KIB);
  await settled();
  // The second of the three is answered first.
  gate.release();
  await settled();
  const sequences = (from: number, to: number) =>
    writer.unstableWithin(from, to).map(({ offset }) => offset / KIB);
  t.same(sequences(0, 9 * KIB), [4, 0, 8]);
  t.same(sequences(0, 4 * KIB), [0]);
  t.same(sequences(5 * KIB, 8 * KIB), []);
  gate.open();
  await writer.drain();
  t.same(sequences(0, 9 * KIB), [4, 0, 8]);
});

t.test('32 MiB of unstable data are committed of their own accord, and not less', async (t) => {
  const { server, write, writer } = await opened({
    limits: { wsize: MIB },
    writeBudget: 128 * MIB,
  });
  server.on('WRITE', ({ data, stable }) => {
    const { verifier } = server;
    return { ...server.failure('WRITE', Status.OK), count: data.length, committed: stable, verifier };
  });
  for (let i = 0; i < 31; i++) await write(i * MIB, MIB);
  await writer.drain();
  t.equal(server.count('COMMIT'), 0);
  const gate = server.gate('COMMIT');
  await write(31 * MIB, MIB);
  await writer.drain();
  await settled();
  t.equal(server.count('COMMIT'), 1);
  for (let i = 32; i < 64; i++) await write(i * MIB, MIB);
  await writer.drain();
  t.equal(server.count('COMMIT'), 1, 'one at a time');
  gate.open();
  await settled();
  t.equal(server.count('COMMIT'), 2, 'and the next when the first has ended');
  t.equal(writer.clean, true);
});

t.test('the last file that is written lets go of the buffers that are kept', async (t) => {
  const { rig, fh, write, writer } = await opened();
  let trimmed = 0;
  rig.vfs.memory.writeBuffers.trim = () => void trimmed++;
  rig.server.tree.file('g');
  const other = await rig.open('g', O_RDWR);
  await write(0, 4 * KIB);
  await rig.write(other.fh, 0, Buffer.alloc(4 * KIB));
  await writer.drain();
  trimmed = 0;
  await rig.files.flush(fh);
  t.equal(rig.vfs.memory.writers.size, 1);
  t.equal(trimmed, 0);
  await rig.files.flush(other.fh);
  t.equal(rig.vfs.memory.writers.size, 0);
  t.ok(trimmed > 0);
});

t.test('buffers of data that is stable are used again', async (t) => {
  const { rig, fh, write } = await opened();
  const given: number[] = [];
  const { writeBuffers } = rig.vfs.memory;
  const give = writeBuffers.give.bind(writeBuffers);
  writeBuffers.give = (buffer) => {
    given.push(buffer.length);
    give(buffer);
  };
  await write(0, 2 * KIB);
  await settled();
  t.same(given, [], 'not while a COMMIT may show that it was lost');
  await rig.files.flush(fh);
  t.same(given, [KIB, KIB]);
  given.length = 0;
  await write(0, KIB);
  await write(512, 1);
  await rig.files.flush(fh);
  t.notOk(given.includes(511), 'but for parts, whose buffer has another user');
});

t.test('memory that is short is given back: what is gathered is sent, and made stable', async (t) => {
  const { rig, server, write, writer } = await opened();
  await write(0, 100);
  writer.relieve();
  await settled();
  t.equal(server.names(), 'WRITE');
  writer.relieve();
  await settled();
  t.equal(server.names(), 'WRITE COMMIT');
  t.equal(rig.vfs.memory.writeBudget.used, 0);
  writer.relieve();
  await settled();
  t.equal(server.count('COMMIT'), 1, 'there is nothing more to commit');
});

t.test(
  'a file that fits one WRITE goes stable with it only if nothing else of it is on its way',
  async (t) => {
    const { rig, server, fh, write } = await opened();
    await write(0, KIB);
    await settled();
    await write(KIB, 10);
    await rig.files.flush(fh);
    t.same(
      server.named('WRITE').map(({ args }) => args.stable),
      [StableHow.UNSTABLE, StableHow.UNSTABLE],
    );
    t.equal(server.count('COMMIT'), 1);
  },
);

t.test('data that is drained is unstable, alone as it may be: more is expected', async (t) => {
  const { server, write, writer } = await opened();
  await write(0, 10);
  await writer.drain();
  t.same(
    server.named('WRITE').map(({ args }) => args.stable),
    [StableHow.UNSTABLE],
  );
});

t.test('a file does not go stable with one WRITE while another is on its way', async (t) => {
  const { rig, server, fh, write } = await opened();
  const gate = server.gate('WRITE');
  await write(0, KIB);
  await write(KIB, 10);
  const flushed = rig.files.flush(fh);
  await settled();
  gate.open();
  await flushed;
  t.same(
    server.named('WRITE').map(({ args }) => args.stable),
    [StableHow.UNSTABLE, StableHow.UNSTABLE],
  );
  t.equal(rig.counters.commits, 1);
});

t.test('a restart that shows while a COMMIT is under way is mended when that has ended', async (t) => {
  const { server, write } = await opened();
  await write(0, KIB);
  await settled();
  const gate = server.gate('COMMIT');
  await write(KIB, 1);
  server.restart();
  await write(4 * KIB, KIB);
  await settled();
  t.equal(gate.waiting, 1, 'the second verifier is reason for a COMMIT');
  await write(8 * KIB, KIB);
  await settled();
  server.restart();
  await write(12 * KIB, KIB);
  await settled();
  gate.open();
  await settled();
  const { data } = server.tree.at('f');
  for (const at of [0, 4, 8, 12]) t.equal(data[at * KIB], 0x78, `${at} KiB`);
});

t.test('a writer that waits for memory gets another COMMIT where one was not enough', async (t) => {
  const { rig, server, write, writer } = await opened({ writeBudget: 4 * KIB });
  await write(0, 2 * KIB);
  await settled();
  const gate = server.gate('COMMIT');
  writer.relieve();
  await write(4 * KIB, 2 * KIB);
  await settled();
  const late = write(8 * KIB, 4 * KIB);
  t.equal(await outcome(late), 'pending');
  gate.release();
  await settled();
  t.equal(gate.waiting, 1);
  gate.open();
  t.equal(await outcome(late), 'ok');
  t.equal(rig.counters.commits, 2);
});

t.test(
  'a first rewrite is for a server that has restarted, a second for one that keeps no verifier',
  async (t) => {
    const { rig, server, fh, write } = await opened();
    await write(0, 2 * KIB);
    await settled();
    const verifiers = ['two', 'three'];
    server.on('COMMIT', (_args, execute) => ({ ...execute(), verifier: verifiers.shift() ?? 'none' }));
    await rig.files.flush(fh);
    const { UNSTABLE, FILE_SYNC } = StableHow;
    t.same(
      server.named('WRITE').map(({ args }) => args.stable),
      [UNSTABLE, UNSTABLE, UNSTABLE, UNSTABLE, FILE_SYNC, FILE_SYNC],
    );
    t.equal(rig.counters.rewrites, 4);
  },
);

t.test('a flush does not wait for what is written after it began', async (t) => {
  const { rig, server, fh, write } = await opened();
  await write(0, 2 * KIB);
  await settled();
  const commit = server.gate('COMMIT');
  const flushed = rig.files.flush(fh);
  await settled();
  const gate = server.gate('WRITE');
  await write(4 * KIB, KIB);
  await settled();
  commit.open();
  t.equal(await outcome(flushed), 'ok');
  t.equal(gate.waiting, 1);
  gate.open();
  await rig.files.flush(fh);
});

t.test('a flush waits for data that a restart makes it write again', async (t) => {
  const { rig, server, fh, write } = await opened();
  await write(0, 2 * KIB);
  await settled();
  server.restart();
  const gate = server.gate('WRITE');
  const flushed = rig.files.flush(fh);
  t.equal(await outcome(flushed), 'pending');
  t.equal(gate.waiting, 2);
  gate.open();
  await flushed;
  t.equal(server.tree.at('f').stable.length, 2 * KIB);
});

t.test('a change of the size waits for the COMMIT under way, and for data on its way', async (t) => {
  const { rig, server, inode, fh, write, writer } = await opened();
  await write(0, 2 * KIB);
  await settled();
  const commit = server.gate('COMMIT');
  writer.relieve();
  await settled();
  const gate = server.gate('WRITE');
  await write(4 * KIB, KIB);
  const none = { mode: undefined, uid: undefined, gid: undefined, atime: undefined, mtime: undefined };
  const cut = rig.files.setAttributes(inode, { ...none, size: 5n, fh }, rig.caller());
  await settled();
  t.equal(server.count('SETATTR'), 0);
  commit.open();
  await settled();
  t.equal(server.count('SETATTR'), 0);
  gate.open();
  await cut;
  t.equal(server.tree.at('f').data.length, 5);
  t.equal(writer.unwrittenBytes, 0);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a queue that is full lets one writer after the other go on', async (t) => {
  const { rig, server, fh, write } = await opened();
  const gate = server.gate('WRITE');
  for (let i = 0; i < 64; i++) await write(i * 2 * KIB, KIB);
  const late = write(200 * KIB, 1);
  t.equal(await outcome(late), 'pending');
  gate.release();
  t.equal(await outcome(late), 'ok');
  gate.open();
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.length, 200 * KIB + 1);
});

t.test('a writer that waits for the queue and is interrupted has written nothing', async (t) => {
  const { rig, server, fh, write } = await opened();
  const gate = server.gate('WRITE');
  for (let i = 0; i < 64; i++) await write(i * 2 * KIB, KIB);
  const { caller, cancel } = rig.interruptible();
  const late = outcome(rig.write(fh, 200 * KIB, 'x', caller));
  cancel();
  t.equal(await late, 4);
  gate.open();
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.length, 127 * KIB);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('an error of ours is an error of the file, with its cause', async (t) => {
  const { writer } = await opened();
  const bug = new TypeError('a bug');
  writer.lose(bug);
  t.equal(writer.errors, 1);
  t.match(writer.lastError, { errno: 5, cause: bug });
});

t.test('a COMMIT that failed is not repeated for the data that it was for', async (t) => {
  const { rig, server, fh, write, writer } = await opened();
  server.once('COMMIT', () => server.failure('COMMIT', Status.IO));
  await write(0, 2 * KIB);
  await outcome(rig.files.flush(fh));
  t.equal(server.count('COMMIT'), 1);
  t.equal(writer.errors, 1);
  t.same(state(writer), { clean: true, dirty: false, unwrittenBytes: 0 });
});

t.test(
  'a resize begins when nothing is on its way any more, not even what a COMMIT has shown to be lost',
  async (t) => {
    const { server, write, writer } = await opened();
    let begun = false;
    const resize = () =>
      writer.resize(5, async () => {
        begun = true;
      });
    await write(0, 2 * KIB);
    await settled();
    const commit = server.gate('COMMIT');
    writer.relieve();
    await settled();
    const resized = resize();
    await settled();
    t.equal(begun, false, 'a COMMIT is under way');
    server.restart();
    const gate = server.gate('WRITE');
    commit.open();
    await settled();
    t.equal(gate.waiting, 2);
    t.equal(begun, false, 'what was lost is on its way again');
    gate.open();
    await resized;
    t.equal(begun, true);
    await write(0, 10);
    const late = server.gate('WRITE');
    begun = false;
    const again = resize();
    await settled();
    t.same([late.waiting, begun], [1, false], 'what was gathered is on its way');
    late.open();
    await again;
  },
);

t.test('data that waits for its turn to overwrite what a restart has lost spares the rewrite', async (t) => {
  const { rig, server, fh, write, writer } = await opened();
  await write(0, KIB);
  await settled();
  const commit = server.gate('COMMIT');
  writer.relieve();
  await settled();
  const gate = server.gate('WRITE');
  for (let i = 1; i <= 16; i++) await write(i * 2 * KIB, KIB);
  await write(0, KIB);
  await settled();
  t.equal(gate.waiting, 16, 'the last one has no slot yet');
  server.restart();
  commit.open();
  await settled();
  gate.open();
  await rig.files.flush(fh);
  t.equal(rig.counters.rewrites, 0);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
  t.equal(server.tree.at('f').stable.length, 33 * KIB);
});
