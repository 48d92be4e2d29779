/** Connections that cost our server something and bring no calls end by themselves, and take nobody's place. */
import { once } from 'node:events';
import net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { RpcServer, type RpcServerOptions } from '../../lib/rpc/server/server.js';
import { handle } from '../../lib/rpc/server/server-procedure.js';
import { ManualClock } from './support/manual-clock.js';
import { DATA, ECHO, TEST_PROGRAM } from './support/procedures.js';
import { words } from './support/wire-server.js';

const LONG = 1e12;

interface Peer {
  readonly socket: net.Socket;
  readonly closed: boolean;
  /** ECHO: resolves when the reply is here. */
  call(): Promise<void>;
}

interface Ground {
  readonly server: RpcServer;
  readonly clock: ManualClock;
  /** Resolves when the server has taken it in. */
  connect(): Promise<Peer>;
  /** Lets time pass until the condition holds. */
  passUntil(condition: () => boolean, step?: number): Promise<void>;
  /** ECHO of 7 is answered when this is called. */
  release(): void;
}

const header = (procedure: number) =>
  words(1, 0, 2, TEST_PROGRAM.number, TEST_PROGRAM.version, procedure, 0, 0, 0, 0);

function record(body: Buffer): Buffer {
  return Buffer.concat([words(0x8000_0000 + body.length), body]);
}

async function ground(t: Test, options: RpcServerOptions): Promise<Ground> {
  const clock = new ManualClock();
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const server = new RpcServer({ ...options, clock });
  const large = Buffer.alloc(1024 * 1024);
  server.register(TEST_PROGRAM, [
    handle(ECHO, (value) => (value === 7 ? released.then(() => value) : value)),
    handle(DATA, () => large),
  ]);
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const sockets: net.Socket[] = [];
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await server.close(0);
  });
  let accepted = 0;
  return {
    server,
    clock,
    release: () => release(),
    async connect() {
      const socket = net.connect(port, '127.0.0.1');
      sockets.push(socket);
      socket.on('error', () => {});
      let received = 0;
      socket.on('data', (bytes) => {
        received += bytes.length;
      });
      await once(socket, 'connect');
      accepted += 1;
      const peer = {
        socket,
        closed: false,
        async call() {
          const before = received;
          socket.write(record(Buffer.concat([header(ECHO.number), words(1)])));
          while (received === before && !peer.closed) await nextTurn();
        },
      };
      socket.on('close', () => {
        peer.closed = true;
      });
      // The server is told of it, and of those that it ended in favour of it, in the order in which they came.
      while (server.accepted < accepted) await nextTurn();
      return peer;
    },
    async passUntil(condition, step = 100) {
      while (!condition()) {
        clock.advance(step);
        await nextTurn();
      }
    },
  };
}

t.test('a connection that brings no calls ends, and sooner if it never brought any', async (t) => {
  const limits = { firstCall: 1000, idle: 10_000, record: LONG, unread: LONG };
  const { server, clock, connect, passUntil } = await ground(t, { limits });
  const [silent, used] = [await connect(), await connect()];
  await used.call();
  const begin = clock.now();
  await passUntil(() => silent.closed, 10);
  t.equal(used.closed, false);
  await used.call();
  t.equal(server.connections, 1);
  t.ok(clock.now() - begin >= 1000, 'not before its time');
  const again = clock.now();
  await passUntil(() => used.closed);
  t.ok(clock.now() - again >= 10_000);
});

t.test('a connection with a call in hand stays', async (t) => {
  const limits = { firstCall: 1000, idle: 1000, record: 1000, unread: LONG };
  const { server, clock, connect, release } = await ground(t, { limits });
  const peer = await connect();
  peer.socket.write(record(Buffer.concat([header(ECHO.number), words(7)])));
  while (server.counters.calls === 0) await nextTurn();
  clock.advance(1_000_000);
  const reply = once(peer.socket, 'data');
  release();
  t.equal((await reply)[0].length, 32);
});

t.test('a record that does not come to its end ends the connection, however slowly it grows', async (t) => {
  const limits = { firstCall: LONG, idle: LONG, record: 1000, unread: LONG };
  const { connect, passUntil } = await ground(t, { limits });
  const [still, slow, partOfHeader, good] = [
    await connect(),
    await connect(),
    await connect(),
    await connect(),
  ];
  still.socket.write(Buffer.concat([words(0x8000_0000 + 1000), Buffer.alloc(10)]));
  slow.socket.write(words(0x8000_0000 + 1_000_000));
  partOfHeader.socket.write(Buffer.alloc(2));
  await passUntil(() => {
    slow.socket.write(Buffer.alloc(1));
    return still.closed && slow.closed && partOfHeader.closed;
  }, 10);
  await good.call();
  t.equal(good.closed, false);
});

t.test('a client that does not read its replies is given up', async (t) => {
  const limits = { firstCall: LONG, idle: LONG, record: LONG, unread: 1000 };
  const { connect, passUntil, server } = await ground(t, { limits });
  const peer = await connect();
  peer.socket.pause();
  const call = record(Buffer.concat([header(DATA.number), words(0)]));
  for (let i = 0; i < 40; i++) peer.socket.write(call);
  await passUntil(() => server.connections === 0);
  t.pass();
});

t.test('a connection beyond the limit takes the place of an idle one', async (t) => {
  const limits = { firstCall: LONG, idle: LONG, record: LONG, unread: LONG };
  const { server, clock, connect, release } = await ground(t, { limits, maxConnections: 3 });
  const turn = () => clock.advance(10);
  const first = await connect();
  await first.call();
  turn();
  const silent = await connect();
  turn();
  const busy = await connect();
  const calls = server.counters.calls;
  busy.socket.write(record(Buffer.concat([header(ECHO.number), words(7)])));
  while (server.counters.calls === calls) await nextTurn();
  turn();
  const fourth = await connect();
  while (!silent.closed) await nextTurn();
  await fourth.call();
  turn();
  const fifth = await connect();
  while (!first.closed) await nextTurn();
  await fifth.call();
  t.equal(server.connections, 3);
  t.same([busy.closed, fourth.closed, fifth.closed], [false, false, false]);
  const reply = once(busy.socket, 'data');
  release();
  await reply;
});
