/** The rates of an interval come from the counters at both ends, and are never negative. */
import t from 'tap';
import type { ToldStats } from '../../lib/cli/stats/asking.js';
import { ratesOf } from '../../lib/cli/stats/rates.js';
import { ratesText } from '../../lib/cli/stats/rates-text.js';

interface Counted {
  readonly replies: number;
  readonly bytes?: number;
  readonly rtt?: number;
  readonly execution?: number;
  readonly retransmits?: number;
}

function stats(servedMilliseconds: number, counted: Readonly<Record<string, Counted>>, pid = 1): ToldStats {
  const procedures = Object.entries(counted).map(([procedure, one]) => ({
    program: 'NFS',
    procedure,
    calls: one.replies,
    replies: one.replies,
    bytesSent: one.bytes ?? 0,
    bytesReceived: 0,
    rtt: one.rtt ?? 0,
    execution: one.execution ?? 0,
    retransmits: one.retransmits ?? 0,
    errors: 0,
  }));
  return { pid, servedMilliseconds, uptimeSeconds: 1, procedures } as unknown as ToldStats;
}

const BEFORE = stats(10_000, { READ: { replies: 100, bytes: 1024_000, rtt: 200, execution: 400 } });

t.test('the first report is since the mount', async (t) => {
  const rates = ratesOf(BEFORE);
  t.match(rates, { sinceMount: true, newProcess: false, seconds: 10, opsPerSecond: 10, kBPerSecond: 100 });
  t.match(rates.procedures, [{ procedure: 'READ', operations: 100, rttMs: 2, executionMs: 4, kBPerOp: 10 }]);
});

t.test('later ones are differences, the busiest procedure first', async (t) => {
  const now = stats(12_000, {
    READ: { replies: 104, bytes: 1024_000 + 4096, rtt: 220, execution: 440, retransmits: 2 },
    LOOKUP: { replies: 10 },
  });
  const rates = ratesOf(now, BEFORE);
  t.match(rates, { sinceMount: false, newProcess: false, seconds: 2, opsPerSecond: 7, kBPerSecond: 2 });
  t.match(rates.procedures, [
    { procedure: 'LOOKUP', opsPerSecond: 5 },
    { procedure: 'READ', opsPerSecond: 2, rttMs: 5, executionMs: 10, retransmissions: 2 },
  ]);
});

t.test('an interval without calls has zeros', async (t) => {
  const rates = ratesOf(
    stats(11_000, { READ: { replies: 100, bytes: 1024_000, rtt: 200, execution: 400 } }),
    BEFORE,
  );
  t.match(rates, { opsPerSecond: 0, kBPerSecond: 0 });
  t.same(rates.procedures, []);
});

t.test('the counters of another process start again', async (t) => {
  for (const [now, why] of [
    [stats(500, { READ: { replies: 7, bytes: 7_168 } }, 2), 'another process'],
    [stats(500, { READ: { replies: 7, bytes: 7_168 } }), 'the same number, and younger'],
    [stats(20_000, { READ: { replies: 7, bytes: 7_168 } }), 'the same number, and fewer calls'],
    [stats(20_000, { WRITE: { replies: 7, bytes: 7_168 } }), 'the same number, and other procedures'],
  ] as const) {
    const rates = ratesOf(now, BEFORE);
    t.match(rates, { newProcess: true, sinceMount: false, seconds: now.servedMilliseconds / 1_000 }, why);
    t.match(rates.procedures, [{ operations: 7, kBPerOp: 1 }], why);
  }
});

t.test('a process of an older version tells less, and is shown all the same', async (t) => {
  const { servedMilliseconds: _, ...older } = stats(0, { READ: { replies: 4 } });
  const rates = ratesOf({ ...older, uptimeSeconds: 2 } as unknown as ToldStats);
  t.match(rates, { seconds: 2, opsPerSecond: 2 });
});

t.test('the text has READ, WRITE and the busiest others, or all', async (t) => {
  const names = ['ACCESS', 'LOOKUP', 'GETATTR', 'COMMIT'];
  const counted = Object.fromEntries(names.map((name, index) => [name, { replies: 9 - index }]));
  const rates = ratesOf(stats(1_000, counted));
  const where = { source: 'server:/x', mountpoint: '/mnt\x1b[2J' };
  const rows = (all: boolean) =>
    ratesText(where, rates, { all, time: '12:00:00' })
      .trimEnd()
      .split('\n')
      .slice(2)
      .map((line) => line.split(' ')[0]);
  t.same(rows(false), ['READ', 'WRITE', 'ACCESS', 'LOOKUP', 'GETATTR']);
  t.same(rows(true), ['READ', 'WRITE', ...names]);
  t.notMatch(ratesText(where, rates, { all: false, time: '' }), /\x1b/);
});
