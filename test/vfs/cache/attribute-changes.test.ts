/** Changes of ours and of other clients: which of them count as foreign. */
import t from 'tap';
import { attributeCache, before, file, later } from '../support/attributes.js';

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
