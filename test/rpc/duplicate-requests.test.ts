/** The cache of recent replies: a call that comes twice is carried out once. */
import t from 'tap';
import { handle } from '../../lib/rpc/server/server-procedure.js';
import { DATA, ECHO } from './support/procedures.js';
import { callBytes, gate, onlyOnce, type RawClient, serving } from './support/raw-client.js';
import { success, words } from './support/wire-server.js';

/** The client, when both copies of its call are answered. */
async function sentTwice(client: RawClient): Promise<RawClient> {
  client.send(callBytes(1, ECHO, 10));
  client.send(callBytes(1, ECHO, 10));
  await client.until(() => client.replies.length === 2);
  return client;
}

t.test('a non-idempotent call that comes twice is carried out once and answered twice', async (t) => {
  let carriedOut = 0;
  const { server, raw } = await serving(t, [
    onlyOnce((value) => {
      carriedOut += 1;
      return value + carriedOut;
    }),
  ]);
  const client = await sentTwice(raw());
  t.same(client.replies[0], client.replies[1]);
  t.equal(carriedOut, 1);
  t.equal(server.duplicates, 1);
  client.send(callBytes(2, ECHO, 10));
  client.send(callBytes(1, ECHO, 11));
  await client.until(() => client.replies.length === 4);
  t.equal(carriedOut, 3, 'another XID, or other bytes under the same XID, is another call');
});

t.test(
  'after a reconnection from the same port the recorded reply comes; from another the call is new',
  async (t) => {
    let carriedOut = 0;
    const { server, raw, rawAgain } = await serving(t, [
      onlyOnce((value) => {
        carriedOut += 1;
        return value;
      }),
    ]);
    const first = raw();
    first.send(callBytes(1, ECHO, 10));
    await first.until(() => first.replies.length === 1);
    const localPort = first.socket.localPort ?? 0;
    server.disconnectAll();
    await first.until(() => first.closed);
    const second = await rawAgain(localPort);
    second.send(callBytes(1, ECHO, 10));
    await second.until(() => second.replies.length === 1);
    t.same(second.replies, first.replies);
    t.equal(carriedOut, 1);
    const stranger = raw();
    stranger.send(callBytes(1, ECHO, 10));
    await stranger.until(() => stranger.replies.length === 1);
    t.equal(carriedOut, 2);
  },
);

t.test(
  'a duplicate of a call in progress is dropped; after a reconnection it gets the one answer',
  async (t) => {
    let carriedOut = 0;
    const { promise, open } = gate();
    const { server, raw, rawAgain } = await serving(t, [
      onlyOnce(async (value) => {
        carriedOut += 1;
        await promise;
        return value;
      }),
      handle(DATA, (data) => Buffer.from(data)),
    ]);
    const first = raw();
    first.send(callBytes(1, ECHO, 10));
    first.send(callBytes(1, ECHO, 10));
    first.send(callBytes(2, DATA, 0));
    await first.until(() => first.replies.length === 1);
    t.equal(first.replies[0]?.readUInt32BE(0), 2, 'the duplicate was not answered');
    const localPort = first.socket.localPort ?? 0;
    server.disconnectAll();
    await first.until(() => first.closed);
    const second = await rawAgain(localPort);
    second.send(callBytes(1, ECHO, 10));
    second.send(callBytes(3, DATA, 0));
    await second.until(() => second.replies.length === 1);
    open();
    await second.until(() => second.replies.length === 2);
    t.same(second.replies[1], Buffer.concat([success(1), words(10)]));
    t.equal(carriedOut, 1);
  },
);

t.test('a call whose handler failed is not remembered: a copy of it is carried out', async (t) => {
  let carriedOut = 0;
  const { raw } = await serving(t, [
    onlyOnce((value) => {
      carriedOut += 1;
      if (carriedOut === 1) throw new Error('once');
      return value;
    }),
  ]);
  const client = await sentTwice(raw());
  t.same(client.replies[1], Buffer.concat([success(1), words(10)]));
});

t.test('the duplicate request cache forgets the oldest, never a call in progress', async (t) => {
  const carriedOut: number[] = [];
  const { promise, open } = gate();
  const { raw } = await serving(
    t,
    [
      onlyOnce(async (value) => {
        carriedOut.push(value);
        if (value === 0) await promise;
        return value;
      }),
    ],
    { duplicateRequests: 4 },
  );
  const client = raw();
  for (let xid = 0; xid < 10; xid++) client.send(callBytes(xid, ECHO, xid));
  await client.until(() => client.replies.length === 9);
  for (const xid of [0, 9, 1]) client.send(callBytes(xid, ECHO, xid));
  await client.until(() => client.replies.length === 11);
  t.same(carriedOut, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1], '1 was forgotten, 9 and 0 were not');
  open();
  await client.until(() => client.replies.length === 12);
});
