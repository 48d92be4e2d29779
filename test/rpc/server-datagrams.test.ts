/** The server over UDP, and the peers that it does not hear. */
import dgram from 'node:dgram';
import net from 'node:net';
import t, { type Test } from 'tap';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { RpcServer, type RpcServerOptions } from '../../lib/rpc/server/server.js';
import { handle, type ServerCall, type ServerProcedure } from '../../lib/rpc/server/server-procedure.js';
import { until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { ANONYMOUS, ECHO, TEST_PROGRAM } from './support/procedures.js';
import { callBytes, gate, onlyOnce } from './support/raw-client.js';

async function serving(
  t: Test,
  procedures: readonly ServerProcedure[],
  options: RpcServerOptions = {},
  host = '127.0.0.1',
): Promise<{ server: RpcServer; port: number }> {
  const server = new RpcServer(options);
  t.teardown(() => server.close(0));
  server.register(TEST_PROGRAM, procedures);
  const { port } = await server.listenForDatagrams({ host, port: 0 });
  return { server, port };
}

/** A socket that sends bytes to a port and collects what comes back. */
async function rawSocket(t: Test, port: number): Promise<{ replies: Buffer[]; send(bytes: Buffer): void }> {
  const socket = untilEnd(t, dgram.createSocket('udp4'));
  const replies: Buffer[] = [];
  socket.on('message', (message) => replies.push(message));
  await new Promise<void>((resolve) => socket.connect(port, '127.0.0.1', resolve));
  return { replies, send: (bytes) => socket.send(bytes) };
}

const echo = handle(ECHO, (value) => value);

t.test('a call in a datagram is answered by one, over IPv4 and IPv6', async (t) => {
  for (const host of ['127.0.0.1', '::1']) {
    let seen: ServerCall | undefined;
    const remember = handle(ECHO, (value, call) => {
      seen = call;
      return value;
    });
    const { server, port } = await serving(t, [remember], {}, host);
    const client = untilEnd(t, await RpcClient.connect({ host, port, protocol: 'udp' }));
    t.equal(await client.call(ECHO, 7, ANONYMOUS), 7);
    t.match(seen, { remoteAddress: host, remotePort: Number });
    t.match(server.counters, { calls: 1, garbage: 0 });
  }
});

t.test('datagrams that are no calls are counted, and nothing else happens', async (t) => {
  const { server, port } = await serving(t, [echo], { maxRecord: 100 });
  const { replies, send } = await rawSocket(t, port);
  send(Buffer.from('nonsense'));
  send(Buffer.alloc(0));
  send(Buffer.concat([callBytes(1, ECHO, 5), Buffer.alloc(100)]));
  send(callBytes(2, ECHO, 6));
  await until('the call is answered', () => replies.length > 0);
  t.same(
    replies.map((reply) => [reply.readUInt32BE(0), reply.readUInt32BE(reply.length - 4)]),
    [[2, 6]],
  );
  t.match(server.counters, { calls: 1, garbage: 3 });
});

t.test('a call that comes twice is carried out once, and answered twice', async (t) => {
  let carriedOut = 0;
  const { promise, open } = gate();
  const { server, port } = await serving(t, [
    onlyOnce(async (value) => {
      carriedOut += 1;
      await promise;
      return value;
    }),
  ]);
  const { replies, send } = await rawSocket(t, port);
  send(callBytes(3, ECHO, 8));
  send(callBytes(3, ECHO, 8));
  await until('both have come', () => server.counters.calls === 2);
  open();
  await until('it is answered', () => replies.length === 1);
  send(callBytes(3, ECHO, 8));
  await until('it is answered again', () => replies.length === 2);
  t.strictSame(replies[0], replies[1]);
  t.equal(carriedOut, 1);
});

t.test('calls beyond the number that is carried out at a time are lost', async (t) => {
  const { promise, open } = gate();
  const slow = handle(ECHO, async (value) => {
    await promise;
    return value;
  });
  const { server, port } = await serving(t, [slow], { maxOutstanding: 2 });
  const { replies, send } = await rawSocket(t, port);
  for (const xid of [1, 2, 3]) send(callBytes(xid, ECHO, xid));
  const other = await rawSocket(t, port);
  other.send(callBytes(4, ECHO, 4));
  await until('two calls have come', () => server.counters.calls === 2);
  open();
  await until('they are answered', () => replies.length === 2);
  send(callBytes(5, ECHO, 5));
  await until('the next one is answered', () => replies.length === 3);
  t.same(
    replies.map((reply) => reply.readUInt32BE(0)),
    [1, 2, 5],
  );
  t.same(other.replies, []);
});

t.test('a server that is closed answers nothing any more', async (t) => {
  const { promise, open } = gate();
  const slow = handle(ECHO, async (value) => {
    await promise;
    return value;
  });
  const { server, port } = await serving(t, [slow]);
  const { replies, send } = await rawSocket(t, port);
  send(callBytes(1, ECHO, 1));
  await until('the call has come', () => server.counters.calls === 1);
  await server.close();
  open();
  const again = new RpcServer();
  again.register(TEST_PROGRAM, [echo]);
  t.teardown(() => again.close(0));
  await again.listenForDatagrams({ host: '127.0.0.1', port });
  send(callBytes(2, ECHO, 2));
  await until('its successor answers', () => replies.length > 0);
  t.same(
    replies.map((reply) => reply.readUInt32BE(0)),
    [2],
  );
});

t.test('a port that is taken is an error', async (t) => {
  const { port } = await serving(t, [echo]);
  const second = new RpcServer();
  await t.rejects(second.listenForDatagrams({ host: '127.0.0.1', port }), { code: 'EADDRINUSE' });
  await second.close();
});

t.test('peers that are not admitted are not read, over TCP and UDP', async (t) => {
  const asked: string[] = [];
  let open = false;
  const admits = (address: string): boolean => {
    asked.push(address);
    return open;
  };
  const { server, port } = await serving(t, [echo], { admits });
  const { port: tcp } = await server.listen({ host: '127.0.0.1', port: 0 });
  const stranger = net.connect({ host: '127.0.0.1', port: tcp });
  stranger.on('error', () => {});
  stranger.write(Buffer.concat([Buffer.from('8000002c', 'hex'), callBytes(1, ECHO, 1)]));
  await new Promise((resolve) => stranger.on('close', resolve));
  const { replies, send } = await rawSocket(t, port);
  send(callBytes(2, ECHO, 2));
  await until('the datagram has come', () => asked.length === 2);
  t.match(server.counters, { calls: 0, garbage: 0 });
  t.equal(server.connections, 0);
  open = true;
  send(callBytes(3, ECHO, 3));
  await until('a datagram is answered', () => replies.length === 1);
  t.equal(replies[0]?.readUInt32BE(0), 3);
  const friend = untilEnd(t, await RpcClient.connect({ host: '127.0.0.1', port: tcp }));
  t.equal(await friend.call(ECHO, 4, ANONYMOUS), 4);
});

t.test('an IPv4 peer of an IPv6 socket is known by its IPv4 address', async (t) => {
  const asked: string[] = [];
  const admits = (address: string): boolean => asked.push(address) > 0;
  const { server, port } = await serving(t, [echo], { admits }, '::');
  const { port: tcp } = await server.listen({ host: '::', port: 0 });
  for (const [protocol, at] of [
    ['udp', port],
    ['tcp', tcp],
  ] as const) {
    const client = untilEnd(t, await RpcClient.connect({ host: '127.0.0.1', port: at, protocol }));
    t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
  }
  t.same(new Set(asked), new Set(['127.0.0.1']));
});
