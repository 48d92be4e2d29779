/** The server half: each call gets its answer, calls wait their turn, hooks act, and close() ends all of it. */
import { once } from 'node:events';
import net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { authSysCredential } from '../../lib/rpc/auth/auth-sys.js';
import { unprotectedCredential } from '../../lib/rpc/auth/unprotected.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import {
  RpcAuthError,
  RpcGarbageArgumentsError,
  RpcProcedureUnavailableError,
  RpcProgramMismatchError,
  RpcProgramUnavailableError,
  RpcSystemError,
} from '../../lib/rpc/rpc-errors.js';
import { RpcServer } from '../../lib/rpc/server/server.js';
import { handle, type ServerCall } from '../../lib/rpc/server/server-procedure.js';
import type { Procedure, Program } from '../../lib/rpc/wire/procedure.js';
import { ANONYMOUS, DATA, ECHO, TEST_PROGRAM } from './support/procedures.js';
import { callBytes, gate, onlyOnce, serving } from './support/raw-client.js';
import { success, words } from './support/wire-server.js';

t.test('calls are answered with what the handler returns, at once or later', async (t) => {
  const { client } = await serving(t, [
    handle(ECHO, async (value) => value + 1),
    handle(DATA, (data) => Buffer.from(data)),
  ]);
  t.equal(await client.call(ECHO, 41, ANONYMOUS), 42);
  for (const size of [0, 5, 70_000, 1024 * 1024]) {
    const data = Buffer.alloc(size, 7);
    t.ok((await client.call(DATA, data, ANONYMOUS)).equals(data), `${size} bytes`);
  }
});

t.test('the reply on the wire is that of RFC 5531', async (t) => {
  const { raw } = await serving(t, [handle(ECHO, (value) => value)]);
  const client = raw();
  client.send(callBytes(7, ECHO, 9));
  await client.until(() => client.replies.length === 1);
  t.same(client.replies[0], Buffer.concat([success(7), words(9)]));
});

t.test('a handler gets the credential and the address of its caller', async (t) => {
  const calls: ServerCall[] = [];
  const { client } = await serving(t, [
    handle(ECHO, (value, call) => {
      calls.push(call);
      return value;
    }),
  ]);
  const auth = { machineName: 'host', uid: 1000, gid: 100, groups: [4, 24] };
  await client.call(ECHO, 1, { credential: authSysCredential(auth) });
  await client.call(ECHO, 1, ANONYMOUS);
  await client.call(ECHO, 1, { credential: authSysCredential({ ...auth, uid: 2 }) });
  t.same(calls[0]?.credential, auth);
  t.equal(calls[1]?.credential, undefined);
  t.equal(calls[2]?.credential?.uid, 2);
  t.match(calls[0], { remoteAddress: '127.0.0.1' });
  t.ok((calls[0]?.remotePort ?? 0) > 0);
});

t.test('an unknown program, version or procedure is refused with the status of the RFC', async (t) => {
  const { server, client, raw } = await serving(t, [handle(ECHO, (value) => value)]);
  server.register({ ...TEST_PROGRAM, version: 4 }, []);
  const other = (program: Program, number = 1): Procedure<number, number> => ({ ...ECHO, program, number });
  const unknown = { number: 99, version: 1, name: 'X' };
  await t.rejects(client.call(other(unknown), 1, ANONYMOUS), RpcProgramUnavailableError);
  const mismatch = client.call(other({ ...TEST_PROGRAM, version: 2 }), 1, ANONYMOUS);
  await t.rejects(mismatch, RpcProgramMismatchError);
  t.match(await mismatch.catch((error: unknown) => error), { low: 1, high: 4 });
  await t.rejects(client.call(other(TEST_PROGRAM, 77), 1, ANONYMOUS), RpcProcedureUnavailableError);
  const wire = raw();
  wire.send(words(5, 0, 3, 1, 1, 1, 0, 0, 0, 0));
  await wire.until(() => wire.replies.length === 1);
  t.same(wire.replies[0], words(5, 1, 1, 0, 2, 2), 'RPC_MISMATCH');
});

t.test('arguments that cannot be decoded, or are too long, are answered with GARBAGE_ARGS', async (t) => {
  const { client } = await serving(t, [handle(ECHO, (value) => value)]);
  const short: Procedure<number, number> = { ...ECHO, encodeArguments: () => {} };
  const long: Procedure<number, number> = { ...ECHO, encodeArguments: (w) => w.uint64(1n) };
  await t.rejects(client.call(short, 1, ANONYMOUS), RpcGarbageArgumentsError);
  await t.rejects(client.call(long, 1, ANONYMOUS), RpcGarbageArgumentsError);
  t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
});

t.test('AUTH_NONE and AUTH_SYS pass; other credentials are refused with the right auth_stat', async (t) => {
  const { client } = await serving(t, [handle(ECHO, (value) => value)]);
  const cases = [
    { flavor: 2, body: Buffer.alloc(4), name: 'AUTH_REJECTEDCRED' },
    { flavor: 3, body: Buffer.alloc(4), name: 'AUTH_TOOWEAK' },
    { flavor: 6, body: Buffer.alloc(400), name: 'AUTH_TOOWEAK' },
    { flavor: 1, body: Buffer.alloc(0), name: 'AUTH_BADCRED' },
    { flavor: 1, body: Buffer.concat([words(0, 0, 1, 1, 17), Buffer.alloc(68)]), name: 'AUTH_BADCRED' },
    { flavor: 1, body: words(0, 0, 1, 1, 0, 0), name: 'AUTH_BADCRED' },
  ];
  for (const { flavor, body, name } of cases) {
    const failed = client.call(ECHO, 1, { credential: unprotectedCredential(flavor, body) });
    await t.rejects(failed, RpcAuthError);
    t.match(await failed.catch((error: unknown) => error), { authStatName: name });
  }
  const most = {
    machineName: 'm'.repeat(255),
    uid: 1,
    gid: 1,
    groups: Array.from({ length: 16 }, (_, i) => i),
  };
  t.equal(await client.call(ECHO, 1, { credential: authSysCredential(most) }), 1);
});

t.test(
  'a handler that throws, or whose result cannot be encoded, is answered with SYSTEM_ERR and reported',
  async (t) => {
    const reported: unknown[] = [];
    const { client } = await serving(
      t,
      [
        handle(ECHO, (value) => {
          if (value === 1) throw new Error('at once');
          return value === 2 ? Promise.reject(new Error('later')) : -1;
        }),
      ],
      {
        onHandlerError: (call, error) =>
          reported.push(`${call.name}: ${error instanceof Error ? error.message : ''}`),
      },
    );
    for (const value of [1, 2, 3]) await t.rejects(client.call(ECHO, value, ANONYMOUS), RpcSystemError);
    t.same(reported.slice(0, 2), ['ECHO: at once', 'ECHO: later']);
    t.match(reported[2], /^ECHO: .*out of range/);
  },
);

t.test('the server answers NULL, which nobody registers', async (t) => {
  const { raw } = await serving(t, []);
  const client = raw();
  client.send(callBytes(1, { number: 0 }));
  await client.until(() => client.replies.length === 1);
  t.same(client.replies[0], success(1));
});

t.test('a procedure of another program cannot be registered', async (t) => {
  const server = new RpcServer();
  t.throws(
    () => server.register({ ...TEST_PROGRAM, version: 2 }, [handle(ECHO, (v) => v)]),
    /ECHO does not belong/,
  );
});

t.test('calls run side by side up to the limit; the rest waits its turn, in order', async (t) => {
  let running = 0;
  let most = 0;
  const order: number[] = [];
  const { promise, open } = gate();
  const { client, raw } = await serving(
    t,
    [
      handle(ECHO, async (value) => {
        order.push(value);
        running += 1;
        most = Math.max(most, running);
        await promise;
        running -= 1;
        return value;
      }),
    ],
    { maxOutstanding: 3 },
  );
  const results = Promise.all(Array.from({ length: 50 }, (_, index) => client.call(ECHO, index, ANONYMOUS)));
  const other = raw();
  other.send(callBytes(1, ECHO, 1000));
  while (running < 4) await nextTurn();
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  t.equal(running, 4, 'three of one connection and one of the other');
  open();
  t.same(
    await results,
    Array.from({ length: 50 }, (_, index) => index),
  );
  t.equal(most, 4);
  t.same(
    order.filter((value) => value < 1000),
    Array.from({ length: 50 }, (_, index) => index),
  );
});

t.test('thousands of calls in one piece are answered without a deep stack', async (t) => {
  const { promise, open } = gate();
  const { raw } = await serving(t, [handle(ECHO, (value) => (value === 0 ? promise.then(() => 0) : value))], {
    maxOutstanding: 1,
  });
  const client = raw();
  const count = 20_000;
  const one = (xid: number): Buffer => Buffer.concat([words(0x8000_002c), callBytes(xid, ECHO, xid)]);
  client.socket.write(Buffer.concat(Array.from({ length: count }, (_, xid) => one(xid))));
  await nextTurn();
  open();
  await client.until(() => client.replies.length === count);
  t.ok(client.replies.every((reply, index) => reply.readUInt32BE(24) === index));
});

t.test('the server stops reading from a client that does not read its replies', async (t) => {
  const data = Buffer.alloc(1024 * 1024, 1);
  let carriedOut = 0;
  const { raw } = await serving(t, [
    handle(DATA, () => {
      carriedOut += 1;
      return data;
    }),
  ]);
  const client = raw();
  await once(client.socket, 'connect');
  client.socket.pause();
  const calls = 80;
  for (let xid = 0; xid < calls; xid++) client.send(callBytes(xid, DATA, 0));
  let before = -1;
  while (carriedOut === 0 || carriedOut !== before) {
    before = carriedOut;
    for (let turn = 0; turn < 200; turn++) await nextTurn();
  }
  t.ok(carriedOut < calls, `${carriedOut} calls carried out, not all`);
  client.socket.resume();
  await client.until(() => client.replies.length === calls);
  t.equal(carriedOut, calls);
});

t.test('hooks drop, delay, answer and disconnect, before the call and after', async (t) => {
  let carriedOut = 0;
  const { server, client } = await serving(t, [
    onlyOnce((value) => {
      carriedOut += 1;
      return value;
    }),
  ]);
  const seen: string[] = [];
  server.hooks = {
    before: (call) => {
      seen.push(`${call.program.name} ${call.name}`);
      return { kind: 'unaccepted', stat: 5, low: 0, high: 0 };
    },
  };
  await t.rejects(client.call(ECHO, 1, ANONYMOUS), RpcSystemError);
  t.same(seen, ['TEST ECHO']);
  t.equal(carriedOut, 0);

  server.hooks = { before: () => ({ kind: 'auth-error', authStat: 5 }) };
  await t.rejects(client.call(ECHO, 1, ANONYMOUS), RpcAuthError);

  const { promise, open } = gate();
  server.hooks = { before: () => promise.then(() => undefined) };
  const delayed = client.call(ECHO, 2, ANONYMOUS);
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  t.equal(client.outstanding, 1);
  open();
  t.equal(await delayed, 2);

  let cuts = 0;
  server.hooks = {
    after: () => {
      cuts += 1;
      return cuts === 1 ? 'disconnect' : undefined;
    },
  };
  carriedOut = 0;
  t.equal(await client.call(ECHO, 3, ANONYMOUS), 3);
  t.equal(client.counters.reconnects, 1);
  t.equal(carriedOut, 1, 'the reply was lost, the call was not repeated');

  let drops = 0;
  server.hooks = {
    before: () => {
      drops += 1;
      return drops === 1 ? 'drop' : undefined;
    },
  };
  const dropped = client.call(ECHO, 4, ANONYMOUS);
  t.equal(await client.call(ECHO, 5, ANONYMOUS), 5);
  t.equal(client.outstanding, 1, 'the dropped call has no answer');
  server.disconnectAll();
  t.equal(await dropped, 4);
});

t.test('close() answers the calls in progress, takes no new ones, and ends', async (t) => {
  const { promise, open } = gate();
  const { server, port, raw } = await serving(t, [
    handle(ECHO, async (value) => {
      await promise;
      return value;
    }),
  ]);
  const client = raw();
  client.send(callBytes(1, ECHO, 5));
  const idle = raw();
  await once(idle.socket, 'connect');
  while (server.counters.calls === 0) await nextTurn();
  const closed = server.close();
  client.send(callBytes(2, ECHO, 6));
  await idle.until(() => idle.closed);
  const late = net.connect({ host: '127.0.0.1', port });
  const [error] = await once(late, 'error').catch((reason: unknown) => [reason]);
  t.match(error, { code: 'ECONNREFUSED' });
  open();
  await client.until(() => client.closed);
  t.same(client.replies, [Buffer.concat([success(1), words(5)])]);
  await closed;
  t.equal(server.connections, 0);
});

t.test('close(0) does not wait for calls in progress', async (t) => {
  const { server, raw } = await serving(t, [handle(ECHO, () => new Promise<number>(() => {}))]);
  const client = raw();
  client.send(callBytes(1, ECHO, 5));
  while (server.counters.calls === 0) await nextTurn();
  await server.close(0);
  t.equal(server.connections, 0);
  await client.until(() => client.closed);
});

t.test('listening on a port that is taken fails with an error', async (t) => {
  const { port } = await serving(t, []);
  const second = new RpcServer();
  await t.rejects(second.listen({ host: '127.0.0.1', port }), { code: 'EADDRINUSE' });
  await second.close();
});

t.test('client and server talk over IPv6', async (t) => {
  const server = new RpcServer();
  server.register(TEST_PROGRAM, [handle(ECHO, (value) => value)]);
  const { port } = await server.listen({ host: '::1', port: 0 });
  const client = await RpcClient.connect({ host: '::1', port });
  t.teardown(async () => {
    client.close();
    await server.close(0);
  });
  t.equal(await client.call(ECHO, 6, ANONYMOUS), 6);
});
