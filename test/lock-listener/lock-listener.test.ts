/** Grants of locks from made-up servers: who is heard, what they are told, and what all of it may cost. */
import dgram from 'node:dgram';
import net from 'node:net';
import t, { type Test } from 'tap';
import {
  type LockListener,
  LockListenerError,
  type LockListenerOptions,
  ownAddressTowards,
  startLockListener,
} from '../../lib/lock-listener/index.js';
import { fileHandleFromBytes } from '../../lib/programs/nfs3/index.js';
import {
  type LockResult,
  LockStatus,
  NLM_PROGRAM,
  lockProcedures as nlm,
  type TestArguments,
} from '../../lib/programs/nlm4/index.js';
import { PORTMAP_V2, portmapProcedures as portmap } from '../../lib/programs/portmap/index.js';
import { handle, RpcClient, type RpcClientOptions, RpcServer, RpcSystemError } from '../../lib/rpc/index.js';
import { XdrWriter } from '../../lib/xdr/xdr-writer.js';
import { ANONYMOUS } from '../rpc/support/procedures.js';
import { RawClient } from '../rpc/support/raw-client.js';
import { words } from '../rpc/support/wire-server.js';
import { ROOT } from '../server/support/rig.js';
import { Capture } from '../support/capture.js';
import { freePorts } from '../support/ports.js';
import { until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const HERE = '127.0.0.1';

const grant = (cookie = 'cookie', svid = 7): TestArguments => ({
  cookie,
  exclusive: true,
  lock: {
    callerName: 'server',
    handle: fileHandleFromBytes(Buffer.from('handle')),
    ownerHandle: 'owner',
    svid,
    offset: 10n,
    length: 2n ** 62n,
  },
});

/** A server: its lock manager takes answers, and `connect` is its way to the client. */
class MadeUpServer {
  readonly answers: LockResult[] = [];
  /** Gives no reply to answers while this is not settled. */
  replies: Promise<void> | undefined;
  readonly rpc = new RpcServer({ maxOutstanding: 1000 });

  static async start(t: Test): Promise<MadeUpServer & { readonly port: number }> {
    const server = new MadeUpServer();
    t.teardown(() => server.rpc.close(0));
    server.rpc.register(NLM_PROGRAM, [
      handle(nlm.GRANTED_RES, async (result) => {
        server.answers.push(result);
        await server.replies;
        return undefined;
      }),
    ]);
    const { port } = await server.rpc.listen({ host: HERE, port: 0 });
    return Object.assign(server, { port });
  }
}

interface Setting {
  readonly server: MadeUpServer;
  readonly listener: LockListener;
  readonly portMapperPort: number;
  readonly granted: TestArguments[];
  readonly log: string[];
  /** A client, as a server is one, of the port mapper or of the program that is told of grants. */
  connect(what: 'port mapper' | 'locks', protocol?: 'tcp' | 'udp'): Promise<RpcClient>;
}

async function setting(t: Test, options: Partial<LockListenerOptions> = {}): Promise<Setting> {
  const server = await MadeUpServer.start(t);
  const [portMapperPort = 0] = await freePorts(1);
  const granted: TestArguments[] = [];
  const log: string[] = [];
  const say = (message: string): void => void log.push(message);
  const answerTo = untilEnd(t, new RpcClient({ host: HERE, port: server.port, maxOutstanding: 1000 }));
  const listener = untilEnd(
    t,
    await startLockListener({
      addresses: [HERE],
      isServer: (address) => address === HERE,
      onGranted: (args) => granted.push(args) > 0,
      answerTo,
      credential: ROOT,
      log: { info: say, warn: say, error: say },
      portMapperPort,
      ...options,
    }),
  );
  const connect: Setting['connect'] = async (what, protocol = 'tcp') => {
    const port = what === 'locks' ? (listener.ports.get(HERE)?.[protocol] ?? 0) : portMapperPort;
    return untilEnd(t, await RpcClient.connect({ host: HERE, port, protocol } satisfies RpcClientOptions));
  };
  return { server, listener, portMapperPort, granted, log, connect };
}

const ask = (program: number, version: number, protocol: number) => ({ program, version, protocol, port: 0 });
const { number: NLM, version: V4 } = NLM_PROGRAM;

t.test('the port mapper tells the ports of NLM version 4 and its own, and no others', async (t) => {
  const { connect, listener, portMapperPort } = await setting(t);
  const { tcp, udp } = listener.ports.get(HERE) ?? { tcp: 0, udp: 0 };
  for (const protocol of ['tcp', 'udp'] as const) {
    const client = await connect('port mapper', protocol);
    const port = (...wanted: Parameters<typeof ask>) =>
      client.call(portmap.GETPORT, ask(...wanted), ANONYMOUS);
    t.equal(await client.call(portmap.NULL, undefined, ANONYMOUS), undefined);
    t.equal(await port(NLM, V4, 6), tcp);
    t.equal(await port(NLM, V4, 17), udp);
    t.equal(await port(PORTMAP_V2.number, 2, 17), portMapperPort);
    const others = [port(NLM, 3, 6), port(NLM, V4, 1), port(100003, 3, 6), port(PORTMAP_V2.number, 4, 6)];
    t.same(await Promise.all(others), [0, 0, 0, 0]);
    t.same(await client.call(portmap.DUMP, undefined, ANONYMOUS), [
      { program: 100000, version: 2, protocol: 6, port: portMapperPort },
      { program: 100000, version: 2, protocol: 17, port: portMapperPort },
      { program: 100021, version: 4, protocol: 6, port: tcp },
      { program: 100021, version: 4, protocol: 17, port: udp },
    ]);
  }
});

t.test('the port mapper registers nothing and removes nothing', async (t) => {
  const { connect, listener } = await setting(t);
  const client = await connect('port mapper');
  const other = { program: 100003, version: 3, protocol: 6, port: 2049 };
  t.equal(await client.call(portmap.SET, other, ANONYMOUS), false);
  t.equal(await client.call(portmap.UNSET, ask(NLM, V4, 6), ANONYMOUS), false);
  t.equal(await client.call(portmap.GETPORT, other, ANONYMOUS), 0);
  t.equal(await client.call(portmap.GETPORT, ask(NLM, V4, 6), ANONYMOUS), listener.ports.get(HERE)?.tcp);
});

t.test('rpcbind 3 and 4 are answered too, as servers speak them over IPv6', async (t) => {
  const { connect, listener } = await setting(t);
  const client = await connect('port mapper', 'udp');
  const { tcp = 0, udp = 0 } = listener.ports.get(HERE) ?? {};
  for (const procedure of [portmap.GETADDR_V3, portmap.GETADDR_V4]) {
    const address = (netid: string, version = 4) =>
      client.call(procedure, { program: NLM, version, netid, address: '', owner: '' }, ANONYMOUS);
    t.equal(await address('tcp'), `127.0.0.1.${tcp >> 8}.${tcp & 255}`);
    t.equal(await address('udp6'), `127.0.0.1.${udp >> 8}.${udp & 255}`);
    t.same(await Promise.all([address('tcp', 1), address('local'), address('')]), ['', '', '']);
  }
});

t.test('a grant reaches its waiter, and the server hears whether there was one', async (t) => {
  const taken: TestArguments[] = [];
  const onGranted = (args: TestArguments): boolean => {
    taken.push(args);
    return args.lock.svid === 7;
  };
  const { connect, server } = await setting(t, { onGranted });
  for (const protocol of ['tcp', 'udp'] as const) {
    const client = await connect('locks', protocol);
    const told = (args: TestArguments) => client.call(nlm.GRANTED, args, { credential: ROOT });
    t.equal(await client.call(nlm.NULL, undefined, ANONYMOUS), undefined);
    t.same(await told(grant('a')), { cookie: 'a', status: LockStatus.GRANTED });
    t.strictSame(taken.at(-1), grant('a'));
    t.same(await told(grant('b', 8)), { cookie: 'b', status: LockStatus.DENIED });
    t.strictSame(taken.at(-1), grant('b', 8));
  }
  t.same(server.answers, [], 'GRANTED is answered by its reply');
});

t.test('GRANTED_MSG has an empty reply, and is answered by GRANTED_RES with its cookie', async (t) => {
  const { connect, server } = await setting(t, { onGranted: ({ lock }) => lock.svid === 7 });
  for (const protocol of ['tcp', 'udp'] as const) {
    const client = await connect('locks', protocol);
    const told = (args: TestArguments) => client.call(nlm.GRANTED_MSG, args, { credential: ROOT });
    t.equal(await told(grant(`${protocol} \xff`)), undefined);
    await until('the answer has come', () => server.answers.length === 1);
    await told(grant('other', 8));
    await until('the answer has come', () => server.answers.length === 2);
    t.same(server.answers.splice(0), [
      { cookie: `${protocol} \xff`, status: LockStatus.GRANTED },
      { cookie: 'other', status: LockStatus.DENIED },
    ]);
  }
});

t.test(
  'a copy of a grant is answered as the first one was, and does not reach the waiter again',
  async (t) => {
    const taken: string[] = [];
    // Only the first one finds somebody who waits.
    const onGranted = ({ cookie }: TestArguments): boolean => taken.push(cookie) === 1;
    const { listener, server } = await setting(t, { onGranted });
    const { tcp = 0, udp = 0 } = listener.ports.get(HERE) ?? {};
    const call = (xid: number, procedure: typeof nlm.GRANTED | typeof nlm.GRANTED_MSG, cookie: string) => {
      const writer = new XdrWriter();
      procedure.encodeArguments(writer, grant(cookie));
      return Buffer.concat([words(xid, 0, 2, NLM, V4, procedure.number, 0, 0, 0, 0), writer.toBuffer()]);
    };
    const socket = untilEnd(t, dgram.createSocket('udp4'));
    const replies: Buffer[] = [];
    socket.on('message', (message) => replies.push(message));
    await new Promise<void>((resolve) => socket.connect(udp, HERE, resolve));
    for (const count of [1, 2]) {
      socket.send(call(1, nlm.GRANTED, 'datagram'));
      await until('it is answered', () => replies.length === count);
    }
    t.strictSame(replies[0], replies[1]);
    t.equal(replies[0]?.readUInt32BE(replies[0].length - 4), LockStatus.GRANTED);
    const raw = new RawClient(tcp, HERE);
    t.teardown(() => raw.socket.destroy());
    for (const _ of [1, 2]) raw.send(call(2, nlm.GRANTED_MSG, 'stream'));
    await raw.until(() => raw.replies.length === 2);
    await until('the answer has come', () => server.answers.length === 1);
    t.same(taken, ['datagram', 'stream']);
    raw.send(call(3, nlm.GRANTED_MSG, 'stream'));
    await until('another call has another answer', () => server.answers.length === 2);
    t.same(taken, ['datagram', 'stream', 'stream']);
  },
);

t.test('nobody but the server is heard', async (t) => {
  const asked: string[] = [];
  const isServer = (address: string): boolean => asked.push(address) === 0;
  const { listener, portMapperPort, granted, server } = await setting(t, { isServer });
  const { tcp = 0, udp = 0 } = listener.ports.get(HERE) ?? {};
  for (const port of [tcp, portMapperPort]) {
    const socket = net.connect({ host: HERE, port });
    socket.on('error', () => {});
    await new Promise((resolve) => socket.on('close', resolve));
  }
  for (const port of [udp, portMapperPort]) {
    const before = asked.length;
    const client = untilEnd(t, new RpcClient({ host: HERE, port, protocol: 'udp' }));
    client.call(nlm.GRANTED_MSG, grant(), { credential: ROOT }).catch(() => {});
    await until('the datagram has come', () => asked.length > before);
    t.equal(client.outstanding, 1);
  }
  t.same(new Set(asked), new Set([HERE]));
  t.same([granted, server.answers], [[], []]);
});

t.test('a server that leaves answers without a reply gets no more than 64 of them', async (t) => {
  const { connect, server, granted, listener, log } = await setting(t);
  let reply = (): void => {};
  server.replies = new Promise((resolve) => {
    reply = resolve;
  });
  const client = await connect('locks');
  const tell = (count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, index) =>
        client.call(nlm.GRANTED_MSG, grant(`${index}`), { credential: ROOT }),
      ),
    );
  await tell(100);
  await until('answers have come', () => server.answers.length === 64);
  t.equal(granted.length, 100, 'the waiters are told all the same');
  reply();
  server.replies = undefined;
  await until('an answer goes out again', async () => {
    await tell(1);
    return server.answers.length > 64;
  });
  server.replies = new Promise(() => {});
  await tell(10);
  await listener.close();
  t.same(log, []);
});

t.test('a call longer than any grant ends the connection', async (t) => {
  const { listener, granted } = await setting(t);
  const socket = net.connect({ host: HERE, port: listener.ports.get(HERE)?.tcp ?? 0 });
  socket.on('error', () => {});
  socket.write(Buffer.from('80002000', 'hex'));
  await new Promise((resolve) => socket.on('close', resolve));
  t.same(granted, []);
});

t.test('the longest grant that NLM allows is taken', async (t) => {
  const { connect, granted } = await setting(t);
  const long = 'x'.repeat(1024);
  const longest = grant(long);
  const args = {
    ...longest,
    lock: {
      ...longest.lock,
      callerName: long,
      ownerHandle: long,
      handle: fileHandleFromBytes(Buffer.alloc(64, 1)),
    },
  };
  const client = await connect('locks');
  t.equal((await client.call(nlm.GRANTED, args, { credential: ROOT })).status, LockStatus.GRANTED);
  t.strictSame(granted, [args]);
});

t.test('neither a waiter that fails nor an answer that fails ends the listener', async (t) => {
  const failing = () => {
    throw new Error('no such waiter');
  };
  const first = await setting(t, { onGranted: failing });
  const told = (await first.connect('locks')).call(nlm.GRANTED, grant(), { credential: ROOT });
  await t.rejects(told, RpcSystemError);
  t.same(first.log, ['GRANTED of a lock failed: Error: no such waiter']);

  const { connect, log, server, granted } = await setting(t);
  server.rpc.register(NLM_PROGRAM, []);
  const client = await connect('locks');
  for (const cookie of ['1', '2', '3']) {
    await client.call(nlm.GRANTED_MSG, grant(cookie), { credential: ROOT });
  }
  await until('it is told', () => log.length > 0);
  await client.call(nlm.GRANTED_MSG, grant('4'), { credential: ROOT });
  t.equal(granted.length, 4);
  t.match(log, [/^a grant of a lock cannot be answered: .*GRANTED_RES/]);
  t.equal(log.length, 1);
});

t.test('a port that is taken is an error, and then nothing is listened on', async (t) => {
  const { portMapperPort } = await setting(t);
  const other = '127.0.0.2';
  const second = (addresses: readonly string[]) =>
    startLockListener({
      addresses,
      isServer: () => true,
      onGranted: () => true,
      answerTo: { call: () => Promise.reject(new Error('nobody')), close: () => {} },
      credential: ROOT,
      log: { info: () => {}, warn: () => {}, error: () => {} },
      portMapperPort,
    });
  const taken = second([other, HERE]);
  await t.rejects(taken, LockListenerError);
  await t.rejects(taken, {
    problem: 'taken',
    message: `cannot listen on port ${portMapperPort} of 127.0.0.1 for grants of locks: EADDRINUSE`,
  });
  await (await second([other])).close();
  await t.rejects(second(['192.0.2.1']), { problem: 'other', message: /EADDRNOTAVAIL/ });
});

t.test('the own address is the one that the server sees', async (t) => {
  t.equal(await ownAddressTowards('127.0.0.1'), '127.0.0.1');
  t.equal(await ownAddressTowards('127.9.9.9'), '127.0.0.1');
  t.equal(await ownAddressTowards('::1'), '::1');
});

t.test('an independent dissector reads the calls of both sides', async (t) => {
  const { connect, server, listener, portMapperPort } = await setting(t);
  const { port } = server as MadeUpServer & { readonly port: number };
  const capture = await Capture.start([portMapperPort, listener.ports.get(HERE)?.tcp ?? 0, port]);
  t.teardown(() => capture.stop());
  const mapper = await connect('port mapper');
  await mapper.call(portmap.GETPORT, ask(NLM, V4, 6), ANONYMOUS);
  await mapper.call(portmap.DUMP, undefined, ANONYMOUS);
  const client = await connect('locks');
  await client.call(nlm.GRANTED, grant(), { credential: ROOT });
  await client.call(nlm.GRANTED_MSG, grant(), { credential: ROOT });
  await until('the answer has come', () => server.answers.length === 1);
  const trace = await capture.finish();
  t.same(trace.complaints, []);
  t.same(trace.called('portmap'), new Set([3, 4]));
  t.same(trace.called('nlm'), new Set([5, 10, 15]));
});
