/** The client over one TCP connection: headers, XIDs, order, concurrency, data, counters, options. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { authSysCredential } from '../../lib/rpc/auth/auth-sys.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { RpcClosedError, RpcConnectError, RpcSystemError } from '../../lib/rpc/rpc-errors.js';
import { connected } from './support/connected.js';
import { ANONYMOUS, DATA, ECHO } from './support/procedures.js';
import { echo, lastWord, success, WireServer, words } from './support/wire-server.js';

t.test('a call is one record with the header of RFC 5531', async (t) => {
  const { server, client } = await connected(t, { random: () => 0.5 });
  server.onCall = echo;
  const credential = authSysCredential({ machineName: 'abc', uid: 1, gid: 2, groups: [3] });
  t.equal(await client.call(ECHO, 0xdead_beef, { credential }), 0xdead_beef);
  const expected = Buffer.concat([
    words(0x8000_0000, 0, 2, 0x2000_0001, 1, 1),
    words(1, 28, 0, 3, 0x61626300, 1, 2, 1, 3),
    words(0, 0, 0xdead_beef),
  ]);
  t.same(server.calls[0]?.bytes, expected);
});

t.test('XIDs start random and count up, past the largest', async (t) => {
  const { server, client } = await connected(t, { random: () => (2 ** 32 - 2) / 2 ** 32 });
  server.onCall = echo;
  for (let index = 0; index < 4; index++) await client.call(ECHO, index, ANONYMOUS);
  t.same(
    server.calls.map((call) => call.xid),
    [0xffff_fffe, 0xffff_ffff, 0, 1],
  );
});

t.test('concurrent calls get their own replies, in whatever order these come', async (t) => {
  const { server, client } = await connected(t);
  const results = Promise.all(Array.from({ length: 100 }, (_, index) => client.call(ECHO, index, ANONYMOUS)));
  for (const call of [...(await server.untilCalls(100))].reverse()) echo(call);
  t.same(
    await results,
    Array.from({ length: 100 }, (_, index) => index),
  );
  t.equal(client.outstanding, 0);
});

t.test('calls go out in the order made', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = echo;
  await Promise.all(Array.from({ length: 300 }, (_, index) => client.call(ECHO, index, ANONYMOUS)));
  t.same(
    server.calls.map(lastWord),
    Array.from({ length: 300 }, (_, index) => index),
  );
});

t.test(
  'no more calls than maxOutstanding are on the wire; the others follow first in, first out',
  async (t) => {
    const { server, client } = await connected(t, { maxOutstanding: 4 });
    const results = Promise.all(
      Array.from({ length: 10 }, (_, index) => client.call(ECHO, index, ANONYMOUS)),
    );
    await server.untilCalls(4);
    await nextTurn();
    t.equal(server.calls.length, 4);
    t.equal(client.outstanding, 10);
    let answered = 0;
    while (answered < 10) {
      const call = server.calls[answered];
      if (call === undefined) await server.untilCalls(answered + 1);
      else {
        t.ok(server.calls.length - answered <= 4);
        echo(call);
        answered += 1;
      }
    }
    t.same(await results, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    t.same(server.calls.map(lastWord), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  },
);

t.test('large data goes both ways unchanged, and comes up without a copy', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = (call) => call.connection.record(success(call.xid), call.bytes.subarray(40));
  const sizes = [0, 1, 4095, 4096, 4099, 65536, 1024 * 1024];
  const results = await Promise.all(
    sizes.map((size) => client.call(DATA, Buffer.alloc(size, size % 251), ANONYMOUS)),
  );
  results.forEach((data, index) => {
    const size = sizes[index] ?? 0;
    t.ok(data.equals(Buffer.alloc(size, size % 251)), `${size} bytes`);
  });
  const largest = results.at(-1);
  t.ok((largest?.buffer.byteLength ?? 0) > 1024 * 1024, 'a slice of its own record');
  t.ok(largest?.byteOffset, 'behind the header that came with it');
});

t.test('the memory of a large reply serves again once it is given back, and not before', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = (call) => call.connection.record(success(call.xid), call.bytes.subarray(40));
  const echo = (byte: number) => client.call(DATA, Buffer.alloc(1024 * 1024, byte), ANONYMOUS);
  const first = await echo(1);
  const second = await echo(2);
  t.not(second.buffer, first.buffer);
  client.recycle(first.subarray(5, 6));
  const third = await echo(3);
  t.equal(third.buffer, first.buffer);
  t.ok(second.equals(Buffer.alloc(1024 * 1024, 2)), 'data that was not given back is unchanged');
  t.ok(third.equals(Buffer.alloc(1024 * 1024, 3)));
});

t.test('close() fails what is outstanding and everything after it', async (t) => {
  const { server, client } = await connected(t, { maxOutstanding: 2 });
  const calls = Promise.allSettled([1, 2, 3].map((value) => client.call(ECHO, value, ANONYMOUS)));
  await server.untilCalls(2);
  client.close();
  for (const outcome of await calls) {
    t.ok(outcome.status === 'rejected' && outcome.reason instanceof RpcClosedError);
  }
  await t.rejects(client.call(ECHO, 4, ANONYMOUS), RpcClosedError);
  await server.until(() => server.connections[0]?.ended === true);
  client.close();
});

t.test('connect() fails with the address and the reason', async (t) => {
  const server = new WireServer();
  await server.listen();
  const { port } = server;
  await server.close();
  const error = await RpcClient.connect({ host: '127.0.0.1', port }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  t.ok(error instanceof RpcConnectError);
  t.match(error, {
    code: 'ECONNREFUSED',
    host: '127.0.0.1',
    port,
    message: /cannot connect to 127\.0\.0\.1 port/,
  });
  t.match(error, { cause: { code: 'ECONNREFUSED' } });
});

t.test('a host name is looked up', async (t) => {
  const { server, client } = await connected(t, { host: 'localhost', family: 4 });
  server.onCall = echo;
  t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
});

t.test('counters count calls, bytes, replies and errors of each procedure', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = echo;
  await client.call(ECHO, 1, ANONYMOUS);
  await client.call(ECHO, 2, ANONYMOUS);
  server.onCall = (call) => call.connection.record(words(call.xid, 1, 0, 0, 0, 5));
  await t.rejects(client.call(ECHO, 3, ANONYMOUS), RpcSystemError);
  const [counters] = client.procedureCounters();
  t.match(counters, {
    program: 'TEST',
    procedure: 'ECHO',
    calls: 3,
    replies: 3,
    retransmits: 0,
    errors: 1,
    bytesSent: 3 * 44,
    bytesReceived: 2 * 28 + 24,
  });
  t.ok((counters?.rtt ?? 0) > 0);
});

t.test('options that make no sense are refused by name', async (t) => {
  const good = { host: '127.0.0.1', port: 1 };
  for (const wrong of [
    { port: 0 },
    { port: 65536 },
    { nconnect: 0 },
    { nconnect: 17 },
    { timeo: 0 },
    { retrans: -1 },
  ]) {
    const [name] = Object.keys(wrong);
    t.throws(() => new RpcClient({ ...good, ...wrong }), {
      name: 'RangeError',
      message: new RegExp(`^${name} is`),
    });
  }
});
