/** For how long attributes are trusted, and when a change is an event for the kernel. */
import t from 'tap';
import { FileType } from '../../../lib/programs/nfs3/index.js';
import { attributeCache, before, file } from '../support/attributes.js';

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
