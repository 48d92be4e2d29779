/** Servers forget their locks when they restart: what is held is asked for again before anything else, and losses are told. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { LockStatus } from '../../../lib/programs/nlm4/index.js';
import { RpcTimeoutError } from '../../../lib/rpc/rpc-errors.js';
import { FIRST, interrupter, LockRig } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

t.test('in a grace period all that is held is taken back, by one call each', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  await rig.set({ start: 20, end: 29, type: 'read' });
  await rig.set({ owner: 2, start: 40, flock: true });
  rig.calls();
  rig.manager.restart(true);
  rig.locks.restartSeen();
  await settled();
  t.same(rig.manager.held, [`${FIRST} 0-9x`, `${FIRST} 20-29`, `${FIRST + 1} 40-*x`]);
  t.ok(rig.manager.calls.every(({ args }) => args.reclaim && !args.block));
  t.equal(rig.calls(), 'NM_LOCK NM_LOCK NM_LOCK');
  t.equal(rig.counters.locksReclaimed, 3);
  t.equal(rig.counters.locksLost, 0);
  t.same(rig.log, []);
});

t.test('nothing is asked when nothing is held', async (t) => {
  const rig = await LockRig.open();
  rig.locks.restartSeen();
  await rig.set();
  await rig.unlock();
  rig.calls();
  rig.locks.restartSeen();
  await rig.pass(60_000);
  t.equal(rig.calls(), '');
});

t.test('a connection that was only broken costs two calls for each lock, and loses none', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  rig.calls();
  rig.locks.restartSeen();
  await settled();
  t.same(
    rig.manager.calls.map(({ args }) => args.reclaim),
    [true, false],
  );
  t.same(rig.manager.held, [`${FIRST} 0-*x`]);
  t.equal(rig.counters.locksLost, 0);
});

t.test('a server without a grace period gives back what nobody else has got meanwhile', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  await rig.set({ start: 20, end: 29 });
  rig.manager.restart(false);
  rig.manager.foreign(rig.handle, 25n, 25n, false);
  rig.locks.restartSeen();
  await settled();
  t.same(rig.manager.held, ['-1 25-25', `${FIRST} 0-9x`]);
  t.match(rig.locks.held(), [{ locks: [{ start: 0n, end: 9n }] }]);
  t.equal(rig.counters.locksReclaimed, 1);
  t.equal(rig.counters.locksLost, 1);
  t.same(rig.log, [
    '/f: the lock of process 101 on bytes 20 to 29 is lost: the server has restarted, and somebody else has locked the range',
  ]);
});

t.test('writes through a descriptor whose lock is lost fail until it is unlocked', async (t) => {
  const rig = await LockRig.open();
  const other = (await rig.open('f', 2)).fh;
  const lost = (fh = rig.fh) => rig.locks.isLost(rig.files.get(fh));
  await rig.set({ end: 9 });
  await rig.set({ owner: 2, fh: other, start: 20, end: 29 });
  t.equal(lost(), false);
  rig.manager.restart(false);
  const thief = rig.manager.foreign(rig.handle, 5n, 5n);
  rig.locks.restartSeen();
  await settled();
  t.equal(lost(), true);
  t.equal(lost(other), false, 'another descriptor, whose lock was not lost');
  t.equal(await outcome(rig.set({ end: 9 })), Errno.EAGAIN);
  thief.unlock();
  t.equal(await outcome(rig.set({ end: 9 })), 'ok', 'it may be had again');
  t.equal(lost(), true, 'and what it protected is lost all the same');
  await rig.unlock({ start: 4, end: 9 });
  t.equal(lost(), true, 'unlocked in part');
  await rig.unlock({ end: 4 });
  t.equal(lost(), false);
});

t.test('a loss ends with close(2) too, and with the last close of a descriptor', async (t) => {
  const rig = await LockRig.open();
  const other = (await rig.open('f', 2)).fh;
  await rig.set({ end: 9 });
  await rig.set({ owner: 2, flock: true, fh: other, start: 20 });
  rig.manager.restart(false);
  rig.manager.foreign(rig.handle, 0n, 99n);
  rig.locks.restartSeen();
  await settled();
  t.equal(rig.locks.endsAtClose(rig.files.get(rig.fh), 1n), true);
  await rig.closed();
  t.equal(rig.locks.endsAtClose(rig.files.get(rig.fh), 1n), false);
  t.equal(rig.locks.isLost(rig.files.get(rig.fh)), false);
  await rig.locks.released(rig.files.get(other));
  t.equal(rig.locks.isLost(rig.files.get(other)), false);
  t.equal(rig.manager.count('UNLOCK'), 0, 'the server has nothing of it');
});

t.test('with locklost=ignore only the log tells of it', async (t) => {
  const rig = await LockRig.open({}, { failsWhenLost: false });
  await rig.set();
  rig.manager.restart(false);
  rig.manager.foreign(rig.handle, 0n, 0n);
  rig.locks.restartSeen();
  await settled();
  t.equal(rig.locks.isLost(rig.files.get(rig.fh)), false);
  t.match(rig.log, [/on bytes 0 to the end is lost/]);
});

t.test('new locks come after the old ones', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  const gate = rig.manager.gate('NM_LOCK');
  rig.manager.restart(false);
  rig.locks.restartSeen();
  await settled();
  const other = rig.set({ owner: 2, start: 100 });
  t.equal(await outcome(other), 'pending');
  t.equal(gate.waiting, 1, 'of the old lock');
  gate.release();
  await settled();
  t.equal(gate.waiting, 1);
  t.match(rig.manager.calls.at(-1)?.args, { reclaim: false, lock: { svid: FIRST } });
  gate.open();
  t.equal(await outcome(other), 'ok');
});

t.test('an unlock of the owner waits for its old lock to be back, and those of others do not', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  await rig.set({ owner: 2, start: 20, end: 29 });
  const gate = rig.manager.gate('NM_LOCK');
  rig.manager.restart(true);
  rig.locks.restartSeen();
  await settled();
  const unlock = rig.unlock({ end: 9 });
  t.equal(await outcome(unlock), 'pending');
  t.equal(rig.manager.count('UNLOCK'), 0);
  gate.open();
  t.equal(await outcome(unlock), 'ok');
  rig.manager.grace = false;
  await rig.pass(5_000);
  t.same(rig.manager.held, [`${FIRST + 1} 20-29x`]);
});

t.test(
  'a LOCK that is under way when the server restarts is asked for again after the grace period',
  async (t) => {
    const rig = await LockRig.open();
    await rig.set({ end: 9 });
    const gate = rig.manager.gate('NM_LOCK');
    const wanted = rig.set({ start: 20, end: 29 });
    await settled();
    rig.manager.restart(true);
    rig.locks.restartSeen();
    gate.open();
    await settled();
    t.same(rig.manager.held, [`${FIRST} 0-9x`]);
    t.equal(await outcome(wanted), 'pending');
    rig.manager.grace = false;
    await rig.pass(5_000);
    t.equal(await outcome(wanted), 'ok');
  },
);

t.test('an answer that says "grace period" is noticed, whatever call it answers', async (t) => {
  const calls: readonly ((rig: LockRig) => Promise<unknown>)[] = [
    (rig) => rig.set({ owner: 2, start: 100 }),
    (rig) => rig.test({ owner: 2, start: 100 }),
    (rig) => rig.unlock({ start: 50, end: 59 }),
  ];
  for (const call of calls) {
    const rig = await LockRig.open();
    await rig.set({ end: 9 });
    await rig.set({ start: 50, end: 59 });
    rig.manager.restart(true);
    call(rig).catch(() => {});
    await settled();
    t.ok(rig.manager.held.includes(`${FIRST} 0-9x`));
  }
});

t.test('those that wait at the server stand in its queue again', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const waiting = rig.wait({ end: 9 });
  await settled();
  t.equal(rig.manager.waiting, 1);
  foreign.unlock();
  rig.manager.restart(true);
  const other = rig.manager.foreign(rig.handle, 0n, 9n);
  await rig.pass(6_000);
  rig.manager.grace = false;
  await rig.pass(6_000);
  await rig.pass(1_000);
  t.equal(rig.manager.waiting, 1);
  other.unlock();
  await rig.pass(1_000);
  t.equal(await outcome(waiting), 'ok');
});

t.test('a server that does not answer is asked until it does', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  rig.manager.restart(true);
  const silent = rig.manager.on('NM_LOCK', () => {
    throw new RpcTimeoutError('no answer', false);
  });
  rig.locks.restartSeen();
  for (let s = 0; s < 30; s++) await rig.pass(1_000);
  t.ok(rig.manager.count('NM_LOCK') >= 30);
  t.equal(rig.counters.locksLost, 0);
  silent();
  await rig.pass(1_000);
  t.same(rig.manager.held, [`${FIRST} 0-*x`]);
});

t.test('soft: a new lock does not wait behind an old one for which the server cannot be asked', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  const gate = rig.manager.gate('NM_LOCK');
  const silent = rig.manager.on('NM_LOCK', () => {
    throw new RpcTimeoutError('no answer', false);
  });
  rig.locks.restartSeen();
  await rig.pass(500);
  const wanted = rig.set({ owner: 2, start: 20 });
  t.equal(await outcome(wanted), 'pending');
  await rig.pass(500);
  t.equal(await outcome(wanted), Errno.ENOLCK);
  silent();
  gate.open();
  await rig.pass(1_000);
  t.same(rig.manager.held, [`${FIRST} 0-9x`]);
  t.equal(await outcome(rig.set({ owner: 2, start: 20 })), 'ok');
});

t.test('a program that waits behind old locks can be interrupted', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  const gate = rig.manager.gate('NM_LOCK');
  rig.locks.restartSeen();
  await settled();
  const cancellation = interrupter();
  const wanted = rig.set({ owner: 2, start: 20, cancellation });
  t.equal(await outcome(wanted), 'pending');
  cancellation.cancel();
  t.equal(await outcome(wanted), Errno.EINTR);
  gate.open();
});

t.test(
  'a file that is gone, and a file system that can only be read now, lose the lock at once',
  async (t) => {
    for (const status of [LockStatus.STALE_FH, LockStatus.ROFS, LockStatus.DENIED]) {
      const rig = await LockRig.open();
      await rig.set();
      rig.manager.answer('NM_LOCK', status);
      rig.locks.restartSeen();
      await settled();
      t.equal(rig.counters.locksLost, 1);
      t.equal(rig.manager.count('NM_LOCK'), 2);
    }
  },
);

t.test('a server that fails for reasons of its own is asked ten times', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  rig.manager.answer('NM_LOCK', LockStatus.FAILED);
  rig.locks.restartSeen();
  for (let s = 0; s < 8; s++) await rig.pass(1_000);
  t.equal(rig.counters.locksLost, 0);
  await rig.pass(1_000);
  t.equal(rig.counters.locksLost, 1);
  t.match(rig.log, [
    /on bytes 0 to 9 is lost: the server has restarted, and it does not give the lock back \(NLM4_FAILED\)/,
  ]);
});

t.test('a restart that is seen while old locks are being taken back makes another round', async (t) => {
  const rig = await LockRig.open();
  await rig.set({ end: 9 });
  await rig.set({ owner: 2, start: 20, end: 29 });
  const gate = rig.manager.gate('NM_LOCK');
  rig.manager.restart(true);
  rig.locks.restartSeen();
  await settled();
  gate.release();
  await settled();
  rig.manager.restart(true);
  rig.locks.restartSeen();
  gate.open();
  await settled();
  t.same(rig.manager.held, [`${FIRST} 0-9x`, `${FIRST + 1} 20-29x`]);
});

t.test('a lock that was given up while it was being taken back is released', async (t) => {
  const rig = await LockRig.open();
  await rig.write(rig.fh, 0, 'data');
  const write = rig.server.gate('WRITE');
  const cancellation = interrupter();
  const wanted = rig.set({ cancellation });
  await settled();
  rig.manager.restart(true);
  const gate = rig.manager.gate('NM_LOCK');
  rig.locks.restartSeen();
  await settled();
  cancellation.cancel();
  t.equal(await outcome(wanted), Errno.EINTR);
  gate.open();
  write.open();
  rig.manager.grace = false;
  await rig.pass(6_000);
  t.same(rig.manager.held, []);
  t.equal(rig.counters.locksLost, 0);
});

t.test('a lock that is lost while the program is not told of it yet', async (t) => {
  const rig = await LockRig.open();
  await rig.write(rig.fh, 0, 'data');
  const write = rig.server.gate('WRITE');
  const cancellation = interrupter();
  const wanted = rig.set({ end: 9, cancellation });
  await settled();
  rig.manager.restart(false);
  rig.manager.foreign(rig.handle, 0n, 9n);
  const gate = rig.manager.gate('NM_LOCK');
  rig.locks.restartSeen();
  await settled();
  cancellation.cancel();
  t.equal(await outcome(wanted), Errno.EINTR);
  gate.open();
  write.open();
  await rig.pass(6_000);
  t.equal(rig.counters.locksLost, 0, 'it was given up before');
  t.same(rig.manager.held, ['-1 0-9x']);
  t.same(rig.locks.held(), []);
});

t.test('while locks are held the lock manager is called every ten seconds, and not afterwards', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  rig.calls();
  await rig.pass(9_999);
  t.equal(rig.calls(), '');
  await rig.pass(1);
  t.equal(rig.calls(), 'NULL');
  await rig.pass(10_000);
  t.equal(rig.calls(), 'NULL');
  await rig.unlock();
  rig.calls();
  await rig.pass(30_000);
  t.equal(rig.calls(), '');
  await rig.set();
  rig.calls();
  await rig.pass(10_000);
  t.equal(rig.calls(), 'NULL');
});

t.test('a lock manager that does not answer the call is called again', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  const silent = rig.manager.on('NULL', () => {
    throw new RpcTimeoutError('no answer', false);
  });
  await rig.pass(10_000);
  await rig.pass(10_000);
  t.equal(rig.manager.count('NULL'), 2);
  silent();
});

t.test(
  'over UDP a held lock is asked for in place of that call: the answer tells of a restart',
  async (t) => {
    const rig = await LockRig.open({}, { connectionless: true });
    await rig.set({ end: 9 });
    await rig.set({ start: 20, end: 29 });
    await rig.set({ owner: 2, start: 40, end: 49 });
    rig.calls();
    await rig.pass(10_000);
    t.equal(rig.calls(), 'NM_LOCK NM_LOCK', 'one of each owner');
    rig.manager.restart(true);
    await rig.pass(10_000);
    t.equal(rig.manager.held.length, 3);
    rig.manager.restart(false);
    rig.manager.foreign(rig.handle, 5n, 5n);
    await rig.pass(10_000);
    t.equal(rig.counters.locksLost, 1);
    t.same(rig.manager.held, ['-1 5-5x', `${FIRST} 20-29x`, `${FIRST + 1} 40-49x`]);
  },
);

t.test('over UDP a lock that is being unlocked is not locked again', async (t) => {
  const rig = await LockRig.open({}, { connectionless: true });
  await rig.set();
  const gate = rig.manager.gate('UNLOCK');
  const unlock = rig.unlock();
  await settled();
  await rig.pass(10_000);
  gate.open();
  await unlock;
  await settled();
  t.same(rig.manager.held, []);
});

t.test('after the end of the mount nothing is taken back', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  const gate = rig.manager.gate('UNLOCK');
  void rig.locks.close(1_000);
  await settled();
  rig.calls();
  rig.locks.restartSeen();
  await settled();
  t.equal(rig.calls(), '');
  gate.open();
  await rig.pass(20_000);
  t.equal(rig.calls(), '');
});
