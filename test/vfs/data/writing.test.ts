/** write(2) as FUSE tells it, and WRITE and COMMIT as calls. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { StableHow, Status } from '../../../lib/programs/nfs3/index.js';
import { writerOf } from '../../../lib/vfs/write-behind/write-behind.js';
import {
  O_APPEND,
  O_DSYNC,
  O_RDWR,
  O_WRONLY,
  outcome,
  Rig,
  type RigOptions,
  settled,
} from '../support/rig.js';

const MAX = Number.MAX_SAFE_INTEGER;

async function opened(options: RigOptions = {}, content = '', flags = O_RDWR) {
  const rig = new Rig(options);
  rig.server.tree.file('f', content);
  const { inode, fh } = await rig.open('f', flags);
  rig.server.forgetCalls();
  const { server } = rig;
  const stables = () => server.named('WRITE').map(({ args }) => args.stable);
  return { rig, server, node: server.tree.at('f'), inode, fh, stables };
}

t.test('a file may not grow beyond what a number holds exactly', async (t) => {
  const { rig, fh } = await opened();
  t.equal(await outcome(rig.write(fh, MAX - 1, 'xy')), Errno.EFBIG);
  t.equal(await outcome(rig.write(fh, MAX - 2, 'xy')), 'ok');
});

t.test('an append that would make it grow beyond that is refused', async (t) => {
  for (const [size, answer] of [
    [MAX - 1, Errno.EFBIG],
    [MAX - 2, 'ok'],
  ] as const) {
    const { rig, server, fh } = await opened({}, '', O_WRONLY | O_APPEND);
    server.on('GETATTR', (_args, execute) => {
      const { attributes } = execute();
      return { status: Status.OK, attributes: { ...attributes, size: BigInt(size) } };
    });
    server.on('WRITE', ({ stable }) => ({
      ...server.failure('WRITE', Status.OK),
      count: 2,
      committed: stable,
      verifier: 'verifier',
    }));
    t.equal(await outcome(rig.write(fh, 0, 'xy')), answer);
  }
});

t.test('each write voids what was read ahead, and the times that the kernel knows', async (t) => {
  const { rig, inode, fh } = await opened();
  const { contentChanges } = inode;
  inode.kernelTrustsUntil = 1e9;
  await rig.write(fh, 0, 'x');
  t.equal(inode.contentChanges, contentChanges + 1);
  t.equal(inode.kernelTrustsUntil, 0);
});

t.test('the kernel fills pages with what it writes, unless the write goes past them', async (t) => {
  const { rig, inode, fh } = await opened();
  await rig.write(fh, 0, 'x', undefined, { direct: true });
  t.equal(inode.pagesFilled, false);
  await rig.write(fh, 0, 'x');
  t.equal(inode.pagesFilled, true);
});

t.test('pages of a mapping are written behind, unless nothing is', async (t) => {
  const write = async (options: RigOptions, flags: number) => {
    const { rig, fh, stables } = await opened(options, 'abc', flags);
    await rig.write(fh, 0, 'x', undefined, { fromPageCache: true });
    return stables();
  };
  t.same(await write({}, O_RDWR), []);
  t.same(await write({}, O_RDWR | O_APPEND), [], 'they have their place, whatever the descriptor says');
  t.same(await write({}, O_RDWR | O_DSYNC), [StableHow.FILE_SYNC]);
  t.same(await write({ config: { sync: true } }, O_RDWR), [StableHow.FILE_SYNC]);
  t.same(await write({ config: { writeBehind: 0 } }, O_RDWR), [StableHow.UNSTABLE]);
});

t.test('an error of pages is told by fsync(2), which is the only one that can', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_RDWR | O_DSYNC);
  server.once('WRITE', () => server.failure('WRITE', Status.NOSPC));
  t.equal(await outcome(rig.write(fh, 0, 'x', undefined, { fromPageCache: true })), Errno.ENOSPC);
  t.equal(await outcome(rig.files.flush(fh)), Errno.ENOSPC);
});

t.test('O_SYNC that fcntl(2) has set after open(2) counts', async (t) => {
  const { rig, fh, stables } = await opened();
  const data = Buffer.from('x');
  const request = { offset: 0, data, fromPageCache: false, direct: false };
  await rig.files.write(fh, { ...request, flags: O_DSYNC }, undefined);
  t.same(stables(), [StableHow.FILE_SYNC]);
});

t.test('an append is stable where it has to be, and is on the server in any case', async (t) => {
  for (const [flags, sync, stable] of [
    [0, false, StableHow.UNSTABLE],
    [O_DSYNC, false, StableHow.FILE_SYNC],
    [0, true, StableHow.FILE_SYNC],
  ] as const) {
    const { rig, server, node, fh, stables } = await opened(
      { config: { sync } },
      'abc',
      O_WRONLY | O_APPEND | flags,
    );
    await rig.write(fh, 3, 'd');
    t.same(stables(), [stable]);
    t.equal(server.count('COMMIT'), 0);
    t.equal(node.data.toString(), 'abcd');
  }
});

t.test('an append goes behind what this mount has written and the server has not', async (t) => {
  const { rig, node, fh } = await opened({}, 'abc', O_WRONLY | O_APPEND);
  const other = await rig.open('f', O_RDWR);
  await rig.write(other.fh, 3, 'def');
  await rig.write(fh, 6, 'g');
  t.equal(node.data.toString(), 'abcdefg');
});

t.test('a file that a restart made shorter is appended to where it will end again', async (t) => {
  const { rig, server, node, fh } = await opened({}, '', O_WRONLY | O_APPEND);
  await rig.write(fh, 0, 'abc');
  server.restart();
  t.equal(node.data.length, 0);
  await rig.write(fh, 3, 'def');
  await rig.files.flush(fh);
  t.equal(node.stable.toString(), 'abcdef');
});

t.test('an interrupted append that has to be stable says so: nobody may take it for done', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_WRONLY | O_APPEND | O_DSYNC);
  const gate = server.gate('WRITE');
  const { caller, cancel } = rig.interruptible();
  const written = outcome(rig.write(fh, 0, 'x', caller));
  await settled();
  cancel();
  t.equal(await written, 'pending');
  gate.open();
});

t.test('an append whose caller is interrupted keeps the data that it was given', async (t) => {
  const { rig, server, node, fh } = await opened({}, '', O_WRONLY | O_APPEND);
  const gate = server.gate('GETATTR');
  const { caller, cancel } = rig.interruptible();
  const data = Buffer.from('mine');
  const request = { offset: 0, data, flags: 0, fromPageCache: false, direct: false };
  const written = rig.files.write(fh, request, caller.cancellation);
  await settled();
  cancel();
  t.equal(await written, 4);
  data.fill('-');
  gate.open();
  await settled();
  t.equal(node.data.toString(), 'mine');
});

t.test('an interrupted append that the server refuses is one error, told once, at close', async (t) => {
  const { rig, server, inode, fh } = await opened({}, '', O_WRONLY | O_APPEND);
  server.once('WRITE', () => server.failure('WRITE', Status.NOSPC));
  const gate = server.gate('WRITE');
  const { caller, cancel } = rig.interruptible();
  const written = rig.write(fh, 0, 'x', caller);
  await settled();
  cancel();
  t.equal(await outcome(written), 'ok');
  gate.open();
  await settled();
  t.equal(writerOf(inode)?.errors, 1);
  t.equal(await outcome(rig.files.flush(fh)), Errno.ENOSPC);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
});

t.test('an append to a file that is gone is an error of its data', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_WRONLY | O_APPEND);
  server.tree.remove('f');
  t.equal(await outcome(rig.write(fh, 0, 'x')), Errno.EIO);
});

t.test('a write that fails before it is a WRITE is told by itself alone', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_WRONLY | O_APPEND);
  server.once('GETATTR', () => server.failure('GETATTR', Status.IO));
  t.equal(await outcome(rig.write(fh, 0, 'x')), Errno.EIO);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
});

t.test('the own error of a write does not hide an earlier one that was not told yet', async (t) => {
  const { rig, server, fh } = await opened({ config: { writeBehind: 0 } });
  const other = await rig.open('f', O_RDWR);
  const end = server.fail('WRITE', Status.NOSPC);
  t.equal(await outcome(rig.write(other.fh, 0, 'x')), Errno.ENOSPC);
  t.equal(await outcome(rig.write(fh, 0, 'x')), Errno.ENOSPC);
  end();
  t.equal(await outcome(rig.files.flush(fh)), Errno.ENOSPC);
});

t.test('the own error of a write does not hide the one of what was written behind before it', async (t) => {
  const { rig, server, fh } = await opened();
  const sync = await rig.open('f', O_RDWR | O_DSYNC);
  server.fail('WRITE', Status.NOSPC);
  server.once('WRITE', () => server.failure('WRITE', Status.DQUOT));
  await rig.write(fh, 0, 'lost');
  t.equal(await outcome(rig.write(sync.fh, 10, 'x')), Errno.ENOSPC);
  t.equal(await outcome(rig.files.flush(sync.fh)), Errno.ENOSPC);
});

t.test(
  'after an append elsewhere than the kernel believes, it forgets the size and the pages behind',
  async (t) => {
    const { rig, inode, fh } = await opened({}, 'abc', O_WRONLY | O_APPEND);
    const pages = async (offset: number): Promise<string[]> => {
      rig.notices.length = 0;
      await rig.write(fh, offset, 'x');
      return rig.notices.filter((notice) => !notice.startsWith('expire'));
    };
    t.same(await pages(3), [`pages ${inode.nodeid} 3`], 'where it is as it believes');
    t.same(await pages(2), [`attributes ${inode.nodeid}`, `pages ${inode.nodeid} 2`]);
    t.same(await pages(9), [`attributes ${inode.nodeid}`, `pages ${inode.nodeid} 5`]);
  },
);

t.test('WRITE and COMMIT name what they are about, and change nothing for others', async (t) => {
  const { rig, server, inode, fh } = await opened({}, 'content');
  server.wcc = 'no-before';
  const { generation } = inode;
  await rig.write(fh, 1, 'x'.repeat(2000));
  await rig.files.flush(fh);
  t.match(server.named('COMMIT')[0]?.args, { offset: 0, count: 0, file: inode.handle });
  t.same(
    server.named('WRITE').map(({ args }) => [args.offset, args.data.length]),
    [
      [1, 1024],
      [1025, 976],
    ],
  );
  t.equal(inode.generation, generation);
  t.equal(rig.vfs.attributes.isFresh(inode), true);
});

t.test('a server that takes less is sent less, and more again when it takes all', async (t) => {
  const { rig, server, node, fh } = await opened({ limits: { wsize: 16_384 } });
  const takes = [600, 600, 1200, 100_000, 100_000, 100_000, 100_000];
  server.on('WRITE', (_args, execute) => {
    server.mostWrite = takes.shift() ?? 0;
    return execute();
  });
  await rig.write(fh, 0, 'x'.repeat(16_384));
  await settled();
  t.same(
    server.named('WRITE').map(({ args }) => args.data.length),
    [16_384, 1200, 1200, 2400, 4800, 6784],
  );
  t.equal(node.data.length, 16_384);
});

t.test('a server is sent no less than 512 bytes at a time', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_RDWR | O_DSYNC);
  server.once('WRITE', (_args, execute) => {
    server.mostWrite = 100;
    const result = execute();
    server.mostWrite = Number.POSITIVE_INFINITY;
    return result;
  });
  await rig.write(fh, 0, 'x'.repeat(1024));
  t.same(
    server.named('WRITE').map(({ args }) => args.data.length),
    [1024, 512, 412],
  );
});

t.test('a server that claims to have taken more than it was sent has taken that', async (t) => {
  const { rig, server, node, fh } = await opened({}, '', O_RDWR | O_DSYNC);
  server.mostWrite = 500;
  server.on('WRITE', (_args, execute) => {
    const result = execute();
    return result.count < 500 ? { ...result, count: 9999 } : result;
  });
  await rig.write(fh, 0, 'x'.repeat(1100));
  t.equal(node.data.length, 1100);
});

t.test('data is as safe as the least safe part of it', async (t) => {
  for (const committed of [
    [StableHow.FILE_SYNC, StableHow.UNSTABLE],
    [StableHow.UNSTABLE, StableHow.FILE_SYNC],
  ]) {
    const { rig, server, node, fh } = await opened({}, '', O_RDWR | O_DSYNC);
    server.mostWrite = 512;
    const answers = [...committed];
    server.on('WRITE', (_args, execute) => ({ ...execute(), committed: answers.shift() }));
    await rig.write(fh, 0, 'x'.repeat(1024));
    t.equal(server.count('COMMIT'), 1);
    t.equal(server.count('WRITE'), 2, 'and nothing of it was lost');
    t.equal(node.stable.length, 1024);
  }
});

t.test('two verifiers for parts of one extent are a loss: no COMMIT vouches for both', async (t) => {
  const { rig, server, fh } = await opened({}, '', O_RDWR | O_DSYNC);
  server.mostWrite = 512;
  const verifiers = ['one'];
  server.on('WRITE', (_args, execute) => ({
    ...execute(),
    committed: StableHow.UNSTABLE,
    verifier: verifiers.shift() ?? 'two',
  }));
  server.verifier = 'two';
  await rig.write(fh, 0, 'x'.repeat(1024));
  t.equal(server.count('WRITE'), 4, 'it is written again');
});

t.test('errors of WRITE and COMMIT are about a descriptor', async (t) => {
  for (const name of ['WRITE', 'COMMIT']) {
    const { rig, server, fh } = await opened();
    server.fail(name, Status.STALE);
    await rig.write(fh, 0, 'x'.repeat(2048));
    t.equal(await outcome(rig.files.flush(fh)), Errno.EIO);
    t.match(rig.log, [/^\/f: /]);
  }
});
