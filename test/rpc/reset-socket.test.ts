/** Connections that are reset while they are ending by themselves: they are closed all the same, and say so. */
import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { RpcServer } from '../../lib/rpc/server/server.js';
import { resetSocket } from '../../lib/rpc/transport/reset-socket.js';

/** Two ends of a connection; `ours` is reset `turns` turns of the microtask queue after the peer's end was seen. */
async function resetAfterEnd(turns: number): Promise<void> {
  const listener = net.createServer();
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const peer = net.connect((listener.address() as net.AddressInfo).port, '127.0.0.1');
  peer.on('error', () => undefined);
  const [ours] = (await once(listener, 'connection')) as [net.Socket];
  ours.on('error', () => undefined);
  ours.resume();
  peer.end();
  await once(ours, 'end');
  for (let turn = 0; turn < turns; turn++) await new Promise<void>((resolve) => process.nextTick(resolve));
  const closed = once(ours, 'close');
  resetSocket(ours);
  await closed;
  peer.destroy();
  listener.close();
  await once(listener, 'close');
}

t.test('a connection whose peer has ended it is closed by a reset at any moment', async (t) => {
  for (let turns = 0; turns < 10; turns++) await resetAfterEnd(turns);
  t.pass('every one said that it was closed');
});

t.test('a connection in use whose peer has ended it is closed by a reset at any moment', async (t) => {
  const listener = net.createServer();
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const peer = net.connect((listener.address() as net.AddressInfo).port, '127.0.0.1');
  const [ours] = (await once(listener, 'connection')) as [net.Socket];
  const failed = once(peer, 'error');
  const closed = once(ours, 'close');
  resetSocket(ours);
  await closed;
  t.match(await failed, [{ code: 'ECONNRESET' }], 'the peer is told of a reset');
  listener.close();
});

t.test('a server can be stopped while its clients are leaving', async (t) => {
  for (let turns = 0; turns < 10; turns++) {
    const server = new RpcServer();
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
    const client = net.connect(port, '127.0.0.1');
    client.on('error', () => undefined);
    await once(client, 'connect');
    while (server.connections === 0) await new Promise(setImmediate);
    client.end();
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
    server.disconnectAll();
    await server.close(0);
    client.destroy();
  }
  t.pass('every one was');
});
