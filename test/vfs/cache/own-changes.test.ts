/** The chain of this mount's own changes, link by link; the rules that follow from it are in attribute-cache.test.ts. */
import t from 'tap';
import type { Fattr3 } from '../../../lib/programs/nfs3/index.js';
import { OwnChanges, onlyCtimeMoved } from '../../../lib/vfs/cache/own-changes.js';
import { byCtime, orderOf, type Picture, samePicture } from '../../../lib/vfs/cache/picture.js';
import { before, file, later, rounded } from '../support/attributes.js';

/** The reply to call number `number`, which came when calls up to `seen` had been started. */
function picture(attributes: Fattr3, number: number, seen: number): Picture {
  return { attributes, start: { at: number, number }, seen };
}

/** A chain that begins at state 0, known since call 1 was answered. */
const chain = (): OwnChanges => new OwnChanges(picture(file(0), 1, 1));

/** Adds a link that says how the object looked before. */
function link(own: OwnChanges, from: Fattr3 | number, after: Picture, renamed = false): string {
  return own.add(typeof from === 'number' ? before(from) : from, after, false, renamed, true);
}

t.test('only the ctime moved: neither size nor mtime did, and it went on', async (t) => {
  t.equal(onlyCtimeMoved(file(0), file(0, { ctime: later })), true);
  t.equal(onlyCtimeMoved(file(0), file(0)), false, 'it is the same');
  t.equal(onlyCtimeMoved(file(0, { ctime: later }), file(0)), false, 'it went back');
  t.equal(onlyCtimeMoved(file(0), file(0, { ctime: later, size: 9n })), false);
  t.equal(onlyCtimeMoved(file(0), file(0, { ctime: later, mtime: later })), false);
});

t.test('a link that fits moves the chain, and takes along those that were waiting for it', async (t) => {
  const own = chain();
  const last = picture(file(3), 4, 4);
  t.equal(own.unknown, false);
  t.equal(link(own, 2, last), 'held');
  t.equal(link(own, 1, picture(file(2), 3, 4)), 'held');
  t.equal(own.frontier?.attributes.size, 0n);
  t.equal(link(own, 0, picture(file(1), 2, 4)), 'moved');
  t.equal(own.frontier, last);
  t.equal(own.foreignState(true), undefined);
});

t.test('of two links that fit the same state one is ours, and the other is not explained', async (t) => {
  const own = chain();
  const second = picture(file(1, { size: 7n }), 3, 4);
  link(own, 1, picture(file(2), 3, 4));
  link(own, 1, second);
  t.equal(link(own, 0, picture(file(1), 2, 4)), 'moved');
  t.equal(own.frontier?.attributes.size, 2n);
  t.match(own.foreignState(true), { state: picture(file(2), 3, 4) });
});

t.test('the first link begins the chain where nothing was known', async (t) => {
  for (const trusting of [false, true]) {
    const own = new OwnChanges(undefined);
    const after = picture(file(5), 1, 1);
    t.equal(own.add(trusting ? undefined : before(4), after, trusting, false, true), 'moved');
    t.equal(own.frontier, after);
  }
});

t.test(
  'a link that does not say what came before waits, and is never fitted in, unless it is trusted',
  async (t) => {
    const own = chain();
    t.equal(own.add(undefined, picture(file(5), 2, 2), false, false, true), 'held');
    t.equal(own.frontier?.attributes.size, 0n);
    t.equal(link(own, 0, picture(file(1), 3, 3)), 'moved');
    t.equal(own.frontier?.attributes.size, 1n);
  },
);

t.test(
  'a ctime that moved between two links is ours while names are being changed, and only then',
  async (t) => {
    const moved = file(0, { ctime: later });
    for (const renamed of [true, false]) {
      const own = chain();
      t.equal(link(own, moved, picture(file(1), 2, 2), renamed), renamed ? 'moved' : 'held');
      t.equal(own.renamed, renamed);
    }
    const own = chain();
    t.equal(link(own, 5, picture(file(6), 2, 2), true), 'held', 'a change of content is not');
    t.equal(own.renamed, false);
  },
);

t.test(
  'a call that changed nothing is no news where it was overtaken, and news where it was not',
  async (t) => {
    const own = new OwnChanges(picture(file(3), 3, 4));
    t.equal(link(own, 2, picture(file(2), 2, 4)), 'held');
    t.equal(own.foreignState(true), undefined);
    t.equal(link(own, 1, picture(file(2), 2, 4)), 'held');
    t.match(
      own.foreignState(true),
      { state: { attributes: { size: 3n } } },
      'a change before it was not ours',
    );
    t.equal(link(own, 4, picture(file(4), 5, 5)), 'held');
    t.match(own.foreignState(true), { state: { attributes: { size: 4n } }, doubtful: false });
    t.equal(own.foreignState(true), undefined, 'which is told once');
  },
);

t.test('a trusted link that was called later is news, even if it shows the same', async (t) => {
  const own = chain();
  const after = picture(file(0), 2, 2);
  t.equal(own.add(undefined, after, true, false, true), 'moved');
  t.equal(own.frontier, after);
});

t.test(
  'a trusted link of a call that overlapped: its ctime decides, and doubt is said to be doubt',
  async (t) => {
    const known = picture(file(2), 2, 3);
    const add = (after: Fattr3, ordered = true) => {
      const own = new OwnChanges(known);
      const news = own.add(undefined, picture(after, 3, 3), true, false, ordered);
      return [news, own.frontier === known];
    };
    t.same(add(file(2)), ['held', true], 'the same state');
    t.same(add(file(1)), ['doubtful', true], 'an earlier one');
    t.same(add(file(3)), ['moved', false], 'a later one');
    t.same(add(file(3, { ctime: rounded })), ['doubtful', false], 'nobody knows');
    t.same(add(file(3), false), ['doubtful', false], 'the clock was seen to go back');
  },
);

t.test('a trusted link takes along those that were waiting for it', async (t) => {
  const own = chain();
  link(own, 1, picture(file(2), 3, 3));
  own.add(undefined, picture(file(1), 2, 3), true, false, true);
  t.equal(own.frontier?.attributes.size, 2n);
});

t.test(
  'a chain that begins anew has forgotten what it waited for, and knows that it knows nothing',
  async (t) => {
    const own = chain();
    link(own, 5, picture(file(6), 2, 2));
    own.restart();
    t.equal(own.frontier, undefined);
    t.equal(own.unknown, true);
    t.equal(own.foreignState(true), undefined);
  },
);

t.test('64 replies may wait for the one that is missing, and no more', async (t) => {
  const own = chain();
  for (let i = 0; i < 64; i++) link(own, 10 + 2 * i, picture(file(11 + 2 * i), i + 2, 100));
  t.equal(own.overdue, false);
  link(own, 500, picture(file(501), 70, 100));
  t.equal(own.overdue, true);
  t.match(own.foreignState(true), { state: { attributes: { size: 501n } } });
  t.equal(own.overdue, false);
  t.equal(own.frontier?.attributes.size, 501n);
});

t.test(
  "somebody else's change before anything was known of the object is a state like any other",
  async (t) => {
    const own = new OwnChanges(undefined);
    own.add(undefined, picture(file(6), 2, 2), false, false, true);
    t.match(own.foreignState(true), { state: { attributes: { size: 6n } }, doubtful: false });
  },
);

t.test(
  'the newest state wins: by the order of the calls, then by ctime, and otherwise in doubt',
  async (t) => {
    const ended = (known: Picture, candidate: Picture) => {
      const own = new OwnChanges(known);
      own.add(undefined, candidate, false, false, true);
      const { state, doubtful } = own.foreignState(true) ?? {};
      return [state === candidate, doubtful];
    };
    const known = picture(file(3), 2, 3);
    t.same(ended(known, picture(file(1), 4, 4)), [true, false], 'called later');
    t.same(ended(known, picture(file(4), 3, 4)), [true, false], 'a later ctime');
    t.same(ended(known, picture(file(2), 3, 4)), [false, false], 'an earlier ctime');
    t.same(ended(known, picture(file(9, { ctime: rounded }), 3, 4)), [true, true], 'nobody knows');
    t.same(ended(known, picture(file(3), 3, 4)), [true, false], 'it makes no difference');
    t.same(ended(picture(file(3), 5, 5), picture(file(9), 3, 4)), [false, false], 'called earlier');
  },
);

t.test('a doubt about one state stays when another leaves none', async (t) => {
  const own = new OwnChanges(picture(file(3), 2, 3));
  own.add(undefined, picture(file(9, { ctime: rounded }), 3, 4), false, false, true);
  own.add(undefined, picture(file(9, { ctime: rounded }), 3, 4), false, false, true);
  t.match(own.foreignState(true), { doubtful: true });
});

t.test('two pictures are the same only if state and ownership are', async (t) => {
  t.equal(samePicture(file(1), file(1)), true);
  for (const more of [
    { size: 9n },
    { mtime: later },
    { ctime: later },
    { mode: 0 },
    { nlink: 2 },
    { uid: 2 },
    { gid: 2 },
  ])
    t.equal(samePicture(file(1), file(1, more)), false, Object.keys(more).join());
});

t.test('calls that did not overlap are in order, whatever the ctimes say', async (t) => {
  const [one, two] = [picture(file(5), 1, 2), picture(file(4), 3, 3)];
  t.equal(orderOf(two, one, false), 'newer');
  t.equal(orderOf(one, two, false), 'older');
  const overlapping = picture(file(6), 2, 2);
  t.equal(orderOf(overlapping, one, true), 'newer');
  t.equal(orderOf(one, overlapping, true), 'older');
  t.equal(orderOf(overlapping, one, false), 'unclear');
  t.equal(orderOf(one, overlapping, false), 'unclear');
});

t.test(
  'ctimes say nothing where they are the same, or where one may be the other rounded down',
  async (t) => {
    t.equal(byCtime(file(1), file(1, { size: 9n }), true), 'unclear');
    t.equal(byCtime(file(1), file(1, { ctime: rounded }), true), 'unclear');
    t.equal(byCtime(file(1, { ctime: rounded }), file(1), true), 'unclear');
    t.equal(byCtime(file(1, { ctime: { seconds: 1002, nanoseconds: 0 } }), file(1), true), 'newer');
    t.equal(byCtime(file(1), file(1, { ctime: { seconds: 1002, nanoseconds: 0 } }), true), 'older');
  },
);
