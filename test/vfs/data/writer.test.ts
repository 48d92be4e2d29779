/** The state of one file's writer: what it says of data on its way, and when it sends WRITE and COMMIT. */
import t from 'tap';
import { StableHow, Status } from '../../../lib/programs/nfs3/index.js';
import { O_RDWR, settled } from '../support/rig.js';
import { KIB, MIB, opened, state } from '../support/writer.js';

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
