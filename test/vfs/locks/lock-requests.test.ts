/** Locks that programs ask for: among the programs of the mount first, then at the server; and what each of them costs. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { LockStatus } from '../../../lib/programs/nlm4/index.js';
import { OpenFile } from '../../../lib/vfs/data/open-file.js';
import { FIRST_POLL_MS } from '../../../lib/vfs/locks/lock-requests.js';
import { LockType } from '../../../lib/vfs/locks/locks.js';
import { FIRST, interrupter, LockRig } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

t.test('a lock and its unlock are two calls', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ start: 10, end: 19 });
  t.same(rig.manager.held, [`${FIRST} 10-19x`]);
  await rig.unlock({ start: 10, end: 19 });
  t.same(rig.manager.held, []);
  t.equal(rig.calls(), 'NM_LOCK UNLOCK');
  t.same(rig.journal.lines, []);
});

t.test('LOCK says what the protocol wants to know', async (t) => {
  const rig = await LockRig.open();
  await rig.wait({ start: 10 });
  const [call] = rig.manager.calls;
  t.match(call?.args, {
    block: true,
    exclusive: true,
    reclaim: false,
    state: 1,
    lock: { callerName: 'rig', ownerHandle: `${FIRST}@rig`, svid: FIRST, offset: 10n, length: 0n },
  });
  t.equal(call?.args.lock.handle, rig.handle);
  t.equal(call?.uid, 1000, 'with the rights of whoever opened the file');
  await rig.set({ type: 'read', owner: 2, end: 4 });
  t.match(rig.manager.calls[1]?.args, { block: false, exclusive: false, lock: { length: 5n } });
  t.not(rig.manager.calls[1]?.args.cookie, call?.args.cookie);
});

t.test('a lock that its owner has already costs nothing', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ start: 0, end: 99 });
  await rig.set({ start: 100, end: 199 });
  rig.calls();
  await rig.set({ start: 50, end: 150 });
  await rig.wait({ start: 0, end: 199 });
  t.equal(rig.calls(), '');
  await rig.set({ start: 150, end: 200 });
  t.equal(rig.calls(), 'NM_LOCK', 'one byte of it is new');
});

t.test('an unlock of what is not held costs nothing', async (t) => {
  const rig = await LockRig.open();
  await rig.unlock();
  await rig.set({ start: 0, end: 9 });
  rig.calls();
  await rig.unlock({ start: 10, end: 19 });
  await rig.unlock({ owner: 2 });
  t.equal(rig.calls(), '');
});

t.test('an unlock takes its range out of a larger lock', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ start: 0, end: 99 });
  await rig.unlock({ start: 40, end: 59 });
  t.same(rig.manager.held, [`${FIRST} 0-39x`, `${FIRST} 60-99x`]);
  t.same(
    rig.locks.held()[0]?.locks.map(({ start, end }) => [start, end]),
    [
      [0n, 39n],
      [60n, 99n],
    ],
  );
});

t.test('programs of one mount exclude each other without a call', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  rig.calls();
  t.equal(await outcome(rig.set({ owner: 2, start: 5, end: 5 })), Errno.EAGAIN);
  t.equal(await outcome(rig.set({ owner: 2, type: 'read' })), Errno.EAGAIN);
  t.equal(rig.calls(), '');
  t.equal(await outcome(rig.set({ owner: 2, start: 10 })), 'ok');
});

t.test('fcntl(2) and flock(2) locks of one number exclude each other', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ flock: true });
  t.equal(await outcome(rig.set({})), Errno.EAGAIN);
});

t.test('shared locks share', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ type: 'read' });
  await rig.set({ type: 'read', owner: 2 });
  t.same(rig.manager.held, [`${FIRST} 0-*`, `${FIRST + 1} 0-*`]);
  t.equal(await outcome(rig.set({ owner: 2 })), Errno.EAGAIN);
});

t.test(
  'a client elsewhere stands in the way, and the table says nothing of a lock that was refused',
  async (t) => {
    const rig = await LockRig.open();
    const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
    t.equal(await outcome(rig.set()), Errno.EAGAIN);
    t.equal(rig.calls(), 'NM_LOCK', 'nothing is to be taken back');
    foreign.unlock();
    t.equal(await outcome(rig.set({ owner: 2 })), 'ok', 'nobody of this mount holds it');
    t.same(rig.journal.lines, [`${rig.handle} ${FIRST + 1} holds`]);
  },
);

t.test('a refused upgrade leaves the shared lock, here and there', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ type: 'read' });
  const foreign = rig.manager.foreign(rig.handle, 5n, 5n, false);
  t.equal(await outcome(rig.set()), Errno.EAGAIN);
  t.same(rig.manager.held, ['-1 5-5', `${FIRST} 0-*`]);
  t.equal(await outcome(rig.set({ owner: 2, type: 'read' })), 'ok');
  t.equal(await outcome(rig.set({ owner: 2 })), Errno.EAGAIN, 'refused here');
  await rig.unlock({ owner: 2 });
  foreign.unlock();
  t.equal(await outcome(rig.set()), 'ok');
  t.same(rig.manager.held, [`${FIRST} 0-*x`]);
});

t.test('a downgrade is one call, and lets readers in', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  rig.calls();
  const waiting = rig.wait({ owner: 2, type: 'read', end: 9 });
  t.equal(await outcome(waiting), 'pending');
  await rig.set({ type: 'read', end: 99 });
  t.equal(await outcome(waiting), 'ok');
  t.equal(rig.calls(), 'NM_LOCK NM_LOCK', 'one of each owner');
  t.same(rig.manager.held, [`${FIRST + 1} 0-9`, `${FIRST} 0-99`, `${FIRST} 100-*x`].sort());
});

t.test('while a downgrade has no answer, the lock is exclusive', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  const gate = rig.manager.gate('NM_LOCK');
  const downgrade = rig.set({ type: 'read' });
  await settled();
  t.equal(await outcome(rig.set({ owner: 2, type: 'read' })), Errno.EAGAIN);
  gate.open();
  await downgrade;
  t.equal(await outcome(rig.set({ owner: 2, type: 'read' })), 'ok');
});

t.test('a lock that waits for a program of this mount makes no call until that one unlocks', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  rig.calls();
  const waiting = rig.wait({ owner: 2 });
  for (let s = 0; s < 60; s++) await rig.pass(1_000);
  t.equal(rig.calls(), 'NULL NULL NULL NULL NULL NULL', 'the server is watched while locks are held');
  t.match(rig.locks.waiting(), [{ path: '/f', pid: 102, flock: false, waitedMs: 60_000, exclusive: true }]);
  await rig.unlock();
  await waiting;
  t.equal(rig.calls(), 'UNLOCK NM_LOCK');
  t.same(rig.locks.waiting(), []);
});

t.test('a lock that waits for another client asks again: at first often, then every second', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const waiting = rig.wait();
  await settled();
  t.equal(rig.manager.waiting, 1);
  for (let ms = 0; ms < 200; ms += 5) await rig.pass(5);
  t.equal(rig.manager.count('NM_LOCK'), 6, 'after 5, 10, 20, 40 and 80 ms');
  for (let ms = 0; ms < 20_000; ms += 100) await rig.pass(100);
  t.ok(rig.manager.count('NM_LOCK') >= 25 && rig.manager.count('NM_LOCK') <= 30);
  t.equal(rig.manager.waiting, 1, 'it keeps its place');
  foreign.unlock();
  t.same(rig.manager.held, [`${FIRST} 0-*x`], 'the server grants it without a word');
  await rig.pass(1_000);
  t.equal(await outcome(waiting), 'ok');
  t.same(rig.journal.lines, [`${rig.handle} ${FIRST} holds`]);
});

t.test('those that wait at the server look again when a program of this mount unlocks', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  await rig.set({ start: 10, end: 19 });
  const waiting = rig.wait({ owner: 2, end: 15 });
  await rig.pass(60_000);
  foreign.unlock();
  await rig.unlock({ start: 10, end: 19 });
  t.equal(await outcome(waiting), 'ok');
});

t.test('a circle of programs that wait is refused', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ start: 0, end: 9 });
  await rig.set({ owner: 2, start: 10, end: 19 });
  const waiting = rig.wait({ start: 10, end: 19 });
  t.equal(await outcome(waiting), 'pending');
  t.equal(await outcome(rig.wait({ owner: 2, start: 0, end: 9 })), Errno.EDEADLK);
  await rig.unlock({ owner: 2 });
  t.equal(await outcome(waiting), 'ok');
});

t.test('a lock that is only asked for makes no deadlock', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 0n);
  await rig.set({ owner: 2, start: 15, end: 15 });
  const first = rig.wait({ owner: 1, start: 15, end: 15 });
  const gate = rig.manager.gate('NM_LOCK');
  const asked = rig.set({ owner: 1, end: 9 });
  asked.catch(() => {});
  await settled();
  const second = rig.wait({ owner: 2, start: 5, end: 9 });
  t.equal(await outcome(second), 'pending', 'the server may refuse the other one, and does');
  gate.open();
  t.equal(await outcome(asked), Errno.EAGAIN);
  t.equal(await outcome(second), 'ok');
  foreign.unlock();
  await rig.unlock({ owner: 2 });
  t.equal(await outcome(first), 'ok');
});

t.test('a lock that the server has granted is fetched, whoever waits here before it', async (t) => {
  const rig = await LockRig.open();
  const other = rig.mountLocks({}, 500_000);
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  await rig.set({ start: 20, end: 29, type: 'read' });
  const shared = rig.wait({ owner: 2, end: 29, type: 'read' });
  await rig.pass(1_000);
  // It waits for a program of this mount, and would come before the next call of the other.
  const exclusive = rig.wait({ owner: 3, start: 25, end: 25 });
  t.equal(await outcome(exclusive), 'pending');
  foreign.unlock();
  await rig.pass(1_000);
  t.equal(await outcome(shared), 'ok');
  await rig.unlock({ owner: 2 });
  t.equal(await outcome(rig.set({ owner: 4, end: 9 }, other)), 'ok');
});

t.test('a request is not refused because of another one that has no answer', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 0n);
  const gate = rig.manager.gate('NM_LOCK', 'reply');
  const first = rig.set({ end: 9 });
  await settled();
  const second = rig.set({ owner: 2, start: 5, end: 9 });
  t.equal(await outcome(second), 'pending');
  t.equal(rig.manager.count(), 1);
  gate.open();
  t.equal(await outcome(first), Errno.EAGAIN);
  t.equal(await outcome(second), 'ok');
  foreign.unlock();
});

t.test('one owner has one call of a file under way', async (t) => {
  const rig = await LockRig.open();
  const gate = rig.manager.gate('NM_LOCK');
  const first = rig.set({ start: 0, end: 9 });
  const second = rig.set({ start: 20, end: 29 });
  const other = rig.set({ owner: 2, start: 40, end: 49 });
  await settled();
  t.equal(gate.waiting, 2, 'the second of the first owner is not sent');
  gate.open();
  await Promise.all([first, second, other]);
  t.equal(rig.manager.held.length, 3);
});

t.test('the answers of the server become errors', async (t) => {
  const errors: readonly (readonly [LockStatus, number])[] = [
    [LockStatus.DENIED, Errno.EAGAIN],
    [LockStatus.DENIED_NOLOCKS, Errno.ENOLCK],
    [LockStatus.BLOCKED, Errno.ENOLCK],
    [LockStatus.DEADLCK, Errno.EDEADLK],
    [LockStatus.ROFS, Errno.EROFS],
    [LockStatus.FBIG, Errno.EOVERFLOW],
    [LockStatus.FAILED, Errno.ENOLCK],
  ];
  for (const [status, errno] of errors) {
    const rig = await LockRig.open();
    rig.manager.answer('NM_LOCK', status);
    rig.manager.answer('LOCK', status);
    t.equal(await outcome(rig.set()), errno, `status ${status}`);
    t.same(rig.locks.held(), []);
    t.equal(rig.manager.count('CANCEL'), 0);
  }
});

t.test('ranges that no lock manager knows, and files that have none, are refused here', async (t) => {
  const rig = await LockRig.open();
  const file = rig.files.get(rig.fh);
  const folder = new OpenFile(99, rig.root, 2, file.credential, undefined);
  const request = (start: bigint, end: bigint) => ({
    fh: rig.fh,
    owner: 1n,
    flock: false,
    lock: { start, end, type: LockType.WRITE, pid: 1 },
  });
  t.equal(await outcome(rig.locks.set(file, request(1n << 63n, 1n << 63n), false)), Errno.EOVERFLOW);
  t.equal(await outcome(rig.locks.set(file, request(0n, 1n << 63n), false)), Errno.EOVERFLOW);
  t.equal(await outcome(rig.locks.set(file, request(9n, 8n), false)), Errno.EINVAL);
  t.equal(await outcome(rig.locks.set(folder, request(0n, 1n), false)), Errno.ENOLCK);
  t.equal(rig.calls(), '');
});

t.test('a grace period is waited for, also by those who do not want to wait for a lock', async (t) => {
  const rig = await LockRig.open();
  rig.manager.restart(true);
  const waiting = rig.wait();
  const trying = rig.set({ owner: 2, type: 'read', start: 1, end: 2 });
  trying.catch(() => {});
  await rig.pass(4_999);
  t.equal(rig.manager.count('NM_LOCK'), 2);
  await rig.pass(1);
  t.equal(rig.manager.count('NM_LOCK'), 4);
  rig.manager.grace = false;
  await rig.pass(5_000);
  t.equal(await outcome(waiting), 'ok');
  t.equal(await outcome(trying), Errno.EAGAIN);
});

t.test('a stale handle is looked for once', async (t) => {
  const rig = await LockRig.open();
  rig.manager.answer('NM_LOCK', LockStatus.STALE_FH);
  rig.manager.answer('UNLOCK', LockStatus.STALE_FH);
  t.equal(await outcome(rig.set()), Errno.ESTALE);
  t.ok(rig.manager.count('NM_LOCK') <= 2);
});

t.test('F_GETLK tells of programs of this mount with their number, and of others without', async (t) => {
  const rig = await LockRig.open();
  t.match(await rig.test(), { type: LockType.UNLOCK });
  await rig.set({ type: 'read', start: 10, end: 19 });
  await rig.set({ owner: 3, start: 2, end: 3 });
  rig.calls();
  t.same(await rig.test({ owner: 2 }), { start: 2n, end: 3n, type: LockType.WRITE, pid: 103 });
  t.same(await rig.test({ owner: 2, start: 15 }), { start: 10n, end: 19n, type: LockType.READ, pid: 101 });
  t.equal(rig.calls(), '');
  t.match(await rig.test({ owner: 2, start: 15, type: 'read' }), { type: LockType.UNLOCK });
  const foreign = rig.manager.foreign(rig.handle, 100n, 109n);
  t.same(await rig.test({ owner: 2, start: 20, type: 'read' }), {
    start: 100n,
    end: 109n,
    type: LockType.WRITE,
    pid: 0,
  });
  t.match(await rig.test({ start: 0, end: 1 }), { type: LockType.UNLOCK }, 'its own locks are no obstacle');
  foreign.unlock();
});

t.test('F_GETLK waits for a grace period, and for what this mount is taking back', async (t) => {
  const rig = await LockRig.open();
  rig.manager.restart(true);
  const asked = rig.test();
  await rig.pass(5_000);
  t.equal(await outcome(asked), 'pending');
  rig.manager.grace = false;
  await rig.pass(5_000);
  t.match(await asked, { type: LockType.UNLOCK });
});

t.test('F_GETLK does not take a lock that has been asked for as one that is held', async (t) => {
  const rig = await LockRig.open();
  const gate = rig.manager.gate('NM_LOCK');
  const pending = rig.set({ end: 9 });
  await settled();
  t.match(await rig.test({ owner: 2 }), { type: LockType.UNLOCK });
  gate.open();
  await pending;
});

t.test('F_GETLK fails as the server says', async (t) => {
  const rig = await LockRig.open();
  rig.manager.answer('TEST', LockStatus.FAILED);
  t.equal(await outcome(rig.test()), Errno.ENOLCK);
});

t.test(
  'several that wait for another client ask at their own times, and not after each call of the others',
  async (t) => {
    const rig = await LockRig.open();
    const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
    const waits = [1, 2, 3].map((owner) => outcome(rig.wait({ owner })));
    await settled();
    await settled();
    t.ok(rig.calls().split(' ').length <= 3, 'each has asked once');
    await rig.clock.advance(FIRST_POLL_MS);
    await settled();
    t.ok(rig.calls().split(' ').length <= 3, 'and once more after its pause');
    foreign.unlock();
    t.same(await Promise.all(waits), ['pending', 'pending', 'pending']);
  },
);

t.test('without callbacks, a lock that waits is asked for and stands in no queue', async (t) => {
  const rig = await LockRig.open({}, { hearsGrants: false });
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const waiting = rig.wait({ start: 5, end: 14 });
  await settled();
  t.match(rig.manager.calls[0]?.args, { block: false });
  t.equal(rig.manager.waiting, 0, 'the server grants nothing that nobody hears of');
  t.same(rig.journal.lines, [`${rig.handle} ${FIRST} holds`]);
  foreign.unlock();
  t.same(rig.manager.held, []);
  await rig.clock.advance(FIRST_POLL_MS);
  t.equal(await outcome(waiting), 'ok');
  t.same(rig.manager.held, [`${FIRST} 5-14x`]);
});

t.test('without callbacks, a wait that is interrupted leaves nothing to take back', async (t) => {
  const rig = await LockRig.open({}, { hearsGrants: false });
  rig.manager.foreign(rig.handle, 0n, 9n);
  const cancellation = interrupter();
  const waiting = rig.wait({ cancellation });
  await settled();
  rig.calls();
  cancellation.cancel();
  t.equal(await outcome(waiting), Errno.EINTR);
  t.equal(rig.calls(), '');
});

t.test('those that wait for another client do not drive each other to ask', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const waiting = [1, 2, 3, 4].map((owner) => rig.wait({ owner }));
  for (let s = 0; s < 30; s++) await rig.pass(1_000);
  t.ok(rig.manager.count('NM_LOCK') < 4 * 45, `${rig.manager.count('NM_LOCK')} calls`);
  foreign.unlock();
  for (const [at, wait] of waiting.entries()) {
    await rig.pass(2_000);
    t.equal(await outcome(wait), 'ok', 'in order');
    await rig.unlock({ owner: at + 1 });
  }
  t.same(rig.manager.held, []);
});
