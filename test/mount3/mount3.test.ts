/** MOUNT version 3: codecs of every procedure, bounds of the lists, and refusals in a user's words. */
import t, { type Test } from 'tap';
import { MountRefused } from '../../lib/programs/mount3/mount-refused.js';
import { Mount3Client } from '../../lib/programs/mount3/mount3-client.js';
import {
  DUMP,
  EXPORT,
  MNT,
  MOUNT_PROGRAM,
  NULL,
  UMNT,
  UMNTALL,
} from '../../lib/programs/mount3/procedures.js';
import { type MountResult, MountStatus, mountStatusName } from '../../lib/programs/mount3/types.js';
import { fileHandleFromBytes } from '../../lib/programs/nfs3/file-handle.js';
import { AUTH_NONE } from '../../lib/rpc/auth/auth-none.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { RpcGarbageError } from '../../lib/rpc/rpc-errors.js';
import { RpcServer } from '../../lib/rpc/server/server.js';
import { handle, type ServerProcedure } from '../../lib/rpc/server/server-procedure.js';
import type { Procedure } from '../../lib/rpc/wire/procedure.js';
import { XdrError } from '../../lib/xdr/xdr-error.js';
import { XdrReader } from '../../lib/xdr/xdr-reader.js';
import { XdrWriter } from '../../lib/xdr/xdr-writer.js';
import { resultBytes, roundTrip } from '../rpc/support/round-trip.js';

const HANDLE = fileHandleFromBytes(Buffer.from('00ff80c3a900', 'hex'));
const PATH = Buffer.from([0x2f, 0x78, 0xff, 0xfe]);

t.test('every procedure reads what it writes, with the numbers of RFC 1813', async (t) => {
  const name = (text: string): Buffer => Buffer.from(text);
  roundTrip(t, NULL, undefined, undefined);
  roundTrip(t, MNT, PATH, { status: MountStatus.OK, grant: { handle: HANDLE, flavors: [1, 390003] } });
  roundTrip(t, MNT, PATH, { status: MountStatus.OK, grant: { handle: HANDLE, flavors: [] } });
  roundTrip(t, MNT, Buffer.alloc(0), { status: MountStatus.ACCES });
  roundTrip(t, DUMP, undefined, []);
  roundTrip(t, DUMP, undefined, [
    { hostname: name('a'), directory: PATH },
    { hostname: name(''), directory: name('/') },
  ]);
  roundTrip(t, UMNT, PATH, undefined);
  roundTrip(t, UMNTALL, undefined, undefined);
  roundTrip(t, EXPORT, undefined, []);
  roundTrip(t, EXPORT, undefined, [
    { directory: PATH, groups: [] },
    { directory: name('/b'), groups: [name('*'), name('192.0.2.0/24')] },
  ]);
  t.same(
    [NULL, MNT, DUMP, UMNT, UMNTALL, EXPORT].map((procedure) => [procedure.number, procedure.name]),
    [
      [0, 'NULL'],
      [1, 'MNT'],
      [2, 'DUMP'],
      [3, 'UMNT'],
      [4, 'UMNTALL'],
      [5, 'EXPORT'],
    ],
  );
});

t.test('MNT on the wire is that of RFC 1813', async (t) => {
  const call = new XdrWriter();
  MNT.encodeArguments(call, Buffer.from('/srv'));
  t.equal(call.toBuffer().toString('hex'), '000000042f737276');
  const bytes = resultBytes(MNT, { status: MountStatus.OK, grant: { handle: HANDLE, flavors: [1] } });
  t.equal(bytes.toString('hex'), '00000000' + '00000006' + '00ff80c3a9000000' + '00000001' + '00000001');
});

t.test('a path longer than 1024 bytes is refused on both sides', async (t) => {
  const long = Buffer.alloc(1025, 0x61);
  t.throws(() => MNT.encodeArguments(new XdrWriter(), long), /path is 1025 bytes long; MOUNT allows 1024/);
  const writer = new XdrWriter();
  writer.opaque(long);
  t.throws(() => MNT.decodeArguments(new XdrReader(writer.toBuffer())), XdrError);
});

t.test('handles above 64 bytes, unknown statuses and endless flavors are refused', async (t) => {
  const of = (...words: number[]): XdrReader => {
    const writer = new XdrWriter();
    for (const word of words) writer.uint32(word);
    writer.opaqueFixed(Buffer.alloc(4096));
    return new XdrReader(writer.toBuffer());
  };
  t.throws(() => MNT.decodeResult(of(3)), { message: 'mountstat3 is 3' });
  t.throws(() => MNT.decodeResult(of(0, 65)), /file handle is 65 bytes/);
  t.throws(() => MNT.decodeResult(of(0, 4, 0, 257)), /auth_flavors has 257/);
});

t.test('lists are bounded, the groups of all exports counted together', async (t) => {
  const entry = { hostname: Buffer.alloc(0), directory: Buffer.alloc(0) };
  const most = 65536;
  t.equal(
    DUMP.decodeResult(
      new XdrReader(
        resultBytes(
          DUMP,
          Array.from({ length: most }, () => entry),
        ),
      ),
    ).length,
    most,
  );
  const mounts = resultBytes(
    DUMP,
    Array.from({ length: most + 1 }, () => entry),
  );
  t.throws(() => DUMP.decodeResult(new XdrReader(mounts)), /mount list has more than 65536 entries/);
  const groups = Array.from({ length: 1000 }, () => Buffer.alloc(0));
  const exports = resultBytes(
    EXPORT,
    Array.from({ length: 66 }, () => ({ directory: Buffer.alloc(0), groups })),
  );
  t.throws(() => EXPORT.decodeResult(new XdrReader(exports)), /export list has more than 65536 entries/);
  const longName = resultBytes(DUMP, [{ hostname: Buffer.alloc(256), directory: Buffer.alloc(0) }]);
  t.throws(() => DUMP.decodeResult(new XdrReader(longName)), /host name is 256 bytes/);
});

t.test('entries of lists do not keep the reply in memory', async (t) => {
  const bytes = Buffer.concat([resultBytes(DUMP, [{ hostname: Buffer.from('host'), directory: PATH }])]);
  const [entry] = DUMP.decodeResult(new XdrReader(bytes));
  bytes.fill(0);
  t.same(entry, { hostname: Buffer.from('host'), directory: PATH });
});

async function mountd(t: Test, procedures: readonly ServerProcedure[]): Promise<Mount3Client> {
  const server = new RpcServer();
  server.register(MOUNT_PROGRAM, procedures);
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const rpc = await RpcClient.connect({ host: '127.0.0.1', port, recovery: 'soft' });
  t.teardown(async () => {
    rpc.close();
    await server.close(0);
  });
  return new Mount3Client(rpc, AUTH_NONE, 'server');
}

t.test('the client speaks every procedure', async (t) => {
  const seen: string[] = [];
  const exported = [{ directory: PATH, groups: [Buffer.from('*')] }];
  const mounted = [{ hostname: Buffer.from('me'), directory: PATH }];
  const client = await mountd(t, [
    handle(MNT, (path) => {
      seen.push(`MNT ${Buffer.from(path).toString('hex')}`);
      return { status: MountStatus.OK, grant: { handle: HANDLE, flavors: [1] } };
    }),
    handle(UMNT, (path) => {
      seen.push(`UMNT ${Buffer.from(path).toString('hex')}`);
      return undefined;
    }),
    handle(UMNTALL, () => {
      seen.push('UMNTALL');
      return undefined;
    }),
    handle(DUMP, () => mounted),
    handle(EXPORT, () => exported),
  ]);
  await client.null();
  t.same(await client.mount(PATH), { handle: HANDLE, flavors: [1] });
  await client.unmount(PATH);
  await client.unmountAll();
  t.same(await client.dump(), mounted);
  t.same(await client.exports(), exported);
  t.same(seen, ['MNT 2f78fffe', 'UMNT 2f78fffe', 'UMNTALL']);
});

t.test('every refusal has its name and says what it is about', async (t) => {
  let result: MountResult = { status: MountStatus.PERM };
  const client = await mountd(t, [handle(MNT, () => result)]);
  for (const status of Object.values(MountStatus)) {
    if (status === MountStatus.OK) continue;
    result = { status };
    const error = await client.mount(Buffer.from('/data')).catch((reason: unknown) => reason);
    t.ok(error instanceof MountRefused);
    t.match(error, { status, statusName: mountStatusName(status) });
    const { message } = error as MountRefused;
    t.match(message, /^cannot mount server:\/data: .{10,}\(MNT3ERR_[A-Z]+\)$/);
    t.equal(message.includes('refused ('), false, 'a reason, not just "refused"');
  }
  t.match(mountStatusName(MountStatus.NOTSUPP), 'MNT3ERR_NOTSUPP');
});

t.test('a refusal for lack of access names what to do about reserved ports', async (t) => {
  const client = await mountd(t, [handle(MNT, () => ({ status: MountStatus.ACCES }))]);
  await t.rejects(client.mount(PATH), { message: /`insecure`.*`resvport`.*MNT3ERR_ACCES/ });
});

t.test('a reply that is no mountres3 is an RPC error', async (t) => {
  const wrong: Procedure<Uint8Array, MountResult> = { ...MNT, encodeResult: (writer) => writer.uint32(4711) };
  const client = await mountd(t, [handle(wrong, () => ({ status: MountStatus.IO }))]);
  await t.rejects(client.mount(PATH), RpcGarbageError);
});
