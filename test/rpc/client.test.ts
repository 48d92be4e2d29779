/** The client over one TCP connection: matching, concurrency, every class of reply, garbage, cancellation. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t, { type Test } from 'tap';
import { authSysCredential } from '../../lib/rpc/auth/auth-sys.js';
import { RpcClient, type RpcClientOptions } from '../../lib/rpc/client/client.js';
import {
  RpcAuthError,
  RpcCancelledError,
  RpcClosedError,
  RpcConnectError,
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
import { ANONYMOUS, DATA, ECHO, TestCancellation } from './support/procedures.js';
import { echo, lastWord, success, WireServer, words } from './support/wire-server.js';

async function connected(
  t: Test,
  options: Partial<RpcClientOptions> = {},
): Promise<{ server: WireServer; client: RpcClient }> {
  const server = new WireServer();
  await server.listen();
  const client = await RpcClient.connect({ host: '127.0.0.1', port: server.port, ...options });
  t.teardown(async () => {
    client.close();
    await server.close();
  });
  return { server, client };
}

t.test('a call is one record with the header of RFC 5531', async (t) => {
  const { server, client } = await connected(t, { random: () => 0.5 });
  server.onCall = echo;
  const credential = authSysCredential({ machineName: 'abc', uid: 1, gid: 2, groups: [3] });
  t.equal(await client.call(ECHO, 0xdead_beef, { credential }), 0xdead_beef);
  const expected = Buffer.concat([
    words(0x8000_0000, 0, 2, 0x2000_0001, 1, 1),
    words(1, 28, 0, 3, 0x61626300, 1, 2, 1, 3),
    words(0, 0, 0xdead_beef),
  ]);
  t.same(server.calls[0]?.bytes, expected);
});

t.test('XIDs start random and count up, past the largest', async (t) => {
  const { server, client } = await connected(t, { random: () => (2 ** 32 - 2) / 2 ** 32 });
  server.onCall = echo;
  for (let index = 0; index < 4; index++) await client.call(ECHO, index, ANONYMOUS);
  t.same(
    server.calls.map((call) => call.xid),
    [0xffff_fffe, 0xffff_ffff, 0, 1],
  );
});

t.test('concurrent calls get their own replies, in whatever order these come', async (t) => {
  const { server, client } = await connected(t);
  const results = Promise.all(Array.from({ length: 100 }, (_, index) => client.call(ECHO, index, ANONYMOUS)));
  for (const call of [...(await server.untilCalls(100))].reverse()) echo(call);
  t.same(
    await results,
    Array.from({ length: 100 }, (_, index) => index),
  );
  t.equal(client.outstanding, 0);
});

t.test('calls go out in the order made', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = echo;
  await Promise.all(Array.from({ length: 300 }, (_, index) => client.call(ECHO, index, ANONYMOUS)));
  t.same(
    server.calls.map(lastWord),
    Array.from({ length: 300 }, (_, index) => index),
  );
});

t.test(
  'no more calls than maxOutstanding are on the wire; the others follow first in, first out',
  async (t) => {
    const { server, client } = await connected(t, { maxOutstanding: 4 });
    const results = Promise.all(
      Array.from({ length: 10 }, (_, index) => client.call(ECHO, index, ANONYMOUS)),
    );
    await server.untilCalls(4);
    await nextTurn();
    t.equal(server.calls.length, 4);
    t.equal(client.outstanding, 10);
    let answered = 0;
    while (answered < 10) {
      const call = server.calls[answered];
      if (call === undefined) await server.untilCalls(answered + 1);
      else {
        t.ok(server.calls.length - answered <= 4);
        echo(call);
        answered += 1;
      }
    }
    t.same(await results, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    t.same(server.calls.map(lastWord), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  },
);

t.test('large data goes both ways unchanged, and comes up without a copy', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = (call) => call.connection.record(success(call.xid), call.bytes.subarray(40));
  const sizes = [0, 1, 4095, 4096, 4099, 65536, 1024 * 1024];
  const results = await Promise.all(
    sizes.map((size) => client.call(DATA, Buffer.alloc(size, size % 251), ANONYMOUS)),
  );
  results.forEach((data, index) => {
    const size = sizes[index] ?? 0;
    t.ok(data.equals(Buffer.alloc(size, size % 251)), `${size} bytes`);
  });
  const largest = results.at(-1);
  t.ok((largest?.buffer.byteLength ?? 0) > 1024 * 1024, 'a slice of its own record');
  t.ok(largest?.byteOffset, 'behind the header that came with it');
});

t.test('the memory of a large reply serves again once it is given back, and not before', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = (call) => call.connection.record(success(call.xid), call.bytes.subarray(40));
  const echo = (byte: number) => client.call(DATA, Buffer.alloc(1024 * 1024, byte), ANONYMOUS);
  const first = await echo(1);
  const second = await echo(2);
  t.not(second.buffer, first.buffer);
  client.recycle(first.subarray(5, 6));
  const third = await echo(3);
  t.equal(third.buffer, first.buffer);
  t.ok(second.equals(Buffer.alloc(1024 * 1024, 2)), 'what was kept is unchanged');
  t.ok(third.equals(Buffer.alloc(1024 * 1024, 3)));
});

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

t.test('a cancelled call fails at once, and its reply is ignored', async (t) => {
  const { server, client } = await connected(t);
  const cancellation = new TestCancellation();
  const call = client.call(ECHO, 1, { ...ANONYMOUS, cancellation });
  const [wire] = await server.untilCalls(1);
  cancellation.cancel();
  await t.rejects(call, RpcCancelledError);
  t.equal(client.outstanding, 0);
  if (wire !== undefined) echo(wire);
  server.onCall = echo;
  t.equal(await client.call(ECHO, 2, ANONYMOUS), 2);
  t.match(client.counters, { lateReplies: 1, badXids: 0 });
  t.equal(server.connections.length, 1);
});

t.test('a call cancelled before it was made never goes out', async (t) => {
  const { server, client } = await connected(t);
  const cancellation = new TestCancellation();
  cancellation.cancel();
  await t.rejects(client.call(ECHO, 1, { ...ANONYMOUS, cancellation }), RpcCancelledError);
  server.onCall = echo;
  await client.call(ECHO, 2, ANONYMOUS);
  t.same(server.calls.map(lastWord), [2]);
});

t.test('calls cancelled in the same tick or while they queue never go out', async (t) => {
  const { server, client } = await connected(t, { maxOutstanding: 1 });
  const cancellation = new TestCancellation();
  const withCancel = { ...ANONYMOUS, cancellation };
  const outcomes = Promise.allSettled([client.call(ECHO, 1, withCancel), client.call(ECHO, 2, withCancel)]);
  cancellation.cancel();
  t.same(
    (await outcomes).map((outcome) => outcome.status),
    ['rejected', 'rejected'],
  );
  server.onCall = echo;
  t.equal(await client.call(ECHO, 3, ANONYMOUS), 3);
  t.same(server.calls.map(lastWord), [3]);
  t.equal(client.outstanding, 0);
});

/** All garbage, now. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}

const IN_FRONT: Readonly<Record<string, { readonly maxOutstanding: number; readonly stuck: number }>> = {
  'an unanswered call': { maxOutstanding: 1, stuck: 1 },
  'data that the kernel does not take': { maxOutstanding: 10_000, stuck: 8 * 1024 * 1024 },
};

for (const [front, { maxOutstanding, stuck }] of Object.entries(IN_FRONT)) {
  t.test(`calls cancelled behind ${front} count no more, and are let go of`, async (t) => {
    const { server, client } = await connected(t, { maxOutstanding });
    await server.until(() => server.connections.length === 1);
    server.connections[0]?.socket.pause();
    const calls = [client.call(DATA, Buffer.alloc(stuck), ANONYMOUS)];
    await nextTurn();
    const live = Buffer.alloc(1000, 1);
    calls.push(client.call(DATA, live, ANONYMOUS));
    const memory = Array.from({ length: 2000 }, () => {
      const data = new Uint8Array(1000);
      const cancellation = new TestCancellation();
      calls.push(client.call(DATA, data, { ...ANONYMOUS, cancellation }));
      cancellation.cancel();
      return new WeakRef(data);
    });
    t.equal(client.outstanding, 2);
    await Promise.allSettled(calls.splice(2));
    await nextTurn();
    collectGarbage();
    const kept = memory.filter((data) => data.deref() !== undefined).length;
    t.ok(kept < 10, `${kept} of 2000 are kept`);
    for (const connection of server.connections) connection.socket.resume();
    // Not all of what was stuck: a reply may not be that long.
    server.onCall = (call) =>
      call.connection.record(
        success(call.xid),
        call === server.calls[0] ? words(0) : call.bytes.subarray(40),
      );
    for (const call of server.calls) server.onCall(call);
    t.ok((await calls[1])?.equals(live), 'who queued before them has its turn');
    t.equal(server.calls.length, 2);
  });
}

t.test(
  'data of a call cancelled while half sent is never followed by other bytes on that connection',
  async (t) => {
    const { server, client } = await connected(t);
    await server.until(() => server.connections.length === 1);
    server.connections[0]?.socket.pause();
    // More than socket buffers hold, so that some of it waits in this process.
    const outgoing = Array.from({ length: 32 }, () => {
      const data = Buffer.alloc(1024 * 1024, 1);
      const cancellation = new TestCancellation();
      return { data, cancellation, result: client.call(DATA, data, { ...ANONYMOUS, cancellation }) };
    });
    const settled = Promise.allSettled(outgoing.map(({ result }) => result));
    await nextTurn();
    for (const { data, cancellation } of outgoing) {
      cancellation.cancel();
      data.fill(2);
    }
    for (const outcome of await settled) t.equal(outcome.status, 'rejected');
    server.connections[0]?.socket.resume();
    await server.until(() => server.connections[0]?.ended === true);
    t.ok(
      server.calls.every((call) => !call.bytes.includes(2, 40)),
      'nothing overwritten went out',
    );
    server.onCall = echo;
    t.equal(await client.call(ECHO, 3, ANONYMOUS), 3, 'the next call has a new connection');
  },
);

t.test('close() fails what is outstanding and everything after it', async (t) => {
  const { server, client } = await connected(t, { maxOutstanding: 2 });
  const calls = Promise.allSettled([1, 2, 3].map((value) => client.call(ECHO, value, ANONYMOUS)));
  await server.untilCalls(2);
  client.close();
  for (const outcome of await calls) {
    t.ok(outcome.status === 'rejected' && outcome.reason instanceof RpcClosedError);
  }
  await t.rejects(client.call(ECHO, 4, ANONYMOUS), RpcClosedError);
  await server.until(() => server.connections[0]?.ended === true);
  client.close();
});

t.test('connect() says why nobody can be reached', async (t) => {
  const server = new WireServer();
  await server.listen();
  const { port } = server;
  await server.close();
  const error = await RpcClient.connect({ host: '127.0.0.1', port }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  t.ok(error instanceof RpcConnectError);
  t.match(error, {
    code: 'ECONNREFUSED',
    host: '127.0.0.1',
    port,
    message: /cannot connect to 127\.0\.0\.1 port/,
  });
  t.match(error, { cause: { code: 'ECONNREFUSED' } });
});

t.test('a host name is looked up', async (t) => {
  const { server, client } = await connected(t, { host: 'localhost', family: 4 });
  server.onCall = echo;
  t.equal(await client.call(ECHO, 1, ANONYMOUS), 1);
});

t.test('counters tell calls, bytes, replies and errors of each procedure', async (t) => {
  const { server, client } = await connected(t);
  server.onCall = echo;
  await client.call(ECHO, 1, ANONYMOUS);
  await client.call(ECHO, 2, ANONYMOUS);
  server.onCall = (call) => call.connection.record(words(call.xid, 1, 0, 0, 0, 5));
  await t.rejects(client.call(ECHO, 3, ANONYMOUS), RpcSystemError);
  const [counters] = client.procedureCounters();
  t.match(counters, {
    program: 'TEST',
    procedure: 'ECHO',
    calls: 3,
    replies: 3,
    retransmits: 0,
    errors: 1,
    bytesSent: 3 * 44,
    bytesReceived: 2 * 28 + 24,
  });
  t.ok((counters?.rtt ?? 0) > 0);
});

t.test('options that make no sense are refused by name', async (t) => {
  const good = { host: '127.0.0.1', port: 1 };
  for (const wrong of [
    { port: 0 },
    { port: 65536 },
    { nconnect: 0 },
    { nconnect: 17 },
    { timeo: 0 },
    { retrans: -1 },
  ]) {
    const [name] = Object.keys(wrong);
    t.throws(() => new RpcClient({ ...good, ...wrong }), {
      name: 'RangeError',
      message: new RegExp(`^${name} is`),
    });
  }
});
