/** The embedded server's lock manager, over real calls. The rules of ranges and queues are in test/locks. */
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import {
  LockStatus,
  lockStatusName,
  NLM_PROGRAM,
  lockProcedures as nlm,
} from '../../lib/programs/nlm4/index.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { nullProcedure } from '../../lib/rpc/wire/procedure.js';
import type { EmbeddedServerOptions } from '../../lib/server/index.js';
import type { XdrWriter } from '../../lib/xdr/xdr-writer.js';
import { TestCancellation } from '../rpc/support/procedures.js';
import { SeededRandom } from '../support/seeded-random.js';
import { untilEnd } from '../support/until-end.js';
import { LockClient, type LockOptions } from './support/lock-clients.js';
import { made, NOBODY, ok, type Rig, ROOT, rig } from './support/rig.js';

const TOP = 2n ** 63n;

/** A server with a file, and two owners. */
async function lockRig(t: Test, options: Partial<EmbeddedServerOptions> = {}) {
  const r = await rig(t, options);
  const file = made(await r.create('f', { mode: 0o600 }));
  const owner = (svid: number, handle = file): LockClient => new LockClient(r.client, handle, svid);
  return { r, file, owner, a: owner(1), b: owner(2) };
}

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

t.test('one address can hold and wait for so much and no more', async (t) => {
  const bounds = { held: 3, waiting: 1, heldByAll: 4, waitingOfAll: 2 };
  const { r, file, a, b, owner } = await lockRig(t, { host: '::', rootSquash: false, locks: { bounds } });
  for (const offset of [0n, 2n, 4n]) t.equal(await a.lock({ offset, length: 1n }), 'GRANTED');
  t.equal(await b.lock({ offset: 6n, length: 1n }), 'DENIED_NOLOCKS');
  t.equal(await a.lock({ offset: 10n }), 'DENIED_NOLOCKS');
  t.equal(await a.lock({ length: 5n }), 'GRANTED', 'one in place of three');
  t.equal(await a.unlock({ offset: 1n, length: 1n }), 'GRANTED');
  t.equal(await a.unlock({ offset: 3n, length: 1n }), 'GRANTED');
  await a.lock({ offset: 5n, length: 10n });
  t.equal(
    await a.unlock({ offset: 7n, length: 1n }),
    'DENIED_NOLOCKS',
    'no unlock cuts locks into pieces for ever',
  );
  t.equal(await b.wait(), 'BLOCKED');
  t.equal(await owner(3).wait(), 'DENIED_NOLOCKS');
  t.equal(await b.wait(), 'BLOCKED');
  const client = untilEnd(t, await RpcClient.connect({ host: '::1', port: r.server.port }));
  const far = new LockClient(client, file, 1);
  t.equal(await far.lock({ offset: 100n, length: 1n }), 'GRANTED', 'another address has its own share');
  t.equal(await far.lock({ offset: 102n, length: 1n }), 'DENIED_NOLOCKS', 'of what all have together');
  t.same(r.server.locks, { held: 4, waiting: 1 });
});

t.test('arguments that break a limit are garbage', async (t) => {
  const { r, a, file } = await lockRig(t);
  const long = 'x'.repeat(1024);
  const longest = new LockClient(r.client, file, 9, long, long);
  t.equal(await longest.lock({ shared: true }), 'GRANTED');
  t.match(await a.test(), { ownerHandle: long });
  const args = a.arguments();
  const netobj = (text: string) => (writer: XdrWriter) => writer.opaqueFromLatin1(text);
  const broken: Record<string, (writer: XdrWriter) => void> = {
    cookie: netobj(`${long}x`),
    boolean: (writer) => {
      netobj('c')(writer);
      writer.uint32(2);
    },
    'owner handle': (writer) => {
      netobj('c')(writer);
      writer.bool(false);
      writer.bool(true);
      for (const text of ['name', args.lock.handle, `${long}x`]) netobj(text)(writer);
      for (let i = 0; i < 7; i++) writer.uint32(0);
    },
    nothing: () => {},
  };
  for (const [name, encodeArguments] of Object.entries(broken)) {
    const call = r.client.call({ ...nlm.LOCK, encodeArguments }, args, { credential: ROOT });
    await t.rejects(call, /GARBAGE_ARGS/, name);
  }
  t.equal(await a.unlock(), 'GRANTED', 'and the connection goes on');
});

t.test('only version 4 is spoken, and only what a client calls', async (t) => {
  const { r } = await lockRig(t);
  t.equal(await r.call(nlm.NULL, undefined), undefined);
  const other = nullProcedure({ ...NLM_PROGRAM, version: 3 });
  await t.rejects(r.call(other, undefined), /PROG_MISMATCH/);
  for (const number of [5, 6, 16, 20, 21, 23]) {
    await t.rejects(r.call({ ...nlm.NULL, number }, undefined), /PROC_UNAVAIL/, `procedure ${number}`);
  }
});

t.test('what comes by chance leaves the manager as it was', async (t) => {
  const { r, a, file } = await lockRig(t);
  const seed = 15;
  const random = new SeededRandom(seed);
  t.comment(`seed ${seed}`);
  const outcomes = new Map<string, number>();
  for (let i = 0; i < 3000; i++) {
    const [procedure, flags, rest] = random.pick([
      [nlm.TEST, 1, 0],
      [nlm.LOCK, 2, 2],
      [nlm.CANCEL, 2, 0],
      [nlm.UNLOCK, 0, 0],
      [nlm.NM_LOCK, 2, 2],
    ] as const);
    const some = (count: number, often: number) => (random.oneIn(often) ? random.below(4) : count);
    const encodeArguments = (writer: XdrWriter) => {
      writer.opaqueFromLatin1('c');
      for (let n = some(flags, 10); n > 0; n--) writer.uint32(random.below(random.oneIn(20) ? 3 : 2));
      writer.opaqueFromLatin1('name');
      writer.opaqueFromLatin1(random.oneIn(5) ? random.bytes(40).toString('latin1') : file);
      writer.opaqueFromLatin1(random.pick(['', '1', '2']));
      // The number of the owner, offset and length.
      for (let n = some(5, 10); n > 0; n--)
        writer.uint32(random.oneIn(10) ? random.uint32() : random.below(3));
      for (let n = some(rest, 10); n > 0; n--) writer.uint32(random.oneIn(5) ? 1 : 0);
    };
    const outcome = await r.client
      .call({ ...procedure, encodeArguments } as typeof nlm.LOCK, a.arguments(), { credential: ROOT })
      .then(({ status }) => lockStatusName(status))
      .catch((error: unknown) => (error instanceof Error ? error.name : 'another error'));
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  t.comment(JSON.stringify([...outcomes]));
  for (const status of ['GRANTED', 'DENIED', 'BLOCKED', 'DENIED_GRACE_PERIOD', 'FBIG', 'STALE_FH']) {
    t.ok((outcomes.get(`NLM4_${status}`) ?? 0) > 5, status);
  }
  t.ok((outcomes.get('RpcGarbageArgumentsError') ?? 0) > 100);
  t.equal(await r.probe(file), 'NFS3_OK');
  t.equal(await new LockClient(r.client, made(await r.create('other')), 1).lock(), 'GRANTED');
});

t.test('faults are ordered as for other procedures', async (t) => {
  const { r, file, a, b } = await lockRig(t);
  const { faults } = r.server;
  faults.add({ procedure: 'NM_LOCK', handle: file, lockStatus: LockStatus.DENIED_NOLOCKS });
  t.equal(await a.lock(), 'DENIED_NOLOCKS');
  t.equal(await a.lock(), 'GRANTED');
  faults.add({ lockStatus: LockStatus.DENIED });
  t.equal(await r.probe(file), 'NFS3_OK', 'a status of NLM is not for NFS');
  t.match(await b.test(), { svid: 0 });
  const nfsFault = faults.add({ status: nfs.Status.IO });
  t.equal(await b.unlock(), 'GRANTED', 'nor the other way round');
  nfsFault.remove();
  for (const [lose, after] of [
    ['call', 'DENIED'],
    ['reply', 'GRANTED'],
  ] as const) {
    faults.add({ procedure: 'UNLOCK', lose });
    const cancellation = new TestCancellation();
    const lost = r.client.call(nlm.UNLOCK, a.arguments(), { credential: ROOT, cancellation }).catch(() => {});
    // A round trip, since a call with a fault is not carried out at once.
    await r.probe(file);
    t.equal(await b.lock(), after);
    cancellation.cancel();
    await lost;
  }
  faults.add({ procedure: 'UNLOCK', lose: 'connection' });
  t.equal(await b.unlock(), 'GRANTED', 'carried out twice');
  faults.add({ procedure: 'TEST', alter: (result) => ({ ...result, status: LockStatus.FAILED }) });
  t.equal(await a.test(), 'FAILED');
  r.server.resetCounters();
  await a.lock();
  await a.unlock();
  t.match(r.server.counters, { NM_LOCK: 1, UNLOCK: 1, LOCK: 0, TEST: 0, CANCEL: 0 });
});
