/** Reserved source ports: tried from the top, and never a reason not to connect. */
import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { RpcConnectError } from '../../lib/rpc/rpc-errors.js';
import { untilEnd } from '../support/until-end.js';
import { ANONYMOUS, ECHO } from './support/procedures.js';
import { echo, WireServer } from './support/wire-server.js';

/** A socket that fails as bind(2) would. */
function refused(code: string): net.Socket {
  const socket = new net.Socket();
  const error = Object.assign(new Error(`bind ${code}`), { code, syscall: 'bind' });
  setImmediate(() => socket.destroy(error));
  return socket;
}

async function listening(t: Test): Promise<WireServer> {
  const server = new WireServer();
  await server.listen();
  server.onCall = echo;
  t.teardown(() => server.close());
  return server;
}

/** Connects with `resvport`, `bind` deciding what a source port is worth; returns the ports tried. */
async function connect(
  t: Test,
  server: WireServer,
  bind: (localPort: number) => string | undefined,
  nconnect = 1,
): Promise<{ client: RpcClient; tried: (number | undefined)[]; log: string[] }> {
  const tried: (number | undefined)[] = [];
  const log: string[] = [];
  const client = untilEnd(
    t,
    await RpcClient.connect({
      host: '127.0.0.1',
      port: server.port,
      resvport: true,
      nconnect,
      log: (message) => log.push(message),
      connectSocket: (options) => {
        tried.push(options.localPort);
        const code = options.localPort === undefined ? undefined : bind(options.localPort);
        if (code !== undefined) return refused(code);
        // The test may not be allowed to bind the port: what counts is that it was asked for.
        const { localPort: _, ...rest } = options;
        return net.connect(rest);
      },
    }),
  );
  t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
  return { client, tried, log };
}

t.test('ports are tried from 1023 down while they are taken', async (t) => {
  const server = await listening(t);
  const { tried, log } = await connect(t, server, (port) => (port > 1020 ? 'EADDRINUSE' : undefined));
  t.same(tried, [1023, 1022, 1021, 1020]);
  t.same(log, []);
});

t.test('EADDRNOTAVAIL, which connect(2) says of a port in TIME_WAIT, means the next port too', async (t) => {
  const server = await listening(t);
  const { tried } = await connect(t, server, (port) => (port > 1022 ? 'EADDRNOTAVAIL' : undefined));
  t.same(tried, [1023, 1022]);
});

t.test('a client without permission uses an ordinary port after one attempt, and logs that', async (t) => {
  const server = await listening(t);
  const { tried, log } = await connect(t, server, () => 'EACCES');
  t.same(tried, [1023, undefined]);
  t.same(log, ['no permission to use a reserved source port (resvport); connecting from an ordinary one']);
});

t.test('many connections without reserved ports log that once, and later ones not again', async (t) => {
  const server = await listening(t);
  const { client, tried, log } = await connect(t, server, () => 'EACCES', 16);
  const calls = Array.from({ length: 32 }, (_, index) => client.call(ECHO, index, ANONYMOUS));
  await Promise.all(calls);
  t.equal(server.connections.length, 16);
  const [first] = server.connections;
  first?.socket.resetAndDestroy();
  await server.until(() => first?.ended === true);
  await Promise.all(Array.from({ length: 32 }, (_, index) => client.call(ECHO, index, ANONYMOUS)));
  t.ok(tried.length >= 2 * 16);
  t.same(log, ['no permission to use a reserved source port (resvport); connecting from an ordinary one']);
});

t.test('a client uses an ordinary port when all reserved ones are taken, and logs that', async (t) => {
  const server = await listening(t);
  const { tried, log } = await connect(t, server, () => 'EADDRINUSE');
  t.equal(tried.length, 1023 - 665 + 2);
  t.equal(tried.at(-2), 665);
  t.equal(tried.at(-1), undefined);
  t.same(log, ['no reserved source port is free; connecting from an ordinary one']);
});

t.test('a client without resvport asks for no source port', async (t) => {
  const server = await listening(t);
  const tried: (number | undefined)[] = [];
  untilEnd(
    t,
    await RpcClient.connect({
      host: '127.0.0.1',
      port: server.port,
      connectSocket: (options) => {
        tried.push(options.localPort);
        return net.connect(options);
      },
    }),
  );
  t.same(tried, [undefined]);
});

t.test('a server that refuses connections is not tried from all 359 ports', async (t) => {
  let tried = 0;
  const failed = RpcClient.connect({
    host: '127.0.0.1',
    port: 9,
    resvport: true,
    connectSocket: () => {
      tried += 1;
      return refused('ECONNREFUSED');
    },
  });
  await t.rejects(failed, RpcConnectError);
  t.equal(tried, 1);
});

t.test('sockets have no Nagle delay, and probe a silent peer', async (t) => {
  const server = await listening(t);
  const seen: net.TcpNetConnectOpts[] = [];
  untilEnd(
    t,
    await RpcClient.connect({
      host: '127.0.0.1',
      port: server.port,
      timeo: 300,
      connectSocket: (options) => {
        seen.push(options);
        const socket = net.connect(options);
        void once(socket, 'close');
        return socket;
      },
    }),
  );
  t.match(seen[0], { noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 });
});
