import t from 'tap';
import { RecordPool } from '../../lib/rpc/wire/record-pool.js';

const MIB = 1024 * 1024;

t.test('a record that was given back is used again, whichever part of it was given back', async (t) => {
  const pool = new RecordPool();
  const record = pool.take(MIB + 100);
  t.ok(record.length >= MIB + 100);
  pool.give(record.subarray(100, 200));
  t.equal(pool.take(MIB + 50), record);
});

t.test('a record that was not given back is not handed out again', async (t) => {
  const pool = new RecordPool();
  const records = Array.from({ length: 5 }, () => pool.take(MIB));
  t.equal(new Set(records).size, 5);
});

t.test('a record that is given back twice is in the pool once', async (t) => {
  const pool = new RecordPool();
  const record = pool.take(MIB);
  pool.give(record);
  pool.give(record);
  t.equal(pool.take(MIB), record);
  t.not(pool.take(MIB), record);
});

t.test('the pool does not take in memory of others', async (t) => {
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

t.test('the pool keeps little memory for later', async (t) => {
  const pool = new RecordPool();
  const records = Array.from({ length: 64 }, () => pool.take(MIB));
  for (const record of records) pool.give(record);
  const again = Array.from({ length: 64 }, () => pool.take(MIB));
  const kept = again.filter((record) => records.includes(record));
  t.ok(kept.length > 0 && kept.length <= 12, `${kept.length} MiB`);
});
