/** Writes that go past the kernel's pages, which may hold what was there before. */
import t from 'tap';
import { O_APPEND, O_RDWR, O_WRONLY, Rig, settled } from '../support/rig.js';

async function opened(flags = O_RDWR) {
  const rig = new Rig();
  rig.server.tree.file('f', 'content');
  const { inode, fh } = await rig.open('f', flags);
  const write = (offset: number) => rig.write(fh, offset, 'direct', undefined, { direct: true });
  return { rig, inode, fh, write };
}

t.test('pages that the kernel may have filled are dropped before the write is answered', async (t) => {
  const { rig, inode, fh, write } = await opened();
  const { notifier } = rig.vfs.kernel;
  let dropped = (): void => {};
  const asked: number[][] = [];
  rig.vfs.kernel.notifier = {
    ...notifier,
    invalidatePages: (...range) => {
      asked.push(range);
      return new Promise((resolve) => {
        dropped = resolve;
      });
    },
  };
  await rig.read(fh, 0, 7);
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
  const { rig, fh } = await opened();
  rig.vfs.kernel.notifier = { ...rig.vfs.kernel.notifier, invalidatePages: () => new Promise(() => {}) };
  await rig.read(fh, 0, 7);
  const { caller, cancel } = rig.interruptible();
  const data = Buffer.from('direct');
  const written = rig.write(fh, 0, data, caller, { direct: true });
  await settled();
  cancel();
  t.equal(await written, 6);
});

t.test('nothing is dropped where the kernel has filled no pages', async (t) => {
  const { rig, fh, write } = await opened();
  await write(0);
  const asker = { cancellation: undefined, tid: 1 };
  (await rig.files.read(fh, 0, 7, asker, true)).release();
  await write(0);
  t.same(rig.notices, []);
});

t.test('writes through the pages drop none of them', async (t) => {
  const { rig, fh } = await opened();
  await rig.read(fh, 0, 7);
  for (let i = 0; i < 10; i++) await rig.write(fh, i, 'x');
  await rig.files.flush(fh);
  t.same(rig.notices, []);
});

t.test('an append drops the page that it lands in', async (t) => {
  const { rig, inode, write } = await opened(O_WRONLY | O_APPEND);
  const reader = await rig.open('f');
  await rig.read(reader.fh, 0, 100);
  rig.notices.length = 0;
  await write(7);
  t.ok(rig.notices.includes(`pages ${inode.nodeid} 7`), rig.notices.join());
});

t.test('an append drops nothing where the kernel has filled no pages', async (t) => {
  const { rig, write } = await opened(O_WRONLY | O_APPEND);
  await write(7);
  t.same(rig.notices, []);
});
