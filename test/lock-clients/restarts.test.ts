/** A server that is killed and started again: locks are reclaimed in its grace period, or their loss is told. */
import t, { type Test } from 'tap';
import { nfsFuse } from '../cli/support/product.js';
import { Ganesha, type GaneshaOptions } from '../support/ganesha.js';
import { LockWorkers } from '../support/locks/workers.js';
import type { Mount } from '../support/mount.js';
import { until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { bedIn } from './support/beds.js';
import { mountTwice } from './support/suite.js';

/** The fewest seconds that servers are given in practice. */
const GRACE_SECONDS = 12;
const HELD = 50;
const WAITING = 10;
const ASKED = 5;

const GOT = { ok: null };
const REFUSED = { errno: 'EAGAIN' };
/** Arguments of a worker's fcntl for the n-th of the ranges that are locked. */
const range = (n: number): readonly unknown[] => [0, String(n * 10), '5'];

/** Two mounts of a server, with a worker on each and one on its disk, which have a file open. */
async function ground(t: Test, locks: NonNullable<GaneshaOptions['locks']>) {
  const server = untilEnd(t, await Ganesha.start({ locks }));
  const { a, b } = await mountTwice(t, server);
  const bed = bedIn(t, a.path, b.path);
  const disk = untilEnd(t, LockWorkers.start(server.directory));
  for (const [workers, name] of [
    [bed.a, 'a1'],
    [bed.b, 'b1'],
    [disk, 'witness'],
  ] as const) {
    await workers.spawn(name);
    if (name === 'a1') await workers.call(name, 'create', 'file', 'first');
    await workers.call(name, 'open', 'f', 'file', 'rw');
  }
  return { server, a, b, bed, disk };
}

interface Counted {
  readonly caches: { readonly locksReclaimed: number; readonly locksLost: number };
}

async function counted({ path }: Mount): Promise<Counted['caches']> {
  const { stdout } = await nfsFuse(['stats', '--json', path]);
  return (JSON.parse(stdout) as Counted).caches;
}

t.test('all locks are reclaimed, none is granted twice', { timeout: 300_000 }, async (t) => {
  const { server, a, bed, disk } = await ground(t, { graceSeconds: GRACE_SECONDS });
  for (let n = 0; n < HELD; n++) {
    // The first one waits for the end of the grace period that the server begins with.
    t.same(await bed.a.begin('a1', 'fcntl', 'wait', 'f', 'x', ...range(n)).answer, GOT);
  }
  const waiting: ReturnType<LockWorkers['begin']>[] = [];
  for (let n = 0; n < WAITING; n++) {
    await bed.b.spawn(`w${n}`);
    await bed.b.call(`w${n}`, 'open', 'f', 'file', 'rw');
    waiting.push(bed.b.begin(`w${n}`, 'fcntl', 'wait', 'f', 'x', ...range(n)));
  }
  for (let n = 0; n < ASKED; n++) {
    await bed.b.spawn(`q${n}`);
    await bed.b.call(`q${n}`, 'open', 'f', 'file', 'rw');
  }
  await server.kill();
  await server.start();
  const asked = Array.from(
    { length: ASKED },
    (_, n) => bed.b.begin(`q${n}`, 'fcntl', 'set', 'f', 'x', ...range(HELD - 1 - n)).answer,
  );
  await until('all are reclaimed', async () => (await counted(a)).locksReclaimed >= HELD);
  t.same(
    await Promise.all(asked),
    asked.map(() => REFUSED),
    'asked for in the grace period, answered after it',
  );
  for (let n = 0; n < HELD; n++)
    t.same(await disk.call('witness', 'fcntl', 'set', 'f', 'x', ...range(n)), REFUSED, `${n} is held`);
  t.same(
    waiting.map((one) => one.settled()),
    waiting.map(() => undefined),
  );
  for (let n = 0; n < WAITING; n++) {
    t.same(await bed.a.call('a1', 'fcntl', 'set', 'f', 'u', ...range(n)), GOT);
    t.same(await waiting[n]?.answer, GOT, `what waited for ${n} has it`);
    t.same(await disk.call('witness', 'fcntl', 'set', 'f', 'x', ...range(n)), REFUSED);
  }
  t.match(await counted(a), { locksLost: 0 });
  t.notMatch(a.log, /is lost/);
});

t.test(
  'those that wait for one range get it in the order in which they asked',
  { timeout: 300_000 },
  async (t) => {
    const { server, a, bed } = await ground(t, { graceSeconds: GRACE_SECONDS });
    t.same(await bed.a.begin('a1', 'fcntl', 'wait', 'f', 'x', ...range(0)).answer, GOT);
    const waiting: ReturnType<LockWorkers['begin']>[] = [];
    for (let n = 0; n < WAITING; n++) {
      await bed.b.spawn(`w${n}`);
      await bed.b.call(`w${n}`, 'open', 'f', 'file', 'rw');
      const request = bed.b.begin(`w${n}`, 'fcntl', 'wait', 'f', 'x', ...range(0));
      waiting.push(request);
      await until('it waits', () => request.sleeps());
    }
    await server.kill();
    await server.start();
    await until('the lock is reclaimed', async () => (await counted(a)).locksReclaimed === 1);
    t.same(await bed.a.call('a1', 'fcntl', 'set', 'f', 'u', ...range(0)), GOT);
    const isSettled = () => waiting.map((request) => request.settled() !== undefined);
    for (const [n, { answer }] of waiting.entries()) {
      t.same(await answer, GOT);
      t.same(
        isSettled(),
        waiting.map((_, at) => at <= n),
        `${n} has it, and nobody after it`,
      );
      t.same(await bed.b.call(`w${n}`, 'fcntl', 'set', 'f', 'u', ...range(0)), GOT);
    }
  },
);

t.test(
  'a lock that somebody else has got is lost: said, counted, and writes fail',
  { timeout: 120_000 },
  async (t) => {
    const { server, a, bed, disk } = await ground(t, true);
    t.same(await bed.a.call('a1', 'fcntl', 'set', 'f', 'x', ...range(0)), GOT);
    t.same(await bed.a.call('a1', 'fcntl', 'set', 'f', 'x', ...range(1)), GOT);
    await server.kill();
    t.same(
      await disk.call('witness', 'fcntl', 'set', 'f', 'x', ...range(0)),
      GOT,
      'nobody keeps the thief away',
    );
    await server.start();
    await until('the loss is counted', async () => (await counted(a)).locksLost === 1);
    t.match(a.log, /\/file: the lock of process \d+ on bytes 0 to 4 is lost: the server has restarted/);
    t.match(await counted(a), { locksReclaimed: 1 });
    t.same(await bed.a.call('a1', 'write', 'f', 0, 'second'), { errno: 'EIO' });
    await disk.kill('witness');
    t.same(await bed.a.call('a1', 'fcntl', 'set', 'f', 'u', ...range(0)), GOT);
    t.same(await bed.a.call('a1', 'write', 'f', 0, 'second'), { ok: 6 });
  },
);
