/** The port mapper: universal addresses, codecs of every procedure, and which version is asked for what. */
import t, { type Test } from 'tap';
import { dumpPorts, getPort, pingPortmapper } from '../../lib/programs/portmap/portmap-client.js';
import {
  PortmapUnreachableError,
  ProgramNotRegisteredError,
} from '../../lib/programs/portmap/portmap-error.js';
import {
  DUMP,
  DUMP_V4,
  GETADDR_V3,
  GETADDR_V4,
  GETPORT,
  NULL,
  SET,
  SET_V4,
  UNSET,
  UNSET_V4,
} from '../../lib/programs/portmap/procedures.js';
import {
  type Mapping,
  PORTMAP_V2,
  RPCBIND_V3,
  RPCBIND_V4,
  type RpcbEntry,
} from '../../lib/programs/portmap/types.js';
import {
  formatUniversalAddress,
  parseUniversalAddress,
} from '../../lib/programs/portmap/universal-address.js';
import { programService } from '../../lib/programs/program-service.js';
import { RpcClosedError, RpcProcedureUnavailableError } from '../../lib/rpc/rpc-errors.js';
import { RpcServer } from '../../lib/rpc/server/server.js';
import { handle, type ServerProcedure } from '../../lib/rpc/server/server-procedure.js';
import type { Procedure } from '../../lib/rpc/wire/procedure.js';
import { XdrError } from '../../lib/xdr/xdr-error.js';
import { XdrReader } from '../../lib/xdr/xdr-reader.js';
import { XdrWriter } from '../../lib/xdr/xdr-writer.js';
import { roundTrip } from '../rpc/support/round-trip.js';
import { freePorts } from '../support/ports.js';

const NFS: Mapping = { program: 100003, version: 3, protocol: 6, port: 2049 };

t.test('every procedure reads what it writes, with the numbers of RFC 1833', async (t) => {
  const entry: RpcbEntry = { program: 100003, version: 3, netid: 'tcp6', address: '::1.8.1', owner: 'me' };
  roundTrip(t, NULL, undefined, undefined);
  roundTrip(t, SET, NFS, true);
  roundTrip(t, UNSET, NFS, false);
  roundTrip(t, GETPORT, { ...NFS, port: 0 }, 2049);
  roundTrip(t, DUMP, undefined, []);
  roundTrip(t, DUMP, undefined, [NFS, { ...NFS, protocol: 17 }]);
  roundTrip(t, GETADDR_V3, entry, '::1.8.1');
  roundTrip(t, GETADDR_V4, entry, '');
  roundTrip(t, SET_V4, entry, true);
  roundTrip(t, UNSET_V4, entry, false);
  roundTrip(t, DUMP_V4, undefined, [entry, { ...entry, netid: 'udp' }]);
  t.same(
    [NULL, SET, UNSET, GETPORT, DUMP, GETADDR_V3, GETADDR_V4, SET_V4, UNSET_V4, DUMP_V4].map(
      ({ program, number }) => [program.version, number],
    ),
    [
      [2, 0],
      [2, 1],
      [2, 2],
      [2, 3],
      [2, 4],
      [3, 3],
      [4, 3],
      [4, 1],
      [4, 2],
      [4, 4],
    ],
  );
});

t.test('answers that no port mapper gives are refused', async (t) => {
  const word = (value: number): XdrReader => {
    const writer = new XdrWriter();
    writer.uint32(value);
    return new XdrReader(writer.toBuffer());
  };
  t.throws(() => GETPORT.decodeResult(word(65536)), { name: 'XdrError', message: 'port is 65536' });
  t.throws(() => GETADDR_V4.decodeResult(word(256)), XdrError);
  const endless = new XdrWriter();
  for (let count = 0; count < 5000; count++) {
    endless.bool(true);
    for (let word = 0; word < 4; word++) endless.uint32(1);
  }
  endless.bool(false);
  t.throws(() => DUMP.decodeResult(new XdrReader(endless.toBuffer())), /more than 4096 registrations/);
});

t.test('universal addresses, both ways', async (t) => {
  const pairs: readonly (readonly [string, string, number])[] = [
    ['127.0.0.1.8.1', '127.0.0.1', 2049],
    ['0.0.0.0.0.111', '0.0.0.0', 111],
    ['255.255.255.255.255.255', '255.255.255.255', 65535],
    ['::.0.111', '::', 111],
    ['::1.8.1', '::1', 2049],
    ['fe80::1:2.3.4', 'fe80::1:2', 772],
    ['::ffff:10.0.0.1.8.1', '::ffff:10.0.0.1', 2049],
  ];
  for (const [text, host, port] of pairs) {
    t.equal(formatUniversalAddress({ host, port }), text);
    t.same(parseUniversalAddress(text), { host, port });
  }
});

t.test('what is no universal address is refused', async (t) => {
  for (const text of [
    '',
    '1.2.3.4',
    '1.2.3.4.5',
    '1.2.3.4.256.0',
    '1.2.3.4.0.256',
    'a.b.c.d.8.1',
    '/run/rpcbind.sock',
    '::1',
    '::1.8',
    '1.2.3.4.8.1.',
    '1.2.3.4.-1.0',
    '999.0.0.1.8.1',
  ]) {
    t.throws(() => parseUniversalAddress(text), XdrError, text);
  }
  t.throws(() => formatUniversalAddress({ host: 'localhost', port: 1 }), /localhost is not an IP address/);
  for (const port of [-1, 65536, 0.5])
    t.throws(() => formatUniversalAddress({ host: '::1', port }), /is not a port/);
});

interface Asked {
  readonly what: string;
  readonly args: unknown;
}

/** A port mapper on a port of its own that remembers what it was asked. */
async function portmapper(
  t: Test,
  host: string,
  offers: { v2?: number; v3?: string; v4?: string },
): Promise<{ port: number; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = new RpcServer();
  const answer = <Arguments, Result>(
    procedure: Procedure<Arguments, Result>,
    result: Result,
  ): ServerProcedure =>
    handle(procedure, (args) => {
      asked.push({ what: `${procedure.name} ${procedure.program.version}`, args });
      return result;
    });
  if (offers.v2 !== undefined) server.register(PORTMAP_V2, [answer(GETPORT, offers.v2), answer(DUMP, [NFS])]);
  if (offers.v3 !== undefined) server.register(RPCBIND_V3, [answer(GETADDR_V3, offers.v3)]);
  if (offers.v4 !== undefined) server.register(RPCBIND_V4, [answer(GETADDR_V4, offers.v4)]);
  const { port } = await server.listen({ host, port: 0 });
  t.teardown(() => server.close(0));
  return { port, asked };
}

t.test('over IPv4, version 2 is asked', async (t) => {
  const { port, asked } = await portmapper(t, '127.0.0.1', { v2: 635, v3: '::1.0.1', v4: '::1.0.1' });
  t.equal(await getPort('127.0.0.1', 100005, 3, 'tcp', { port }), 635);
  t.equal(await getPort('127.0.0.1', 100005, 3, 'udp', { port }), 635);
  t.same(asked, [
    { what: 'GETPORT 2', args: { program: 100005, version: 3, protocol: 6, port: 0 } },
    { what: 'GETPORT 2', args: { program: 100005, version: 3, protocol: 17, port: 0 } },
  ]);
});

t.test('over IPv6, version 4 is asked, and version 3 where there is no 4', async (t) => {
  const four = await portmapper(t, '::1', { v2: 1, v3: '::.0.3', v4: '::.8.1' });
  t.equal(await getPort('::1', 100003, 3, 'tcp', { port: four.port }), 2049);
  t.match(four.asked, [
    { what: 'GETADDR 4', args: { program: 100003, version: 3, netid: 'tcp6', address: /^::1\.\d+\.\d+$/ } },
  ]);
  const three = await portmapper(t, '::1', { v3: '::.8.1' });
  t.equal(await getPort('::1', 100003, 3, 'udp', { port: three.port }), 2049);
  t.match(three.asked, [{ what: 'GETADDR 3', args: { netid: 'udp6' } }]);
});

t.test('a service asks the port mapper for its port, unless it is given', async (t) => {
  const { port, asked } = await portmapper(t, '127.0.0.1', { v2: 635 });
  const mountd = { number: 100005, version: 3, name: 'MOUNT' };
  const address = { host: '127.0.0.1', portmap: { port } };
  t.equal(await programService(mountd, { ...address, port: 20048 }).port(), 20048);
  t.same(asked, []);
  t.equal(await programService(mountd, { ...address, port: undefined, protocol: 'udp' }).port(), 635);
  t.same(asked, [{ what: 'GETPORT 2', args: { program: 100005, version: 3, protocol: 17, port: 0 } }]);
});

t.test('what is not registered is an error of its own, naming the program', async (t) => {
  const four = await portmapper(t, '127.0.0.1', { v2: 0 });
  const error = await getPort('127.0.0.1', 100021, 4, 'tcp', { port: four.port }).catch(
    (reason: unknown) => reason,
  );
  t.ok(error instanceof ProgramNotRegisteredError);
  t.match(error, {
    program: 100021,
    version: 4,
    message: /^127\.0\.0\.1 offers no NLM \(program 100021\) version 4 over TCP/,
  });
  const six = await portmapper(t, '::1', { v4: '' });
  await t.rejects(getPort('::1', 7, 1, 'udp', { port: six.port }), ProgramNotRegisteredError);
});

t.test(
  'a port mapper that is not there, or makes no sense, is unreachable, and the way around is named',
  async (t) => {
    const [port = 0] = await freePorts(1);
    const error = await getPort('127.0.0.1', 100003, 3, 'tcp', { port }).catch((reason: unknown) => reason);
    t.ok(error instanceof PortmapUnreachableError);
    t.match(error, {
      message: /port mapper of 127\.0\.0\.1 cannot be asked: .*ECONNREFUSED.*port= and mountport=/,
    });
    t.match(error, { cause: { name: 'RpcConnectError' } });
    const nonsense = await portmapper(t, '::1', { v4: 'nonsense' });
    await t.rejects(getPort('::1', 100003, 3, 'tcp', { port: nonsense.port }), PortmapUnreachableError);
  },
);

t.test('over UDP a port mapper that is silent is given up', async (t) => {
  const [port = 0] = await freePorts(1);
  const failed = getPort('127.0.0.1', 100003, 3, 'udp', {
    port,
    transport: 'udp',
    rpc: { timeo: 1, retrans: 0 },
  });
  await t.rejects(failed, PortmapUnreachableError);
});

t.test('DUMP and NULL', async (t) => {
  const { port } = await portmapper(t, '127.0.0.1', { v2: 1 });
  t.same(await dumpPorts('127.0.0.1', { port }), [NFS]);
  await pingPortmapper('127.0.0.1', { port });
});

t.test('a cancelled question is no failure of the port mapper', async (t) => {
  const { port } = await portmapper(t, '127.0.0.1', { v2: 1 });
  const cancellation = { cancelled: true, onCancel: (listener: () => void) => listener() };
  await t.rejects(getPort('127.0.0.1', 100003, 3, 'tcp', { port, cancellation }), {
    name: 'RpcCancelledError',
  });
});

t.test('the errors of the RPC layer stay distinguishable as causes', async (t) => {
  const empty = await portmapper(t, '127.0.0.1', { v4: '' });
  const error = await getPort('127.0.0.1', 1, 1, 'tcp', { port: empty.port }).catch(
    (reason: unknown) => reason,
  );
  t.match(error, { name: 'PortmapUnreachableError', cause: { name: 'RpcProgramMismatchError' } });
  t.notOk(error instanceof RpcClosedError);
  t.notOk(error instanceof RpcProcedureUnavailableError);
});
