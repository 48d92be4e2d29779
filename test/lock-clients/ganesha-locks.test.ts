/** The lock manager of the tests' nfs-ganesha, by bare calls: what the tests of the mount's locks rest on. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MNT } from '../../lib/programs/mount3/procedures.js';
import { MountStatus } from '../../lib/programs/mount3/types.js';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { LockClient } from '../server/support/lock-clients.js';
import { ROOT } from '../server/support/rig.js';
import { Ganesha, type GaneshaOptions } from '../support/ganesha.js';
import { LockWorkers } from '../support/locks/workers.js';
import { until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

async function connected(t: Test, port: number): Promise<RpcClient> {
  return untilEnd(t, await RpcClient.connect({ host: '127.0.0.1', port }));
}

/** A server with a file, and owners of locks on it. */
async function lockManager(t: Test, locks: NonNullable<GaneshaOptions['locks']>) {
  const server = untilEnd(t, await Ganesha.start({ locks }));
  const granted = await (await connected(t, server.mountPort)).call(MNT, Buffer.from(server.exportPath), {
    credential: ROOT,
  });
  if (granted.status !== MountStatus.OK) throw new Error(`MNT is refused: ${granted.status}`);
  const where = { directory: granted.grant.handle, name: nfs.fileNameFromText('f') };
  const how = { mode: nfs.CreateMode.GUARDED, attributes: { mode: 0o600 } } as const;
  const files = await connected(t, server.port);
  const made = await files.call(nfs.CREATE, { where, how }, { credential: ROOT });
  if (made.status !== nfs.Status.OK || !made.object) throw new Error('CREATE failed');
  const { object } = made;
  const client = await connected(t, server.lockPort);
  return { server, owner: (svid: number) => new LockClient(client, object, svid) };
}

/** Asks for a lock until the grace period is over. */
async function afterGrace(owner: LockClient): Promise<string> {
  let answer = '';
  await until('the grace period ends', async () => {
    answer = await owner.lock();
    return answer !== 'DENIED_GRACE_PERIOD';
  });
  return answer;
}

t.test('without a portmapper and statd, NM_LOCK is carried out and LOCK is not', async (t) => {
  const { owner } = await lockManager(t, true);
  const [a, b] = [owner(1), owner(2)];
  t.equal(await a.lock({ length: 10n }), 'GRANTED', 'there is no grace period');
  t.equal(await a.lock({ length: 10n, monitored: true }), 'DENIED_NOLOCKS');
  t.equal(await b.lock({ offset: 9n }), 'DENIED');
  t.equal(await b.wait({ offset: 9n }), 'BLOCKED');
  t.equal(await a.unlock(), 'GRANTED');
  await until('the lock that waits is granted', async () => (await b.wait({ offset: 9n })) === 'GRANTED');
  t.match(await a.test(), { svid: 2, offset: 9n });
});

t.test('a program on the disk meets the locks of clients, and they meet its', async (t) => {
  const { server, owner } = await lockManager(t, true);
  const witness = untilEnd(t, LockWorkers.start(server.directory));
  t.ok(existsSync(join(server.directory, 'f')));
  await witness.spawn('w');
  await witness.call('w', 'open', 'f', 'f', 'rw');
  const take = (...area: readonly string[]) => witness.call('w', 'fcntl', 'set', 'f', 'x', 0, ...area);
  t.equal(await owner(1).lock({ length: 10n }), 'GRANTED');
  t.same(await take('9', '1'), { errno: 'EAGAIN' });
  t.same(await take('10', '1'), { ok: null });
  t.equal(await owner(2).lock({ offset: 10n }), 'DENIED');
});

t.test(
  'killed and started again, it gives locks back in its grace period',
  { timeout: 120_000 },
  async (t) => {
    const { server, owner } = await lockManager(t, { graceSeconds: 2 });
    const [holder, thief] = [owner(1), owner(2)];
    t.equal(await afterGrace(holder), 'GRANTED');
    await server.kill();
    await server.start();
    t.equal(await thief.lock(), 'DENIED_GRACE_PERIOD');
    t.equal(await holder.lock({ reclaim: true }), 'GRANTED', 'on the port that it had');
    t.equal(await thief.lock({ reclaim: true }), 'DENIED');
    t.equal(await afterGrace(thief), 'DENIED', 'it is held after the grace period');
    t.equal(await holder.unlock(), 'GRANTED');
    t.equal(await thief.lock(), 'GRANTED');
    t.equal(await thief.lock({ reclaim: true }), 'DENIED_GRACE_PERIOD', 'it is too late to reclaim');
  },
);

t.test('without a grace period, whoever comes first has the lock after a restart', async (t) => {
  const { server, owner } = await lockManager(t, true);
  const [holder, thief] = [owner(1), owner(2)];
  t.equal(await holder.lock(), 'GRANTED');
  await server.kill();
  await server.start();
  t.equal(await holder.lock({ reclaim: true }), 'DENIED_GRACE_PERIOD');
  t.equal(await thief.lock(), 'GRANTED');
  t.equal(await holder.lock(), 'DENIED');
});
