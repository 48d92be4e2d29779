/** The attribute cache at its edges: what is forgotten, counted and doubted, and which of two replies is the later one. */
import t from 'tap';
import { type FileHandle, FileType } from '../../../lib/programs/nfs3/index.js';
import { Inode } from '../../../lib/vfs/cache/inode.js';
import { attributeCache, before, earlier, file, later, rounded } from '../support/attributes.js';

t.test(
  'attributes that are forgotten are trusted for no time, and begin a window of their own',
  async (t) => {
    const { cache, inode, observe, events } = attributeCache();
    observe(file(0));
    cache.forgetAll(inode);
    t.equal(cache.isFresh(inode), false);
    t.equal(cache.remaining(inode), 0);
    observe(file(5, { fileid: 9n }));
    t.equal(inode.attributes?.fileid, 9n);
    t.same(events, []);
  },
);

t.test('what is forgotten while a change of ours is under way is doubtful after it', async (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  cache.forgetAll(inode);
  cache.endChange(inode, { before: before(7), after: file(8) }, cache.start());
  t.equal(inode.attributes?.size, 8n);
  t.equal(cache.isFresh(inode), false);
  t.equal(inode.generation, 0);
});

t.test('an object whose last name this mount removed has no links, and is asked about', async (t) => {
  const { cache, inode, observe } = attributeCache();
  cache.lastLinkGone(inode);
  t.equal(inode.attributes, undefined, 'where nothing is known, nothing is');
  observe(file(0));
  cache.lastLinkGone(inode);
  t.match(inode.attributes, { nlink: 0, size: 0n });
  t.equal(cache.isFresh(inode), false);
});

t.test('the time that is left never falls below zero', async (t) => {
  const { clock, cache, inode, observe } = attributeCache();
  observe(file(0));
  clock.advance(100_000);
  t.equal(cache.remaining(inode), 0);
});

t.test('an overtaken reply that shows the same leaves no doubt', async (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  const slow = cache.start();
  observe(file(0));
  cache.observe(inode, file(0), slow);
  t.equal(cache.isFresh(inode), true);
});

t.test('the clock of the server went back unless a ctime is merely rounded down', async (t) => {
  for (const [ctime, back] of [
    [{ seconds: 1000, nanoseconds: 3 }, true],
    [{ seconds: 999, nanoseconds: 0 }, true],
    [rounded, false],
  ] as const) {
    const { cache, inode, observe } = attributeCache();
    observe(file(5));
    observe(file(6, { ctime }));
    const slow = cache.start();
    observe(file(8, { ctime: later }));
    cache.observe(inode, file(7), slow);
    t.equal(cache.isFresh(inode), !back, `${ctime.seconds} ${ctime.nanoseconds}`);
  }
});

t.test('the clock went back between two changes of ours, too', async (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(5));
  cache.beginChange(inode);
  cache.endChange(inode, { before: before(5), after: file(6, { ctime: earlier }) }, cache.start());
  const slow = cache.start();
  observe(file(8, { ctime: later }));
  cache.observe(inode, file(7), slow);
  t.equal(cache.isFresh(inode), false);
});

t.test('the later of a reply and of what is known: by their calls, then by ctime', async (t) => {
  const { cache, inode, observe } = attributeCache();
  const first = cache.start();
  t.match(cache.latest(inode, file(1), first), { size: 1n }, 'nothing else is known');
  const overlapping = cache.start();
  observe(file(3));
  t.match(cache.latest(inode, file(1), overlapping), { size: 3n });
  t.match(cache.latest(inode, file(4), overlapping), { size: 4n });
  t.equal(cache.latest(inode, file(9, { ctime: rounded }), overlapping), undefined);
  const same = file(3);
  t.equal(cache.latest(inode, same, overlapping), same);
  t.match(cache.latest(inode, file(1), cache.start()), { size: 1n }, 'it was called later');
});

t.test('a call that was the last one when attributes came overlapped with theirs', async (t) => {
  const { cache, inode } = attributeCache();
  const one = cache.start();
  const two = cache.start();
  cache.observe(inode, file(3), one);
  t.match(cache.latest(inode, file(1), two), { size: 3n });
});

t.test(
  'attributes that were asked for again when their time was up are counted, and changes are',
  async (t) => {
    const { clock, cache, inode, observe, counters } = attributeCache();
    observe(file(0));
    clock.advance(2999);
    observe(file(0));
    t.equal(counters.revalidated, 0);
    cache.expire(inode);
    observe(file(0));
    t.equal(counters.revalidated, 1);
    clock.advance(cache.remaining(inode));
    observe(file(0));
    t.equal(counters.revalidated, 2);
    t.equal(counters.invalidated, 0);
    observe(file(1));
    t.equal(counters.invalidated, 1);
  },
);

t.test('the end of a change that nothing is known of changes nothing', async (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.endChange(inode, { before: before(0), after: file(1) }, cache.start());
  t.equal(inode.attributes?.size, 0n);
});

t.test('a server that does not say what came before is not believed by default', async (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  cache.endChange(inode, { before: undefined, after: file(1) }, cache.start());
  t.equal(inode.generation, 1);
});

t.test(
  'another object under the handle ends the account of changes only with the last of them',
  async (t) => {
    const { cache, inode, observe } = attributeCache();
    observe(file(0));
    cache.beginChange(inode);
    cache.beginChange(inode);
    const other = { before: before(0), after: file(1, { fileid: 6n }) };
    cache.endChange(inode, other, cache.start());
    t.equal(inode.own?.active, 1);
    cache.endChange(inode, other, cache.start());
    t.equal(inode.own, undefined);
  },
);

t.test('the first thing that is seen of an object may be our own change of it', async (t) => {
  for (const state of [before(0), undefined]) {
    const { cache, inode, events } = attributeCache();
    cache.beginChange(inode);
    cache.endChange(inode, { before: state, after: file(1) }, cache.start());
    t.equal(inode.attributes?.size, 1n);
    t.equal(cache.isFresh(inode), true);
    t.same(events, [], 'nobody is told of a change of what was not known');
  }
});

t.test('a link that does not fit yet leaves what is known as it is', async (t) => {
  const { cache, inode, observe } = attributeCache();
  observe(file(0));
  cache.beginChange(inode);
  cache.beginChange(inode);
  cache.endChange(inode, { before: before(1), after: file(2) }, cache.start());
  t.equal(cache.isFresh(inode), true);
  t.equal(inode.attributes?.size, 0n);
});

t.test(
  'a change of content does not end the excuse for a ctime that our change of a name will move',
  async (t) => {
    const { cache, inode, observe } = attributeCache();
    observe(file(0));
    cache.expectCtime(inode);
    cache.beginChange(inode);
    cache.endChange(inode, { before: before(0), after: file(1) }, cache.start());
    t.equal(inode.ctimeMoving, true);
  },
);

t.test('mode, owner and group that change may change rights', async (t) => {
  for (const more of [{ mode: 0o600 }, { uid: 7 }, { gid: 7 }]) {
    const { cache, inode, observe } = attributeCache();
    observe(file(0));
    cache.beginChange(inode);
    cache.endChange(inode, { before: before(0), after: file(1, more) }, cache.start());
    t.equal(inode.accessGeneration, 1, Object.keys(more).join());
  }
});

t.test('files and directories have longest windows of their own', async (t) => {
  for (const [type, longest] of [
    [FileType.REG, 5000],
    [FileType.DIR, 7000],
  ] as const) {
    const { clock, cache, inode, observe } = attributeCache({
      acRegMinMs: 4000,
      acRegMaxMs: 5000,
      acDirMinMs: 4000,
      acDirMaxMs: 7000,
    });
    observe(file(0, { type }));
    clock.advance(4000);
    observe(file(0, { type }));
    t.equal(cache.remaining(inode), longest);
  }
});

t.test('the root of a mount is a directory, or another object', async (t) => {
  const { cache, events } = attributeCache();
  const root = new Inode(1, 'root' as FileHandle);
  cache.observe(root, file(0), cache.start());
  t.same(events, ['identity']);
  t.equal(root.attributes, undefined);
  cache.observe(root, file(0, { type: FileType.DIR }), cache.start());
  t.ok(root.attributes);
});
