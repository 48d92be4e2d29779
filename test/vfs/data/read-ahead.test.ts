import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import { O_RDWR, outcome, Rig, type RigOptions, settled } from '../support/rig.js';

const KIB = 1024;

function content(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 17 + (i >> 16)) & 0xff));
}

async function reader(length: number, options: RigOptions = {}, flags = 0) {
  // The READ that goes out along with an open has tests of its own.
  const config = { earlyRead: false, ...options.config };
  const rig = new Rig({ ...options, config, limits: { rsize: 16 * KIB, ...options.limits } });
  const data = content(length);
  rig.server.tree.file('f', data);
  const { inode, fh } = await rig.open('f', flags);
  rig.server.forgetCalls();
  return { rig, server: rig.server, inode, fh, data };
}

t.test('a small file needs one READ', async (t) => {
  const { rig, server, fh, data } = await reader(1000);
  t.same(await rig.read(fh, 0, 4096), data);
  t.equal(server.count('READ'), 1);
});

t.test('the end of a file that was read ahead costs no further READ', async (t) => {
  const { rig, server, fh, data } = await reader(20 * KIB + 5);
  for (let at = 0; at < data.length; at += 4 * KIB) {
    t.same(await rig.read(fh, at, 4 * KIB), data.subarray(at, at + 4 * KIB));
  }
  t.equal(server.count('READ'), 2);
});

t.test('a sequential reader has more and more READs ahead of it, up to a bound', async (t) => {
  const { rig, server, fh, data } = await reader(4 << 20, { readBudget: 4 << 20 });
  const ahead: number[] = [];
  for (let at = 0; at < 1 << 20; at += 16 * KIB) {
    t.same(await rig.read(fh, at, 16 * KIB), data.subarray(at, at + 16 * KIB));
    const furthest = Math.max(...server.named('READ').map(({ args }) => args.offset + args.count));
    ahead.push((furthest - at - 16 * KIB) / (16 * KIB));
  }
  t.ok(ahead[4] !== undefined && ahead[4] > (ahead[0] ?? 0), 'it grows');
  t.ok(Math.max(...ahead) <= 9, `at most ${Math.max(...ahead)} READs ahead`);
  t.ok(Math.max(...ahead) >= 4);
  t.ok(server.count('READ') <= 64 + 10, `${server.count('READ')} READs for 64 reads`);
});

t.test('random readers cause none, however near to each other they read', async (t) => {
  const { rig, server, fh, data } = await reader(8 << 20, { readBudget: 8 << 20 });
  let random = 99;
  let reads = 0;
  for (const span of [8 << 20, 512 * KIB]) {
    for (let i = 0; i < 15; i++) {
      random = (random * 1103515245 + 12345) & 0x7fffffff;
      const at = 4 * KIB + (random % (span - 16 * KIB));
      t.same(await rig.read(fh, at, 4 * KIB), data.subarray(at, at + 4 * KIB));
      reads++;
    }
  }
  t.equal(server.count('READ'), reads);
  t.ok(server.named('READ').every(({ args }) => args.count === 4 * KIB));
});

t.test('reads of one reader that come in any order are sequential', async (t) => {
  const { rig, server, fh, data } = await reader(1 << 20);
  for (let at = 0; at < 512 * KIB; at += 64 * KIB) {
    const order = [16, 0, 48, 32].map((offset) => at + offset * KIB);
    const parts = await Promise.all(order.map((offset) => rig.read(fh, offset, 16 * KIB)));
    for (const [i, offset] of order.entries()) t.same(parts[i], data.subarray(offset, offset + 16 * KIB));
  }
  t.ok(rig.counters.readAheadHits > 10, `${rig.counters.readAheadHits} hits`);
  t.ok(server.count('READ') < 50);
});

t.test('short READs are continued; only the end of the file is the end', async (t) => {
  const { rig, server, fh, data } = await reader(40 * KIB);
  server.mostRead = 700;
  t.same(await rig.read(fh, 100, 10 * KIB), data.subarray(100, 100 + 10 * KIB));
  t.same(await rig.read(fh, 39 * KIB, 10 * KIB), data.subarray(39 * KIB));
  t.same(await rig.read(fh, 50 * KIB, 10), Buffer.alloc(0));
});

t.test('neither data nor the end is an error, not a file cut short', async (t) => {
  const { rig, server, fh } = await reader(40 * KIB);
  server.mostRead = 0;
  t.equal(await outcome(rig.read(fh, 0, 100)), Errno.EIO);
});

t.test('more than was asked for is cut off', async (t) => {
  const { rig, server, fh, data } = await reader(40 * KIB);
  server.on('READ', (args, execute) => {
    const result = execute();
    return {
      ...result,
      data: Buffer.concat([result.data, Buffer.from('more')]),
      eof: args.offset > 30 * KIB,
    };
  });
  t.same(await rig.read(fh, 0, 20 * KIB), data.subarray(0, 20 * KIB));
});

t.test('data beyond a reply with too many bytes and an end of file is read all the same', async (t) => {
  const { rig, server, fh, data } = await reader(40 * KIB);
  server.on('READ', (args, execute) => {
    const result = execute();
    const rest = data.subarray(args.offset + result.data.length);
    return { ...result, data: Buffer.concat([result.data, rest]), eof: true };
  });
  t.same(await rig.read(fh, 0, 10 * KIB), data.subarray(0, 10 * KIB));
  t.same(await rig.read(fh, 10 * KIB, 40 * KIB), data.subarray(10 * KIB));
});

t.test('an end of file that the size contradicts is ignored', async (t) => {
  const { rig, server, fh, data } = await reader(40 * KIB);
  server.mostRead = 3 * KIB;
  server.on('READ', (_args, execute) => ({ ...execute(), eof: true }));
  t.same(await rig.read(fh, 0, 20 * KIB), data.subarray(0, 20 * KIB));
  t.same(await rig.read(fh, 35 * KIB, 20 * KIB), data.subarray(35 * KIB));
});

t.test('the size ends a file where the server never says that it ended', async (t) => {
  const { rig, server, fh, data } = await reader(40 * KIB);
  server.on('READ', (_args, execute) => ({ ...execute(), eof: false }));
  t.same(await rig.read(fh, 35 * KIB, 20 * KIB), data.subarray(35 * KIB));
  t.same(await rig.read(fh, 40 * KIB, 10), Buffer.alloc(0));
});

t.test('own writes void what was read ahead', async (t) => {
  const { rig, fh, data } = await reader(256 * KIB, {}, O_RDWR);
  await rig.read(fh, 0, 16 * KIB);
  await rig.read(fh, 16 * KIB, 16 * KIB);
  await rig.write(fh, 40 * KIB, 'written');
  const expected = Buffer.from(data);
  expected.write('written', 40 * KIB);
  t.same(await rig.read(fh, 32 * KIB, 16 * KIB), expected.subarray(32 * KIB, 48 * KIB));
});

t.test("others' changes void what was read ahead, once they are seen", async (t) => {
  const { rig, server, inode, fh } = await reader(256 * KIB);
  await rig.read(fh, 0, 16 * KIB);
  await rig.read(fh, 16 * KIB, 16 * KIB);
  const other = Buffer.alloc(256 * KIB, 'o');
  server.tree.write('f', other);
  await rig.vfs.current.fetch(inode, rig.caller());
  t.same(await rig.read(fh, 32 * KIB, 16 * KIB), other.subarray(0, 16 * KIB));
});

t.test('a READ ahead that failed is sent again for whoever needs it', async (t) => {
  const { rig, server, fh, data } = await reader(256 * KIB);
  await rig.read(fh, 0, 16 * KIB);
  const end = server.fail('READ', Status.IO);
  await rig.read(fh, 16 * KIB, 16 * KIB).catch(() => {});
  await settled();
  t.equal(await outcome(rig.read(fh, 64 * KIB, 16 * KIB)), Errno.EIO);
  end();
  for (let at = 0; at < 256 * KIB; at += 16 * KIB) {
    const read = await rig.read(fh, at, 16 * KIB).catch(() => rig.read(fh, at, 16 * KIB));
    t.same(read, data.subarray(at, at + 16 * KIB));
  }
});

t.test('who waits for a READ ahead can be interrupted, and it serves the next', async (t) => {
  const { rig, server, fh, data } = await reader(256 * KIB);
  await rig.read(fh, 0, 16 * KIB);
  const gate = server.gate('READ');
  const { caller, cancel } = rig.interruptible();
  const reading = rig.read(fh, 16 * KIB, 16 * KIB, caller);
  t.equal(await outcome(reading), 'pending');
  cancel();
  t.equal(await outcome(reading), Errno.EINTR);
  gate.open();
  t.same(await rig.read(fh, 16 * KIB, 16 * KIB), data.subarray(16 * KIB, 32 * KIB));
});

t.test('the budget bounds all read-ahead, and is whole again after the last close', async (t) => {
  const { rig, fh } = await reader(1 << 20, { readBudget: 64 * KIB });
  const second = await rig.open('f');
  for (let at = 0; at < 512 * KIB; at += 16 * KIB) {
    await Promise.all([rig.read(fh, at, 16 * KIB), rig.read(second.fh, at, 16 * KIB)]);
    t.ok(rig.vfs.memory.readBudget.used <= 64 * KIB);
  }
  t.ok(rig.vfs.memory.readBudget.used > 0);
  await rig.files.release(fh);
  await rig.files.release(second.fh);
  await settled();
  t.equal(rig.vfs.memory.readBudget.used, 0);
});

t.test('memory of READs that are under way at close comes back when they end', async (t) => {
  const { rig, server, fh } = await reader(1 << 20);
  await rig.read(fh, 0, 16 * KIB);
  const gate = server.gate('READ');
  const reading = rig.read(fh, 16 * KIB, 4 * KIB);
  await settled();
  t.ok(gate.waiting > 0);
  const closing = rig.files.release(fh);
  gate.open();
  await Promise.all([reading, closing]);
  await settled();
  t.equal(rig.vfs.memory.readBudget.used, 0);
});

t.test('whatever is read, however, is what is in the file', async (t) => {
  const { rig, server, fh, data } = await reader(300 * KIB + 77, { readBudget: 128 * KIB });
  let random = 4711;
  const next = (limit: number): number => {
    random = (random * 1103515245 + 12345) & 0x7fffffff;
    return random % limit;
  };
  let at = 0;
  for (let i = 0; i < 600; i++) {
    if (next(5) === 0) at = next(data.length + KIB);
    if (next(50) === 0) server.mostRead = 1 + next(32 * KIB);
    const size = 1 + next(40 * KIB);
    const read = await rig.read(fh, at, size);
    if (!read.equals(data.subarray(at, at + size))) t.fail(`${size} bytes at ${at} are wrong`);
    at += size;
  }
  await rig.files.release(fh);
  await settled();
  t.equal(rig.vfs.memory.readBudget.used, 0);
});

t.test('the memory of a READ serves again when every read that got a part of it is answered', async (t) => {
  const { rig, server, fh, data } = await reader(16 * KIB);
  const first = await rig.files.read(fh, 0, 4 * KIB, rig.caller());
  const second = await rig.files.read(fh, 4 * KIB, 4 * KIB, rig.caller());
  t.equal(server.count('READ'), 1, 'both are parts of one READ');
  await rig.files.release(fh);
  await settled();
  t.equal(server.recycled, 0, 'the file is closed, and both answers are still to be written');
  t.same(Buffer.concat(first.pieces), data.subarray(0, 4 * KIB));
  first.release();
  await settled();
  t.equal(server.recycled, 0, 'one of them is');
  t.same(Buffer.concat(second.pieces), data.subarray(4 * KIB, 8 * KIB));
  second.release();
  await settled();
  t.equal(server.recycled, 16 * KIB);
});

t.test('a file that is read to its end gives back all of it', async (t) => {
  const { rig, server, fh, data } = await reader(300 * KIB, { readBudget: 1 << 20 });
  for (let at = 0; at < data.length; at += 4 * KIB) {
    t.same(await rig.read(fh, at, 4 * KIB), data.subarray(at, at + 4 * KIB));
  }
  await rig.files.release(fh);
  await settled();
  t.equal(server.recycled, 300 * KIB);
});

t.test('who waits for a READ ahead that is dropped meanwhile gets its data all the same', async (t) => {
  const { rig, server, fh, data } = await reader(64 * KIB);
  const gate = server.gate('READ', 'reply');
  const reading = rig.read(fh, 0, 4 * KIB);
  await settled();
  const elsewhere = rig.read(fh, 40 * KIB, 4 * KIB);
  await rig.files.release(fh);
  gate.open();
  t.same(await reading, data.subarray(0, 4 * KIB));
  t.same(await elsewhere, data.subarray(40 * KIB, 44 * KIB));
});

t.test('READ goes out with the credential of whoever opened the file', async (t) => {
  const { rig, server, fh } = await reader(100 * KIB);
  await rig.read(fh, 0, 1000, rig.caller(4444));
  t.ok(server.named('READ').every(({ uid }) => uid === 1000));
});
