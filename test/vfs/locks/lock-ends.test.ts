/** The ends of locks: close(2) of any descriptor, the last close of an open file, and the end of the mount. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { FIRST, interrupter, LockRig } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

t.test('close(2) of a process without locks has nothing to do', async (t) => {
  const rig = await LockRig.open();
  const ends = (owner: bigint) => rig.locks.endsAtClose(rig.files.get(rig.fh), owner);
  t.equal(ends(1n), false);
  await rig.set();
  t.equal(ends(1n), true);
  t.equal(ends(2n), false, 'a child, whose locks are its own');
  await rig.unlock();
  t.equal(ends(1n), false);
  rig.calls();
  await rig.locks.closed(rig.files.get(rig.fh), 1n);
  t.equal(rig.calls(), '');
});

t.test(
  'close(2) of any descriptor ends all fcntl(2) locks of the process on the file, in one call',
  async (t) => {
    const rig = await LockRig.open();
    const other = (await rig.open('f', 0)).fh;
    await rig.set({ end: 9 });
    await rig.set({ start: 20, end: 29, type: 'read', fh: other });
    await rig.set({ owner: 2, start: 40, end: 49 });
    rig.calls();
    await rig.closed(1, other);
    t.same(rig.manager.held, [`${FIRST + 1} 40-49x`]);
    t.equal(rig.calls(), 'UNLOCK');
  },
);

t.test('close(2) leaves flock(2) locks alone', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ flock: true });
  t.equal(rig.locks.endsAtClose(rig.files.get(rig.fh), 1n), false);
});

t.test('the last close of an open file ends what was locked through it', async (t) => {
  const rig = await LockRig.open();
  const other = (await rig.open('f', 2)).fh;
  await rig.set({ owner: 7, flock: true, end: 9 });
  await rig.set({ owner: 7, start: 20, end: 29 });
  await rig.set({ owner: 8, flock: true, fh: other, start: 40, end: 49 });
  await rig.locks.released(rig.files.get(rig.fh));
  t.same(rig.manager.held, [`${FIRST + 2} 40-49x`]);
  await rig.locks.released(rig.files.get(other));
  t.same(rig.manager.held, []);
  await rig.locks.released(rig.files.get(other));
});

t.test(
  'a descriptor that a child keeps does not end what its parent locks later through another',
  async (t) => {
    const rig = await LockRig.open();
    const inherited = rig.fh;
    await rig.set({ end: 9 });
    await rig.unlock({ end: 9 });
    await rig.closed(1, inherited);
    const other = (await rig.open('f', 2)).fh;
    await rig.set({ end: 9, fh: other });
    await rig.locks.released(rig.files.get(inherited));
    t.same(rig.manager.held, [`${FIRST} 0-9x`]);
  },
);

t.test('a lock that another thread unlocked at once is none of its descriptor', async (t) => {
  const rig = await LockRig.open();
  await rig.write(rig.fh, 0, 'data');
  const gate = rig.server.gate('WRITE');
  const set = rig.set({ end: 9 });
  await settled();
  const unlock = rig.unlock();
  await settled();
  gate.open();
  await Promise.all([set, unlock]);
  await rig.unlock();
  const other = (await rig.open('f', 2)).fh;
  await rig.set({ end: 9, fh: other });
  await rig.locks.released(rig.files.get(rig.fh));
  t.same(rig.manager.held, [`${FIRST} 0-9x`]);
});

t.test('an owner that was forgotten meanwhile is unlocked under its present number', async (t) => {
  const rig = await LockRig.open();
  const other = (await rig.open('f', 2)).fh;
  await rig.set({ owner: 7, flock: true });
  await rig.unlock({ owner: 7, flock: true });
  for (let owner = 100; owner < 400; owner++) {
    await rig.set({ owner, fh: other });
    await rig.unlock({ owner, fh: other });
  }
  await rig.set({ owner: 7, flock: true });
  t.not(rig.manager.held[0], `${FIRST} 0-*x`, 'it has another number now');
  await rig.locks.released(rig.files.get(rig.fh));
  t.same(rig.manager.held, []);
});

t.test('close(2) by a program that is interrupted returns, and its locks end', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  const gate = rig.manager.gate('UNLOCK');
  const cancellation = interrupter();
  const closed = rig.locks.closed(rig.files.get(rig.fh), 1n, cancellation);
  await settled();
  cancellation.cancel();
  t.equal(await outcome(closed), Errno.EINTR);
  gate.open();
  await settled();
  t.same(rig.manager.held, []);
  t.same(rig.journal.lines, []);
});

t.test('a last close while the lock is asked for ends it, too', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  const gate = rig.manager.gate('NM_LOCK');
  const set = rig.set({ start: 20, end: 29 });
  await settled();
  const closed = rig.locks.closed(rig.files.get(rig.fh), 1n);
  gate.open();
  await Promise.all([set, closed]);
  await settled();
  t.same(rig.manager.held, []);
});

t.test('at the end of the mount nobody waits any more, and the server has nothing left', async (t) => {
  const rig = await LockRig.open();
  const other = (await rig.open('f', 2)).fh;
  const foreign = rig.manager.foreign(rig.handle, 100n, 109n);
  await rig.set({ end: 9 });
  await rig.set({ owner: 2, flock: true, fh: other, start: 20, end: 29 });
  const here = rig.wait({ owner: 3, end: 9 });
  const there = rig.wait({ owner: 4, start: 100, end: 109 });
  for (const wait of [here, there]) wait.catch(() => {});
  await settled();
  const end = rig.locks.close(2_000);
  t.equal(await outcome(end), 'ok');
  t.equal(await outcome(here), Errno.EINTR);
  t.equal(await outcome(there), Errno.EINTR);
  t.equal(rig.manager.waiting, 0);
  foreign.unlock();
  t.same(rig.manager.held, []);
  t.same(rig.journal.lines, []);
  t.equal(rig.journal.closed, true);
  t.equal(rig.manager.closed, true);
  t.equal(await outcome(rig.set()), Errno.ENOLCK);
  t.equal(rig.clock.next, undefined, 'nothing is left to do');
});

t.test('at the end of the mount the server is waited for so long and no longer', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  const gate = rig.manager.gate('UNLOCK');
  const end = rig.locks.close(2_000);
  await rig.pass(1_999);
  t.equal(await outcome(end), 'pending');
  await rig.pass(1);
  t.equal(await outcome(end), 'ok');
  t.equal(rig.journal.closed, false, 'somebody else has to release them');
  t.same(rig.journal.lines, [`${rig.handle} ${FIRST} holds`]);
  gate.open();
});

t.test('what was given up just before the end is taken back, too', async (t) => {
  const rig = await LockRig.open();
  const gate = rig.manager.gate('NM_LOCK', 'reply');
  const cancellation = interrupter();
  const wanted = rig.wait({ cancellation });
  await settled();
  cancellation.cancel();
  t.equal(await outcome(wanted), Errno.EINTR);
  const end = rig.locks.close(2_000);
  t.equal(await outcome(end), 'pending');
  gate.open();
  t.equal(await outcome(end), 'ok');
  t.same(rig.manager.held, []);
  t.equal(rig.journal.closed, true);
});

t.test('in a grace period the end leaves the rest to whoever reads the notes', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  rig.manager.grace = true;
  const end = rig.locks.close(2_000);
  await rig.pass(2_000);
  t.equal(await outcome(end), 'ok');
  t.equal(rig.journal.closed, false);
  t.equal(rig.clock.next, undefined, 'nothing goes on afterwards');
});

t.test('a list of what is held tells file, range, process and since when', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  await rig.pass(1_500);
  await rig.set({ owner: 2, flock: true, start: 20, type: 'read', pid: 0 });
  await rig.set({ start: 12, end: 19 });
  t.match(rig.locks.held(), [
    { path: '/f', pid: 101, flock: false, heldMs: 1_500, locks: [{ start: 0n, end: 9n }, { start: 12n }] },
    { path: '/f', pid: 0, flock: true, heldMs: 0, locks: [{ start: 20n, exclusive: false }] },
  ]);
});
