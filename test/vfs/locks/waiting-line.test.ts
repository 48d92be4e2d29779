/** The order in which programs of one mount get a lock that another client holds. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { LONGEST_POLL_MS } from '../../../lib/vfs/locks/lock-requests.js';
import { interrupter, LockRig, type Wish } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

const MANY = 10;

/** Waiters with the owners 1, 2 and so on, each of which gives its lock back. Resolves with the order in which they had it. */
async function inTurn(
  rig: LockRig,
  wishes: readonly Wish[],
  freed: () => void | Promise<void>,
): Promise<string> {
  const order: number[] = [];
  const waits: Promise<void>[] = [];
  for (const [index, wish] of wishes.entries()) {
    const owner = index + 1;
    const waiter = rig.wait({ owner, ...wish }).then(async () => {
      order.push(owner);
      await settled();
      await rig.unlock({ owner });
    });
    waits.push(waiter);
    // Those that have waited for long ask again less often.
    await rig.pass(7 * (wishes.length - index));
  }
  await freed();
  const all = Promise.all(waits);
  for (let i = 0; i < 4 * MANY && order.length < wishes.length; i++) await rig.pass(50);
  await rig.pass(LONGEST_POLL_MS);
  await all;
  return order.join(' ');
}

const ASKED = Array.from({ length: MANY }, (): Wish => ({ end: 9 }));
const IN_ORDER = ASKED.map((_, index) => index + 1).join(' ');

t.test('those that wait for one range get it in the order in which they asked', async (t) => {
  for (const hearsGrants of [false, true]) {
    const rig = await LockRig.open({}, { hearsGrants });
    const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
    t.equal(await inTurn(rig, ASKED, () => foreign.unlock()), IN_ORDER, String(hearsGrants));
  }
});

t.test('the order outlives a restart of the server', async (t) => {
  for (const hearsGrants of [false, true]) {
    const rig = await LockRig.open({}, { hearsGrants });
    rig.manager.foreign(rig.handle, 0n, 9n);
    const restart = async () => {
      rig.manager.restart(true);
      rig.locks.restartSeen();
      await rig.pass(1_500);
      rig.manager.grace = false;
      const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
      // All have waited for the end of the grace period since their own time.
      for (let i = 0; i < 60; i++) await rig.pass(100);
      foreign.unlock();
    };
    t.equal(await inTurn(rig, ASKED, restart), IN_ORDER, String(hearsGrants));
  }
});

t.test('only the first asks the server, unless that keeps those that wait in order', async (t) => {
  for (const [hearsGrants, calls] of [
    [false, 1],
    [true, 3],
  ] as const) {
    const rig = await LockRig.open({}, { hearsGrants });
    rig.manager.foreign(rig.handle, 0n, 9n);
    for (const owner of [1, 2, 3]) void rig.wait({ owner }).catch(() => {});
    await rig.pass(1);
    rig.calls();
    await rig.pass(LONGEST_POLL_MS);
    await rig.pass(LONGEST_POLL_MS);
    const svids = new Set(rig.manager.calls.map(({ args }) => args.lock.svid));
    t.equal(svids.size, calls);
  }
});

t.test('one that gives up lets the next one go at once', async (t) => {
  const rig = await LockRig.open({}, { hearsGrants: false });
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const cancellation = interrupter();
  const first = rig.wait({ owner: 1, cancellation });
  const second = rig.wait({ owner: 2 });
  for (let i = 0; i < 30; i++) await rig.pass(100);
  foreign.unlock();
  cancellation.cancel();
  t.equal(await outcome(first), Errno.EINTR);
  await settled();
  t.equal(await outcome(second), 'ok', 'without a pause');
});

t.test('nobody waits behind one that wants more, or wants it more strongly', async (t) => {
  const rig = await LockRig.open({}, { hearsGrants: false });
  rig.manager.foreign(rig.handle, 0n, 9n, false);
  const first = rig.wait({ owner: 1, end: 99 });
  await rig.pass(100);
  const other = rig.wait({ owner: 2, start: 50, end: 59 });
  const shared = rig.wait({ owner: 3, end: 9, type: 'read' });
  await rig.pass(LONGEST_POLL_MS);
  t.same(await Promise.all([first, other, shared].map(outcome)), ['pending', 'ok', 'ok']);
});

t.test('one that keeps an earlier one waiting goes first', async (t) => {
  const rig = await LockRig.open({}, { hearsGrants: false });
  const foreign = rig.manager.foreign(rig.handle, 0n, 9n);
  const first = rig.wait({ owner: 1, end: 19 });
  await rig.pass(100);
  // It is the server that lets it have this, beside the one that waits.
  await rig.set({ owner: 2, start: 10, end: 19 });
  const second = rig.wait({ owner: 2, end: 19 });
  await rig.pass(LONGEST_POLL_MS);
  foreign.unlock();
  await rig.pass(LONGEST_POLL_MS);
  t.same(await Promise.all([first, second].map(outcome)), ['pending', 'ok']);
  await rig.unlock({ owner: 2 });
  await rig.pass(LONGEST_POLL_MS);
  t.equal(await outcome(first), 'ok');
});
