/** The calls to a lock manager: which procedure locks, and what a failed call means. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { LockStatus } from '../../../lib/programs/nlm4/index.js';
import { RpcProcedureUnavailableError, RpcTimeoutError } from '../../../lib/rpc/rpc-errors.js';
import { FIRST, LockRig } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

/** The server does not know the procedure. */
function unknown(rig: LockRig, name: string): () => void {
  return rig.manager.on(name, () => {
    throw new RpcProcedureUnavailableError(name);
  });
}

t.test('a server that does not know NM_LOCK is asked by LOCK, and from then on by LOCK alone', async (t) => {
  const rig = await LockRig.open();
  unknown(rig, 'NM_LOCK');
  await rig.set({ end: 9 });
  t.equal(rig.calls(), 'NM_LOCK LOCK');
  await rig.set({ start: 20, end: 29 });
  t.equal(rig.calls(), 'LOCK');
  await rig.unlock();
  t.same(rig.manager.held, []);
});

t.test('the same is asked by either', async (t) => {
  const rig = await LockRig.open();
  unknown(rig, 'NM_LOCK');
  await rig.wait({ type: 'read', end: 9 });
  const [first, second] = rig.manager.calls;
  t.same(first?.args, second?.args);
});

t.test('a server that knows neither has no locks', async (t) => {
  const rig = await LockRig.open();
  unknown(rig, 'NM_LOCK');
  unknown(rig, 'LOCK');
  t.equal(await outcome(rig.set()), Errno.ENOLCK);
  t.equal(rig.manager.count('NM_LOCK') + rig.manager.count('LOCK'), 2);
});

t.test(
  'a server that has no room for the one kind is asked for the other, and then for that alone',
  async (t) => {
    const rig = await LockRig.open();
    const full = rig.manager.answer('NM_LOCK', LockStatus.DENIED_NOLOCKS);
    await rig.set({ end: 9 });
    t.equal(rig.calls(), 'NM_LOCK LOCK');
    await rig.set({ start: 20, end: 29 });
    t.equal(rig.calls(), 'LOCK');
    full();
    rig.manager.answer('LOCK', LockStatus.DENIED_NOLOCKS);
    await rig.set({ start: 40, end: 49 });
    t.equal(rig.calls(), 'LOCK NM_LOCK');
    await rig.set({ start: 60, end: 69 });
    t.equal(rig.calls(), 'NM_LOCK');
  },
);

t.test('a server that has no room for either is asked by the usual one the next time', async (t) => {
  const rig = await LockRig.open();
  const full = ['NM_LOCK', 'LOCK'].map((name) => rig.manager.answer(name, LockStatus.DENIED_NOLOCKS));
  t.equal(await outcome(rig.set()), Errno.ENOLCK);
  for (const end of full) end();
  rig.calls();
  await rig.set();
  t.equal(rig.calls(), 'NM_LOCK');
});

t.test('that the other kind is unknown does not hide that there is no room', async (t) => {
  const rig = await LockRig.open();
  rig.manager.answer('NM_LOCK', LockStatus.DENIED_NOLOCKS);
  unknown(rig, 'LOCK');
  t.equal(await outcome(rig.set()), Errno.ENOLCK);
  t.same(rig.locks.held(), []);
  rig.calls();
  t.equal(await outcome(rig.set()), Errno.ENOLCK);
  t.equal(rig.calls(), 'NM_LOCK LOCK');
});

t.test('a call without an answer is ENOLCK for a program, and says why', async (t) => {
  const rig = await LockRig.open();
  rig.manager.on('NM_LOCK', () => {
    throw new RpcTimeoutError('no answer within 180 s', false);
  });
  await t.rejects(rig.set(), { message: /no answer within 180 s/ });
  t.equal(await outcome(rig.set()), Errno.ENOLCK);
  rig.manager.on('TEST', () => {
    throw new RpcTimeoutError('no answer within 180 s', false);
  });
  t.equal(await outcome(rig.test()), Errno.ENOLCK);
});

t.test('a server whose LOCK hangs, because its status monitor is dead, is not asked by LOCK', async (t) => {
  const rig = await LockRig.open();
  rig.manager.gate('LOCK');
  await rig.set();
  await rig.unlock();
  t.equal(rig.manager.count('LOCK'), 0);
});

t.test('cookies are eight bytes, and no two calls have the same', async (t) => {
  const rig = await LockRig.open();
  for (let n = 0; n < 20; n++) {
    await rig.set({ end: 9 });
    await rig.test({ owner: 2 });
    await rig.unlock();
  }
  const cookies = rig.manager.calls.map(({ args }) => args.cookie);
  t.equal(new Set(cookies).size, cookies.length);
  t.ok(cookies.every((cookie) => cookie.length === 8));
});

t.test('the owner is the same in all calls about its lock', async (t) => {
  const rig = await LockRig.open();
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const waiting = rig.wait();
  await settled();
  foreign.unlock();
  await rig.pass(1_000);
  await waiting;
  rig.manager.restart(true);
  rig.locks.restartSeen();
  await settled();
  rig.manager.grace = false;
  await rig.unlock();
  const owners = rig.manager.calls.map(({ args }) => {
    const { callerName, handle, ownerHandle, svid } = args.lock;
    return [callerName, handle, ownerHandle, svid].join();
  });
  t.same([...new Set(owners)], [`rig,${rig.handle},${FIRST}@rig,${FIRST}`]);
});

t.test('locks know whether the lock manager answers', async (t) => {
  const rig = await LockRig.open();
  t.equal(rig.locks.unresponsive, false);
  rig.manager.unresponsive = true;
  t.equal(rig.locks.unresponsive, true);
});
