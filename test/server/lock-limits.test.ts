import t from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import {
  LockStatus,
  lockStatusName,
  NLM_PROGRAM,
  lockProcedures as nlm,
} from '../../lib/programs/nlm4/index.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { nullProcedure } from '../../lib/rpc/wire/procedure.js';
import type { XdrWriter } from '../../lib/xdr/xdr-writer.js';
import { TestCancellation } from '../rpc/support/procedures.js';
import { SeededRandom } from '../support/seeded-random.js';
import { untilEnd } from '../support/until-end.js';
import { LockClient, lockRig } from './support/lock-clients.js';
import { made, ROOT } from './support/rig.js';

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
