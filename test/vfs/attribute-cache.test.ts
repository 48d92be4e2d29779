import t from 'tap';
import { type FileHandle, FileType } from '../../lib/programs/nfs3/index.js';
import { Inode } from '../../lib/vfs/cache/inode.js';
import { attributeCache, before, earlier, file, later, rounded } from './support/attributes.js';

t.test('the window doubles when it elapsed without a change, up to acregmax, and a change resets it', (t) => {
  const { clock, cache, inode, observe } = attributeCache();
  observe(file(0));
  const windows = [cache.remaining(inode)];
  for (let i = 0; i < 6; i++) {
    clock.advance(cache.remaining(inode));
    t.equal(cache.isFresh(inode), false);
    observe(file(0));
    windows.push(cache.remaining(inode));
  }
  t.same(windows, [3000, 6000, 12_000, 24_000, 48_000, 60_000, 60_000]);
  observe(file(1));
  t.equal(cache.remaining(inode), 3000);
  t.end();
});

t.test('a file that is opened every second has its window doubled all the same', (t) => {
  const { clock, cache, inode, observe } = attributeCache();
  observe(file(0));
  for (let i = 0; i < 3; i++) {
    clock.advance(1000);
    observe(file(0));
  }
  t.equal(cache.remaining(inode), 6000);
  t.end();
});

t.test('attributes that were merely doubted are no reason to double the window', (t) => {
  const { clock, cache, inode, observe } = attributeCache();
  observe(file(0));
  clock.advance(100);
  cache.expire(inode);
  t.equal(cache.isFresh(inode), false);
  observe(file(0));
  t.equal(cache.remaining(inode), 3000);
  t.end();
});

t.test('directories have windows of their own', (t) => {
  const { clock, cache, inode, observe } = attributeCache();
  observe(file(0, { type: FileType.DIR }));
  t.equal(cache.remaining(inode), 30_000);
  clock.advance(30_000);
  observe(file(0, { type: FileType.DIR }));
  t.equal(cache.remaining(inode), 60_000);
  t.end();
});

t.test('actimeo makes one constant of all four', (t) => {
  const seven = { acRegMinMs: 7000, acRegMaxMs: 7000, acDirMinMs: 7000, acDirMaxMs: 7000 };
  const { clock, cache, inode, observe } = attributeCache(seven);
  observe(file(0));
  clock.advance(7000);
  observe(file(0));
  t.equal(cache.remaining(inode), 7000);
  t.end();
});

t.test('noac: attributes are never trusted', (t) => {
  const { cache, inode, observe } = attributeCache({ attributeCache: false });
  observe(file(0));
  t.equal(cache.isFresh(inode), false);
  t.equal(cache.remaining(inode), 0);
  t.end();
});

t.test('age counts from the start of the call', (t) => {
  const { clock, cache, inode } = attributeCache();
  const start = cache.start();
  clock.advance(1000);
  cache.observe(inode, file(0), start);
  t.equal(cache.remaining(inode), 2000);
  t.end();
});

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

t.test('own changes, whose replies come in any order, are no foreign change', (t) => {
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
    [2, 0, 1],
  ]) {
    const { cache, inode, observe, events } = attributeCache();
    observe(file(0));
    const starts = order.map(() => {
      cache.beginChange(inode);
      return cache.start();
    });
    for (const i of order) {
      const start = starts[i];
      if (start === undefined) throw new Error('no such call');
      cache.endChange(inode, { before: before(i), after: file(i + 1) }, start);
    }
    t.equal(inode.attributes?.size, 3n, `order ${order}`);
    t.equal(inode.generation, 0);
    t.equal(inode.own, undefined);
    t.equal(cache.isFresh(inode), true);
    t.same(events, []);
  }
  t.end();
});

t.test("somebody else's change between two of ours is seen when the last reply has come", (t) => {
  const { cache, inode, observe, events } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  cache.beginChange(inode);
  cache.endChange(inode, { before: before(0), after: file(1) }, cache.start());
  cache.endChange(inode, { before: before(5), after: file(6) }, cache.start());
  t.equal(inode.attributes?.size, 6n);
  t.equal(inode.generation, 1);
  t.same(events, ['foreign']);
  t.end();
});

t.test('changes that overlap for ever do not hide a foreign one for ever', (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  for (let i = 10; i < 100; i++) {
    cache.beginChange(inode);
    cache.endChange(inode, { before: before(i), after: file(i + 1) }, cache.start());
  }
  t.equal(inode.own?.active, 1);
  t.equal(inode.generation, 1);
  t.end();
});

t.test('a reply without attributes makes them doubtful at once, and until they are asked for', (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  cache.beginChange(inode);
  cache.endChange(inode, { before: undefined, after: undefined }, cache.start());
  t.equal(cache.isFresh(inode), false, 'while another change is under way');
  cache.endChange(inode, { before: before(0), after: file(1) }, cache.start());
  t.equal(cache.isFresh(inode), false);
  observe(file(1));
  t.equal(cache.isFresh(inode), true);
  t.end();
});

t.test('no reply at all is as a reply without attributes', (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  cache.endChange(inode, undefined, cache.start());
  t.equal(cache.isFresh(inode), false);
  t.equal(inode.own, undefined);
  t.end();
});

t.test('without pre-operation attributes a change counts as ours only where that is asked for', (t) => {
  for (const trusting of [true, false]) {
    const { cache, inode, observe } = attributeCache();
    observe(file(0));
    cache.beginChange(inode);
    cache.endChange(inode, { before: undefined, after: file(1) }, cache.start(), { trusting });
    t.equal(inode.generation, trusting ? 0 : 1);
    t.equal(inode.attributes?.size, 1n);
  }
  t.end();
});

t.test('a failed call that changed nothing is no foreign change, not even when overtaken', (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  cache.beginChange(inode);
  const failed = cache.start();
  cache.endChange(inode, { before: before(0), after: file(1) }, cache.start());
  cache.endChange(inode, { before: before(0), after: file(0) }, failed);
  t.equal(inode.attributes?.size, 1n);
  t.equal(inode.generation, 0);
  t.end();
});

t.test('a picture taken while a change of ours is under way proves nothing', (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  const start = cache.start();
  observe(file(1));
  t.equal(inode.generation, 0);
  cache.endChange(inode, { before: before(0), after: file(1) }, start);
  t.equal(inode.generation, 0);
  t.equal(inode.attributes?.size, 1n);
  t.end();
});

t.test('a ctime that our own change of a name moved is not a foreign change, once', (t) => {
  const { cache, inode, observe, events } = attributeCache();
  observe(file(0));
  cache.expectCtime(inode);
  observe(file(0, { ctime: later }));
  t.equal(inode.generation, 0);
  t.equal(inode.accessGeneration, 1, "somebody's chmod may hide behind it");
  observe(file(0, { ctime: { seconds: 1003, nanoseconds: 0 } }));
  t.equal(inode.generation, 1, 'the next one is');
  t.same(events, ['foreign']);
  t.end();
});

t.test('a change of content together with our change of a name is a foreign change', (t) => {
  for (const more of [{ size: 9n }, { mtime: later }]) {
    const { cache, inode, observe } = attributeCache();
    observe(file(0));
    cache.expectCtime(inode);
    observe(file(0, { ctime: later, ...more }));
    t.equal(inode.generation, 1);
  }
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.expectCtime(inode);
  cache.expectNoCtime(inode);
  observe(file(0, { ctime: later }));
  t.equal(inode.generation, 1, 'nor is anything excused when our call failed');
  t.end();
});

t.test('writes that go on while a name changes remain ours', (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.expectCtime(inode);
  cache.beginChange(inode);
  cache.endChange(
    inode,
    { before: file(0, { ctime: later }), after: file(5, { ctime: { seconds: 1003, nanoseconds: 0 } }) },
    cache.start(),
  );
  t.equal(inode.generation, 0);
  t.equal(inode.ctimeMoving, false);
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

t.test('mode, owner, group and links that changed behind the back of the kernel are an event', (t) => {
  for (const more of [{ mode: 0o755 }, { uid: 7 }, { gid: 7 }, { nlink: 2 }]) {
    const { cache, inode, observe, events } = attributeCache();
    observe(file(0));
    const after = file(1, more);
    cache.beginChange(inode);
    cache.endChange(inode, { before: before(0), after }, cache.start());
    t.same(events, ['ownership'], 'a WRITE');
    observe(file(0));
    t.same(events, ['ownership', 'ownership', 'foreign'], 'an answer to something else');
    cache.beginChange(inode);
    cache.endChange(inode, { before: before(0), after }, cache.start(), { told: true });
    cache.observe(inode, file(1), cache.start(), true);
    observe(file(2));
    t.equal(events.length, 4, 'not where the kernel is told anyway');
  }
  t.end();
});

t.test('size and times that our own writes move are no such event', (t) => {
  const { cache, inode, observe, events } = attributeCache();
  observe(file(0));
  for (let state = 0; state < 10; state++) {
    cache.beginChange(inode);
    cache.endChange(inode, { before: before(state), after: file(state + 1) }, cache.start());
  }
  t.same(events, []);
  t.end();
});
