import t from 'tap';
import { RecordPool } from '../../lib/rpc/wire/record-pool.js';

const MIB = 1024 * 1024;

t.test('what was given back is taken again, by any part of it', async (t) => {
  const pool = new RecordPool();
  const record = pool.take(MIB + 100);
  t.ok(record.length >= MIB + 100);
  pool.give(record.subarray(100, 200));
  t.equal(pool.take(MIB + 50), record);
});

t.test('what was not given back is not handed out twice', async (t) => {
  const pool = new RecordPool();
  const records = Array.from({ length: 5 }, () => pool.take(MIB));
  t.equal(new Set(records).size, 5);
});

t.test('given back twice, it is there once', async (t) => {
  const pool = new RecordPool();
  const record = pool.take(MIB);
  pool.give(record);
  pool.give(record);
  t.equal(pool.take(MIB), record);
  t.not(pool.take(MIB), record);
});

t.test('memory of others is not taken in', async (t) => {
  const pool = new RecordPool();
  const foreign = Buffer.alloc(MIB + 4096);
  pool.give(foreign);
  t.not(pool.take(MIB), foreign);
});

t.test("a small record does not take a large one's memory", async (t) => {
  const pool = new RecordPool();
  const large = pool.take(MIB);
  pool.give(large);
  t.ok(pool.take(40_000).length < 128 * 1024);
  t.equal(pool.take(MIB), large);
});

t.test('little is kept for later', async (t) => {
  const pool = new RecordPool();
  const records = Array.from({ length: 64 }, () => pool.take(MIB));
  for (const record of records) pool.give(record);
  const again = Array.from({ length: 64 }, () => pool.take(MIB));
  const kept = again.filter((record) => records.includes(record));
  t.ok(kept.length > 0 && kept.length <= 12, `${kept.length} MiB`);
});
