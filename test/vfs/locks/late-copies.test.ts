/** Copies of a LOCK that arrive after its UNLOCK: they must not lock for ever. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { FIRST, interrupter, LockRig } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

/** The next LOCK is sent twice, and the server gets the copy when the test says so. */
function keepCopy(rig: LockRig): () => void {
  let copy = (): void => {};
  rig.manager.once('NM_LOCK', (_args, execute, options) => {
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
