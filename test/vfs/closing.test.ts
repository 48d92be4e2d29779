/** close(2) and the last close: data first, then the locks, and no locks are left where the data fails. */
import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import { Status } from '../../lib/programs/nfs3/index.js';
import { ExitingCallers } from '../../lib/vfs/caller/exiting-callers.js';
import { Closing } from '../../lib/vfs/closing.js';
import { LockRig } from './support/lock-rig.js';
import { outcome, settled, TestContext } from './support/rig.js';

async function ground(isExiting: (tid: number) => boolean = () => false) {
  const rig = await LockRig.open();
  const exiting = new ExitingCallers(rig.clock, () => rig.locks.unresponsive, isExiting);
  return { rig, closing: new Closing(rig.files, exiting, rig.locks) };
}

t.test('close(2) of a file without locks and without data to write makes no call', async (t) => {
  const { rig, closing } = await ground();
  await rig.set({ owner: 2 });
  rig.server.forgetCalls();
  rig.calls();
  await closing.flush(new TestContext(), rig.fh, 1n);
  t.equal(rig.server.names() + rig.calls(), '');
});

t.test('data goes before the lock', async (t) => {
  const { rig, closing } = await ground();
  await rig.set();
  await rig.write(rig.fh, 0, 'data');
  const gate = rig.server.gate('WRITE');
  const closed = closing.flush(new TestContext(), rig.fh, 1n);
  await settled();
  t.equal(rig.manager.count('UNLOCK'), 0);
  gate.open();
  t.equal(await outcome(closed), 'ok');
  t.same(rig.manager.held, []);
});

t.test('the lock ends where the data fails, and close(2) says so', async (t) => {
  const { rig, closing } = await ground();
  await rig.set();
  await rig.write(rig.fh, 0, 'data');
  rig.server.fail('WRITE', Status.NOSPC);
  t.equal(await outcome(closing.flush(new TestContext(), rig.fh, 1n)), Errno.ENOSPC);
  t.same(rig.manager.held, []);
});

t.test('without locks at the server, close(2) writes data back and nothing else', async (t) => {
  const { rig } = await ground();
  const exiting = new ExitingCallers(rig.clock, () => false);
  const closing = new Closing(rig.files, exiting, undefined);
  await rig.write(rig.fh, 0, 'data');
  await closing.flush(new TestContext(), rig.fh, 1n);
  t.equal(rig.server.tree.at('f').stable.toString(), 'data');
  await closing.flush(new TestContext(), rig.fh, 1n);
  await closing.release(rig.fh);
  t.equal(rig.calls(), '');
});

t.test('a signal ends the wait for the UNLOCK, and close(2) has not failed', async (t) => {
  const { rig, closing } = await ground();
  await rig.set();
  const gate = rig.manager.gate('UNLOCK');
  const ctx = new TestContext();
  const closed = closing.flush(ctx, rig.fh, 1n);
  t.equal(await outcome(closed), 'pending');
  ctx.cancel();
  t.equal(await outcome(closed), 'ok');
  gate.open();
  await settled();
  t.same(rig.manager.held, []);
});

t.test('close(2) that is interrupted while data is written returns; data and lock follow', async (t) => {
  const { rig, closing } = await ground();
  await rig.set();
  await rig.write(rig.fh, 0, 'data');
  const gate = rig.server.gate('WRITE');
  const ctx = new TestContext();
  const closed = closing.flush(ctx, rig.fh, 1n);
  await settled();
  ctx.cancel();
  t.equal(await outcome(closed), Errno.EINTR);
  gate.open();
  await settled();
  t.same(rig.manager.held, []);
  t.equal(rig.server.tree.at('f').stable.toString(), 'data');
});

t.test('a program that has ended is let go when the lock manager does not answer', async (t) => {
  const { rig, closing } = await ground((tid) => tid === 42);
  await rig.set();
  const gate = rig.manager.gate('UNLOCK');
  const closed = closing.flush(new TestContext(1000, 42), rig.fh, 1n);
  await rig.pass(5_000);
  t.equal(await outcome(closed), 'pending');
  rig.manager.unresponsive = true;
  await rig.pass(1_000);
  t.equal(await outcome(closed), 'ok');
  gate.open();
  await settled();
  t.same(rig.manager.held, []);
});

t.test('the last close ends flock(2) and OFD locks before the file is gone', async (t) => {
  const { rig, closing } = await ground();
  await rig.set({ owner: 7, flock: true });
  await rig.write(rig.fh, 0, 'data');
  const gate = rig.server.gate('WRITE');
  const released = closing.release(rig.fh);
  t.equal(await outcome(released), 'pending');
  gate.open();
  t.equal(await outcome(released), 'ok');
  t.same(rig.manager.held, []);
  t.equal(rig.server.tree.at('f').stable.toString(), 'data');
});
