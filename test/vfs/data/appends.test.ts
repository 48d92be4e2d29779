/** O_APPEND, and writes that are interrupted. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import { O_APPEND, O_WRONLY, outcome, settled } from '../support/rig.js';
import { KIB, opened, pattern } from '../support/written-file.js';

t.test("O_APPEND: at the server's end of the file, wherever the kernel believes it to be", async (t) => {
  const { rig, server, inode, fh } = await opened({}, 'abc', O_WRONLY | O_APPEND);
  server.tree.write('f', 'abcdef');
  await rig.write(fh, 3, 'GHI');
  t.equal(server.tree.at('f').data.toString(), 'abcdefGHI');
  t.ok(rig.notices.includes(`pages ${inode.nodeid} 3`));
  await Promise.all([rig.write(fh, 9, '1'), rig.write(fh, 10, '2'), rig.write(fh, 11, '3')]);
  t.equal(server.tree.at('f').data.toString(), 'abcdefGHI123');
});

t.test('O_APPEND: an append that failed does not stop the next', async (t) => {
  const { rig, server, fh } = await opened({}, 'abc', O_WRONLY | O_APPEND);
  server.once('WRITE', () => server.failure('WRITE', Status.NOSPC));
  t.equal(await outcome(rig.write(fh, 3, 'x')), Errno.ENOSPC);
  await rig.write(fh, 3, 'y');
  t.equal(server.tree.at('f').data.toString(), 'abcy');
  t.equal(await outcome(rig.files.flush(fh)), 'ok', 'it was told by write(2)');
});

t.test('an interrupted fsync ends with EINTR, and the writes go on', async (t) => {
  const { rig, server, fh } = await opened();
  const gate = server.gate('WRITE');
  await rig.write(fh, 0, pattern(2 * KIB));
  const { caller, cancel } = rig.interruptible();
  const syncing = rig.files.flush(fh, caller.cancellation);
  t.equal(await outcome(syncing), 'pending');
  cancel();
  t.equal(await outcome(syncing), Errno.EINTR);
  gate.open();
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(2 * KIB));
});

t.test('an append that was begun is not repeated by whoever is interrupted: it goes on', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_WRONLY | O_APPEND);
  const gate = server.gate('WRITE');
  const first = rig.interruptible();
  const second = rig.interruptible();
  const data = Buffer.from('once');
  const begun = rig.write(fh, 0, data, first.caller);
  const waiting = rig.write(fh, 0, 'never', second.caller);
  await settled();
  first.cancel();
  second.cancel();
  t.same(await Promise.all([outcome(begun), outcome(waiting)]), ['ok', Errno.EINTR]);
  gate.open();
  await settled();
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.toString(), 'once');
});

t.test('an append that nobody waits for any more tells its error at close', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_WRONLY | O_APPEND);
  server.fail('GETATTR', Status.IO);
  const gate = server.gate('GETATTR');
  const { caller, cancel } = rig.interruptible();
  const writing = rig.write(fh, 0, 'x', caller);
  await settled();
  cancel();
  t.equal(await outcome(writing), 'ok');
  gate.open();
  await settled();
  t.equal(await outcome(rig.files.flush(fh)), Errno.EIO);
});
