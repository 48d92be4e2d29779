/** Waits of one file's writer: for a COMMIT, a rewrite, memory and the queue; flushes and resizes wait for it. */
import t from 'tap';
import { StableHow, Status } from '../../../lib/programs/nfs3/index.js';
import { outcome, settled } from '../support/rig.js';
import { KIB, opened, state } from '../support/writer.js';

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
