/** The queue of calls: first in, first out, without those that were given up. */
import t from 'tap';
import { AUTH_NONE } from '../../lib/rpc/auth/auth-none.js';
import { Counters } from '../../lib/rpc/client/call-counters.js';
import { CallQueue } from '../../lib/rpc/client/call-queue.js';
import { TypedCall } from '../../lib/rpc/client/pending-call.js';
import { SeededRandom } from '../support/seeded-random.js';
import { ECHO } from './support/procedures.js';

function makeCall(xid: number): TypedCall<number, number> {
  const counters = new Counters().of(ECHO);
  const nothing = () => {};
  return new TypedCall({
    xid,
    procedure: ECHO,
    args: 0,
    credential: AUTH_NONE,
    counters,
    onRetransmit: undefined,
    server: 'server',
    settle: { resolve: nothing, reject: nothing },
  });
}

t.test(
  'the queue has the order and the length of a plain list after any row of pushes, takes and drops',
  async (t) => {
    const random = new SeededRandom(7, 0);
    const queue = new CallQueue();
    let list: TypedCall<number, number>[] = [];
    for (let step = 0; step < 20_000; step++) {
      // By turns it grows and shrinks.
      const pushes = Math.floor(step / 1000) % 2 === 0 ? 6 : 2;
      const choice = random.below(10);
      const victim = list[random.below(Math.max(1, list.length))];
      if (choice < pushes) {
        const call = makeCall(step);
        queue.push(call);
        list.push(call);
      } else if (choice < 8 || victim === undefined) {
        if (queue.shift() !== list.shift()) t.fail(`another call at step ${step}`);
      } else {
        victim.settled = true;
        queue.drop();
        list = list.filter((call) => call !== victim);
      }
      if (queue.length !== list.length) t.fail(`${queue.length} in place of ${list.length} at step ${step}`);
      if (step % 100 === 0) t.same([...queue], list);
    }
  },
);

t.test('calls may be dropped while the queue is walked', async (t) => {
  const queue = new CallQueue();
  for (let xid = 0; xid < 10; xid++) queue.push(makeCall(xid));
  const seen: number[] = [];
  for (const call of queue) {
    seen.push(call.xid);
    call.fail(new Error('given up'));
    queue.drop();
  }
  t.same(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  t.equal(queue.shift(), undefined);
});
