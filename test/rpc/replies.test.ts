/** Replies that are no success: each class has its error, and garbage ends the connection and never the process. */
import t from 'tap';
import {
  RpcAuthError,
  RpcDeniedError,
  RpcError,
  RpcGarbageArgumentsError,
  RpcGarbageError,
  RpcProcedureUnavailableError,
  RpcProgramMismatchError,
  RpcProgramUnavailableError,
  RpcSystemError,
  RpcVersionMismatchError,
} from '../../lib/rpc/rpc-errors.js';
import { connected } from './support/connected.js';
import { ANONYMOUS, ECHO } from './support/procedures.js';
import { echo, success, words } from './support/wire-server.js';

const FAILURES: readonly {
  readonly name: string;
  readonly reply: readonly number[];
  readonly error: abstract new (...args: never[]) => RpcError;
  readonly message: RegExp;
}[] = [
  { name: 'PROG_UNAVAIL', reply: [0, 0, 0, 1], error: RpcProgramUnavailableError, message: /does not offer/ },
  {
    name: 'PROG_MISMATCH',
    reply: [0, 0, 0, 2, 2, 4],
    error: RpcProgramMismatchError,
    message: /versions 2 to 4/,
  },
  { name: 'PROC_UNAVAIL', reply: [0, 0, 0, 3], error: RpcProcedureUnavailableError, message: /PROC_UNAVAIL/ },
  { name: 'GARBAGE_ARGS', reply: [0, 0, 0, 4], error: RpcGarbageArgumentsError, message: /GARBAGE_ARGS/ },
  { name: 'SYSTEM_ERR', reply: [0, 0, 0, 5], error: RpcSystemError, message: /SYSTEM_ERR/ },
  {
    name: 'RPC_MISMATCH',
    reply: [1, 0, 3, 5],
    error: RpcVersionMismatchError,
    message: /RPC versions 3 to 5/,
  },
  { name: 'AUTH_TOOWEAK', reply: [1, 1, 5], error: RpcAuthError, message: /AUTH_TOOWEAK/ },
  { name: 'AUTH_REJECTEDCRED', reply: [1, 1, 2], error: RpcAuthError, message: /AUTH_REJECTEDCRED/ },
];

for (const { name, reply, error, message } of FAILURES) {
  t.test(`${name} fails the call with an error of its own, and the connection stays`, async (t) => {
    const { server, client } = await connected(t);
    server.onCall = (call) => call.connection.record(words(call.xid, 1, ...reply));
    const failed = await client.call(ECHO, 1, ANONYMOUS).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    t.ok(failed instanceof error);
    t.ok(failed instanceof RpcError);
    t.match(failed, { name: error.name, message });
    t.match(failed, { message: /^TEST ECHO on 127\.0\.0\.1/ }, 'procedure and server are named');
    if (name.startsWith('AUTH')) {
      t.ok(failed instanceof RpcDeniedError);
      t.match(failed, { authStat: reply[2], authStatName: name });
    }
    if (name.endsWith('MISMATCH')) t.match(failed, { low: reply.at(-2), high: reply.at(-1) });
    server.onCall = echo;
    t.equal(await client.call(ECHO, 2, ANONYMOUS), 2);
    t.equal(server.connections.length, 1);
  });
}

t.test('a verifier is skipped, up to 400 bytes', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = (call) => {
    const verifier = Buffer.concat([words(2, 399), Buffer.alloc(400)]);
    call.connection.record(words(call.xid, 1, 0), verifier, words(0, 17));
  };
  t.equal(await client.call(ECHO, 1, ANONYMOUS), 17);
});

t.test('a result that cannot be decoded fails that call only', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = (call) => call.connection.record(success(call.xid));
  await t.rejects(client.call(ECHO, 1, ANONYMOUS), RpcGarbageError);
  server.onCall = echo;
  t.equal(await client.call(ECHO, 2, ANONYMOUS), 2);
  t.equal(server.connections.length, 1);
});

const NONSENSE: Readonly<Record<string, (xid: number) => Buffer>> = {
  'an unknown reply_stat': (xid) => words(xid, 1, 2),
  'an unknown accept_stat': (xid) => words(xid, 1, 0, 0, 0, 6),
  'an unknown reject_stat': (xid) => words(xid, 1, 1, 2),
  'an unknown auth_stat': (xid) => words(xid, 1, 1, 1, 99),
  'a verifier that is too long': (xid) => Buffer.concat([words(xid, 1, 0, 0, 404), Buffer.alloc(408)]),
  'a header that ends early': (xid) => words(xid, 1, 0, 0),
};

for (const [name, reply] of Object.entries(NONSENSE)) {
  t.test(
    `${name} ends the connection; the call is sent again, and fails when that repeats itself`,
    async (t) => {
      const { server, client } = await connected(t);
      let count = 0;
      server.onCall = (call) => {
        count += 1;
        if (count === 1) call.connection.record(reply(call.xid));
        else echo(call);
      };
      t.equal(await client.call(ECHO, 5, ANONYMOUS), 5);
      t.equal(client.counters.garbage, 1);
      t.equal(client.counters.reconnects, 1);
      t.same(server.calls[0]?.bytes, server.calls[1]?.bytes);
      server.onCall = (call) => call.connection.record(reply(call.xid));
      await t.rejects(client.call(ECHO, 6, ANONYMOUS), RpcGarbageError);
      t.equal(client.outstanding, 0);
    },
  );
}

const NO_REPLIES: Readonly<Record<string, Buffer>> = {
  'a record too short for a reply': Buffer.from('80000003aabbcc', 'hex'),
  'an empty record': Buffer.from('80000000', 'hex'),
  'a call instead of a reply': Buffer.concat([words(0x8000_0028), words(1, 0, 2, 3, 4, 5, 0, 0, 0, 0)]),
  'a record longer than any reply': Buffer.from('ffffffff', 'hex'),
  'a web server': Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
};

for (const [name, bytes] of Object.entries(NO_REPLIES)) {
  t.test(`${name} ends the connection, and the call is sent again on the next`, async (t) => {
    const { server, client } = await connected(t);
    let count = 0;
    server.onCall = (call) => {
      count += 1;
      if (count === 1) call.connection.socket.write(bytes);
      else echo(call);
    };
    t.equal(await client.call(ECHO, 5, ANONYMOUS), 5);
    t.equal(server.connections.length, 2);
    t.equal(client.counters.garbage, 1);
  });
}

t.test('replies to calls never made are counted and otherwise ignored', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = (call) => {
    call.connection.record(success(call.xid + 1), words(1));
    call.connection.record(success(call.xid + 0x7fff_ffff), words(2));
    echo(call);
    echo(call);
  };
  t.equal(await client.call(ECHO, 3, ANONYMOUS), 3);
  server.onCall = echo;
  t.equal(await client.call(ECHO, 4, ANONYMOUS), 4);
  t.equal(client.counters.badXids, 3, 'the echo of an answered call among them');
  t.equal(server.connections.length, 1);
});

t.test('random garbage from the server never gets past the connection', async (t) => {
  const { server, client } = await connected(t, { random: () => 0 });
  let state = 12345;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  let rounds = 0;
  server.onCall = (call) => {
    rounds += 1;
    if (rounds > 40) {
      echo(call);
      return;
    }
    const garbage = Buffer.from(
      Array.from({ length: Math.floor(random() * 300) }, () => Math.floor(random() * 256)),
    );
    // Half of it begins like an answer, to get deeper.
    if (random() < 0.5) call.connection.record(words(call.xid, 1, 0), garbage);
    else call.connection.socket.write(garbage);
    call.connection.socket.end();
  };
  const outcomes = await Promise.allSettled(
    Array.from({ length: 30 }, (_, index) => client.call(ECHO, index, ANONYMOUS)),
  );
  for (const outcome of outcomes) {
    t.ok(outcome.status === 'fulfilled' || outcome.reason instanceof RpcError, outcome.status);
  }
  t.ok(rounds > 40);
  t.equal(await client.call(ECHO, 77, ANONYMOUS), 77);
});
