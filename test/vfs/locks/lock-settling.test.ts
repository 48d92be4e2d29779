/** The server is made to agree with what is held here: after an UNLOCK that it did not take, and after a lost answer. */
import t from 'tap';
import { Errno, FuseError } from '../../../lib/fuse/contract/errno.js';
import { LockStatus } from '../../../lib/programs/nlm4/index.js';
import { RpcTimeoutError } from '../../../lib/rpc/rpc-errors.js';
import { FIRST, interrupter, LockRig } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

t.test('an unlock in a grace period returns, and the server is told after it', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  rig.manager.grace = true;
  t.equal(await outcome(rig.unlock()), 'ok');
  t.same(rig.locks.held(), []);
  t.same(rig.journal.lines, [`${rig.handle} ${FIRST} holds`], 'until the server knows');
  rig.manager.grace = false;
  await rig.pass(4_999);
  t.same(rig.manager.held, [`${FIRST} 0-*x`]);
  await rig.pass(1);
  t.same(rig.manager.held, []);
  t.same(rig.journal.lines, []);
});

t.test('a lock that was unlocked in a grace period is not reclaimed', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  await rig.set({ start: 20, end: 29 });
  rig.manager.restart(true);
  await rig.unlock({ end: 9 });
  await settled();
  t.same(rig.manager.held, [`${FIRST} 20-29x`], 'what it says of the other is that the server has restarted');
});

t.test('what is locked again before the server took the UNLOCK stays locked', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  rig.manager.grace = true;
  await rig.unlock();
  rig.manager.grace = false;
  t.equal(await outcome(rig.set({ end: 9 })), 'ok');
  await rig.pass(5_000);
  t.same(rig.manager.held, [`${FIRST} 0-9x`]);
  await rig.unlock();
  t.same(rig.manager.held, []);
  t.same(rig.journal.lines, []);
});

t.test('another program of this mount waits for an UNLOCK that the server has not taken', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  rig.manager.grace = true;
  await rig.unlock();
  rig.manager.grace = false;
  const other = rig.set({ owner: 2 });
  t.equal(await outcome(other), 'pending', 'nobody holds it any more');
  await rig.pass(5_000);
  t.equal(await outcome(other), 'ok');
});

t.test('the owner is the same for as long as the server has to be told of it', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  rig.manager.grace = true;
  await rig.unlock();
  rig.manager.grace = false;
  for (let owner = 100; owner < 400; owner++) {
    await rig.set({ owner, start: 100, end: 109 });
    await rig.unlock({ owner });
  }
  await rig.set({ start: 50, end: 59 });
  await rig.pass(5_000);
  t.same(rig.manager.held, [`${FIRST} 50-59x`]);
});

t.test(
  'an unlock that would have to split a lock, for which the server has no room, fails and changes nothing',
  async (t) => {
    const rig = await LockRig.open();
    await rig.set({ end: 99 });
    const full = rig.manager.answer('UNLOCK', LockStatus.DENIED_NOLOCKS);
    t.equal(await outcome(rig.unlock({ start: 10, end: 19 })), Errno.ENOLCK);
    full();
    t.equal(rig.locks.held()[0]?.locks.length, 1);
    t.same(rig.manager.held, [`${FIRST} 0-99x`]);
    await rig.closed();
    t.same(rig.manager.held, []);
  },
);

t.test('an unlock that splits nothing is repeated where the server has no room', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 99 });
  const full = rig.manager.answer('UNLOCK', LockStatus.DENIED_NOLOCKS);
  t.equal(await outcome(rig.unlock({ end: 49 })), 'ok');
  t.equal(await outcome(rig.closed()), 'ok');
  await rig.locks.released(rig.files.get(rig.fh));
  full();
  await rig.pass(5_000);
  t.same(rig.manager.held, []);
});

t.test('a server that does not know the file any more has unlocked it', async (t) => {
  for (const status of [LockStatus.STALE_FH, LockStatus.FAILED]) {
    const rig = await LockRig.open();
    await rig.set();
    rig.manager.answer('UNLOCK', status);
    t.equal(await outcome(rig.unlock()), 'ok');
    await rig.pass(20_000);
    t.equal(rig.manager.count('UNLOCK'), 1);
    t.same(rig.journal.lines, []);
  }
});

t.test('a lock that a soft mount gave up waiting for is taken back when the server answers', async (t) => {
  const rig = await LockRig.open();
  const silent = ['NM_LOCK', 'CANCEL', 'UNLOCK'].map((name) =>
    rig.manager.on(name, (_args, execute) => {
      execute();
      throw new RpcTimeoutError('no answer', false);
    }),
  );
  t.equal(await outcome(rig.wait()), Errno.ENOLCK);
  t.same(rig.locks.held(), []);
  for (const answer of silent) answer();
  rig.manager.forgetCalls();
  await rig.pass(5_000);
  await rig.pass(5_000);
  t.equal(rig.calls(), 'CANCEL UNLOCK');
  t.same(rig.journal.lines, []);
});

t.test('an unlock that a soft mount got no answer to counts here, and is repeated', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  const silent = rig.manager.on('UNLOCK', () => {
    throw new RpcTimeoutError('no answer', false);
  });
  t.equal(await outcome(rig.unlock()), 'ok');
  await rig.pass(5_000);
  t.equal(rig.manager.count('UNLOCK'), 3, 'once, at once again, and after the pause');
  silent();
  await rig.pass(5_000);
  t.same(rig.manager.held, []);
});

t.test('a CANCEL that comes in a grace period is repeated', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const cancellation = interrupter();
  const waiting = rig.wait({ cancellation });
  await settled();
  rig.manager.grace = true;
  cancellation.cancel();
  t.equal(await outcome(waiting), Errno.EINTR);
  await rig.pass(5_000);
  rig.manager.grace = false;
  await rig.pass(5_000);
  t.equal(rig.manager.waiting, 0);
  foreign.unlock();
  t.same(rig.manager.held, []);
  t.same(rig.journal.lines, []);
});

t.test('a held lock that the server denies while another is taken back is looked after', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ type: 'read', end: 9 });
  const gate = rig.manager.gate('NM_LOCK');
  const cancellation = interrupter();
  const upgrade = rig.set({ end: 9, cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(upgrade), Errno.EINTR);
  rig.manager.restart(false);
  rig.manager.foreign(rig.handle, 0n, 99n);
  gate.open();
  await rig.pass(1_000);
  t.same(rig.locks.held(), []);
  t.equal(rig.counters.locksLost, 1);
});

t.test('an error that is none of the lock manager reaches the program of an unlock', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  await rig.write(rig.fh, 0, 'data');
  rig.server.on('WRITE', () => {
    throw new FuseError(Errno.EIO);
  });
  t.equal(await outcome(rig.unlock()), 'ok', 'a failed write is reported by fsync(2) and close(2)');
  t.same(rig.manager.held, []);
});
