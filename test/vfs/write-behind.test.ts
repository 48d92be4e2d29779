import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import { StableHow, Status } from '../../lib/programs/nfs3/index.js';
import { writerOf } from '../../lib/vfs/data/write-behind.js';
import { O_APPEND, O_DSYNC, O_RDONLY, O_RDWR, O_WRONLY, outcome, Rig, settled } from './support/rig.js';

const KIB = 1024;
/** Bytes that say where they belong. */
function pattern(length: number, seed = 0): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) * 13 + seed) & 0xff));
}

async function opened(options: ConstructorParameters<typeof Rig>[0] = {}, content = '', flags = O_RDWR) {
  const rig = new Rig(options);
  rig.server.tree.file('f', content);
  const { inode, fh } = await rig.open('f', flags);
  rig.server.forgetCalls();
  return { rig, server: rig.server, inode, fh };
}

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

t.test('a restart before COMMIT: everything uncommitted is written again', async (t) => {
  const { rig, server, fh } = await opened();
  await rig.write(fh, 0, pattern(4 * KIB));
  await settled();
  server.restart();
  t.equal(server.tree.at('f').data.length, 0, 'the server has lost it');
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(4 * KIB));
  t.equal(rig.counters.rewrites, 4);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a restart between two WRITEs: the first is written again before anybody asks', async (t) => {
  const { rig, server, fh } = await opened();
  await rig.write(fh, 0, pattern(KIB));
  await settled();
  server.restart();
  await rig.write(fh, KIB, pattern(KIB, 9));
  await settled();
  t.same(server.tree.at('f').data, Buffer.concat([pattern(KIB), pattern(KIB, 9)]), 'readers miss nothing');
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, Buffer.concat([pattern(KIB), pattern(KIB, 9)]));
});

t.test('a restart within the parts of one short WRITE: all of it is written again', async (t) => {
  const { rig, server, fh } = await opened();
  server.mostWrite = 512;
  let writes = 0;
  server.on('WRITE', (_args, execute) => {
    if (++writes === 2) server.restart();
    return execute();
  });
  await rig.write(fh, 0, pattern(2 * KIB));
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(2 * KIB));
});

t.test('older data that is written again does not overwrite newer data', async (t) => {
  for (const stable of [false, true]) {
    const { rig, server, fh } = await opened();
    const other = await rig.open('f', stable ? O_RDWR | O_DSYNC : O_RDWR);
    await rig.write(fh, 0, pattern(3 * KIB, 1));
    await settled();
    server.restart();
    // Not seen in time: the WRITE that shows the new verifier is the one that overwrites.
    await rig.write(other.fh, 512, pattern(KIB, 2));
    await rig.files.flush(fh);
    await rig.files.flush(other.fh);
    const expected = pattern(3 * KIB, 1);
    pattern(KIB, 2).copy(expected, 512);
    t.same(server.tree.at('f').stable, expected, stable ? 'O_SYNC' : 'gathered');
    t.equal(rig.vfs.memory.writeBudget.used, 0);
  }
});

t.test('older data waits for nothing newer when it is written again while that is on its way', async (t) => {
  const { rig, server, fh } = await opened();
  await rig.write(fh, 0, pattern(2 * KIB, 1));
  await settled();
  const commit = server.gate('COMMIT');
  const flushed = rig.files.flush(fh);
  await settled();
  const write = server.gate('WRITE');
  await rig.write(fh, KIB, pattern(KIB, 2));
  await settled();
  t.equal(write.waiting, 1);
  server.restart();
  commit.open();
  await settled();
  write.open();
  await flushed;
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, Buffer.concat([pattern(KIB, 1), pattern(KIB, 2)]));
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a server whose verifier never stays is written to with FILE_SYNC in the end', async (t) => {
  const { rig, server, fh } = await opened();
  let n = 0;
  server.on('WRITE', (_args, execute) => ({ ...execute(), verifier: `${n++}`.padStart(8) }));
  await rig.write(fh, 0, pattern(2 * KIB));
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(2 * KIB));
});

t.test('a write error is told once to each descriptor, at close or fsync', async (t) => {
  const { rig, server, fh } = await opened();
  const second = await rig.open('f', O_WRONLY);
  const end = server.fail('WRITE', Status.NOSPC);
  await rig.write(fh, 0, 'lost');
  t.equal(await outcome(rig.files.flush(fh)), Errno.ENOSPC);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  t.equal(await outcome(rig.files.flush(second.fh)), Errno.ENOSPC);
  t.equal(await outcome(rig.files.flush(second.fh)), 'ok');
  const third = await rig.open('f', O_WRONLY);
  t.equal(await outcome(rig.files.flush(third.fh)), 'ok', 'opened afterwards');
  end();
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a COMMIT that fails is a write error', async (t) => {
  const { rig, server, fh } = await opened();
  server.fail('COMMIT', Status.IO);
  await rig.write(fh, 0, pattern(2 * KIB));
  t.equal(await outcome(rig.files.flush(fh)), Errno.EIO);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
  t.equal(rig.vfs.memory.writers.size, 0);
});

t.test('after an error writes are synchronous and tell their own error, until one succeeds', async (t) => {
  const { rig, server, fh } = await opened();
  const end = server.fail('WRITE', Status.NOSPC);
  await rig.write(fh, 0, 'lost');
  t.equal(await outcome(rig.files.flush(fh)), Errno.ENOSPC);
  t.equal(await outcome(rig.write(fh, 0, 'again')), Errno.ENOSPC);
  t.equal(await outcome(rig.files.flush(fh)), 'ok', 'it was told by write(2)');
  end();
  await rig.write(fh, 0, 'again');
  t.equal(server.tree.at('f').stable.toString(), 'again');
  server.forgetCalls();
  await rig.write(fh, 5, '!');
  t.equal(server.count('WRITE'), 0, 'gathered again');
});

t.test("a synchronous write that succeeds does not hide another's error from its descriptor", async (t) => {
  const { rig, server, fh } = await opened();
  const sync = await rig.open('f', O_RDWR | O_DSYNC);
  server.once('WRITE', () => server.failure('WRITE', Status.DQUOT));
  await rig.write(fh, 0, 'lost');
  await rig.pass(1000);
  await rig.write(sync.fh, 10, 'kept');
  t.equal(await outcome(rig.files.flush(sync.fh)), Errno.EDQUOT);
  t.equal(await outcome(rig.files.flush(fh)), Errno.EDQUOT);
});

t.test('a reader that closes after a write error is not said to have lost anything', async (t) => {
  const { rig, server, fh } = await opened();
  const reader = await rig.open('f', O_RDONLY);
  server.once('WRITE', () => server.failure('WRITE', Status.NOSPC));
  await rig.write(fh, 0, 'lost');
  t.equal(await outcome(rig.files.flush(fh)), Errno.ENOSPC);
  await rig.files.release(reader.fh);
  t.same(rig.log, []);
  await rig.files.release(fh);
  t.same(rig.log, []);
});

t.test('writes wait for memory, which several files hold, and always get it', async (t) => {
  const rig = new Rig({ writeBudget: 16 * KIB });
  const { server } = rig;
  const fhs: number[] = [];
  for (let i = 0; i < 5; i++) {
    server.tree.file(`f${i}`);
    fhs.push((await rig.open(`f${i}`, O_RDWR)).fh);
  }
  // Four files hold all of it, as data that no COMMIT covers and as data that is still gathered.
  for (const fh of fhs.slice(0, 4)) await rig.write(fh, 0, pattern(3 * KIB + 900));
  await settled();
  await rig.write(fhs[4] ?? 0, 0, pattern(12 * KIB));
  await Promise.all(fhs.map((fh, i) => rig.write(fh, 4 * KIB, pattern(10 * KIB, i))));
  for (const fh of fhs) await rig.files.flush(fh);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
  t.equal(rig.vfs.memory.writers.size, 0);
  t.same(server.tree.at('f3').stable.subarray(4 * KIB), pattern(10 * KIB, 3));
});

t.test('one write larger than the whole budget goes through', async (t) => {
  const { rig, server, fh } = await opened({ writeBudget: 2 * KIB });
  await rig.write(fh, 0, pattern(9 * KIB));
  await rig.write(fh, 9 * KIB, pattern(9 * KIB));
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.length, 18 * KIB);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a file has so many WRITEs waiting and no more', async (t) => {
  const { rig, server, fh } = await opened();
  const gate = server.gate('WRITE');
  let taken = 0;
  const writer = (async () => {
    for (let i = 0; i < 200; i++) {
      // Apart from each other, so that none joins another.
      await rig.write(fh, i * 2 * KIB, 'x');
      taken++;
    }
  })();
  await settled();
  t.ok(taken < 100, `${taken} were taken`);
  t.equal(gate.waiting, 16);
  gate.open();
  await writer;
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.length, 199 * 2 * KIB + 1);
});

t.test('bytes written twice while gathered are held once', async (t) => {
  const { rig, fh } = await opened();
  for (let i = 0; i < 50; i++) await rig.write(fh, 0, pattern(100));
  t.equal(rig.vfs.memory.writeBudget.used, 100);
  await rig.files.flush(fh);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a truncation drops unstable data beyond it: a restart does not bring it back', async (t) => {
  const { rig, server, inode, fh } = await opened();
  await rig.write(fh, 0, pattern(4 * KIB));
  const none = { mode: undefined, uid: undefined, gid: undefined, atime: undefined, mtime: undefined };
  await rig.files.setAttributes(inode, { ...none, size: 1500n, fh }, rig.caller());
  t.equal(server.tree.at('f').data.length, 1500);
  server.tree.at('f').stable = Buffer.alloc(1500);
  server.restart();
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(4 * KIB).subarray(0, 1500));
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a truncation that fails drops nothing', async (t) => {
  const { rig, server, inode, fh } = await opened();
  await rig.write(fh, 0, pattern(4 * KIB));
  server.once('SETATTR', () => server.failure('SETATTR', Status.PERM));
  const none = { mode: undefined, uid: undefined, gid: undefined, atime: undefined, mtime: undefined };
  const cut = rig.files.setAttributes(inode, { ...none, size: 0n, fh }, rig.caller());
  t.equal(await outcome(cut), Errno.EPERM);
  server.restart();
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(4 * KIB));
});

t.test('no COMMIT, and so no rewrite, overtakes a truncation', async (t) => {
  const { rig, server, inode, fh } = await opened();
  await rig.write(fh, 0, pattern(4 * KIB));
  await settled();
  const gate = server.gate('SETATTR', 'reply');
  const none = { mode: undefined, uid: undefined, gid: undefined, atime: undefined, mtime: undefined };
  const cut = rig.files.setAttributes(inode, { ...none, size: 100n, fh }, rig.caller());
  await settled();
  server.restart();
  const flushed = rig.files.flush(fh);
  await settled();
  t.equal(server.count('COMMIT'), 0);
  gate.open();
  await cut;
  await flushed;
  t.equal(server.tree.at('f').stable.length, 100);
});

t.test('a reader sees what was written, wherever it is on its way', async (t) => {
  const { rig, server, fh } = await opened({}, 'a'.repeat(3000));
  await rig.write(fh, 10, 'GATHERED');
  t.equal((await rig.read(fh, 8, 12)).toString(), 'aaGATHEREDaa');
  await rig.write(fh, 0, pattern(2 * KIB));
  t.same(await rig.read(fh, 0, 2 * KIB), pattern(2 * KIB));
  const gate = server.gate('WRITE');
  await rig.write(fh, 0, pattern(2 * KIB, 5));
  const reading = rig.read(fh, 1000, 500);
  t.equal(await outcome(reading), 'pending');
  gate.open();
  t.same(await reading, pattern(2 * KIB, 5).subarray(1000, 1500));
});

t.test('the gap before what was written beyond the end reads as zeros, not as the end', async (t) => {
  const { rig, fh } = await opened();
  await rig.write(fh, 5000, 'far');
  t.same(await rig.read(fh, 0, 100), Buffer.alloc(100));
});

t.test('while data is on its way the size includes it', async (t) => {
  const { rig, inode, fh } = await opened({}, 'abc');
  await rig.write(fh, 100, 'x');
  const attributes = inode.attributes;
  if (attributes === undefined) throw new Error('no attributes');
  t.equal(rig.vfs.replies.attributes(inode, attributes).attributes.size, 101n);
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

t.test("O_APPEND: at the server's end of the file, wherever the kernel believes it to be", async (t) => {
  const { rig, server, inode, fh } = await opened({}, 'abc', O_WRONLY | O_APPEND);
  server.tree.write('f', 'abcdef');
  await rig.write(fh, 3, 'GHI');
  t.equal(server.tree.at('f').data.toString(), 'abcdefGHI');
  t.ok(rig.notices.includes(`pages ${inode.nodeid} 3`));
  await Promise.all([rig.write(fh, 9, '1'), rig.write(fh, 10, '2'), rig.write(fh, 11, '3')]);
  t.equal(server.tree.at('f').data.toString(), 'abcdefGHI123');
});

t.test('O_APPEND: an append that failed does not stop the next', async (t) => {
  const { rig, server, fh } = await opened({}, 'abc', O_WRONLY | O_APPEND);
  server.once('WRITE', () => server.failure('WRITE', Status.NOSPC));
  t.equal(await outcome(rig.write(fh, 3, 'x')), Errno.ENOSPC);
  await rig.write(fh, 3, 'y');
  t.equal(server.tree.at('f').data.toString(), 'abcy');
  t.equal(await outcome(rig.files.flush(fh)), 'ok', 'it was told by write(2)');
});

t.test('an interrupted fsync ends with EINTR, and the writes go on', async (t) => {
  const { rig, server, fh } = await opened();
  const gate = server.gate('WRITE');
  await rig.write(fh, 0, pattern(2 * KIB));
  const { caller, cancel } = rig.interruptible();
  const syncing = rig.files.flush(fh, caller.cancellation);
  t.equal(await outcome(syncing), 'pending');
  cancel();
  t.equal(await outcome(syncing), Errno.EINTR);
  gate.open();
  await rig.files.flush(fh);
  t.same(server.tree.at('f').stable, pattern(2 * KIB));
});

t.test('a writer that waits for memory and is interrupted has written nothing', async (t) => {
  const { rig, server, fh } = await opened({ writeBudget: 2 * KIB });
  const gate = server.gate('WRITE');
  await rig.write(fh, 0, pattern(2 * KIB));
  const { caller, cancel } = rig.interruptible();
  const writing = rig.write(fh, 2 * KIB, pattern(2 * KIB), caller);
  t.equal(await outcome(writing), 'pending');
  cancel();
  t.equal(await outcome(writing), Errno.EINTR);
  gate.open();
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.length, 2 * KIB);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('an append that was begun is not repeated by whoever is interrupted: it goes on', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_WRONLY | O_APPEND);
  const gate = server.gate('WRITE');
  const first = rig.interruptible();
  const second = rig.interruptible();
  const data = Buffer.from('once');
  const begun = rig.write(fh, 0, data, first.caller);
  const waiting = rig.write(fh, 0, 'never', second.caller);
  await settled();
  first.cancel();
  second.cancel();
  t.same(await Promise.all([outcome(begun), outcome(waiting)]), ['ok', Errno.EINTR]);
  gate.open();
  await settled();
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.toString(), 'once');
});

t.test('an append that nobody waits for any more tells its error at close', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_WRONLY | O_APPEND);
  server.fail('GETATTR', Status.IO);
  const gate = server.gate('GETATTR');
  const { caller, cancel } = rig.interruptible();
  const writing = rig.write(fh, 0, 'x', caller);
  await settled();
  cancel();
  t.equal(await outcome(writing), 'ok');
  gate.open();
  await settled();
  t.equal(await outcome(rig.files.flush(fh)), Errno.EIO);
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
