/** The embedded server's lock manager, over real calls. The rules of ranges and queues are in test/locks. */
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { LockStatus, lockProcedures as nlm } from '../../lib/programs/nlm4/index.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { untilEnd } from '../support/until-end.js';
import { LockClient, type LockOptions, lockRig } from './support/lock-clients.js';
import { made, NOBODY, ok, type Rig, rig } from './support/rig.js';

const TOP = 2n ** 63n;

/** Another owner for each difference from the first one. */
function others(r: Rig, file: nfs.FileHandle): Record<string, LockClient> {
  return {
    svid: new LockClient(r.client, file, 2, 'one', 'oh'),
    callerName: new LockClient(r.client, file, 1, 'other', 'oh'),
    ownerHandle: new LockClient(r.client, file, 1, 'one', 'ho'),
    // The same letters, cut at another place.
    both: new LockClient(r.client, file, 1, 'on', 'eoh'),
  };
}

t.test('a lock is held until its owner unlocks it, and told to those that test', async (t) => {
  const { r, a, b } = await lockRig(t);
  t.equal(await a.lock({ offset: 10n, length: 10n }), 'GRANTED');
  t.equal(await a.lock({ offset: 10n, length: 10n, monitored: true }), 'GRANTED', 'the same once more');
  const holder = { exclusive: true, svid: 1, ownerHandle: '1@tester', offset: 10n, length: 10n };
  t.strictSame(await b.test({ offset: 19n, shared: true }), holder);
  t.equal(await b.test({ length: 10n }), 'GRANTED');
  t.equal(await a.test(), 'GRANTED', 'its own lock is none against it');
  t.equal(await b.lock({ offset: 15n, length: 1n, shared: true }), 'DENIED');
  t.equal(await b.unlock(), 'GRANTED', 'what is not locked can be unlocked');
  t.equal(await b.lock({ offset: 15n, length: 1n }), 'DENIED');
  t.equal(await a.unlock({ offset: 15n, length: 1n }), 'GRANTED');
  t.same(r.server.locks, { held: 2, waiting: 0 });
  t.equal(await b.lock({ offset: 15n, length: 1n }), 'GRANTED');
  t.equal(await a.unlock(), 'GRANTED');
  t.equal(await a.unlock(), 'GRANTED');
  t.strictSame(await a.test({ shared: true }), {
    ...holder,
    svid: 2,
    ownerHandle: '2@tester',
    offset: 15n,
    length: 1n,
  });
});

t.test('ranges conflict where they have bytes in common', async (t) => {
  const { a, b } = await lockRig(t);
  const held = [
    [{ offset: 10n, length: 10n }, 'DENIED DENIED DENIED GRANTED GRANTED'],
    [{ offset: 15n }, 'DENIED DENIED GRANTED GRANTED DENIED'],
    [{}, 'DENIED DENIED DENIED DENIED DENIED'],
    [{ offset: TOP - 1n, length: 1n }, 'DENIED GRANTED GRANTED GRANTED DENIED'],
    [{ length: 1n }, 'DENIED GRANTED GRANTED DENIED GRANTED'],
  ] as const;
  const wanted: LockOptions[] = [
    {},
    { offset: 12n, length: 10n },
    { offset: 5n, length: 10n },
    { length: 5n },
    { offset: 2n ** 62n },
  ];
  for (const [mine, expected] of held) {
    for (const [shared, other] of [
      [false, false],
      [false, true],
      [true, false],
    ] as const) {
      const outcomes: string[] = [];
      t.equal(await a.lock({ ...mine, shared }), 'GRANTED');
      for (const range of wanted) {
        outcomes.push(await b.lock({ ...range, shared: other }));
        await b.unlock();
      }
      await a.unlock();
      t.equal(outcomes.join(' '), expected, `${shared} ${other}`);
    }
    t.equal(await a.lock({ ...mine, shared: true }), 'GRANTED');
    for (const range of wanted) t.equal(await b.lock({ ...range, shared: true }), 'GRANTED');
    await a.unlock();
    await b.unlock();
  }
});

t.test('upgrades and downgrades take the place of what was locked', async (t) => {
  const { a, b } = await lockRig(t);
  t.equal(await a.lock({ shared: true }), 'GRANTED');
  t.equal(await b.lock({ offset: 5n, length: 1n, shared: true }), 'GRANTED');
  t.equal(await a.lock(), 'DENIED');
  t.match(await b.test(), { exclusive: false }, 'the shared lock is still there');
  await b.unlock();
  t.equal(await a.lock(), 'GRANTED');
  t.equal(await b.lock({ shared: true }), 'DENIED');
  t.equal(await a.lock({ shared: true }), 'GRANTED');
  t.equal(await b.lock({ shared: true }), 'GRANTED');
});

t.test('offsets end at 2^63 - 1', async (t) => {
  const { a } = await lockRig(t);
  const fits: LockOptions[] = [
    { offset: TOP - 1n, length: 1n },
    { offset: TOP - 1n },
    { length: TOP - 1n },
    { length: TOP },
  ];
  const beyond: LockOptions[] = [
    { offset: TOP },
    { offset: TOP, length: 1n },
    { offset: TOP - 1n, length: 2n },
    { offset: 1n, length: TOP },
    { length: 2n ** 64n - 1n },
    { offset: 2n ** 64n - 1n, length: 2n ** 64n - 1n },
  ];
  for (const range of fits) t.equal(await a.lock(range), 'GRANTED');
  for (const range of beyond) {
    for (const outcome of [a.lock(range), a.test(range), a.unlock(range), a.cancel(range)]) {
      t.equal(await outcome, 'FBIG');
    }
  }
});

t.test('owners are told apart by all that is said of them', async (t) => {
  const { r, file } = await lockRig(t);
  t.equal(await new LockClient(r.client, file, 1, 'one', 'oh').lock(), 'GRANTED');
  for (const [difference, other] of Object.entries(others(r, file)))
    t.equal(await other.lock(), 'DENIED', difference);
  // Over another connection from the same address.
  const client = untilEnd(t, await RpcClient.connect({ host: '127.0.0.1', port: r.server.port }));
  t.equal(await new LockClient(client, file, 1, 'one', 'oh').lock({ shared: true }), 'GRANTED');
});

t.test('owners are told apart by their number only, as by the server of Linux, if ordered', async (t) => {
  const { r, file } = await lockRig(t, { locks: { owners: 'svid' } });
  t.equal(await new LockClient(r.client, file, 1, 'one', 'oh').lock(), 'GRANTED');
  const outcomes: Record<string, string> = {};
  for (const [difference, other] of Object.entries(others(r, file)))
    outcomes[difference] = await other.lock();
  t.same(outcomes, { svid: 'DENIED', callerName: 'GRANTED', ownerHandle: 'GRANTED', both: 'GRANTED' });
  const holder = await new LockClient(r.client, file, 2).test();
  t.match(holder, { svid: process.pid, ownerHandle: '' }, 'and the holder is not told');
});

t.test('owners at different addresses differ', async (t) => {
  for (const owners of ['all', 'svid'] as const) {
    const { r, file, a } = await lockRig(t, { host: '::', rootSquash: false, locks: { owners } });
    const client = untilEnd(t, await RpcClient.connect({ host: '::1', port: r.server.port }));
    t.equal(await a.lock(), 'GRANTED');
    t.equal(await new LockClient(client, file, 1).lock(), 'DENIED');
  }
});

t.test('locks of two files have nothing to do with each other', async (t) => {
  const { r, a, owner } = await lockRig(t);
  const other = made(await r.create('g'));
  t.equal(await a.lock(), 'GRANTED');
  t.equal(await owner(2, other).lock(), 'GRANTED');
});

t.test('those that wait are granted in order, and learn of it by asking again', async (t) => {
  const { r, a, b, owner } = await lockRig(t);
  const [c, d] = [owner(3), owner(4)];
  await a.lock();
  for (const waiter of [b, c, d]) t.equal(await waiter.wait(), 'BLOCKED');
  for (const waiter of [d, c, b])
    t.equal(await waiter.wait(), 'BLOCKED', 'and asking does not change the order');
  t.same(r.server.locks, { held: 1, waiting: 3 });
  await a.unlock();
  t.match(await a.test(), { svid: 2 }, 'granted at once, told or not');
  t.equal(await d.wait(), 'BLOCKED');
  t.equal(await b.wait(), 'GRANTED');
  await b.unlock();
  t.equal(await d.wait(), 'BLOCKED');
  t.equal(await c.wait(), 'GRANTED');
  await c.unlock();
  t.equal(await d.wait(), 'GRANTED');
  t.equal(await b.lock(), 'DENIED', 'without waiting');
  t.same(r.server.locks, { held: 1, waiting: 0 });
});

t.test('a wait is given up by CANCEL, which says when it is too late', async (t) => {
  const { r, a, b } = await lockRig(t);
  await a.lock({ offset: 5n });
  t.equal(await b.wait(), 'BLOCKED');
  t.equal(await b.cancel({ length: 5n }), 'GRANTED', 'another range');
  t.same(r.server.locks.waiting, 1);
  t.equal(await b.cancel(), 'GRANTED');
  t.same(r.server.locks.waiting, 0);
  t.equal(await b.cancel(), 'GRANTED', 'again');
  await b.wait();
  await a.unlock();
  t.equal(await b.cancel(), 'DENIED', 'it is granted');
  t.equal(await a.lock(), 'DENIED');
  t.equal(await b.unlock(), 'GRANTED');
  t.equal(await a.lock(), 'GRANTED');
});

t.test('an UNLOCK ends waiting too', async (t) => {
  const { r, a, b } = await lockRig(t);
  await a.lock();
  for (const offset of [0n, 10n]) await b.wait({ offset, length: 5n });
  t.equal(await b.unlock({ offset: 10n }), 'GRANTED');
  t.same(r.server.locks, { held: 1, waiting: 1 });
  t.equal(await b.unlock(), 'GRANTED');
  await a.unlock();
  t.same(r.server.locks, { held: 0, waiting: 0 });
});

t.test('owners that would wait for each other are refused', async (t) => {
  const { a, b } = await lockRig(t);
  await a.lock({ length: 1n });
  await b.lock({ offset: 1n, length: 1n });
  t.equal(await a.wait({ offset: 1n, length: 1n }), 'BLOCKED');
  t.equal(await b.wait({ length: 1n }), 'DEADLCK');
  t.equal(await b.lock({ length: 1n }), 'DENIED');
});

t.test('an UNLOCK that comes in one packet with its LOCK does not go first', async (t) => {
  const { r, a } = await lockRig(t);
  for (let i = 0; i < 20; i++) await Promise.all([a.lock(), a.unlock()]);
  t.same(r.server.locks, { held: 0, waiting: 0 });
});

t.test('only files of the export can be locked', async (t) => {
  const { r, owner } = await lockRig(t);
  mkdirSync(join(r.folder, 'd'));
  const symlink = { where: r.at('l'), attributes: {}, target: Buffer.from('f') };
  const link = made(await r.call(nfs.SYMLINK, symlink));
  for (const handle of [r.root, await r.find('d'), link]) {
    t.equal(await owner(1, handle).lock(), 'FAILED');
    t.equal(await owner(1, handle).test(), 'FAILED');
  }
  const forged = nfs.fileHandleFromBytes(Buffer.alloc(40, 9));
  const other = await lockRig(t);
  for (const handle of [forged, nfs.fileHandleFromBytes(Buffer.alloc(0)), other.file]) {
    const stranger = owner(1, handle);
    for (const outcome of [stranger.lock(), stranger.test(), stranger.unlock(), stranger.cancel()]) {
      t.equal(await outcome, 'STALE_FH');
    }
  }
  t.same(r.server.locks, { held: 0, waiting: 0 });
});

t.test('a file keeps its locks when it is renamed, by whomever, and when it is removed', async (t) => {
  const { r, a, b, owner } = await lockRig(t);
  await a.lock();
  renameSync(join(r.folder, 'f'), join(r.folder, 'g'));
  t.equal(await owner(2, await r.find('g')).lock(), 'DENIED');
  await a.unlock();
  renameSync(join(r.folder, 'g'), join(r.folder, 'h'));
  t.equal(await a.lock(), 'GRANTED', 'and is found where it is');
  ok(await r.call(nfs.REMOVE, r.at('h')));
  t.match(await b.test(), { svid: 1 });
  t.equal(await a.unlock(), 'GRANTED');
  t.equal(await a.unlock(), 'GRANTED', 'also of a file without locks');
  t.equal(await b.lock(), 'STALE_FH');
  rmSync(r.folder, { recursive: true });
});

t.test('an export that is read-only has shared locks', async (t) => {
  const { r, file } = await lockRig(t);
  const key = Buffer.alloc(16, 1);
  const readOnly = await rig(t, { readOnly: true, handleKey: key }, r.folder);
  const handle = await readOnly.find('f');
  t.not(handle, file);
  const a = new LockClient(readOnly.client, handle, 1);
  t.equal(await a.lock(), 'ROFS');
  t.equal(await a.lock({ shared: true }), 'GRANTED');
});

t.test('permissions for the file are not looked at, a reserved port is', async (t) => {
  const { r, a } = await lockRig(t);
  const call = (client: RpcClient) => client.call(nlm.LOCK, a.arguments(), { credential: NOBODY });
  t.equal((await call(r.client)).status, LockStatus.GRANTED);
  const strict = await rig(t, { reservedPortsOnly: true }, undefined, { resvport: true });
  const file = made(await strict.create('f'));
  t.equal(await new LockClient(strict.client, file, 1).lock(), 'GRANTED');
  const client = untilEnd(t, await RpcClient.connect({ host: '127.0.0.1', port: strict.server.port }));
  const stranger = new LockClient(client, file, 1);
  for (const outcome of [stranger.lock(), stranger.test(), stranger.unlock(), stranger.cancel()]) {
    t.equal(await outcome, 'FAILED');
  }
  t.same(strict.server.locks.held, 1);
});

t.test(
  'a restart forgets all locks; in its grace period they can be had again by those that had them',
  async (t) => {
    let now = 0;
    const { r, a, b } = await lockRig(t, { now: () => now, locks: { grace: 10_000 } });
    t.equal(await a.lock(), 'DENIED_GRACE_PERIOD', 'the first start has one too');
    now = 10_000;
    t.equal(await a.lock(), 'GRANTED');
    t.equal(await b.wait(), 'BLOCKED');
    t.equal(await a.lock({ reclaim: true }), 'DENIED_GRACE_PERIOD', 'nothing to reclaim');
    await r.server.restart();
    t.same(r.server.locks, { held: 0, waiting: 0 });
    for (const outcome of [b.lock(), b.wait(), b.test(), b.unlock(), b.cancel()]) {
      t.equal(await outcome, 'DENIED_GRACE_PERIOD');
    }
    t.equal(await a.lock({ reclaim: true }), 'GRANTED');
    t.equal(await a.lock({ reclaim: true }), 'GRANTED', 'again');
    t.equal(await b.lock({ reclaim: true }), 'DENIED');
    t.equal(await b.wait({ reclaim: true }), 'DENIED', 'nothing to wait for');
    now = 20_000;
    t.equal(await b.lock({ reclaim: true }), 'DENIED_GRACE_PERIOD', 'too late');
    t.equal(await b.wait(), 'BLOCKED');
    t.equal(await a.unlock(), 'GRANTED');
    t.equal(await b.wait(), 'GRANTED');
    await r.server.pause();
    t.same(r.server.locks, { held: 0, waiting: 0 });
  },
);

t.test('locks outlive the connection', async (t) => {
  const { r, file, a, b } = await lockRig(t);
  const client = await RpcClient.connect({ host: '127.0.0.1', port: r.server.port });
  t.equal(await new LockClient(client, file, 1).lock(), 'GRANTED');
  client.close();
  r.server.rpc?.disconnectAll();
  t.equal(await b.lock(), 'DENIED');
  t.equal(await a.unlock(), 'GRANTED');
  t.equal(await b.lock(), 'GRANTED');
});
