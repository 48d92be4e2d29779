/** Errors of writes behind: each descriptor is told once, at close(2), fsync(2) or the next write(2). */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import { O_DSYNC, O_RDONLY, O_RDWR, O_WRONLY, outcome } from '../support/rig.js';
import { KIB, opened, pattern } from '../support/written-file.js';

t.test('a write error is told once to each descriptor, at close or fsync', async (t) => {
  const { rig, server, fh } = await opened();
  const second = await rig.open('f', O_WRONLY);
  const end = server.fail('WRITE', Status.NOSPC);
  await rig.write(fh, 0, 'lost');
  t.equal(await outcome(rig.files.flush(fh)), Errno.ENOSPC);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  t.equal(await outcome(rig.files.flush(second.fh)), Errno.ENOSPC);
  t.equal(await outcome(rig.files.flush(second.fh)), 'ok');
  const third = await rig.open('f', O_WRONLY);
  t.equal(await outcome(rig.files.flush(third.fh)), 'ok', 'opened afterwards');
  end();
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a COMMIT that fails is a write error', async (t) => {
  const { rig, server, fh } = await opened();
  server.fail('COMMIT', Status.IO);
  await rig.write(fh, 0, pattern(2 * KIB));
  t.equal(await outcome(rig.files.flush(fh)), Errno.EIO);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
  t.equal(rig.vfs.memory.writers.size, 0);
});

t.test('after an error writes are synchronous and tell their own error, until one succeeds', async (t) => {
  const { rig, server, fh } = await opened();
  const end = server.fail('WRITE', Status.NOSPC);
  await rig.write(fh, 0, 'lost');
  t.equal(await outcome(rig.files.flush(fh)), Errno.ENOSPC);
  t.equal(await outcome(rig.write(fh, 0, 'again')), Errno.ENOSPC);
  t.equal(await outcome(rig.files.flush(fh)), 'ok', 'it was told by write(2)');
  end();
  await rig.write(fh, 0, 'again');
  t.equal(server.tree.at('f').stable.toString(), 'again');
  server.forgetCalls();
  await rig.write(fh, 5, '!');
  t.equal(server.count('WRITE'), 0, 'gathered again');
});

t.test("a synchronous write that succeeds does not hide another's error from its descriptor", async (t) => {
  const { rig, server, fh } = await opened();
  const sync = await rig.open('f', O_RDWR | O_DSYNC);
  server.once('WRITE', () => server.failure('WRITE', Status.DQUOT));
  await rig.write(fh, 0, 'lost');
  await rig.pass(1000);
  await rig.write(sync.fh, 10, 'kept');
  t.equal(await outcome(rig.files.flush(sync.fh)), Errno.EDQUOT);
  t.equal(await outcome(rig.files.flush(fh)), Errno.EDQUOT);
});

t.test('a reader that closes after a write error is not said to have lost anything', async (t) => {
  const { rig, server, fh } = await opened();
  const reader = await rig.open('f', O_RDONLY);
  server.once('WRITE', () => server.failure('WRITE', Status.NOSPC));
  await rig.write(fh, 0, 'lost');
  t.equal(await outcome(rig.files.flush(fh)), Errno.ENOSPC);
  await rig.files.release(reader.fh);
  t.same(rig.log, []);
  await rig.files.release(fh);
  t.same(rig.log, []);
});
