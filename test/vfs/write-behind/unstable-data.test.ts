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

const state = ({ isEmpty, waiting, bytes, end }: UnstableData) => ({ isEmpty, waiting, bytes, end });

t.test('data waits for a COMMIT, is covered by one, and settled by its verifier', async (t) => {
  const unstable = new UnstableData();
  t.same(state(unstable), { isEmpty: true, waiting: 0, bytes: 0, end: 0 });
  t.equal(unstable.cover(), undefined);
  const [first, second, late] = [extentOf(0, 10), extentOf(20, 10, 2, 'w'), extentOf(5, 3, 3)];
  unstable.add(first);
  unstable.add(second);
  t.same(state(unstable), { isEmpty: false, waiting: 20, bytes: 20, end: 30 });
  t.equal(unstable.cover(), first);
  t.same(state(unstable), { isEmpty: true, waiting: 0, bytes: 20, end: 30 });
  unstable.cut(5, 8);
  unstable.add(late);
  t.same(state(unstable), { isEmpty: false, waiting: 3, bytes: 20, end: 30 });
  const { stable, lost } = unstable.settle('v');
  t.same(
    stable.map(({ offset, length }) => [offset, length]),
    [
      [0, 5],
      [8, 2],
    ],
  );
  t.same(lost, [second]);
  t.same(state(unstable), { isEmpty: false, waiting: 3, bytes: 3, end: 8 });
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
  t.same(state(unstable), { isEmpty: false, waiting: 5, bytes: 5, end: 15 });
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
