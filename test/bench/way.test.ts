/** The relay that is nothing but distance: data comes whole and in order, no sooner than it may, and nothing waits for the rest. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { roundTripsOver } from '../../bench/distance/added.js';
import { DelayedWay, DIRECT } from '../../bench/distance/way.js';
import { compileDelay } from '../../bench/load.js';
import { publicFolder } from '../support/folders.js';
import { untilEnd } from '../support/until-end.js';

const scratch = untilEnd(t, publicFolder());
const program = compileDelay(scratch.path);

async function echo(t: Test): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function connected(t: Test, rttMs: number): Promise<Socket> {
  const way = untilEnd(t, new DelayedWay(rttMs, await program));
  const socket = connect({ port: await way.to(await echo(t)), host: '127.0.0.1', allowHalfOpen: true });
  socket.setNoDelay(true);
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

t.test('without distance there is no relay', async (t) => {
  t.equal(await DIRECT.to(2049), 2049);
});

t.test('what a way adds to a round trip is measured', async (t) => {
  const way = untilEnd(t, new DelayedWay(4, await program));
  const [near = 0, far = 0] = await roundTripsOver([DIRECT, way]);
  t.ok(near > 0 && far >= 4, `${near} and ${far} ms`);
});

t.test('what passes is unchanged, to its end, in both directions, at any distance', async (t) => {
  const sent = Buffer.alloc(3_000_001);
  for (let at = 0; at < sent.length; at++) sent[at] = (at * 2654435761) >>> 24;
  for (const rttMs of [0, 30]) {
    const socket = await connected(t, rttMs);
    const received: Buffer[] = [];
    socket.on('data', (data: Buffer) => received.push(data));
    socket.end(sent);
    await once(socket, 'end');
    t.ok(Buffer.concat(received).equals(sent), `${rttMs} ms`);
  }
});

t.test('an answer takes the round trip at least', async (t) => {
  const socket = await connected(t, 40);
  const began = process.hrtime.bigint();
  socket.write('x');
  await once(socket, 'data');
  t.ok(process.hrtime.bigint() - began >= 40_000_000n);
});

t.test('what is sent while other data is on its way is on its way with it', async (t) => {
  const socket = await connected(t, 2000);
  socket.write('a');
  // Sent well before the first could be back.
  await new Promise((resolve) => setTimeout(resolve, 20));
  socket.write('b');
  let received = '';
  const came: bigint[] = [];
  socket.on('data', (data: Buffer) => {
    received += data.toString();
    came.push(process.hrtime.bigint());
  });
  const began = process.hrtime.bigint();
  while (received.length < 2) await once(socket, 'data');
  t.equal(received, 'ab');
  const one = 2_000_000_000n;
  t.ok((came.at(-1) ?? 0n) - began < 2n * one, 'both within less than two round trips');
});

t.test('each port has its relay, which is found again, and ends with the way', async (t) => {
  const way = new DelayedWay(0, await program);
  const target = await echo(t);
  const port = await way.to(target);
  t.equal(await way.to(target), port);
  t.not(await way.to(await echo(t)), port);
  await way.close();
  const socket = connect(port, '127.0.0.1');
  const [error] = await once(socket, 'error').catch((why: unknown) => [why]);
  t.match(error, { code: 'ECONNREFUSED' });
});

t.test('a relay that cannot start says why', async (t) => {
  const way = untilEnd(t, new DelayedWay(0, '/bin/false'));
  await t.rejects(way.to(1), /the relay ended/);
});
