/**
 * A program may stop waiting at any moment. It learns of that at once, and whatever the server has granted, or may yet
 * grant, is taken back.
 */
import t, { type Test } from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { FIRST, interrupter, LockRig } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

/** Nothing is held, nothing waits, nothing is noted, and the next one gets the lock. */
async function isClean(t: Test, rig: LockRig): Promise<void> {
  await rig.pass(10_000);
  t.same(rig.manager.held, []);
  t.equal(rig.manager.waiting, 0);
  t.same(rig.locks.held(), []);
  t.same(rig.locks.waiting(), []);
  t.same(rig.journal.lines, []);
  t.equal(await outcome(rig.set({ owner: 9 })), 'ok');
}

t.test('before anything is asked: no call is made', async (t) => {
  const rig = await LockRig.open();
  const cancellation = interrupter();
  cancellation.cancel();
  t.equal(await outcome(rig.wait({ cancellation })), Errno.EINTR);
  t.equal(rig.calls(), '');
  await isClean(t, rig);
});

t.test('while a program of this mount holds it: no call is made', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ owner: 2 });
  rig.calls();
  const cancellation = interrupter();
  const waiting = rig.wait({ cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(waiting), Errno.EINTR);
  await rig.unlock({ owner: 2 });
  t.equal(rig.calls(), 'UNLOCK');
  await isClean(t, rig);
});

t.test('while another call of the owner is under way: the LOCK is never sent', async (t) => {
  const rig = await LockRig.open();
  const gate = rig.manager.gate('NM_LOCK');
  const first = rig.set({ end: 9 });
  await settled();
  const cancellation = interrupter();
  const second = rig.set({ start: 20, cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(second), Errno.EINTR);
  gate.open();
  await first;
  t.equal(rig.calls(), 'NM_LOCK');
  await rig.unlock();
  await isClean(t, rig);
});

for (const wait of [false, true]) {
  const kind = wait ? 'F_SETLKW' : 'F_SETLK';
  t.test(
    `while the LOCK of ${kind} is under way: EINTR at once, and it is taken back afterwards`,
    async (t) => {
      const rig = await LockRig.open();
      const gate = rig.manager.gate('NM_LOCK', 'reply');
      const cancellation = interrupter();
      const asked = wait ? rig.wait({ cancellation }) : rig.set({ cancellation });
      await settled();
      cancellation.cancel();
      t.equal(await outcome(asked), Errno.EINTR);
      t.same(rig.manager.held, [`${FIRST} 0-*x`]);
      const other = rig.set({ owner: 2 });
      t.equal(await outcome(other), 'pending', 'the next one waits for the outcome');
      gate.open();
      t.equal(await outcome(other), 'ok');
      t.match(rig.calls(), wait ? /^NM_LOCK CANCEL.* UNLOCK.* NM_LOCK$/ : /^NM_LOCK UNLOCK NM_LOCK$/);
      await rig.unlock({ owner: 2 });
      await isClean(t, rig);
    },
  );
}

t.test('while it waits in the queue of the server: CANCEL, and UNLOCK', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const cancellation = interrupter();
  const waiting = rig.wait({ start: 5, end: 14, cancellation });
  await settled();
  t.equal(rig.manager.waiting, 1);
  t.same(rig.journal.lines, [`${rig.handle} ${FIRST} holds`, `${rig.handle} ${FIRST} waits 5-14`]);
  rig.calls();
  cancellation.cancel();
  t.equal(await outcome(waiting), Errno.EINTR);
  t.equal(rig.manager.waiting, 0);
  t.equal(rig.calls(), 'CANCEL UNLOCK');
  foreign.unlock();
  await isClean(t, rig);
});

t.test('CANCEL says what the LOCK said', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const cancellation = interrupter();
  const waiting = rig.wait({ type: 'read', start: 5, end: 14, cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(waiting), Errno.EINTR);
  const [lock, cancel] = [rig.manager.named('NM_LOCK')[0]?.args, rig.manager.named('CANCEL')[0]?.args];
  t.same(cancel.lock, lock.lock);
  t.same([cancel.block, cancel.exclusive], [lock.block, lock.exclusive]);
  foreign.unlock();
});

t.test('after the server has granted it without a word', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const cancellation = interrupter();
  const waiting = rig.wait({ cancellation });
  await settled();
  foreign.unlock();
  t.same(rig.manager.held, [`${FIRST} 0-*x`]);
  cancellation.cancel();
  t.equal(await outcome(waiting), Errno.EINTR);
  await isClean(t, rig);
});

t.test('while the file is being made current after the grant', async (t) => {
  const rig = await LockRig.open();
  await rig.write(rig.fh, 0, 'data');
  const gate = rig.server.gate('WRITE');
  const cancellation = interrupter();
  const asked = rig.set({ cancellation });
  await settled();
  t.same(rig.manager.held, [`${FIRST} 0-*x`]);
  t.equal(await outcome(asked), 'pending');
  cancellation.cancel();
  t.equal(await outcome(asked), Errno.EINTR);
  gate.open();
  await isClean(t, rig);
});

t.test('an upgrade that is interrupted leaves the shared lock, whatever the server made of it', async (t) => {
  for (const what of ['request', 'reply'] as const) {
    const rig = await LockRig.open();
    await rig.set({ type: 'read', end: 99 });
    const gate = rig.manager.gate('NM_LOCK', what);
    const cancellation = interrupter();
    const upgrade = rig.wait({ start: 10, end: 109, cancellation });
    await settled();
    cancellation.cancel();
    t.equal(await outcome(upgrade), Errno.EINTR);
    gate.open();
    await rig.pass(10_000);
    t.same(rig.manager.held, [`${FIRST} 0-99`]);
    t.equal(await outcome(rig.set({ owner: 2, type: 'read', end: 99 })), 'ok');
    t.equal(await outcome(rig.set({ owner: 3, start: 100 })), 'ok');
  }
});

t.test('an upgrade that waits in the queue and is interrupted leaves the shared lock', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ type: 'read' });
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n, false);
  const cancellation = interrupter();
  const upgrade = rig.wait({ cancellation });
  await settled();
  t.equal(rig.manager.waiting, 1);
  cancellation.cancel();
  t.equal(await outcome(upgrade), Errno.EINTR);
  foreign.unlock();
  await rig.pass(10_000);
  t.same(rig.manager.held, [`${FIRST} 0-*`]);
  t.equal(rig.manager.waiting, 0);
  t.equal(rig.locks.held()[0]?.locks[0]?.exclusive, false);
});

t.test('an upgrade that is interrupted while the file is made current leaves the shared lock', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ type: 'read' });
  await rig.write(rig.fh, 0, 'data');
  const gate = rig.server.gate('WRITE');
  const cancellation = interrupter();
  const upgrade = rig.set({ end: 9, cancellation });
  t.equal(await outcome(upgrade), 'pending');
  t.same(rig.manager.held, [`${FIRST} 0-9x`, `${FIRST} 10-*`]);
  cancellation.cancel();
  t.equal(await outcome(upgrade), Errno.EINTR);
  gate.open();
  await rig.pass(10_000);
  t.same(rig.manager.held, [`${FIRST} 0-*`]);
  t.equal(await outcome(rig.set({ owner: 2, type: 'read' })), 'ok');
});

t.test(
  'a downgrade that is interrupted while the file is made current leaves the exclusive lock',
  async (t) => {
    const rig = await LockRig.open();
    await rig.set({ end: 99 });
    await rig.write(rig.fh, 0, 'data');
    const gate = rig.server.gate('WRITE');
    const cancellation = interrupter();
    const downgrade = rig.set({ type: 'read', start: 50, end: 149, cancellation });
    t.equal(await outcome(downgrade), 'pending');
    cancellation.cancel();
    t.equal(await outcome(downgrade), Errno.EINTR);
    gate.open();
    await rig.pass(10_000);
    t.same(rig.manager.held, [`${FIRST} 0-99x`]);
  },
);

t.test('an unlock that is interrupted goes on', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  const gate = rig.manager.gate('UNLOCK');
  const cancellation = interrupter();
  const unlock = rig.unlock({ cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(unlock), Errno.EINTR);
  t.equal(gate.waiting, 1);
  gate.open();
  await isClean(t, rig);
});

t.test('an unlock that nobody waits for does not take what is locked after it', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  const gate = rig.manager.gate('UNLOCK');
  const cancellation = interrupter();
  const unlock = rig.unlock({ cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(unlock), Errno.EINTR);
  const again = rig.set({ end: 9 });
  t.equal(await outcome(again), 'pending', 'it is not had already');
  gate.open();
  t.equal(await outcome(again), 'ok');
  t.same(rig.manager.held, [`${FIRST} 0-9x`]);
});

t.test('nor does one whose data is still being written', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  await rig.write(rig.fh, 0, 'data');
  const gate = rig.server.gate('WRITE');
  const cancellation = interrupter();
  const unlock = rig.unlock({ cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(unlock), Errno.EINTR);
  const again = rig.set({ end: 9 });
  await settled();
  gate.open();
  t.equal(await outcome(again), 'ok');
  t.same(rig.manager.held, [`${FIRST} 0-9x`]);
});

t.test('F_GETLK, and a wait for a grace period, end as well', async (t) => {
  const rig = await LockRig.open();
  rig.manager.restart(true);
  const cancellation = interrupter();
  const asked = [rig.test({ cancellation }), rig.wait({ cancellation }), rig.set({ owner: 2, cancellation })];
  for (const one of asked) one.catch(() => {});
  await rig.pass(7_000);
  cancellation.cancel();
  for (const one of asked) t.equal(await outcome(one), Errno.EINTR);
  rig.manager.grace = false;
  await rig.pass(10_000);
  await isClean(t, rig);
});

t.test('of two threads of one owner, the one that goes on gets the lock', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const cancellation = interrupter();
  const gone = rig.wait({ cancellation });
  const stays = rig.wait({});
  await rig.pass(3_000);
  cancellation.cancel();
  t.equal(await outcome(gone), Errno.EINTR);
  await rig.pass(3_000);
  t.equal(await outcome(stays), 'pending');
  foreign.unlock();
  await rig.pass(2_000);
  t.equal(await outcome(stays), 'ok');
  await rig.pass(10_000);
  t.same(rig.manager.held, [`${FIRST} 0-*x`]);
  await rig.unlock();
  await isClean(t, rig);
});

t.test('of two threads that wait for a program of this mount, too', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const gate = rig.manager.gate('NM_LOCK');
  const busy = rig.set({ owner: 2 });
  busy.catch(() => {});
  await settled();
  const cancellation = interrupter();
  const gone = rig.wait({ cancellation });
  const stays = rig.wait({});
  await settled();
  cancellation.cancel();
  t.equal(await outcome(gone), Errno.EINTR);
  gate.open();
  t.equal(await outcome(busy), Errno.EAGAIN);
  foreign.unlock();
  await rig.pass(2_000);
  t.equal(await outcome(stays), 'ok', 'the shared place in the queue did not go with the other');
});

t.test('what a second thread has got does not go with the first one', async (t) => {
  const rig = await LockRig.open();
  await rig.write(rig.fh, 0, 'data');
  const gate = rig.server.gate('WRITE');
  const cancellation = interrupter();
  const gone = rig.set({ cancellation });
  await settled();
  const stays = rig.set();
  t.equal(await outcome(stays), 'pending', 'it is not told of a lock that may be withdrawn');
  cancellation.cancel();
  t.equal(await outcome(gone), Errno.EINTR);
  gate.open();
  t.equal(await outcome(stays), 'ok');
  await rig.pass(10_000);
  t.same(rig.manager.held, [`${FIRST} 0-*x`]);
  await rig.unlock();
  await isClean(t, rig);
});

t.test('what a second thread has unlocked does not come back with the first one', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ type: 'read', end: 99 });
  await rig.write(rig.fh, 0, 'data');
  const gate = rig.server.gate('WRITE');
  const cancellation = interrupter();
  const upgrade = rig.set({ end: 99, cancellation });
  await settled();
  const unlock = rig.unlock({ start: 50, end: 59 });
  gate.release();
  await settled();
  cancellation.cancel();
  gate.open();
  t.equal(await outcome(unlock), 'ok');
  await outcome(upgrade);
  await rig.pass(10_000);
  t.same(
    rig.manager.held.map((lock) => lock.replace('x', '')),
    [`${FIRST} 0-49`, `${FIRST} 60-99`],
  );
});

t.test('a program that asks again after EINTR gets its lock, and keeps it', async (t) => {
  const rig = await LockRig.open();
  const gate = rig.manager.gate('NM_LOCK', 'reply');
  const cancellation = interrupter();
  const gone = rig.wait({ cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(gone), Errno.EINTR);
  const again = rig.wait();
  await settled();
  gate.open();
  t.equal(await outcome(again), 'ok');
  await rig.pass(10_000);
  t.same(rig.manager.held, [`${FIRST} 0-*x`]);
  await rig.unlock();
  await isClean(t, rig);
});

t.test('a wait of weeks does not collect listeners', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const cancellation = interrupter();
  let listeners = 0;
  const onCancel = cancellation.onCancel.bind(cancellation);
  cancellation.onCancel = (listener) => {
    listeners++;
    onCancel(listener);
  };
  const waiting = rig.wait({ cancellation });
  for (let s = 0; s < 60; s++) await rig.pass(1_000);
  t.ok(rig.manager.count('NM_LOCK') > 50);
  t.equal(listeners, 1);
  foreign.unlock();
  await rig.pass(1_000);
  await waiting;
});
