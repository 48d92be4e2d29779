/** The size and the content of a file while data is on its way, and truncations in between. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import { outcome, settled } from '../support/rig.js';
import { KIB, opened, pattern } from '../support/written-file.js';

t.test('a truncation drops unstable data beyond it: a restart does not bring it back', async (t) => {
  const { rig, server, inode, fh } = await opened();
  await rig.write(fh, 0, pattern(4 * KIB));
  const none = { mode: undefined, uid: undefined, gid: undefined, atime: undefined, mtime: undefined };
  await rig.files.setAttributes(inode, { ...none, size: 1500n, fh }, rig.caller());
  t.equal(server.tree.at('f').data.length, 1500);
  server.tree.at('f').stable = Buffer.alloc(1500);
  server.restart();
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(4 * KIB).subarray(0, 1500));
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a truncation that fails drops nothing', async (t) => {
  const { rig, server, inode, fh } = await opened();
  await rig.write(fh, 0, pattern(4 * KIB));
  server.once('SETATTR', () => server.failure('SETATTR', Status.PERM));
  const none = { mode: undefined, uid: undefined, gid: undefined, atime: undefined, mtime: undefined };
  const cut = rig.files.setAttributes(inode, { ...none, size: 0n, fh }, rig.caller());
  t.equal(await outcome(cut), Errno.EPERM);
  server.restart();
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(4 * KIB));
});

t.test('no COMMIT, and so no rewrite, overtakes a truncation', async (t) => {
  const { rig, server, inode, fh } = await opened();
  await rig.write(fh, 0, pattern(4 * KIB));
  await settled();
  const gate = server.gate('SETATTR', 'reply');
  const none = { mode: undefined, uid: undefined, gid: undefined, atime: undefined, mtime: undefined };
  const cut = rig.files.setAttributes(inode, { ...none, size: 100n, fh }, rig.caller());
  await settled();
  server.restart();
  const flushed = rig.files.flush(fh);
  await settled();
  t.equal(server.count('COMMIT'), 0);
  gate.open();
  await cut;
  await flushed;
  t.equal(server.tree.at('f').stable.length, 100);
});

t.test('a reader sees what was written, wherever it is on its way', async (t) => {
  const { rig, server, fh } = await opened({}, 'a'.repeat(3000));
  await rig.write(fh, 10, 'GATHERED');
  t.equal((await rig.read(fh, 8, 12)).toString(), 'aaGATHEREDaa');
  await rig.write(fh, 0, pattern(2 * KIB));
  t.same(await rig.read(fh, 0, 2 * KIB), pattern(2 * KIB));
  const gate = server.gate('WRITE');
  await rig.write(fh, 0, pattern(2 * KIB, 5));
  const reading = rig.read(fh, 1000, 500);
  t.equal(await outcome(reading), 'pending');
  gate.open();
  t.same(await reading, pattern(2 * KIB, 5).subarray(1000, 1500));
});

t.test('the gap before what was written beyond the end reads as zeros, not as the end', async (t) => {
  const { rig, fh } = await opened();
  await rig.write(fh, 5000, 'far');
  t.same(await rig.read(fh, 0, 100), Buffer.alloc(100));
});

t.test('while data is on its way the size includes it', async (t) => {
  const { rig, inode, fh } = await opened({}, 'abc');
  await rig.write(fh, 100, 'x');
  const attributes = inode.attributes;
  if (attributes === undefined) throw new Error('no attributes');
  t.equal(rig.vfs.replies.attributes(inode, attributes).attributes.size, 101n);
});
