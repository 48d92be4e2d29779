/** Latencies are counted in the bucket whose limit they do not exceed, and summed up. */
import t from 'tap';
import { LATENCY_LIMITS, Latencies } from '../../lib/base/latencies.js';

t.test('each bucket takes what is not above its limit, and the last one takes the rest', async (t) => {
  const latencies = new Latencies();
  for (const limit of LATENCY_LIMITS) latencies.add(limit);
  t.same(latencies.counts().counts, [...LATENCY_LIMITS.map(() => 1), 0]);
  latencies.add(0);
  latencies.add(LATENCY_LIMITS[0] as number);
  latencies.add((LATENCY_LIMITS[0] as number) + 1e-9);
  latencies.add(1e9);
  const { counts, milliseconds } = latencies.counts();
  t.same([counts[0], counts[1], counts.at(-1)], [3, 2, 1]);
  t.equal(counts.length, LATENCY_LIMITS.length + 1);
  t.ok(milliseconds > 1e9 && milliseconds < 1e9 + 200_000);
});

t.test('limits rise', async (t) => {
  t.same(
    [...LATENCY_LIMITS],
    [...new Set(LATENCY_LIMITS)].sort((one, other) => one - other),
  );
});

t.test('counts are those of the moment, not of later', async (t) => {
  const latencies = new Latencies();
  const before = latencies.counts();
  latencies.add(1);
  t.equal(before.milliseconds, 0);
  t.ok(before.counts.every((count) => count === 0));
});
