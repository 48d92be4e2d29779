import t from 'tap';
import type { UserCredential } from '../../../lib/vfs/caller/caller.js';
import { Extent } from '../../../lib/vfs/write-behind/extent.js';
import { Slots } from '../../../lib/vfs/write-behind/slots.js';
import { UnstableData } from '../../../lib/vfs/write-behind/unstable-data.js';
import { settled } from '../support/rig.js';

function extentOf(offset: number, length: number, sequence = 1, verifier = 'v'): Extent {
  const extent = new Extent(offset, {} as UserCredential, Buffer.alloc(length), length, sequence);
  extent.verifier = verifier;
  return extent;
}

const state = ({ isEmpty, bytes, end }: UnstableData) => ({ isEmpty, bytes, end });

t.test('data waits for a COMMIT, is covered by one, and settled by its verifier', async (t) => {
  const unstable = new UnstableData();
  t.same(state(unstable), { isEmpty: true, bytes: 0, end: 0 });
  t.equal(unstable.cover(), undefined);
  const [first, second, late] = [extentOf(0, 10), extentOf(20, 10, 2, 'w'), extentOf(5, 3, 3)];
  unstable.add(first);
  unstable.add(second);
  t.same(state(unstable), { isEmpty: false, bytes: 20, end: 30 });
  t.equal(unstable.cover(), first);
  t.same(state(unstable), { isEmpty: true, bytes: 20, end: 30 });
  unstable.cut(5, 8);
  unstable.add(late);
  t.same(state(unstable), { isEmpty: false, bytes: 20, end: 30 });
  const { stable, lost } = unstable.settle('v');
  t.same(
    stable.map(({ offset, length }) => [offset, length]),
    [
      [0, 5],
      [8, 2],
    ],
  );
  t.same(lost, [second]);
  t.same(state(unstable), { isEmpty: false, bytes: 3, end: 8 });
});

t.test('a second verifier shows a restart, until a COMMIT is sent for what waits', async (t) => {
  const unstable = new UnstableData();
  unstable.add(extentOf(0, 10));
  t.equal(unstable.restarted, false);
  unstable.add(extentOf(10, 10));
  t.equal(unstable.restarted, false);
  unstable.add(extentOf(20, 10, 1, 'w'));
  t.equal(unstable.restarted, true);
  unstable.cover();
  t.equal(unstable.restarted, false);
});

t.test('a range holds what a COMMIT covers and what waits for one', async (t) => {
  const unstable = new UnstableData();
  const [covered, waiting] = [extentOf(0, 10), extentOf(10, 10, 2)];
  unstable.add(covered);
  unstable.cover();
  unstable.add(waiting);
  t.same(unstable.within(5, 15), [covered, waiting]);
  t.same(unstable.within(10, 15), [waiting]);
  t.equal(unstable.hasUpTo(1), false, 'what is covered does not wait');
  t.equal(unstable.hasUpTo(2), true);
  t.equal(unstable.cut(8, 13), 5);
  t.equal(unstable.bytes, 15);
});

t.test('a COMMIT that failed gives up what it was for, and nothing else', async (t) => {
  const unstable = new UnstableData();
  unstable.add(extentOf(0, 10));
  unstable.cover();
  unstable.add(extentOf(10, 5));
  t.equal(unstable.abandon(), 10);
  t.same(state(unstable), { isEmpty: false, bytes: 5, end: 15 });
});

t.test('a COMMIT is due when much was written since the last one, whatever of it is left', async (t) => {
  const mebibyte = 1024 * 1024;
  const unstable = new UnstableData();
  unstable.wrote(100 * mebibyte);
  unstable.add(extentOf(0, mebibyte));
  t.equal(unstable.isDue, false, 'what was stable at once, with nothing beside it, leaves no copy');
  for (let written = 0; written < 31; written++) {
    unstable.cut(0, mebibyte);
    unstable.add(extentOf(0, mebibyte, written));
    unstable.wrote(mebibyte);
    t.equal(unstable.isDue, false);
  }
  unstable.wrote(mebibyte);
  t.equal(unstable.bytes, mebibyte);
  t.equal(unstable.isDue, true);
  unstable.cover();
  unstable.add(extentOf(0, 1));
  t.equal(unstable.isDue, false);
  for (let piece = 0; piece < 8192; piece++) unstable.wrote(1);
  t.equal(unstable.isDue, true, 'small pieces count as well');
  t.equal(unstable.isOverdue, false);
  unstable.wrote(100 * mebibyte);
  t.equal(unstable.isOverdue, true);
});

t.test('slots are taken up to their number, and handed on in turn', async (t) => {
  const slots = new Slots(1);
  const order: string[] = [];
  const take = (name: string) => slots.take().then(() => order.push(name));
  for (const name of ['one', 'two', 'three']) void take(name);
  await settled();
  t.same(order, ['one']);
  slots.give();
  await settled();
  t.same(order, ['one', 'two']);
  slots.give();
  slots.give();
  await settled();
  await take('four');
  void take('five');
  await settled();
  t.same(order, ['one', 'two', 'three', 'four']);
});
