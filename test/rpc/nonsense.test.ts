/** Servers that talk nonsense: what the user is told of it, and how often. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { RpcGarbageError, RpcTimeoutError } from '../../lib/rpc/rpc-errors.js';
import { ANONYMOUS, ECHO } from './support/procedures.js';
import { setting } from './support/setting.js';
import { echo, success, type WireCall } from './support/wire-server.js';

const NONSENSE: Readonly<
  Record<string, { readonly answer: (call: WireCall) => void; readonly told: RegExp }>
> = {
  'no record': {
    answer: (call) => call.connection.socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
    told: /^server 127\.0\.0\.1 port \d+ sent nonsense: /,
  },
  'no reply': {
    answer: (call) => call.connection.record(Buffer.from('abc')),
    told: /^127\.0\.0\.1 port \d+ sent a message of 3 bytes that is no reply; the connection was ended$/,
  },
  'no result': {
    answer: (call) => call.connection.record(success(call.xid)),
    told: /^TEST ECHO on 127\.0\.0\.1: the reply cannot be decoded: /,
  },
};

for (const [name, { answer, told }] of Object.entries(NONSENSE)) {
  t.test(`${name}: counted each time, told once until a good reply came and a minute passed`, async (t) => {
    const { server, client, clock, log } = await setting(t, { recovery: 'soft', timeo: 10, retrans: 2 });
    const fail = async () => {
      server.onCall = answer;
      const failed = client.call(ECHO, 1, ANONYMOUS).catch((error: unknown) => error);
      while (client.outstanding > 0) {
        clock.advance(50);
        for (let turn = 0; turn < 5; turn++) await nextTurn();
      }
      t.ok((await failed) instanceof Error);
    };
    const succeed = async () => {
      server.onCall = echo;
      const answered = client.call(ECHO, 2, ANONYMOUS);
      while (client.outstanding > 0) {
        clock.advance(50);
        for (let turn = 0; turn < 5; turn++) await nextTurn();
      }
      t.equal(await answered, 2);
    };
    await fail();
    await fail();
    t.ok(client.counters.garbage >= 2, `${client.counters.garbage} times`);
    t.equal(log.length, 1);
    t.match(log[0], told);
    clock.advance(600_000);
    await fail();
    t.equal(log.length, 1, 'it is still the same outage');
    await succeed();
    await fail();
    t.equal(log.length, 2, 'another one is told');
    await succeed();
    await fail();
    t.equal(log.length, 2, 'but not each reply of many');
  });
}

t.test('a soft call that was answered with nonsense fails with an error that says so', async (t) => {
  const { server, client, clock } = await setting(t, { recovery: 'soft', timeo: 10, retrans: 2 });
  server.onCall = (call) => call.connection.socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
  const failed = client.call(ECHO, 1, ANONYMOUS).catch((error: unknown) => error);
  while (client.outstanding > 0) {
    clock.advance(50);
    for (let turn = 0; turn < 5; turn++) await nextTurn();
  }
  const error = await failed;
  t.ok(error instanceof RpcTimeoutError);
  t.match(error, { message: /^no answer from 127\.0\.0\.1 port \d+ within 3 s: .* sent nonsense: / });
  t.ok(error instanceof Error && error.cause instanceof RpcGarbageError);

  server.onCall = () => {};
  const silent = client.call(ECHO, 1, ANONYMOUS).catch((reason: unknown) => reason);
  while (client.outstanding > 0) {
    clock.advance(50);
    for (let turn = 0; turn < 5; turn++) await nextTurn();
  }
  t.match(await silent, { message: /within 3 s$/, cause: undefined });
});
