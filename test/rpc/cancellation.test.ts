/** Cancelled calls fail at once, go out no more, and leave nothing behind. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { RpcCancelledError } from '../../lib/rpc/rpc-errors.js';
import { connected } from './support/connected.js';
import { ANONYMOUS, DATA, ECHO, TestCancellation } from './support/procedures.js';
import { echo, lastWord, success, words } from './support/wire-server.js';

t.test('a cancelled call fails at once, and its reply is ignored', async (t) => {
  const { server, client } = await connected(t);
  const cancellation = new TestCancellation();
  const call = client.call(ECHO, 1, { ...ANONYMOUS, cancellation });
  const [wire] = await server.untilCalls(1);
  cancellation.cancel();
  await t.rejects(call, RpcCancelledError);
  t.equal(client.outstanding, 0);
  if (wire !== undefined) echo(wire);
  server.onCall = echo;
  t.equal(await client.call(ECHO, 2, ANONYMOUS), 2);
  t.match(client.counters, { lateReplies: 1, badXids: 0 });
  t.equal(server.connections.length, 1);
});

t.test('a call cancelled before it was made never goes out', async (t) => {
  const { server, client } = await connected(t);
  const cancellation = new TestCancellation();
  cancellation.cancel();
  await t.rejects(client.call(ECHO, 1, { ...ANONYMOUS, cancellation }), RpcCancelledError);
  server.onCall = echo;
  await client.call(ECHO, 2, ANONYMOUS);
  t.same(server.calls.map(lastWord), [2]);
});

t.test('calls cancelled in the same tick or while they queue never go out', async (t) => {
  const { server, client } = await connected(t, { maxOutstanding: 1 });
  const cancellation = new TestCancellation();
  const withCancel = { ...ANONYMOUS, cancellation };
  const outcomes = Promise.allSettled([client.call(ECHO, 1, withCancel), client.call(ECHO, 2, withCancel)]);
  cancellation.cancel();
  t.same(
    (await outcomes).map((outcome) => outcome.status),
    ['rejected', 'rejected'],
  );
  server.onCall = echo;
  t.equal(await client.call(ECHO, 3, ANONYMOUS), 3);
  t.same(server.calls.map(lastWord), [3]);
  t.equal(client.outstanding, 0);
});

/** All garbage, now. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}

const IN_FRONT: Readonly<Record<string, { readonly maxOutstanding: number; readonly stuck: number }>> = {
  'an unanswered call': { maxOutstanding: 1, stuck: 1 },
  'data that the kernel does not take': { maxOutstanding: 10_000, stuck: 8 * 1024 * 1024 },
};

for (const [front, { maxOutstanding, stuck }] of Object.entries(IN_FRONT)) {
  t.test(`calls cancelled behind ${front} count no more, and are let go of`, async (t) => {
    const { server, client } = await connected(t, { maxOutstanding });
    await server.until(() => server.connections.length === 1);
    server.connections[0]?.socket.pause();
    const calls = [client.call(DATA, Buffer.alloc(stuck), ANONYMOUS)];
    await nextTurn();
    const live = Buffer.alloc(1000, 1);
    calls.push(client.call(DATA, live, ANONYMOUS));
    const memory = Array.from({ length: 2000 }, () => {
      const data = new Uint8Array(1000);
      const cancellation = new TestCancellation();
      calls.push(client.call(DATA, data, { ...ANONYMOUS, cancellation }));
      cancellation.cancel();
      return new WeakRef(data);
    });
    t.equal(client.outstanding, 2);
    await Promise.allSettled(calls.splice(2));
    await nextTurn();
    collectGarbage();
    const kept = memory.filter((data) => data.deref() !== undefined).length;
    t.ok(kept < 10, `${kept} of 2000 are kept`);
    for (const connection of server.connections) connection.socket.resume();
    // Not all of what was stuck: a reply may not be that long.
    server.onCall = (call) =>
      call.connection.record(
        success(call.xid),
        call === server.calls[0] ? words(0) : call.bytes.subarray(40),
      );
    for (const call of server.calls) server.onCall(call);
    t.ok((await calls[1])?.equals(live), 'the call that queued before them has its turn');
    t.equal(server.calls.length, 2);
  });
}

t.test(
  'data of a call cancelled while half sent is never followed by other bytes on that connection',
  async (t) => {
    const { server, client } = await connected(t);
    await server.until(() => server.connections.length === 1);
    server.connections[0]?.socket.pause();
    // More than socket buffers hold, so that some of it waits in this process.
    const outgoing = Array.from({ length: 32 }, () => {
      const data = Buffer.alloc(1024 * 1024, 1);
      const cancellation = new TestCancellation();
      return { data, cancellation, result: client.call(DATA, data, { ...ANONYMOUS, cancellation }) };
    });
    const settled = Promise.allSettled(outgoing.map(({ result }) => result));
    await nextTurn();
    for (const { data, cancellation } of outgoing) {
      cancellation.cancel();
      data.fill(2);
    }
    for (const outcome of await settled) t.equal(outcome.status, 'rejected');
    server.connections[0]?.socket.resume();
    await server.until(() => server.connections[0]?.ended === true);
    t.ok(
      server.calls.every((call) => !call.bytes.includes(2, 40)),
      'nothing overwritten went out',
    );
    server.onCall = echo;
    t.equal(await client.call(ECHO, 3, ANONYMOUS), 3, 'the next call has a new connection');
  },
);
