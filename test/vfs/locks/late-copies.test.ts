/** Copies of calls that arrive late: they must not lock for ever, and not take away what was locked after them. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { FIRST, interrupter, LockRig } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

/** The next call is sent twice, and the server gets the copy when the test says so. */
function keepCopy(rig: LockRig, procedure: 'NM_LOCK' | 'UNLOCK' = 'NM_LOCK'): () => void {
  let copy = (): void => {};
  rig.manager.once(procedure, (_args, execute, options) => {
    options.onRetransmit?.();
    copy = () => void execute();
    return execute();
  });
  return () => copy();
}

t.test('a late copy of a LOCK is unlocked again', async (t) => {
  const rig = await LockRig.open();
  const arrives = keepCopy(rig);
  await rig.set({ end: 9 });
  await rig.unlock({ end: 9 });
  arrives();
  t.same(rig.manager.held, [`${FIRST} 0-9x`], 'nobody wants it');
  t.same(rig.locks.held(), []);
  t.same(rig.journal.lines, [`${rig.handle} ${FIRST} holds`], 'noted for whoever cleans up');
  await rig.pass(2_000);
  t.same(rig.manager.held, []);
  await rig.pass(30_000);
  t.same(rig.journal.lines, []);
});

t.test('the end of the mount does not wait for late copies: the server is told once more', async (t) => {
  const rig = await LockRig.open();
  const arrives = keepCopy(rig);
  await rig.set({ end: 9 });
  await rig.unlock({ end: 9 });
  arrives();
  t.equal(await outcome(rig.locks.close(2_000)), 'ok');
  t.same(rig.manager.held, []);
  t.same(rig.journal.lines, []);
  t.equal(rig.journal.closed, true, 'nothing is left for the next mount');
  t.equal(rig.clock.next, undefined, 'nothing goes on afterwards');
});

t.test('a copy of a LOCK whose lock ends with the mount is not waited for either', async (t) => {
  const rig = await LockRig.open();
  keepCopy(rig);
  await rig.set({ end: 9 });
  t.equal(await outcome(rig.locks.close(2_000)), 'ok');
  t.same(rig.manager.held, []);
  t.equal(rig.journal.closed, true);
});

t.test('a server that cannot be told at the end leaves the notes for whoever comes next', async (t) => {
  const rig = await LockRig.open();
  keepCopy(rig);
  await rig.set({ end: 9 });
  await rig.unlock({ end: 9 });
  rig.manager.grace = true;
  const end = rig.locks.close(2_000);
  await rig.pass(2_000);
  t.equal(await outcome(end), 'ok');
  t.equal(rig.journal.closed, false);
  t.equal(rig.clock.next, undefined);
});

t.test('a lock that was taken again meanwhile is kept', async (t) => {
  const rig = await LockRig.open();
  const arrives = keepCopy(rig);
  await rig.set({ end: 9 });
  await rig.unlock({ end: 9 });
  await rig.set({ start: 5, end: 9 });
  arrives();
  await rig.pass(2_000);
  t.same(rig.manager.held, [`${FIRST} 5-9x`]);
  await rig.pass(30_000);
  t.same(rig.manager.held, [`${FIRST} 5-9x`]);
});

t.test('an UNLOCK is sent once where its LOCK was', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  await rig.unlock();
  rig.calls();
  await rig.pass(60_000);
  t.equal(rig.calls(), '');
});

t.test('a late copy of a LOCK that was refused is unlocked', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const arrives = keepCopy(rig);
  t.equal(await outcome(rig.set({ end: 9 })), Errno.EAGAIN);
  foreign.unlock();
  arrives();
  t.same(rig.manager.held, [`${FIRST} 0-9x`]);
  await rig.pass(2_000);
  t.same(rig.manager.held, []);
});

t.test('a late copy is unlocked as a whole, also where its lock was unlocked in pieces', async (t) => {
  const rig = await LockRig.open();
  const arrives = keepCopy(rig);
  await rig.set({ end: 99 });
  await rig.unlock({ end: 9 });
  await rig.unlock({ start: 50, end: 99 });
  arrives();
  t.same(rig.manager.held, [`${FIRST} 0-99x`]);
  await rig.pass(2_000);
  t.same(rig.manager.held, [`${FIRST} 10-49x`]);
});

t.test(
  'a late copy of a LOCK is unlocked, also where it was sent again when nobody waited any more',
  async (t) => {
    const rig = await LockRig.open();
    const arrives = keepCopy(rig);
    const gate = rig.manager.gate('NM_LOCK');
    const cancellation = interrupter();
    const asked = rig.set({ end: 9, cancellation });
    await settled();
    cancellation.cancel();
    t.equal(await outcome(asked), Errno.EINTR);
    gate.open();
    await settled();
    t.same(rig.manager.held, []);
    arrives();
    t.same(rig.manager.held, [`${FIRST} 0-9x`]);
    await rig.pass(2_000);
    t.same(rig.manager.held, []);
  },
);

t.test('a late copy of a LOCK that found its range lost is unlocked', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  rig.manager.restart(false);
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const copies: (() => void)[] = [];
  rig.manager.on('NM_LOCK', (_args, execute, options) => {
    options.onRetransmit?.();
    copies.push(execute);
    return execute();
  });
  rig.locks.restartSeen();
  await settled();
  t.equal(rig.counters.locksLost, 1);
  foreign.unlock();
  for (const arrives of copies) arrives();
  t.same(rig.manager.held, [`${FIRST} 0-9x`]);
  await rig.pass(2_000);
  t.same(rig.manager.held, []);
});

t.test('a late copy of an UNLOCK does not take what its owner locks after it', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  const arrives = keepCopy(rig, 'UNLOCK');
  await rig.unlock({ end: 9 });
  const again = rig.set({ start: 5, end: 14 });
  const apart = rig.set({ start: 20, end: 29 });
  const another = rig.set({ owner: 2, end: 4 });
  t.equal(await outcome(again), 'pending');
  t.equal(await outcome(apart), 'ok', 'it does not unlock this');
  t.equal(await outcome(another), 'ok', 'nor what somebody else locks');
  arrives();
  await rig.pass(2_000);
  t.equal(await outcome(again), 'ok');
  t.same(rig.manager.held, [`${FIRST} 20-29x`, `${FIRST} 5-14x`, `${FIRST + 1} 0-4x`]);
});

t.test('also if it takes back a LOCK, and is sent again when the next one waits for its turn', async (t) => {
  const rig = await LockRig.open();
  const asking = rig.manager.gate('NM_LOCK');
  const cancellation = interrupter();
  const given = rig.set({ end: 9, cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(given), Errno.EINTR);
  const arrives = keepCopy(rig, 'UNLOCK');
  const takingBack = rig.manager.gate('UNLOCK');
  asking.open();
  await settled();
  t.equal(takingBack.waiting, 1);
  const next = rig.set({ end: 9 });
  await settled();
  takingBack.open();
  t.equal(await outcome(next), 'pending');
  arrives();
  await rig.pass(2_000);
  t.equal(await outcome(next), 'ok');
  t.same(rig.manager.held, [`${FIRST} 0-9x`]);
});

t.test('a late copy of a LOCK that shares does not weaken one that excludes', async (t) => {
  const rig = await LockRig.open();
  const arrives = keepCopy(rig);
  await rig.set({ end: 9, type: 'read' });
  t.equal(await outcome(rig.set({ end: 19, type: 'read' })), 'ok', 'it is no weaker');
  const strengthened = rig.set({ end: 9 });
  t.equal(await outcome(strengthened), 'pending');
  arrives();
  await rig.pass(2_000);
  t.equal(await outcome(strengthened), 'ok');
  t.same(rig.manager.held, [`${FIRST} 0-9x`, `${FIRST} 10-19`]);
});

t.test('a late copy of a LOCK that excludes weakens nothing: nobody waits for it', async (t) => {
  const rig = await LockRig.open();
  keepCopy(rig);
  await rig.set({ end: 9 });
  t.equal(await outcome(rig.set({ end: 9, type: 'read' })), 'ok');
  t.equal(await outcome(rig.set({ end: 9 })), 'ok');
});

t.test('time counts from the last copy', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  rig.manager.once('UNLOCK', async (_args, execute, options) => {
    options.onRetransmit?.();
    await rig.pass(1_500);
    options.onRetransmit?.();
    return execute();
  });
  await rig.unlock({ end: 9 });
  const again = rig.set({ end: 9 });
  await rig.pass(1_999);
  t.equal(await outcome(again), 'pending');
  await rig.pass(1);
  t.equal(await outcome(again), 'ok');
});

t.test('the wait for copies can be interrupted', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  keepCopy(rig, 'UNLOCK');
  await rig.unlock();
  const cancellation = interrupter();
  const again = rig.wait({ cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(again), Errno.EINTR);
});
