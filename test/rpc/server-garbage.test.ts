/** Garbage that a server receives ends its connection and harms no other client. */
import t from 'tap';
import { handle } from '../../lib/rpc/server/server-procedure.js';
import { ANONYMOUS, DATA, ECHO } from './support/procedures.js';
import { callBytes, serving } from './support/raw-client.js';
import { words } from './support/wire-server.js';

t.test('garbage ends its connection, is counted, and harms nobody else', async (t) => {
  const { server, client, raw } = await serving(t, [handle(ECHO, (value) => value)]);
  const garbage = [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from('ffffffff', 'hex'),
    Buffer.from('8000000000000000', 'hex'),
    Buffer.concat([words(0x8000_0000 + 8), words(1, 1)]),
    Buffer.concat([words(0x8000_0000 + 24), words(1, 0, 2, 3, 4, 5)]),
    Buffer.concat([words(0x8000_0000 + 40), words(1, 0, 2, 3, 4, 5, 1, 401, 0, 0)]),
  ];
  for (const [index, bytes] of garbage.entries()) {
    const bad = raw();
    bad.socket.write(bytes);
    await bad.until(() => bad.closed);
    t.equal(server.counters.garbage, index + 1);
    t.same(bad.replies, []);
  }
  t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
});

t.test('random bytes never throw out of a connection', async (t) => {
  const { client, raw } = await serving(t, [
    handle(ECHO, (value) => value),
    handle(DATA, (data) => Buffer.from(data)),
  ]);
  let state = 99;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  for (let round = 0; round < 200; round++) {
    const bad = raw();
    const bytes = Buffer.from(Array.from({ length: random(200) }, () => random(256)));
    if (round % 3 === 0) bad.socket.write(bytes);
    else {
      // Nearly a call: a proper beginning, then some words changed.
      const call = Buffer.concat([callBytes(round, random(2) === 0 ? ECHO : DATA), bytes]);
      if (round % 3 === 1) call.writeUInt32BE(random(8), random(10) * 4);
      bad.send(call);
    }
    bad.socket.end();
    await bad.until(() => bad.closed);
  }
  t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
});
