/** Writes that go past the kernel's pages, which may hold what was there before. */
import t from 'tap';
import { Bench, O_APPEND, O_RDWR, O_WRONLY, settled } from './support/bench.js';

async function opened(flags = O_RDWR) {
  const bench = new Bench();
  bench.server.tree.file('f', 'content');
  const { inode, fh } = await bench.open('f', flags);
  const write = (offset: number) => bench.write(fh, offset, 'direct', undefined, { direct: true });
  return { bench, inode, fh, write };
}

t.test('pages that the kernel may have filled are dropped before the write is answered', async (t) => {
  const { bench, inode, fh, write } = await opened();
  const { notifier } = bench.vfs.kernel;
  let dropped = (): void => {};
  const asked: number[][] = [];
  bench.vfs.kernel.notifier = {
    ...notifier,
    invalidatePages: (...range) => {
      asked.push(range);
      return new Promise((resolve) => {
        dropped = resolve;
      });
    },
  };
  await bench.read(fh, 0, 7);
  let answered = false;
  const written = write(2).then(() => {
    answered = true;
  });
  await settled();
  t.same(asked, [[inode.nodeid, 2, 6]]);
  t.equal(answered, false);
  dropped();
  await written;
});

t.test('a caller who stops waiting for the drop has written all the same', async (t) => {
  const { bench, fh } = await opened();
  bench.vfs.kernel.notifier = { ...bench.vfs.kernel.notifier, invalidatePages: () => new Promise(() => {}) };
  await bench.read(fh, 0, 7);
  const { caller, cancel } = bench.interruptible();
  const data = Buffer.from('direct');
  const written = bench.write(fh, 0, data, caller, { direct: true });
  await settled();
  cancel();
  t.equal(await written, 6);
});

t.test('nothing is dropped where the kernel has filled no pages', async (t) => {
  const { bench, fh, write } = await opened();
  await write(0);
  const asker = { cancellation: undefined, tid: 1 };
  (await bench.files.read(fh, 0, 7, asker, true)).release();
  await write(0);
  t.same(bench.notices, []);
});

t.test('writes through the pages drop none of them', async (t) => {
  const { bench, fh } = await opened();
  await bench.read(fh, 0, 7);
  for (let i = 0; i < 10; i++) await bench.write(fh, i, 'x');
  await bench.files.flush(fh);
  t.same(bench.notices, []);
});

t.test('an append drops the page that it lands in', async (t) => {
  const { bench, inode, write } = await opened(O_WRONLY | O_APPEND);
  const reader = await bench.open('f');
  await bench.read(reader.fh, 0, 100);
  bench.notices.length = 0;
  await write(7);
  t.ok(bench.notices.includes(`pages ${inode.nodeid} 7`), bench.notices.join());
});
