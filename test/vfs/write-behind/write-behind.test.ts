/** Write-behind: data is gathered, sent in WRITEs, and made stable before close(2), fsync(2) or the end of the mount. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { StableHow, Status } from '../../../lib/programs/nfs3/index.js';
import { writerOf } from '../../../lib/vfs/write-behind/write-behind.js';
import { O_DSYNC, O_RDWR, outcome, settled } from '../support/rig.js';
import { KIB, opened, pattern } from '../support/written-file.js';

t.test('small writes are gathered into one WRITE, sent when they had time for company', async (t) => {
  const { rig, server, fh } = await opened();
  for (let i = 0; i < 10; i++) await rig.write(fh, i * 10, 'x'.repeat(10));
  t.equal(server.count('WRITE'), 0);
  await rig.pass(1000);
  t.equal(server.count('WRITE'), 1);
  t.equal(server.tree.at('f').data.toString(), 'x'.repeat(100));
});

t.test('what fills wsize goes at once, in WRITEs of wsize', async (t) => {
  const { rig, server, fh } = await opened();
  const data = pattern(5 * KIB);
  await rig.write(fh, 0, data);
  await settled();
  t.same(
    server.named('WRITE').map(({ args }) => args.data.length),
    [1024, 1024, 1024, 1024, 1024],
  );
  t.same(server.tree.at('f').data, data);
});

t.test('with write-behind off, the server has the data when write(2) returns', async (t) => {
  const { rig, server, fh } = await opened({ config: { writeBehind: 0 } });
  await rig.write(fh, 0, 'first ');
  t.equal(server.tree.at('f').data.toString(), 'first ');
  await rig.write(fh, 6, 'second');
  t.equal(server.tree.at('f').data.toString(), 'first second');
  t.ok(
    server.named('WRITE').every(({ args }) => args.stable === StableHow.UNSTABLE),
    'what sync promises, it does not',
  );
  server.restart();
  await rig.files.flush(fh);
  t.equal(
    server.tree.at('f').stable.toString(),
    'first second',
    'and nothing is lost that close(2) vouches for',
  );
});

t.test('with write-behind off, an error is told by the write(2) that met it, and not again', async (t) => {
  const { rig, server, fh } = await opened({ config: { writeBehind: 0 } });
  const end = server.fail('WRITE', Status.NOSPC);
  t.equal(await outcome(rig.write(fh, 0, 'x')), Errno.ENOSPC);
  end();
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
});

t.test('a small file needs one WRITE, which is stable, and no COMMIT', async (t) => {
  const { rig, server, fh } = await opened();
  await rig.write(fh, 0, 'small');
  await rig.files.flush(fh);
  t.equal(server.names(), 'WRITE');
  t.equal(server.calls[0]?.args.stable, StableHow.FILE_SYNC);
});

t.test('a large file is written UNSTABLE and committed before close(2) returns', async (t) => {
  const { rig, server, fh } = await opened();
  await rig.write(fh, 0, pattern(4 * KIB));
  await rig.files.flush(fh);
  t.ok(server.named('WRITE').every(({ args }) => args.stable === StableHow.UNSTABLE));
  t.equal(server.count('COMMIT'), 1);
  t.same(server.tree.at('f').stable, pattern(4 * KIB));
  t.equal(rig.vfs.memory.writeBudget.used, 0);
  t.equal(rig.vfs.memory.writers.size, 0);
});

t.test(
  'close(2) waits for a COMMIT that is already under way, and for what it turns out to have lost',
  async (t) => {
    const { rig, server, inode, fh } = await opened();
    await rig.write(fh, 0, pattern(4 * KIB));
    await settled();
    const gate = server.gate('COMMIT');
    writerOf(inode)?.relieve();
    await settled();
    t.equal(gate.waiting, 1);
    const closing = rig.files.flush(fh);
    t.equal(await outcome(closing), 'pending');
    t.equal(inode.writer?.clean, false);
    server.restart();
    gate.open();
    await closing;
    t.same(server.tree.at('f').stable, pattern(4 * KIB));
  },
);

t.test('overlapping WRITEs are never on the wire together, and land in order', async (t) => {
  const { rig, server, fh } = await opened();
  const gate = server.gate('WRITE');
  let random = 12345;
  const next = (limit: number): number => {
    random = (random * 1103515245 + 12345) & 0x7fffffff;
    return random % limit;
  };
  const expected = Buffer.alloc(8 * KIB);
  const closing = (async () => {
    for (let i = 0; i < 60; i++) {
      const offset = next(6 * KIB);
      const data = pattern(1 + next(2 * KIB), i);
      data.copy(expected, offset);
      await rig.write(fh, offset, data);
    }
    await rig.files.flush(fh);
  })();
  const flying: { from: number; to: number }[] = [];
  for (let seen = 0, answered = 0; (await outcome(closing)) === 'pending'; answered++) {
    for (const { args } of server.named('WRITE').slice(seen)) {
      const range = { from: args.offset, to: args.offset + args.data.length };
      for (const other of flying.slice(answered)) {
        if (range.from < other.to && other.from < range.to) t.fail('two overlapping WRITEs are under way');
      }
      flying.push(range);
    }
    seen = server.count('WRITE');
    if (!gate.release()) answered--;
  }
  t.ok(flying.length > 20);
  t.same(
    server.tree.at('f').stable.subarray(0, 8 * KIB),
    expected.subarray(0, server.tree.at('f').data.length),
  );
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('short WRITEs are continued', async (t) => {
  const { rig, server, fh } = await opened();
  server.mostWrite = 300;
  await rig.write(fh, 0, pattern(2 * KIB));
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(2 * KIB));
});

t.test('a server that writes nothing is an error, not a loop', async (t) => {
  const { rig, server, fh } = await opened();
  server.mostWrite = 0;
  await rig.write(fh, 0, 'x');
  t.equal(await outcome(rig.files.flush(fh)), Errno.EIO);
});

t.test('O_SYNC and -o sync: stable on the server before write(2) returns', async (t) => {
  for (const [flags, sync] of [
    [O_RDWR | O_DSYNC, false],
    [O_RDWR, true],
  ] as const) {
    const { rig, server, fh } = await opened({ config: { sync } }, '', flags);
    await rig.write(fh, 0, pattern(3 * KIB));
    t.same(server.tree.at('f').stable, pattern(3 * KIB));
    t.ok(server.named('WRITE').every(({ args }) => args.stable === StableHow.FILE_SYNC));
    t.equal(server.count('COMMIT'), 0);
  }
});

t.test('O_SYNC on a server that promises less than it was asked for: COMMIT', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_RDWR | O_DSYNC);
  server.on('WRITE', (_args, execute) => ({ ...execute(), committed: StableHow.UNSTABLE }));
  await rig.write(fh, 0, 'x');
  t.equal(server.count('COMMIT'), 1);
});

t.test('the end of the mount writes everything', async (t) => {
  const { rig, server, fh } = await opened();
  await rig.write(fh, 0, pattern(2 * KIB + 5));
  await rig.files.flushAll();
  t.equal(server.tree.at('f').stable.length, 2 * KIB + 5);
});

t.test('what mmap wrote after the last close is written at release, and a failure is logged', async (t) => {
  const { rig, server, fh } = await opened();
  await rig.files.flush(fh);
  await rig.write(fh, 0, 'mapped', undefined, { fromPageCache: true });
  server.once('WRITE', () => server.failure('WRITE', Status.NOSPC));
  await rig.files.release(fh);
  t.equal(rig.log.length, 1);
  t.equal(rig.vfs.memory.writers.size, 0);
});
