/** Clients of a service: for one question, or lasting ones that find a server which has moved. */
import t, { type Test } from 'tap';
import { RpcService } from '../../lib/rpc/client/service.js';
import { RpcConnectError } from '../../lib/rpc/rpc-errors.js';
import { untilEnd } from '../support/until-end.js';
import { ManualClock, turnUntil } from './support/manual-clock.js';
import { ANONYMOUS, ECHO } from './support/procedures.js';
import { echo, WireServer } from './support/wire-server.js';

async function listening(t: Test): Promise<WireServer> {
  const server = new WireServer();
  server.onCall = echo;
  await server.listen();
  t.teardown(() => server.close());
  return server;
}

t.test(
  'a question has a connection of its own, which is closed after an answer and after an error',
  async (t) => {
    const server = await listening(t);
    const service = new RpcService({ host: '127.0.0.1', port: server.port });
    t.equal(await service.ask((client) => client.call(ECHO, 5, ANONYMOUS)), 5);
    await t.rejects(
      service.ask(() => Promise.reject(new Error('not an answer'))),
      /not an answer/,
    );
    await server.until(() => server.connections.filter((connection) => connection.ended).length === 2);
  },
);

t.test('without a server, a question fails at once', async (t) => {
  const server = await listening(t);
  const { port } = server;
  await server.stopListening();
  const service = new RpcService({ host: '127.0.0.1', port: async () => port });
  t.equal(await service.port(), port);
  await t.rejects(
    service.ask(async () => 1),
    RpcConnectError,
  );
});

t.test('a lasting client finds a server that has come back at another port', async (t) => {
  const first = await listening(t);
  const second = await listening(t);
  let port = first.port;
  const clock = new ManualClock();
  const service = new RpcService({ host: '127.0.0.1', port: async () => port }, { clock, random: () => 0 });
  const client = untilEnd(t, service.open(await service.port()));
  t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
  port = second.port;
  await first.close();
  const result = client.call(ECHO, 2, ANONYMOUS);
  await turnUntil(clock, 50, () => second.calls.length > 0);
  t.equal(await result, 2);
});
