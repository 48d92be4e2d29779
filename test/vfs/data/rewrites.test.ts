/** A server that restarts, or never keeps a verifier: uncommitted data is written again, and nothing newer is lost. */
import t from 'tap';
import { NO_CHANGES } from '../support/no-changes.js';
import { O_DSYNC, O_RDWR, settled } from '../support/rig.js';
import { KIB, opened, pattern } from '../support/written-file.js';

t.test('a restart before COMMIT: everything uncommitted is written again', async (t) => {
  const { rig, server, fh } = await opened();
  await rig.write(fh, 0, pattern(4 * KIB));
  await settled();
  server.restart();
  t.equal(server.tree.at('f').data.length, 0, 'the server has lost it');
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(4 * KIB));
  t.equal(rig.counters.rewrites, 4);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a restart between two WRITEs: the first is written again before anybody asks', async (t) => {
  const { rig, server, fh } = await opened();
  await rig.write(fh, 0, pattern(KIB));
  await settled();
  server.restart();
  await rig.write(fh, KIB, pattern(KIB, 9));
  await settled();
  t.same(server.tree.at('f').data, Buffer.concat([pattern(KIB), pattern(KIB, 9)]), 'readers miss nothing');
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, Buffer.concat([pattern(KIB), pattern(KIB, 9)]));
});

t.test('a restart within the parts of one short WRITE: all of it is written again', async (t) => {
  const { rig, server, fh } = await opened();
  server.mostWrite = 512;
  let writes = 0;
  server.on('WRITE', (_args, execute) => {
    if (++writes === 2) server.restart();
    return execute();
  });
  await rig.write(fh, 0, pattern(2 * KIB));
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(2 * KIB));
});

t.test('older data that is written again does not overwrite newer data', async (t) => {
  for (const stable of [false, true]) {
    const { rig, server, fh } = await opened();
    const other = await rig.open('f', stable ? O_RDWR | O_DSYNC : O_RDWR);
    await rig.write(fh, 0, pattern(3 * KIB, 1));
    await settled();
    server.restart();
    // Not seen in time: the WRITE that shows the new verifier is the one that overwrites.
    await rig.write(other.fh, 512, pattern(KIB, 2));
    await rig.files.flush(fh);
    await rig.files.flush(other.fh);
    const expected = pattern(3 * KIB, 1);
    pattern(KIB, 2).copy(expected, 512);
    t.same(server.tree.at('f').stable, expected, stable ? 'O_SYNC' : 'gathered');
    t.equal(rig.vfs.memory.writeBudget.used, 0);
  }
});

t.test('older data waits for nothing newer when it is written again while that is on its way', async (t) => {
  const { rig, server, fh } = await opened();
  await rig.write(fh, 0, pattern(2 * KIB, 1));
  await settled();
  const commit = server.gate('COMMIT');
  const flushed = rig.files.flush(fh);
  await settled();
  const write = server.gate('WRITE');
  await rig.write(fh, KIB, pattern(KIB, 2));
  await settled();
  t.equal(write.waiting, 1);
  server.restart();
  commit.open();
  await settled();
  write.open();
  await flushed;
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, Buffer.concat([pattern(KIB, 1), pattern(KIB, 2)]));
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a server whose verifier never stays is written to with FILE_SYNC in the end', async (t) => {
  const { rig, server, fh } = await opened();
  let n = 0;
  server.on('WRITE', (_args, execute) => ({ ...execute(), verifier: `${n++}`.padStart(8) }));
  await rig.write(fh, 0, pattern(2 * KIB));
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(2 * KIB));
});

t.test(
  'a time that a program sets is not moved by data that was written before and is written again',
  async (t) => {
    const { rig, server, inode, fh } = await opened();
    await rig.write(fh, 0, pattern(4 * KIB));
    const mtime = { seconds: 77, nanoseconds: 0 };
    await rig.files.setAttributes(inode, { ...NO_CHANGES, mtime }, rig.caller());
    t.same(server.tree.at('f').stable, pattern(4 * KIB), 'as with Linux, the data is stable before');
    server.restart();
    await rig.write(fh, 4 * KIB - 1, Buffer.alloc(0));
    await rig.files.flush(fh);
    t.same(server.tree.at('f').mtime, mtime);
    t.equal(rig.counters.rewrites, 0);
  },
);

t.test(
  'a change of the mode does not wait for a COMMIT, unless it sets bits that a write clears',
  async (t) => {
    for (const [mode, commits] of [
      [0o600, 0],
      [0o4700, 1],
    ] as const) {
      const { rig, server, inode, fh } = await opened();
      await rig.write(fh, 0, pattern(4 * KIB));
      await rig.files.setAttributes(inode, { ...NO_CHANGES, mode }, rig.caller());
      t.equal(server.count('COMMIT'), commits);
    }
  },
);
