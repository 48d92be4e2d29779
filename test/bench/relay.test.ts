/** The relay that counts calls: what it counts, however the bytes arrive, and that it changes none of them. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import t from 'tap';
import { CallCounter, Relay } from '../../bench/relay.js';

/** An RPC message with nothing but its head and `body` bytes more, in records of fragments of these sizes. */
function record(kind: 0 | 1, program: number, procedure: number, body: number, fragments: number[] = []) {
  const message = Buffer.alloc(24 + body, 0xff);
  [7, kind, 2, program, 3, procedure].forEach((word, index) => {
    message.writeUInt32BE(word, index * 4);
  });
  const sizes = [...fragments, message.length - fragments.reduce((sum, size) => sum + size, 0)];
  let at = 0;
  return Buffer.concat(
    sizes.flatMap((size, index) => {
      const mark = Buffer.alloc(4);
      mark.writeUInt32BE((index === sizes.length - 1 ? 0x8000_0000 : 0) + size);
      at += size;
      return [mark, message.subarray(at - size, at)];
    }),
  );
}

const stream = Buffer.concat([
  record(0, 100003, 6, 100),
  record(0, 100003, 7, 5000, [1000, 2000]),
  record(1, 100003, 1, 12),
  record(0, 100005, 1, 0),
  record(0, 100003, 3, 60, [24]),
]);
const calls = ['100003/6', '100003/7', '100005/1', '100003/3'];

t.test('each call is counted once, replies are not, wherever the stream is cut', async (t) => {
  for (const size of [1, 3, 4, 7, 24, 28, 1000, stream.length]) {
    const seen: string[] = [];
    const counter = new CallCounter((program, procedure) => seen.push(`${program}/${procedure}`));
    for (let at = 0; at < stream.length; at += size) counter.push(stream.subarray(at, at + size));
    t.strictSame(seen, calls, `pieces of ${size}`);
  }
});

t.test('what passes the relay is unchanged in both directions, and counted until it is taken', async (t) => {
  const echo = createServer((socket) => socket.pipe(socket));
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  t.teardown(() => echo.close());
  const relay = await Relay.start((echo.address() as AddressInfo).port);
  const socket = connect(relay.port, '127.0.0.1');
  const received: Buffer[] = [];
  socket.on('data', (data: Buffer) => received.push(data));
  socket.end(stream);
  await once(socket, 'end');
  t.ok(Buffer.concat(received).equals(stream));
  t.strictSame(relay.take(), { READ: 1, WRITE: 1, '100005/1': 1, LOOKUP: 1 });
  t.strictSame(relay.take(), {});
  await relay.close();
});
