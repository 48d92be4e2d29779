/** Lost connections and silent servers: what is sent again, when, and when a call is given up. */
import net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { RpcConnectError, RpcTimeoutError } from '../../lib/rpc/rpc-errors.js';
import { ManualClock, turnUntil } from './support/manual-clock.js';
import { ANONYMOUS, DATA, ECHO, TestCancellation } from './support/procedures.js';
import { setting } from './support/setting.js';
import { echo, lastWord, success, WireServer } from './support/wire-server.js';

/** Turns the clock in steps until `condition` holds, letting sockets act in between. */
async function fate(promise: Promise<unknown>): Promise<unknown> {
  try {
    return await promise;
  } catch (error) {
    return error;
  }
}

t.test(
  'outstanding calls go out again after a cut, in order, with the same XID and the same bytes',
  async (t) => {
    const { server, client } = await setting(t);
    let retransmitted = 0;
    const options = {
      ...ANONYMOUS,
      onRetransmit: () => {
        retransmitted += 1;
      },
    };
    const data = Buffer.alloc(100_000, 3);
    const one = client.call(ECHO, 1, options);
    const others = Promise.all([client.call(DATA, data, options), client.call(ECHO, 2, options)]);
    const first = [...(await server.untilCalls(3))];
    t.equal(retransmitted, 0);
    for (const call of first.slice(0, 1)) echo(call);
    t.equal(await one, 1);
    server.connections[0]?.socket.resetAndDestroy();
    const again = (await server.untilCalls(5)).slice(3);
    t.same(
      again.map((call) => call.bytes),
      first.slice(1).map((call) => call.bytes),
    );
    for (const call of again) call.connection.record(success(call.xid), call.bytes.subarray(40));
    const [echoed, two] = await others;
    t.ok(echoed?.equals(data));
    t.equal(two, 2);
    t.equal(retransmitted, 2);
    t.equal(client.counters.reconnects, 1);
    const sum = client.procedureCounters().reduce((total, counters) => total + counters.retransmits, 0);
    t.equal(sum, 2);
  },
);

t.test('calls made while there is no connection go out behind those of the former one', async (t) => {
  const { server, client } = await setting(t);
  const calls = [1, 2, 3].map((value) => client.call(ECHO, value, ANONYMOUS));
  await server.untilCalls(3);
  server.connections[0]?.socket.resetAndDestroy();
  await server.until(() => server.connections[0]?.ended === true);
  server.onCall = echo;
  // Whether the client has noticed by now or not: what it was told first goes out first.
  for (const value of [4, 5, 6]) calls.push(client.call(ECHO, value, ANONYMOUS));
  t.same(await Promise.all(calls), [1, 2, 3, 4, 5, 6]);
  t.same(server.calls.slice(3).map(lastWord), [1, 2, 3, 4, 5, 6]);
});

t.test('a call that never went out before the cut is no retransmission', async (t) => {
  const { server, client } = await setting(t, { maxOutstanding: 1 });
  let retransmitted = 0;
  const first = client.call(ECHO, 1, ANONYMOUS);
  const second = client.call(ECHO, 2, {
    ...ANONYMOUS,
    onRetransmit: () => {
      retransmitted += 1;
    },
  });
  await server.untilCalls(1);
  server.onCall = echo;
  server.connections[0]?.socket.resetAndDestroy();
  t.same(await Promise.all([first, second]), [1, 2]);
  t.equal(retransmitted, 0);
  t.same(server.calls.map(lastWord), [1, 1, 2]);
});

t.test('a record cut in the middle is forgotten with its connection', async (t) => {
  const { server, client } = await setting(t);
  let count = 0;
  server.onCall = (call) => {
    count += 1;
    if (count > 1) {
      echo(call);
      return;
    }
    call.connection.socket.write(Buffer.concat([Buffer.from('8000001c', 'hex'), success(call.xid)]), () =>
      call.connection.socket.end(),
    );
  };
  t.equal(await client.call(ECHO, 9, ANONYMOUS), 9);
});

t.test('the new connection comes from the same source port', async (t) => {
  const { server, client } = await setting(t);
  server.onCall = echo;
  await client.call(ECHO, 1, ANONYMOUS);
  const [first] = server.connections;
  first?.socket.resetAndDestroy();
  await server.until(() => first?.ended === true);
  await client.call(ECHO, 2, ANONYMOUS);
  t.equal(server.connections.length, 2);
  t.equal(server.connections[1]?.remotePort, first?.remotePort);
});

t.test('the new connection comes from another source port when the former one is taken', async (t) => {
  const { server, client } = await setting(t);
  server.onCall = echo;
  await client.call(ECHO, 1, ANONYMOUS);
  const [first] = server.connections;
  await server.stopListening();
  first?.socket.resetAndDestroy();
  await server.until(() => first?.ended === true);
  // Should another program have the port by now, that serves as well.
  const squatter = net.createServer();
  const taken = new Promise((resolve) => squatter.once('listening', resolve).once('error', resolve));
  squatter.listen(first?.remotePort, '127.0.0.1');
  await taken;
  t.teardown(() => void squatter.close());
  await server.listen(server.port);
  t.equal(await client.call(ECHO, 2, ANONYMOUS), 2);
  t.not(server.connections[1]?.remotePort, first?.remotePort);
});

t.test('an idle connection that the server ends is opened again by the next call, at once', async (t) => {
  const { server, client, clock } = await setting(t);
  server.onCall = echo;
  for (let value = 0; value < 5; value++) {
    t.equal(await client.call(ECHO, value, ANONYMOUS), value, 'without the clock moving');
    const connection = server.connections[value];
    connection?.socket.end();
    await server.until(() => connection?.ended === true);
  }
  clock.advance(60_000);
  t.equal(clock.next, undefined, 'no timer is left when nothing is outstanding');
});

t.test(
  'attempts to connect come ever more rarely while the server is down, and hard calls wait',
  async (t) => {
    const attempts: number[] = [];
    const clock = new ManualClock();
    const server = new WireServer();
    await server.listen();
    const { port } = server;
    await server.stopListening();
    const client = new RpcClient({
      host: '127.0.0.1',
      port,
      clock,
      random: () => 0,
      connectSocket: (options) => {
        attempts.push(clock.now());
        return net.connect(options);
      },
    });
    t.teardown(async () => {
      client.close();
      await server.close();
    });
    const result = client.call(ECHO, 4, ANONYMOUS);
    await turnUntil(clock, 10, () => attempts.length === 12);
    const gaps = attempts.slice(1).map((time, index) => time - (attempts[index] ?? 0));
    t.ok((gaps[0] ?? 0) >= 50 && (gaps[0] ?? 0) < 200, `first after ${gaps[0]} ms`);
    t.ok(
      gaps.every((gap, index) => index === 0 || gap >= (gaps[index - 1] ?? 0) * 0.9),
      `never faster: ${gaps.join(' ')}`,
    );
    t.ok(
      gaps.every((gap) => gap <= 11_000),
      'never slower than some ten seconds',
    );
    server.onCall = echo;
    await server.listen(port);
    await turnUntil(clock, 100, () => server.calls.length > 0);
    t.equal(await result, 4);
  },
);

t.test('the client does not hammer a server that accepts connections and ends them at once', async (t) => {
  const { server, client, clock } = await setting(t);
  server.onCall = (call) => call.connection.socket.resetAndDestroy();
  const result = client.call(ECHO, 1, ANONYMOUS);
  await server.untilCalls(2);
  for (let turn = 0; turn < 50; turn++) await nextTurn();
  t.ok(server.calls.length <= 2, 'one retry at once, then only with time');
  await turnUntil(clock, 50, () => server.calls.length === 6);
  t.ok(clock.now() - 1000 >= 50 + 100 + 200, 'backing off');
  server.onCall = echo;
  await turnUntil(clock, 1000, () => client.outstanding === 0);
  t.equal(await result, 1);
});

t.test('a hard client reports silence once, connects anew, and reports the answer once', async (t) => {
  const { server, client, clock, log } = await setting(t, { timeo: 10, retrans: 2 });
  const results = Promise.all([client.call(ECHO, 1, ANONYMOUS), client.call(ECHO, 2, ANONYMOUS)]);
  await server.untilCalls(2);
  clock.advance(2900);
  await nextTurn();
  t.same(log, []);
  t.equal(server.calls.length, 2, 'a live connection is not sent anything twice on a minor timeout');
  await turnUntil(clock, 100, () => server.calls.length === 4);
  t.equal(server.connections.length, 2);
  t.same(server.calls[2]?.bytes, server.calls[0]?.bytes);
  t.same(log, ['server 127.0.0.1 not responding, still trying']);
  await turnUntil(clock, 100, () => server.calls.length === 6);
  t.equal(log.length, 1, 'however long it takes');
  for (const call of server.calls.slice(-2)) echo(call);
  t.same(await results, [1, 2]);
  t.same(log, ['server 127.0.0.1 not responding, still trying', 'server 127.0.0.1 OK']);
  t.equal(client.counters.majorTimeouts >= 3, true);
});

t.test('a hard client reports once that a server is down', async (t) => {
  const { server, client, clock, log } = await setting(t, { timeo: 10, retrans: 0 });
  await server.stopListening();
  const result = client.call(ECHO, 1, ANONYMOUS);
  await turnUntil(clock, 100, () => log.length > 0);
  for (let turn = 0; turn < 50; turn++) {
    clock.advance(100);
    await nextTurn();
  }
  t.same(log, ['server 127.0.0.1 not responding, still trying']);
  server.onCall = echo;
  await server.listen(server.port);
  await turnUntil(clock, 100, () => client.outstanding === 0);
  t.equal(await result, 1);
  t.equal(log.at(-1), 'server 127.0.0.1 OK');
});

for (const recovery of ['soft', 'softerr'] as const) {
  t.test(
    `${recovery}: a call fails after its major timeout, on a silent server and without any`,
    async (t) => {
      const { server, client, clock, log } = await setting(t, { recovery, timeo: 10, retrans: 2 });
      const silent = fate(client.call(ECHO, 1, ANONYMOUS));
      await server.untilCalls(1);
      clock.advance(2900);
      t.equal(client.outstanding, 1);
      clock.advance(200);
      const error = await silent;
      t.ok(error instanceof RpcTimeoutError);
      t.match(error, {
        softerr: recovery === 'softerr',
        message: /no answer from 127\.0\.0\.1 port \d+ within 3 s/,
      });
      t.equal(client.outstanding, 0);
      await server.until(() => server.connections[0]?.ended === true);
      await server.stopListening();
      const nobody = fate(client.call(ECHO, 2, ANONYMOUS));
      await turnUntil(clock, 100, () => client.outstanding === 0);
      t.ok((await nobody) instanceof RpcTimeoutError);
      t.same(log, [], 'soft calls fail instead of talking');
    },
  );
}

t.test('connections that come and go do not prolong a soft call', async (t) => {
  const { server, client, clock } = await setting(t, { recovery: 'soft', timeo: 10, retrans: 2 });
  server.onCall = (call) => call.connection.socket.resetAndDestroy();
  const start = clock.now();
  const result = fate(client.call(ECHO, 1, ANONYMOUS));
  await turnUntil(clock, 50, () => client.outstanding === 0);
  t.ok((await result) instanceof RpcTimeoutError);
  t.ok(clock.now() - start <= 3200);
  t.ok(server.calls.length >= 3);
});

t.test('soft calls that queue behind others time out as well', async (t) => {
  const { server, client, clock } = await setting(t, {
    recovery: 'soft',
    timeo: 10,
    retrans: 0,
    maxOutstanding: 1,
  });
  const results = [1, 2, 3].map((value) => fate(client.call(ECHO, value, ANONYMOUS)));
  await server.untilCalls(1);
  clock.advance(1200);
  for (const result of await Promise.all(results)) t.ok(result instanceof RpcTimeoutError);
  t.equal(client.outstanding, 0);
});

t.test('a slow server with calls queueing is not taken for a dead one', async (t) => {
  const { server, client, clock, log } = await setting(t, { timeo: 10, retrans: 0, maxOutstanding: 1 });
  const results = Promise.all([1, 2, 3, 4].map((value) => client.call(ECHO, value, ANONYMOUS)));
  for (let answered = 0; answered < 4; answered++) {
    await server.untilCalls(answered + 1);
    clock.advance(800);
    const call = server.calls[answered];
    if (call !== undefined) echo(call);
    if (answered < 3) await server.untilCalls(answered + 2);
  }
  t.same(await results, [1, 2, 3, 4]);
  t.equal(server.connections.length, 1);
  t.equal(server.calls.length, 4);
  t.same(log, []);
});

t.test('a waiting call can be cancelled while there is no server at all', async (t) => {
  const { server, client, clock } = await setting(t);
  await server.stopListening();
  const cancellation = new TestCancellation();
  const result = fate(client.call(ECHO, 1, { ...ANONYMOUS, cancellation }));
  await turnUntil(clock, 100, () => clock.now() > 5000);
  cancellation.cancel();
  t.match(await result, { name: 'RpcCancelledError' });
  t.equal(client.outstanding, 0);
});

t.test(
  'the client asks for the port again before every attempt but the first, and keeps the old one when nobody answers',
  async (t) => {
    const other = new WireServer();
    await other.listen();
    other.onCall = echo;
    let asked = 0;
    const { server, client, clock } = await setting(t, {
      resolvePort: async () => {
        asked += 1;
        if (asked === 1) throw new Error('no port mapper yet');
        return other.port;
      },
    });
    t.teardown(() => other.close());
    server.onCall = echo;
    t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
    t.equal(asked, 0);
    await server.stopListening();
    server.connections[0]?.socket.resetAndDestroy();
    await server.until(() => server.connections[0]?.ended === true);
    const result = client.call(ECHO, 2, ANONYMOUS);
    await turnUntil(clock, 100, () => other.calls.length === 1);
    t.equal(await result, 2);
    t.ok(asked >= 2);
  },
);

t.test('an attempt that hangs is ended by the connect timeout', async (t) => {
  const { client, clock } = await setting(t, {
    recovery: 'hard',
    connectTimeout: 2000,
    // A socket that is never connected to anything: neither success nor error comes.
    connectSocket: () => new net.Socket(),
  });
  const failed = fate(
    RpcClient.connect({
      host: '127.0.0.1',
      port: 1,
      clock,
      connectTimeout: 2000,
      connectSocket: () => new net.Socket(),
    }),
  );
  clock.advance(1999);
  await nextTurn();
  clock.advance(1);
  const error = await failed;
  t.ok(error instanceof RpcConnectError);
  t.match(error, { code: 'ETIMEDOUT', message: /no connection within 2 s/ });
  t.equal(client.outstanding, 0);
});

t.test('calls take turns over the connections of nconnect, and avoid one that is down', async (t) => {
  const { server, client } = await setting(t, { nconnect: 3 });
  server.onCall = echo;
  for (let value = 0; value < 9; value++) t.equal(await client.call(ECHO, value, ANONYMOUS), value);
  t.same(
    server.connections.map((connection) => connection.calls.length),
    [3, 3, 3],
  );
  await server.stopListening();
  // A call keeps the first connection trying, in vain; the others are still good.
  server.onCall = () => {};
  const stuck = client.call(ECHO, 100, ANONYMOUS);
  const [call] = (await server.untilCalls(10)).slice(9);
  call?.connection.socket.resetAndDestroy();
  await server.until(() => call?.connection.ended === true);
  await nextTurn();
  server.onCall = echo;
  for (let value = 0; value < 6; value++) t.equal(await client.call(ECHO, value, ANONYMOUS), value);
  client.close();
  t.match(await fate(stuck), { name: 'RpcClosedError' });
});
