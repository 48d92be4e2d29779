/** Which of two replies is newer: by the start of their calls and, where the server's clock allows it, by ctime. */
import t from 'tap';
import { type FileHandle, FileType } from '../../../lib/programs/nfs3/index.js';
import { Inode } from '../../../lib/vfs/cache/inode.js';
import { attributeCache, before, earlier, file, later, rounded } from '../support/attributes.js';

t.test('a reply to a call that was started before newer attributes came does not roll them back', (t) => {
  const { cache, inode, observe, events } = attributeCache();
  observe(file(0));
  const slow = cache.start();
  const ours = cache.start();
  cache.beginChange(inode);
  cache.endChange(inode, { before: before(0), after: file(1) }, ours);
  cache.observe(inode, file(0), slow);
  t.equal(inode.attributes?.size, 1n);
  t.same(events, []);
  t.end();
});

t.test('the last call started before newer attributes came may be overtaken as well', (t) => {
  const { cache, inode, observe, events } = attributeCache();
  observe(file(0));
  const ours = cache.start();
  cache.beginChange(inode);
  const slow = cache.start();
  cache.endChange(inode, { before: before(0), after: file(1) }, ours);
  cache.observe(inode, file(0), slow);
  t.equal(inode.attributes?.size, 1n);
  t.equal(inode.generation, 0);
  t.same(events, []);
  t.end();
});

t.test('an overtaken reply with a later ctime is news', (t) => {
  const { cache, inode, observe, events } = attributeCache();
  observe(file(0));
  const slow = cache.start();
  observe(file(0));
  cache.observe(inode, file(3), slow);
  t.equal(inode.attributes?.size, 3n);
  t.same(events, ['foreign']);
  t.end();
});

t.test('an overtaken reply of the same ctime but another state leaves only doubt', (t) => {
  const { cache, inode, observe, events } = attributeCache();
  observe(file(1));
  const slow = cache.start();
  observe(file(1));
  cache.observe(inode, file(1, { size: 99n }), slow);
  t.equal(inode.attributes?.size, 1n);
  t.equal(cache.isFresh(inode), false);
  t.same(events, []);
  observe(file(1, { size: 99n }));
  t.equal(inode.attributes?.size, 99n);
  t.same(events, ['foreign']);
  t.end();
});

t.test('a foreign change moves both generations; a chmod of ours only that of permissions', (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  observe(file(1));
  t.same([inode.generation, inode.accessGeneration], [1, 1]);
  cache.beginChange(inode);
  const after = file(1, { mode: 0o600, ctime: { seconds: 1001, nanoseconds: 0 } });
  cache.endChange(inode, { before: before(1), after }, cache.start());
  t.same([inode.generation, inode.accessGeneration], [1, 2]);
  t.end();
});

t.test('another fileid or type under the same handle is another object', (t) => {
  for (const more of [{ fileid: 6n }, { type: FileType.DIR }]) {
    const { inode, observe, events } = attributeCache();
    observe(file(0));
    observe(file(0, more));
    t.same(events, ['identity']);
    t.equal(inode.attributes?.fileid, 5n);
    t.equal(inode.attributes?.type, FileType.REG);
  }
  const { cache, inode, observe, events } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  cache.endChange(inode, { before: before(0), after: file(1, { fileid: 6n }) }, cache.start());
  t.same(events, ['identity'], 'the reply to a change shows it too');
  t.equal(inode.own, undefined);
  t.end();
});

t.test('content is racy while the clock of the server may not have left the ctime', (t) => {
  const { clock, cache, observe } = attributeCache();
  const { ctime } = file(0);
  observe(file(0));
  t.equal(cache.isRacy(ctime, cache.start()), true);
  clock.advance(19);
  t.equal(cache.isRacy(ctime, cache.start()), true);
  clock.advance(2);
  t.equal(cache.isRacy(ctime, cache.start()), false);
  t.end();
});

t.test('a ctime far behind the newest that the server ever sent is not racy', (t) => {
  const { cache, inode } = attributeCache();
  const other = new Inode(3, 'other' as FileHandle);
  cache.observe(other, file(0, { fileid: 6n, ctime: { seconds: 2000, nanoseconds: 5 } }), cache.start());
  cache.observe(inode, file(0), cache.start());
  t.equal(cache.isRacy(file(0).ctime, cache.start()), false);
  t.equal(cache.isRacy({ seconds: 2000, nanoseconds: 5 }, cache.start()), true);
  t.end();
});

t.test('a file system with whole seconds needs more than a second', (t) => {
  const { clock, cache, observe } = attributeCache();
  const ctime = { seconds: 1000, nanoseconds: 0 };
  observe(file(0, { ctime }));
  clock.advance(1000);
  t.equal(cache.isRacy(ctime, cache.start()), true);
  clock.advance(30);
  t.equal(cache.isRacy(ctime, cache.start()), false);
  t.end();
});

t.test('a change that was called after what is known came is newer, whatever its ctime says', (t) => {
  for (const ctime of [rounded, earlier]) {
    for (const state of [undefined, before(0)]) {
      const { cache, inode, observe, events } = attributeCache();
      observe(file(0));
      cache.beginChange(inode);
      const after = file(9, { ctime });
      cache.endChange(inode, { before: state, after }, cache.start(), { trusting: true });
      t.equal(inode.attributes?.size, 9n);
      t.equal(cache.isFresh(inode), true);
      t.same(events, []);
      t.equal(inode.generation, 0);
    }
  }
  t.end();
});

t.test("the newest of somebody else's changes is newer, too, whatever its ctime says", (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  cache.beginChange(inode);
  cache.endChange(inode, { before: before(5), after: file(6) }, cache.start());
  const stepped = file(7, { ctime: earlier });
  cache.endChange(inode, { before: file(6, { ctime: earlier }), after: stepped }, cache.start());
  t.equal(inode.attributes?.size, 7n);
  t.equal(inode.generation, 1);
  t.end();
});

t.test(
  'overlapping changes that do not say what came before leave a doubt, unless the later reply shows more',
  (t) => {
    for (const [first, second, fresh] of [
      [1, 2, true],
      [2, 1, false],
    ] as const) {
      const { cache, inode, observe } = attributeCache();
      observe(file(0));
      const starts = [0, 1].map(() => {
        cache.beginChange(inode);
        return cache.start();
      });
      const [one, two] = starts;
      if (one === undefined || two === undefined) throw new Error('no calls');
      cache.endChange(inode, { before: undefined, after: file(first) }, one, { trusting: true });
      cache.endChange(inode, { before: undefined, after: file(second) }, two, { trusting: true });
      t.equal(inode.attributes?.size, 2n);
      t.equal(cache.isFresh(inode), fresh);
      observe(file(2));
      t.equal(cache.isFresh(inode), true, 'until they are asked for');
    }
    t.end();
  },
);

t.test('overlapping changes with the same ctime in whole seconds leave a doubt', (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0, { ctime: rounded }));
  cache.beginChange(inode);
  cache.beginChange(inode);
  const [one, two] = [cache.start(), cache.start()];
  const trusting = { trusting: true };
  cache.endChange(inode, { before: undefined, after: file(8, { ctime: rounded }) }, one, trusting);
  cache.endChange(inode, { before: undefined, after: file(4, { ctime: rounded }) }, two, trusting);
  t.equal(cache.isFresh(inode), false);
  t.end();
});

t.test('a reply that was overtaken by a change with a ctime rounded down does not hide the change', (t) => {
  const { cache, inode, observe, events } = attributeCache();
  observe(file(0));
  const slow = cache.start();
  cache.beginChange(inode);
  const after = file(9, { ctime: rounded });
  cache.endChange(inode, { before: undefined, after }, cache.start(), { trusting: true });
  cache.observe(inode, file(0), slow);
  t.equal(inode.attributes?.size, 9n);
  t.equal(cache.isFresh(inode), false, 'it leaves a doubt');
  t.equal(cache.latest(inode, file(0), slow), undefined);
  t.same(events, []);
  t.end();
});

t.test('ctimes put nothing in order once the clock was seen to go back', (t) => {
  const { cache, inode, observe, events } = attributeCache();
  observe(file(0));
  observe(file(3, { ctime: earlier }));
  t.equal(inode.attributes?.size, 3n);
  const slow = cache.start();
  observe(file(4, { ctime: earlier, mtime: earlier }));
  cache.observe(inode, file(3), slow);
  t.equal(inode.attributes?.size, 4n);
  t.equal(cache.isFresh(inode), false);
  t.equal(cache.latest(inode, file(3), slow), undefined);
  t.same(events, ['foreign', 'foreign']);
  t.end();
});

t.test('a ctime that is merely rounded down does not count as a clock that goes back', (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  observe(file(1, { ctime: rounded }));
  const slow = cache.start();
  observe(file(5, { ctime: later }));
  cache.observe(inode, file(3), slow);
  t.equal(inode.attributes?.size, 5n);
  t.equal(cache.isFresh(inode), true);
  t.end();
});

t.test('a call from before a doubt does not settle it', (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  const slow = cache.start();
  // A change of ours whose reply says nothing.
  cache.beginChange(inode);
  cache.endChange(inode, { before: undefined, after: undefined }, cache.start());
  cache.observe(inode, file(0), slow);
  t.equal(cache.isFresh(inode), false, 'the state that was known');
  cache.observe(inode, file(1), slow);
  t.equal(cache.isFresh(inode), false, 'another state');
  observe(file(1));
  t.equal(cache.isFresh(inode), true);
  const slower = cache.start();
  cache.expire(inode);
  cache.observe(inode, file(1), slower);
  t.equal(cache.isFresh(inode), false, 'nor what was doubted for another reason');
  t.end();
});
