/** The client over UDP: losses are made good with the same bytes, and only the server is listened to. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { RpcClient, type RpcClientOptions } from '../../lib/rpc/client/client.js';
import { RpcTimeoutError, RpcTooLargeError } from '../../lib/rpc/rpc-errors.js';
import { untilEnd } from '../support/until-end.js';
import { ManualClock, turnUntil } from './support/manual-clock.js';
import { ANONYMOUS, DATA, ECHO } from './support/procedures.js';
import { success, words } from './support/wire-server.js';

interface Datagram {
  readonly bytes: Buffer;
  readonly port: number;
}

class UdpServer {
  readonly socket: dgram.Socket;
  readonly calls: Datagram[] = [];
  onCall: (call: Datagram) => void = () => {};
  #closed: Promise<void> | undefined;
  #waiters: { count: number; resolve: () => void }[] = [];

  constructor(type: dgram.SocketType = 'udp4') {
    this.socket = dgram.createSocket(type);
    this.socket.on('message', (bytes, { port }) => {
      const call = { bytes, port };
      this.calls.push(call);
      this.onCall(call);
      for (const { count, resolve } of this.#waiters) if (this.calls.length >= count) resolve();
    });
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => this.socket.close(() => resolve()));
    return this.#closed;
  }

  untilCalls(count: number): Promise<void> {
    if (this.calls.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ count, resolve }));
  }

  send(call: Datagram, bytes: Buffer): void {
    this.socket.send(bytes, call.port, this.socket.address().address);
  }

  echo(call: Datagram): void {
    this.send(call, Buffer.concat([success(call.bytes.readUInt32BE(0)), call.bytes.subarray(40)]));
  }
}

async function setting(
  t: Test,
  options: Partial<RpcClientOptions> = {},
  host = '127.0.0.1',
): Promise<{ server: UdpServer; client: RpcClient; clock: ManualClock; log: string[] }> {
  const server = new UdpServer(host.includes(':') ? 'udp6' : 'udp4');
  server.socket.bind(0, host);
  await once(server.socket, 'listening');
  const clock = new ManualClock();
  const log: string[] = [];
  const client = await RpcClient.connect({
    host,
    port: server.socket.address().port,
    protocol: 'udp',
    clock,
    log: (message) => log.push(message),
    ...options,
  });
  t.teardown(() => {
    client.close();
    void server.close();
  });
  return { server, client, clock, log };
}

t.test('calls and replies are datagrams without a record mark', async (t) => {
  const { server, client } = await setting(t, { random: () => 0.5 });
  server.onCall = (call) => server.echo(call);
  t.equal(await client.call(ECHO, 7, ANONYMOUS), 7);
  t.same(server.calls[0]?.bytes, words(0x8000_0000, 0, 2, 0x2000_0001, 1, 1, 0, 0, 0, 0, 7));
  const results = Array.from({ length: 50 }, (_, index) => client.call(ECHO, index, ANONYMOUS));
  t.same(
    await Promise.all(results),
    Array.from({ length: 50 }, (_, index) => index),
  );
});

t.test('data up to the size of a datagram goes both ways; more is refused at once', async (t) => {
  const { server, client } = await setting(t);
  server.onCall = (call) => server.echo(call);
  const data = Buffer.alloc(32768, 5);
  t.ok((await client.call(DATA, data, ANONYMOUS)).equals(data));
  await t.rejects(client.call(DATA, Buffer.alloc(65507), ANONYMOUS), RpcTooLargeError);
  t.equal(client.outstanding, 0);
});

t.test('a lost call goes out again with the same bytes, after intervals that double', async (t) => {
  const { server, client, clock } = await setting(t, { timeo: 10, retrans: 3 });
  let retransmitted = 0;
  const result = client.call(ECHO, 3, {
    ...ANONYMOUS,
    onRetransmit: () => {
      retransmitted += 1;
    },
  });
  await server.untilCalls(1);
  const start = clock.now();
  const times: number[] = [];
  for (let count = 2; count <= 3; count++) {
    while (server.calls.length < count) {
      clock.advance(100);
      for (let turn = 0; turn < 10; turn++) await nextTurn();
    }
    times.push(clock.now() - start);
  }
  t.ok((times[0] ?? 0) >= 1000 && (times[0] ?? 0) <= 1300, `first after ${times[0]} ms`);
  t.ok((times[1] ?? 0) >= 3000 && (times[1] ?? 0) <= 3500, `second after ${times[1]} ms`);
  t.ok(server.calls.every((call) => call.bytes.equals(server.calls[0]?.bytes ?? Buffer.alloc(0))));
  t.equal(retransmitted, 2);
  for (const call of server.calls.slice(-1)) server.echo(call);
  t.equal(await result, 3);
  t.equal(client.procedureCounters()[0]?.retransmits, 2);
});

/** The calls on the wire while nothing is answered: those that the server has received, less the answered ones. */
async function settle(server: UdpServer): Promise<number> {
  for (let seen = -1; seen !== server.calls.length; ) {
    seen = server.calls.length;
    for (let turn = 0; turn < 20; turn++) await nextTurn();
  }
  return server.calls.length;
}

t.test('the window grows with full windows of replies, and a loss halves it', async (t) => {
  const { server, client, clock } = await setting(t, { timeo: 10, retrans: 3 });
  const results = Promise.all(Array.from({ length: 400 }, (_, index) => client.call(ECHO, index, ANONYMOUS)));
  const sizes: number[] = [];
  let answered = 0;
  for (let round = 0; round < 20; round++) {
    const received = await settle(server);
    sizes.push(received - answered);
    for (const call of server.calls.slice(answered, received)) server.echo(call);
    answered = received;
  }
  t.same(sizes.slice(0, 2), [1, 2]);
  t.ok(
    sizes.every((size, index) => index === 0 || [0, 1].includes(size - (sizes[index - 1] ?? 0))),
    `one more at a time: ${sizes.join(' ')}`,
  );
  const most = Math.max(...sizes);
  t.ok(most > 3 && most <= 16, `${most} at the most`);

  const lost = server.calls.slice(answered, await settle(server));
  t.equal(lost.length, most);
  clock.advance(1200);
  const again = server.calls.slice(answered + most, await settle(server));
  t.equal(again.length, Math.floor(most / 2), 'half as many go out');
  t.ok(again[0]?.bytes.equals(lost[0]?.bytes ?? Buffer.alloc(0)), 'first what was lost first, same bytes');
  const ofLost = again.filter((call) => lost.some(({ bytes }) => bytes.equals(call.bytes)));
  t.ok(ofLost.length < again.length, 'by turns with what queues');
  for (const call of again.slice(0, 1)) server.echo(call);
  t.equal(await settle(server), answered + most + again.length + 1, 'a reply makes room for the next');
  server.onCall = (call) => server.echo(call);
  await turnUntil(clock, 500, () => client.outstanding === 0);
  t.same(await results, [...Array(400).keys()]);
});

t.test('a window that calls do not fill stays as it is', async (t) => {
  const { server, client } = await setting(t);
  server.onCall = (call) => server.echo(call);
  for (let value = 0; value < 50; value++) await client.call(ECHO, value, ANONYMOUS);
  server.onCall = () => {};
  const before = server.calls.length;
  for (let value = 0; value < 50; value++) client.call(ECHO, value, ANONYMOUS).catch(() => {});
  t.ok((await settle(server)) - before <= 2, 'one call at a time has shown that two may go, not more');
});

t.test('no more calls are on the wire than the receive buffer has room for long replies', async (t) => {
  const { server, client } = await setting(t, {
    createDatagramSocket: (type) => {
      const socket = dgram.createSocket(type);
      socket.setRecvBufferSize = () => {
        throw new Error('not permitted');
      };
      socket.getRecvBufferSize = () => 208 * 1024;
      return socket;
    },
  });
  server.onCall = (call) => server.echo(call);
  await Promise.all(Array.from({ length: 200 }, (_, index) => client.call(ECHO, index, ANONYMOUS)));
  server.onCall = () => {};
  const before = server.calls.length;
  for (let value = 0; value < 50; value++) client.call(ECHO, value, ANONYMOUS).catch(() => {});
  t.equal((await settle(server)) - before, 3);
});

t.test(
  'a hard call goes on for ever and logs that once; a soft one gives up after its major timeout',
  async (t) => {
    const hard = await setting(t, { timeo: 10, retrans: 1 });
    const result = hard.client.call(ECHO, 1, ANONYMOUS);
    await hard.server.untilCalls(1);
    for (let count = 0; count < 200; count++) {
      hard.clock.advance(100);
      await nextTurn();
    }
    t.same(hard.log, ['server 127.0.0.1 not responding, still trying']);
    t.ok(hard.server.calls.length >= 5);
    hard.server.onCall = (call) => hard.server.echo(call);
    await turnUntil(hard.clock, 100, () => hard.client.outstanding === 0);
    t.equal(await result, 1);
    t.equal(hard.log[1], 'server 127.0.0.1 OK');

    const soft = await setting(t, { timeo: 10, retrans: 1, recovery: 'soft' });
    const failed = soft.client.call(ECHO, 1, ANONYMOUS).catch((error: unknown) => error);
    await soft.server.untilCalls(1);
    soft.clock.advance(1900);
    t.equal(soft.client.outstanding, 1);
    soft.clock.advance(300);
    t.ok((await failed) instanceof RpcTimeoutError);
  },
);

t.test('the client ignores answers from another port', async (t) => {
  const { server, client } = await setting(t);
  const stranger = untilEnd(t, dgram.createSocket('udp4'));
  const result = client.call(ECHO, 5, ANONYMOUS);
  await server.untilCalls(1);
  const [call] = server.calls;
  if (call === undefined) throw new Error('no call');
  const forged = Buffer.concat([success(call.bytes.readUInt32BE(0)), words(666)]);
  await new Promise<void>((resolve) => stranger.send(forged, call.port, '127.0.0.1', () => resolve()));
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  t.equal(client.outstanding, 1);
  server.echo(call);
  t.equal(await result, 5);
});

t.test('the client counts garbage, logs it once, and otherwise ignores it', async (t) => {
  const { server, client, log } = await setting(t);
  server.onCall = (call) => {
    server.send(call, Buffer.alloc(0));
    server.send(call, Buffer.from('abc'));
    server.send(call, words(call.bytes.readUInt32BE(0), 0, 2));
    server.send(call, words(call.bytes.readUInt32BE(0), 1, 7));
    server.send(call, Buffer.concat([success(call.bytes.readUInt32BE(0) + 1), words(1)]));
    server.echo(call);
  };
  t.equal(await client.call(ECHO, 8, ANONYMOUS), 8);
  t.match(client.counters, { garbage: 4, badXids: 1 });
  t.equal(log.length, 1);
  t.match(log[0], /^127\.0\.0\.1 port \d+ sent a message of 0 bytes that is no reply$/);
});

t.test('a port that nobody listens on counts as a loss, not as an error', async (t) => {
  const { server, client, clock } = await setting(t, { timeo: 10 });
  const { port } = server.socket.address();
  await server.close();
  const result = client.call(ECHO, 5, ANONYMOUS);
  // Two datagrams: the refusal of the first is reported when the second is sent.
  while ((client.procedureCounters()[0]?.retransmits ?? 0) < 2) {
    clock.advance(500);
    for (let turn = 0; turn < 10; turn++) await nextTurn();
  }
  t.equal(client.outstanding, 1);
  const revived = new UdpServer();
  revived.onCall = (call) => revived.echo(call);
  revived.socket.bind(port, '127.0.0.1');
  await once(revived.socket, 'listening');
  t.teardown(() => revived.close());
  while (client.outstanding > 0) {
    clock.advance(500);
    await nextTurn();
  }
  t.equal(await result, 5);
});

t.test(
  'a hard client finds a server that comes back on another port, and sends it the same bytes',
  async (t) => {
    const revived = new UdpServer();
    revived.socket.bind(0, '127.0.0.1');
    await once(revived.socket, 'listening');
    t.teardown(() => revived.close());
    let asked = 0;
    const { server, client, clock, log } = await setting(t, {
      timeo: 2,
      retrans: 2,
      random: () => 0,
      resolvePort: async () => {
        asked += 1;
        return revived.socket.address().port;
      },
    });
    server.onCall = (call) => server.echo(call);
    t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
    server.onCall = () => {};
    const results = Promise.all([client.call(ECHO, 2, ANONYMOUS), client.call(ECHO, 3, ANONYMOUS)]);
    await server.untilCalls(2);
    await server.close();
    t.equal(asked, 0);
    revived.onCall = (call) => revived.echo(call);
    await turnUntil(clock, 100, () => client.outstanding === 0);
    t.same(await results, [2, 3]);
    t.ok(asked >= 1);
    t.ok(
      revived.calls.some((call) => call.bytes.equals(server.calls[1]?.bytes ?? Buffer.alloc(0))),
      'the same XID and bytes',
    );
    t.same(log, ['server 127.0.0.1 not responding, still trying', 'server 127.0.0.1 OK']);
  },
);

t.test('one call that is lost for ever costs the others no socket', async (t) => {
  const { server, client, clock } = await setting(t, { timeo: 2, retrans: 2 });
  server.onCall = (call) => {
    if (call.bytes.readUInt32BE(call.bytes.length - 4) !== 666) server.echo(call);
  };
  const lost = client.call(ECHO, 666, ANONYMOUS);
  lost.catch(() => {});
  while (client.counters.majorTimeouts < 3) {
    const others = Promise.all([1, 2, 3].map((value) => client.call(ECHO, value, ANONYMOUS)));
    await turnUntil(clock, 100, () => client.outstanding === 1);
    t.same(await others, [1, 2, 3]);
  }
  t.equal(client.counters.reconnects, 0);
});

t.test('client and server talk over IPv6, too', async (t) => {
  const { server, client } = await setting(t, {}, '::1');
  server.onCall = (call) => server.echo(call);
  t.equal(await client.call(ECHO, 7, ANONYMOUS), 7);
});
