/** Locks on ranges of bytes, as fcntl(2) has them, one rule at a time. lock-model.test.ts tries their combinations. */
import t from 'tap';
import {
  LAST_BYTE,
  type LockBounds,
  type LockOwner,
  LockTable,
  lengthOf,
  NO_BOUNDS,
  type OwnedLock,
  rangeOf,
  type TableRules,
} from '../../lib/locks/index.js';

const FILE = 'file';

/** A table on which owners are letters, and "a X 10-19" is the exclusive lock of a on these bytes; "-" is all to the end. */
class Locks {
  readonly table: LockTable<LockOwner>;
  /** Requests whose turn came, in order. */
  readonly grants: string[] = [];

  constructor(bounds: Partial<LockBounds> = {}, rules: TableRules<LockOwner> = {}) {
    this.table = new LockTable({ ...rules, bounds: { ...NO_BOUNDS, ...bounds } });
  }

  static parse(text: string): OwnedLock<LockOwner> {
    const [, key = '', kind, start = '', end = ''] = /^(\w) (\w) (\d*)-(\d*)$/.exec(text) ?? [];
    return {
      owner: { key, group: 'all' },
      exclusive: kind === 'X',
      start: BigInt(start),
      end: end === '' ? LAST_BYTE : BigInt(end),
    };
  }

  static text({ owner, exclusive, start, end }: OwnedLock<LockOwner>): string {
    return `${owner.key} ${exclusive ? 'X' : 'S'} ${start}-${end === LAST_BYTE ? '' : end}`;
  }

  lock(text: string, file = FILE): string {
    return this.table.lock(file, Locks.parse(text));
  }

  wait(text: string, file = FILE): string {
    return this.table.lock(file, Locks.parse(text), () => this.grants.push(text));
  }

  /** Unlocks what the text means, shared or exclusive. */
  unlock(text: string, file = FILE): boolean {
    const { owner, start, end } = Locks.parse(text);
    return this.table.unlock(file, owner, { start, end });
  }

  cancel(text: string): boolean {
    return this.table.cancel(FILE, Locks.parse(text));
  }

  test(text: string): string | undefined {
    const lock = this.table.test(FILE, Locks.parse(text));
    return lock && Locks.text(lock);
  }

  held(key: string): string[] {
    return this.table.heldBy(FILE, { key, group: 'all' }).map((lock) => Locks.text(lock).slice(2));
  }
}

t.test('a range is so many bytes, and 0 means all to the end', async (t) => {
  const beyond = LAST_BYTE + 1n;
  t.same(rangeOf(0n, 1n), { start: 0n, end: 0n });
  t.same(rangeOf(5n, 0n), { start: 5n, end: LAST_BYTE });
  t.same(rangeOf(0n, beyond), { start: 0n, end: LAST_BYTE });
  t.same(rangeOf(0n, LAST_BYTE), { start: 0n, end: LAST_BYTE - 1n });
  t.same(rangeOf(LAST_BYTE, 1n), { start: LAST_BYTE, end: LAST_BYTE });
  t.same(rangeOf(LAST_BYTE, 0n), { start: LAST_BYTE, end: LAST_BYTE });
  t.equal(rangeOf(LAST_BYTE, 2n), undefined);
  t.equal(rangeOf(1n, beyond), undefined);
  t.equal(rangeOf(0n, 2n ** 64n - 1n), undefined);
  t.equal(rangeOf(beyond, 0n), undefined);
  t.equal(rangeOf(2n ** 64n - 1n, 1n), undefined);
  t.equal(lengthOf({ start: 3n, end: 3n }), 1n);
  t.equal(lengthOf({ start: 3n, end: LAST_BYTE }), 0n);
});

t.test('shared locks stand beside each other, an exclusive one stands alone', async (t) => {
  const outcomes = ['S', 'X'].map((held) =>
    ['S', 'X'].map((wanted) => {
      const locks = new Locks();
      locks.lock(`a ${held} 10-19`);
      return locks.lock(`b ${wanted} 15-15`);
    }),
  );
  t.same(outcomes, [
    ['granted', 'denied'],
    ['denied', 'denied'],
  ]);
});

t.test('only common bytes conflict, up to the largest offset', async (t) => {
  const locks = new Locks();
  locks.lock('a X 10-19');
  const last = LAST_BYTE;
  locks.lock(`a X ${last}-`);
  const denied = ['0-', '0-10', '10-10', '12-15', '19-19', '19-', '20-', `${last}-`, `${last - 1n}-`];
  for (const range of denied) t.equal(locks.lock(`b X ${range}`), 'denied', range);
  for (const range of ['0-9', '20-29', `${2n ** 62n}-${last - 1n}`]) {
    t.equal(locks.lock(`b X ${range}`), 'granted', range);
  }
});

t.test('a lock takes the place of what its owner had there', async (t) => {
  const after = (...texts: string[]): string[] => {
    const locks = new Locks();
    for (const text of texts) t.equal(locks.lock(text), 'granted', text);
    return locks.held('a');
  };
  t.same(after('a X 0-', 'a X 10-19'), ['X 0-'], 'within one of its kind');
  t.same(after('a X 0-9', 'a X 10-19'), ['X 0-19'], 'beside one of its kind');
  t.same(after('a X 20-29', 'a X 0-9', 'a X 10-19'), ['X 0-29'], 'between two of its kind');
  t.same(after('a X 0-', 'a S 10-19'), ['X 0-9', 'S 10-19', 'X 20-'], 'part of it shared');
  t.same(after('a S 0-9', 'a X 5-14'), ['S 0-4', 'X 5-14'], 'the end of it exclusive');
  t.same(after('a S 0-9', 'a X 0-9'), ['X 0-9'], 'all of it exclusive');
  t.same(after('a S 0-3', 'a X 5-6', 'a S 8-9', 'a X 2-'), ['S 0-1', 'X 2-'], 'several pieces');
  t.same(after('a S 10-19', 'a X 20-29', 'a S 0-9'), ['S 0-19', 'X 20-29'], 'beside one of another kind');
});

t.test('an unlock takes its bytes out, wherever they lie', async (t) => {
  const after = (...unlocked: string[]): string[] => {
    const locks = new Locks();
    locks.lock('a X 10-29');
    for (const range of unlocked) t.ok(locks.unlock(`a X ${range}`));
    return locks.held('a');
  };
  t.same(after('15-19'), ['X 10-14', 'X 20-29']);
  t.same(after('0-14'), ['X 15-29']);
  t.same(after('20-'), ['X 10-19']);
  t.same(after('0-9', '30-'), ['X 10-29']);
  t.same(after('0-'), []);
  t.same(after('0-', '0-'), []);
  const locks = new Locks();
  locks.lock('a X 10-29');
  t.ok(locks.unlock('b X 0-'), 'an owner without locks');
  t.same(locks.held('a'), ['X 10-29']);
});

t.test('a refused upgrade leaves the shared lock', async (t) => {
  const locks = new Locks();
  locks.lock('a S 0-9');
  locks.lock('b S 5-5');
  t.equal(locks.lock('a X 0-9'), 'denied');
  t.same(locks.held('a'), ['S 0-9']);
  t.ok(locks.unlock('b S 5-5'));
  t.equal(locks.lock('a X 0-9'), 'granted');
});

t.test('the test names the first lock that stands against it', async (t) => {
  const locks = new Locks();
  for (const text of ['b S 50-59', 'c S 30-39', 'd S 20-29', 'a X 0-9']) locks.lock(text);
  t.equal(locks.test('a X 25-'), 'd S 20-29');
  t.equal(locks.test('a X 30-'), 'c S 30-39');
  t.equal(locks.test('a X 0-'), 'd S 20-29', 'its own do not count');
  t.equal(locks.test('a S 0-'), undefined);
  t.equal(locks.test('e S 0-'), 'a X 0-9');
});

t.test('those that wait are served in the order in which they came', async (t) => {
  const locks = new Locks();
  locks.lock('a X 0-');
  for (const text of ['b S 0-9', 'c S 5-14', 'd X 10-19', 'e S 15-']) t.equal(locks.wait(text), 'waiting');
  t.equal(locks.table.size.waiting, 4);
  locks.unlock('a X 0-');
  t.same(locks.grants, ['b S 0-9', 'c S 5-14'], 'e would overtake d');
  locks.unlock('c S 0-');
  t.same(locks.grants.slice(2), ['d X 10-19']);
  locks.unlock('d X 0-');
  t.same(locks.grants.slice(3), ['e S 15-']);
});

t.test('a lock that would wait lets the queue go first, one that would not does not', async (t) => {
  const locks = new Locks();
  locks.lock('a S 0-');
  t.equal(locks.wait('b X 0-'), 'waiting');
  t.equal(locks.wait('c S 0-'), 'waiting');
  t.equal(locks.lock('d S 0-'), 'granted');
  t.ok(locks.cancel('b X 0-'));
  t.same(locks.grants, ['c S 0-']);
});

t.test('an owner overtakes those that wait for it', async (t) => {
  const locks = new Locks();
  locks.lock('a S 0-9');
  locks.wait('b X 0-9');
  t.equal(locks.wait('a S 0-19'), 'granted', 'more of the same');
  t.equal(locks.wait('a X 0-9'), 'granted', 'stronger');
  t.same(locks.grants, []);
});

t.test('one that let another go first overtakes it once that one waits for it', async (t) => {
  const locks = new Locks();
  locks.lock('a S 0-9');
  locks.lock('d X 0-9', 'other');
  t.equal(locks.wait('b X 0-9'), 'waiting', 'b waits for a');
  t.equal(locks.wait('d S 0-9'), 'waiting', 'd lets b go first');
  t.equal(locks.wait('a X 0-9', 'other'), 'waiting', 'a waits for d, so that b would never be served');
  t.same(locks.grants, ['d S 0-9']);
});

t.test('the same request keeps its place, and is one', async (t) => {
  const locks = new Locks();
  locks.lock('a X 0-');
  locks.wait('b X 0-');
  locks.wait('c X 0-');
  for (let i = 0; i < 3; i++) t.equal(locks.wait('b X 0-'), 'waiting');
  t.equal(locks.table.size.waiting, 2);
  locks.unlock('a X 0-');
  t.same(locks.grants, ['b X 0-']);
  t.equal(locks.wait('b X 0-'), 'granted');
});

t.test('what is given up is not granted later', async (t) => {
  const locks = new Locks();
  locks.lock('a X 0-');
  for (const text of ['b X 0-9', 'b X 20-29', 'b S 100-']) locks.wait(text);
  t.ok(locks.cancel('b X 0-9'));
  t.notOk(locks.cancel('b X 0-9'), 'it is gone');
  t.notOk(locks.cancel('b S 20-29'), 'it has to be the same request');
  locks.table.abandon(FILE, { key: 'b', group: 'all' }, { start: 10n, end: 120n });
  t.equal(locks.table.size.waiting, 1, 'all within the range');
  locks.unlock('a X 0-');
  t.same(locks.grants, ['b S 100-']);
  t.notOk(locks.cancel('b S 100-'), 'what is held does not wait');
});

t.test('a lock that was got by another way does not stay in the queue', async (t) => {
  const locks = new Locks();
  locks.lock('a S 0-9');
  locks.wait('b X 0-9');
  locks.wait('c S 0-9');
  t.equal(locks.lock('c S 0-9'), 'granted');
  t.equal(locks.table.size.waiting, 1);
  locks.unlock('c S 0-9');
  t.same(locks.held('c'), []);
});

t.test('a circle of owners that wait for each other is refused', async (t) => {
  const locks = new Locks();
  for (const [owner, file] of ['a 1', 'b 2', 'c 3'].map((text) => text.split(' ')))
    locks.lock(`${owner} X 0-`, file);
  t.equal(locks.wait('a X 5-5', '2'), 'waiting');
  t.equal(locks.wait('b X 5-5', '3'), 'waiting');
  t.equal(locks.wait('c X 5-5', '1'), 'deadlock');
  t.equal(locks.lock('c X 5-5', '1'), 'denied', 'without waiting there is no circle');
  t.equal(locks.wait('d X 5-5', '1'), 'waiting', 'd holds nothing');
  locks.unlock('b X 0-', '2');
  t.equal(locks.wait('c X 5-5', '1'), 'waiting', 'now a has what it waited for');
});

t.test('bounds hold for a group and for all', async (t) => {
  const locks = new Locks({ held: 3, waiting: 1 });
  for (const text of ['a X 0-0', 'a X 2-2', 'a X 4-4']) t.equal(locks.lock(text), 'granted');
  t.equal(locks.lock('a X 6-6'), 'full');
  t.equal(locks.lock('a X 1-1'), 'granted', 'it makes one of two');
  t.equal(locks.lock('a X 10-20'), 'granted');
  t.notOk(locks.unlock('a X 15-15'), 'an unlock that splits needs room too');
  t.same(locks.held('a'), ['X 0-2', 'X 4-4', 'X 10-20']);
  t.ok(locks.unlock('a X 4-4'));
  t.ok(locks.unlock('a X 15-15'));
  t.equal(locks.wait('b X 0-2'), 'waiting');
  t.equal(locks.wait('c X 0-2'), 'full');
  t.equal(locks.wait('b X 0-2'), 'waiting', 'the same again needs no room');
  const all = new Locks({ heldByAll: 1, waitingOfAll: 0 });
  t.equal(all.lock('a X 0-'), 'granted');
  t.equal(all.lock('a S 0-'), 'granted');
  t.equal(all.lock('b S 0-'), 'full');
  t.equal(all.wait('b X 0-'), 'full');
});

t.test('nothing is left of a file without locks', async (t) => {
  const locks = new Locks();
  locks.lock('a X 0-');
  locks.wait('b X 0-');
  locks.cancel('b X 0-');
  t.ok(locks.table.has(FILE));
  locks.unlock('a X 0-');
  t.notOk(locks.table.has(FILE));
  t.same(locks.table.size, { held: 0, waiting: 0 });
});
