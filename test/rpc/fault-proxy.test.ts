/** The fault proxy does to records what its plan says, counts it, and does the same for the same seed. */
import net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { RpcClient, type RpcClientOptions } from '../../lib/rpc/client/client.js';
import { type Fault, type FaultPlan, ROUGH, scriptedPlan, seededPlan } from '../support/fault-plan.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { ManualClock } from './support/manual-clock.js';
import { ANONYMOUS, DATA, ECHO } from './support/procedures.js';
import { echo, success, WireServer, words } from './support/wire-server.js';

const TEST_ECHO = `${0x2000_0001}.1`;

interface Setting {
  readonly server: WireServer;
  readonly proxy: FaultProxy;
  readonly client: RpcClient;
  readonly clock: ManualClock;
}

async function setting(t: Test, plan: FaultPlan, options: Partial<RpcClientOptions> = {}): Promise<Setting> {
  const server = new WireServer();
  await server.listen();
  server.onCall = echo;
  const clock = new ManualClock();
  const proxy = await FaultProxy.start({ upstream: server.port, plan, clock });
  const client = new RpcClient({ host: '127.0.0.1', port: proxy.port, random: () => 0, ...options });
  t.teardown(async () => {
    client.close();
    await proxy.close();
    await server.close();
  });
  return { server, proxy, client, clock };
}

const onceTo = (direction: 'call' | 'reply', fault: Fault): FaultPlan =>
  scriptedPlan([{ direction, procedure: TEST_ECHO, fault }]);

/** Waits for sockets, with time standing still. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

const call = (client: RpcClient, value: number) => client.call(ECHO, value, ANONYMOUS);

t.test('the proxy without faults passes everything on', async (t) => {
  const { client, proxy } = await setting(t, scriptedPlan([]));
  t.same(await Promise.all([1, 2, 3].map((value) => call(client, value))), [1, 2, 3]);
  t.match(proxy.counters, { connections: 1, calls: 3, replies: 3, dropped: 0, cut: 0 });
});

for (const direction of ['call', 'reply'] as const) {
  t.test(`a dropped ${direction} comes when the connection is cut`, async (t) => {
    const { client, proxy, clock, server } = await setting(
      t,
      onceTo(direction, { kind: 'drop', cutAfter: 50 }),
    );
    const answer = call(client, 7);
    await until(() => proxy.counters.dropped === 1);
    clock.advance(49);
    t.equal(proxy.counters.cut, 0);
    clock.advance(1);
    t.equal(await answer, 7);
    t.equal(server.calls.length, direction === 'call' ? 1 : 2);
    t.match(proxy.counters, { connections: 2, cut: 1 });
  });

  t.test(`a ${direction} cut in its middle is sent again`, async (t) => {
    const { client, proxy, server } = await setting(t, onceTo(direction, { kind: 'cut', bytes: 9 }));
    t.equal(await call(client, 8), 8);
    t.match(proxy.counters, { connections: 2, cut: 1 });
    t.equal(server.calls.length, direction === 'call' ? 1 : 2, 'half a call is none');
  });

  t.test(`a delayed ${direction} holds up those behind it`, async (t) => {
    const { client, proxy, clock } = await setting(t, onceTo(direction, { kind: 'delay', ms: 30 }));
    let answered = 0;
    const answers = [1, 2].map(async (value) => {
      await call(client, value);
      answered += 1;
    });
    await until(() => proxy.counters.delayed === 1 && proxy.counters.calls === 2);
    clock.advance(29);
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    t.equal(answered, 0);
    clock.advance(1);
    await Promise.all(answers);
    t.equal(answered, 2);
  });
}

t.test('a duplicated call arrives twice, a duplicated reply is ignored once', async (t) => {
  const { client, server } = await setting(t, onceTo('call', { kind: 'duplicate' }));
  t.equal(await call(client, 5), 5);
  t.equal(await call(client, 6), 6);
  t.equal(server.calls.length, 3);
  const { client: other } = await setting(t, onceTo('reply', { kind: 'duplicate', times: 3 }));
  t.equal(await call(other, 5), 5);
  t.equal(await call(other, 6), 6);
  t.equal(other.counters.badXids, 2);
});

t.test('a reordered call is overtaken, but by no more than was said', async (t) => {
  const { client, server } = await setting(t, onceTo('call', { kind: 'reorder', by: 2, ms: 1000 }));
  t.same(await Promise.all([1, 2, 3, 4].map((value) => call(client, value))), [1, 2, 3, 4]);
  t.same(
    server.calls.map(({ bytes }) => bytes.readUInt32BE(bytes.length - 4)),
    [2, 3, 1, 4],
  );
});

t.test('a reordered call that nobody overtakes goes when its time is over', async (t) => {
  const { client, proxy, clock } = await setting(t, onceTo('call', { kind: 'reorder', by: 2, ms: 10 }));
  const answer = call(client, 3);
  await until(() => proxy.counters.reordered === 1);
  clock.advance(10);
  t.equal(await answer, 3);
});

t.test('a truncated reply is a whole record with too little in it', async (t) => {
  const { client, proxy } = await setting(t, onceTo('reply', { kind: 'truncate', length: 26 }));
  await t.rejects(call(client, 3), { name: 'RpcGarbageError' });
  t.equal(await call(client, 4), 4);
  t.match(proxy.counters, { truncated: 1, connections: 1 });
});

t.test('a corrupt reply has its length, and other contents', async (t) => {
  const { client, proxy } = await setting(t, onceTo('reply', { kind: 'corrupt', places: [0.999] }));
  const answer = await call(client, 3);
  t.not(answer, 3);
  t.equal(await call(client, 4), 4);
  t.match(proxy.counters, { corrupted: 1, connections: 1 });
});

t.test('a client connects again after a refusal, and a pause loses nothing', async (t) => {
  const { client, proxy, clock } = await setting(t, onceTo('call', { kind: 'refuse', ms: 100 }));
  const answer = call(client, 1);
  await until(() => proxy.counters.refused > 0);
  clock.advance(100);
  t.equal(await answer, 1);
  proxy.hold();
  const held = call(client, 2);
  await until(() => proxy.counters.calls >= 2);
  proxy.release();
  t.equal(await held, 2);
});

t.test('the server finishes the calls from before a cut before anything new reaches it', async (t) => {
  const { client, proxy, server } = await setting(t, scriptedPlan([]));
  server.onCall = () => {};
  const answer = call(client, 1);
  await server.untilCalls(1);
  proxy.cutAll();
  await until(() => proxy.counters.connections === 2);
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  t.equal(server.connections.length, 1, 'the new connection waits');
  server.onCall = echo;
  const [first] = server.calls;
  if (first !== undefined) echo(first);
  t.equal(await answer, 1);
  t.equal(server.calls.length, 2);
});

t.test('records in several fragments, and long ones, pass unchanged', async (t) => {
  const { client, server } = await setting(t, scriptedPlan([]));
  const data = Buffer.alloc(700_000, 'd');
  server.onCall = ({ connection, xid }) => {
    const body = Buffer.concat([success(xid), words(data.length), data]);
    const pieces = [body.subarray(0, 40), body.subarray(40, 300_000), body.subarray(300_000)];
    for (const [index, piece] of pieces.entries()) {
      connection.socket.write(words((index === 2 ? 0x8000_0000 : 0) + piece.length));
      connection.socket.write(piece);
    }
  };
  const back = await client.call(DATA, data, ANONYMOUS);
  t.ok(back.equals(data));
});

t.test('a stream that has no records is ended', async (t) => {
  const { proxy } = await setting(t, scriptedPlan([]));
  const socket = net.connect(proxy.port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(words(0xffff_ffff));
  await new Promise((resolve) => socket.on('close', resolve));
  t.equal(proxy.open, 0);
});

t.test('a seed determines what happens to which record', async (t) => {
  const fates = (seed: number) => {
    const plan = seededPlan(seed, ROUGH, ['NFS.MNT']);
    return Array.from({ length: 2000 }, (_, index) =>
      plan.decide({
        direction: index % 2 === 0 ? 'call' : 'reply',
        connection: index % 3,
        index,
        procedure: index % 7 === 0 ? 'NFS.MNT' : 'NFS.READ',
        length: 100,
      }),
    );
  };
  t.same(fates(1), fates(1));
  t.notSame(fates(1), fates(2));
  const kinds = new Set(fates(1).map((fault) => fault?.kind));
  for (const kind of ['drop', 'delay', 'duplicate', 'reorder', 'cut'] as const) t.ok(kinds.has(kind), kind);
  t.notOk(
    fates(1).some((fault, index) => fault !== undefined && index % 7 === 0),
    'some are spared',
  );
});
