/** The step between a TCP connection and its first call, where RPC-with-TLS will stand. */
import { once } from 'node:events';
import net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import tls from 'node:tls';
import t from 'tap';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { RpcConnectError } from '../../lib/rpc/rpc-errors.js';
import { turnUntil } from './support/manual-clock.js';
import { ANONYMOUS, DATA, ECHO } from './support/procedures.js';
import { setting } from './support/setting.js';
import { echo, success, WireConnection, words } from './support/wire-server.js';

t.test('calls wait until the step before ready is taken, on each connection anew', async (t) => {
  const finish: (() => void)[] = [];
  const { server, client, clock } = await setting(t, {
    beforeReady: (socket) => new Promise((resolve) => finish.push(() => resolve(socket))),
  });
  server.onCall = echo;
  const first = client.call(ECHO, 1, ANONYMOUS);
  await turnUntil(clock, 0, () => finish.length === 1);
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  t.equal(server.calls.length, 0, 'nothing is sent before');
  finish[0]?.();
  t.equal(await first, 1);

  server.connections[0]?.socket.resetAndDestroy();
  await server.until(() => server.connections[0]?.ended === true);
  const second = client.call(ECHO, 2, ANONYMOUS);
  await turnUntil(clock, 10, () => finish.length === 2);
  t.equal(server.calls.length, 1);
  finish[1]?.();
  t.equal(await second, 2);
});

t.test(
  'the step before ready has the connection for itself: the bytes that it reads are no reply',
  async (t) => {
    const { server, client, log } = await setting(t, {
      beforeReady: async (socket) => {
        const answer = once(socket, 'data');
        socket.write(Buffer.concat([words(0x8000_0004), Buffer.from('ping')]));
        const [bytes] = (await answer) as [Buffer];
        if (bytes.toString('latin1', 4) !== 'pong') throw new Error(`the server said ${bytes.toString()}`);
        return socket;
      },
    });
    server.onCall = (call) => {
      if (call.bytes.toString('latin1') === 'ping') call.connection.record(Buffer.from('pong'));
      else echo(call);
    };
    t.equal(await client.call(ECHO, 7, ANONYMOUS), 7);
    t.equal(client.counters.garbage, 0);
    t.same(log, []);
  },
);

t.test('a step before ready that fails is a failed attempt to connect', async (t) => {
  let fails = true;
  const beforeReady = (socket: net.Socket) =>
    fails ? Promise.reject(new Error('no such certificate')) : Promise.resolve(socket);
  const { server, client, clock } = await setting(t, { beforeReady });
  server.onCall = echo;
  const refused = RpcClient.connect({ host: '127.0.0.1', port: server.port, beforeReady });
  await t.rejects(refused, RpcConnectError);
  await t.rejects(refused, /cannot connect to 127.0.0.1 port \d+: no such certificate/);

  const result = client.call(ECHO, 3, ANONYMOUS);
  await turnUntil(clock, 10, () => server.connections.filter((connection) => connection.ended).length >= 3);
  t.equal(server.calls.length, 0);
  fails = false;
  await turnUntil(clock, 100, () => server.calls.length > 0);
  t.equal(await result, 3, 'a hard call goes on until a step succeeds');
});

t.test(
  'the time limit of connecting covers the step before ready, and a connection that it yields later is ended',
  async (t) => {
    let finish = (): void => {};
    let late: net.Socket | undefined;
    const { server, client, clock } = await setting(t, {
      connectTimeout: 5_000,
      recovery: 'soft',
      retrans: 0,
      timeo: 10,
      beforeReady: (socket) => {
        late = new net.Socket();
        return new Promise((resolve) => {
          finish = () => resolve(late ?? socket);
        });
      },
    });
    const failed = t.rejects(client.call(ECHO, 1, ANONYMOUS));
    await turnUntil(clock, 100, () => server.connections[0]?.ended === true);
    await failed;
    finish();
    await turnUntil(clock, 0, () => late?.destroyed === true);
    t.equal(server.calls.length, 0);
  },
);

t.test('a step before ready can put TLS around the connection', async (t) => {
  const secret = { psk: Buffer.alloc(16, 7), identity: 'client' };
  const ciphers = 'PSK';
  const secure = tls.createServer({ ciphers, maxVersion: 'TLSv1.2', pskCallback: () => secret.psk });
  const plain = net.createServer((socket) => secure.emit('connection', socket));
  secure.on('secureConnection', (socket) => {
    new WireConnection(
      socket,
      (call) => call.connection.record(success(call.xid), call.bytes.subarray(call.bytes.length - 1_000_004)),
      () => {},
    );
  });
  secure.on('tlsClientError', () => {});
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  const { port } = plain.address() as net.AddressInfo;
  const client = new RpcClient({
    host: '127.0.0.1',
    port,
    beforeReady: async (socket) => {
      const options = { socket, ciphers, maxVersion: 'TLSv1.2', pskCallback: () => secret } as const;
      const around = tls.connect({ ...options, checkServerIdentity: () => undefined });
      await once(around, 'secureConnect');
      return around;
    },
  });
  t.teardown(async () => {
    client.close();
    plain.close();
    await once(plain, 'close');
  });
  const data = Buffer.alloc(1_000_000, 'TLS');
  for (let call = 0; call < 3; call++) t.ok((await client.call(DATA, data, ANONYMOUS)).equals(data));
});

t.test(
  'a client that only wants to know of its connections reads them straight into its own memory',
  async (t) => {
    let made = 0;
    const direct: boolean[] = [];
    const { server, client, clock } = await setting(t, {
      onConnected: () => made++,
      connectSocket: (options) => {
        direct.push(options.onread !== undefined);
        return net.connect(options);
      },
    });
    server.onCall = echo;
    t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
    t.equal(made, 1);
    server.connections[0]?.socket.resetAndDestroy();
    await server.until(() => server.connections[0]?.ended === true);
    const second = client.call(ECHO, 2, ANONYMOUS);
    await turnUntil(clock, 10, () => made === 2);
    t.equal(await second, 2);
    t.same(direct, [true, true]);
  },
);
