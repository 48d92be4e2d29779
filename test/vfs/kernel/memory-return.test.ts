/** Memory goes back to the machine when much has been forgotten and nothing else is going on. */
import t from 'tap';
import { MemoryReturn } from '../../../lib/vfs/kernel/memory-return.js';
import { ManualClock } from '../../rpc/support/manual-clock.js';

function ground(held = 0) {
  const clock = new ManualClock();
  let collections = 0;
  const memory = new MemoryReturn(
    clock,
    () => {
      collections += 1;
    },
    () => held,
  );
  const drop = (count: number) => {
    for (let index = 0; index < count; index++) memory.dropped();
  };
  return { clock, memory, drop, collections: () => collections };
}

t.test('a walked tree that is forgotten is collected once it is quiet, once', (t) => {
  const { clock, drop, collections } = ground();
  drop(100_000);
  t.equal(collections(), 0, 'not while it is being forgotten');
  clock.advance(4_000);
  drop(100_000);
  clock.advance(4_000);
  t.equal(collections(), 0, 'more has gone since');
  clock.advance(60_000);
  t.equal(collections(), 1);
  drop(1_000);
  clock.advance(60_000);
  t.equal(collections(), 1, 'little is not worth it');
  drop(100_000);
  clock.advance(60_000);
  t.equal(collections(), 2);
  t.end();
});

t.test('a collection that would mostly look at what is still used is left out', (t) => {
  const { clock, drop, collections } = ground(500_000);
  drop(100_000);
  clock.advance(60_000);
  t.equal(collections(), 0);
  drop(400_000);
  clock.advance(60_000);
  t.equal(collections(), 1);
  t.end();
});

t.test('nothing is collected after the end', (t) => {
  const { clock, memory, drop, collections } = ground();
  drop(100_000);
  memory.close();
  drop(100_000);
  clock.advance(60_000);
  t.equal(collections(), 0);
  t.end();
});
