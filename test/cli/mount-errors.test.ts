/** Mounts that cannot work: each prints the fault and a remedy, exits non-zero, and leaves nothing behind. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MountStatus } from '../../lib/programs/mount3/index.js';
import { fileHandleFromBytes, NFS_PROGRAM } from '../../lib/programs/nfs3/index.js';
import { portmapProcedures } from '../../lib/programs/portmap/index.js';
import { handle, RpcServer } from '../../lib/rpc/index.js';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { freePorts } from '../support/ports.js';
import { start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { exported, type MockOptions, startMock } from './support/mock-server.js';
import { failsOnce, nfsFuse, product, type Said, said } from './support/product.js';
import { silentServer } from './support/silent-server.js';

const HANDLE = fileHandleFromBytes(Buffer.of(1));

function emptyFolder(t: Test): string {
  const scratch = untilEnd(t, publicFolder());
  const path = join(scratch.path, 'mnt');
  mkdirSync(path);
  return path;
}

/** Expects one message with its remedy on standard error, and nothing mounted. */
function failsWith(t: Test, outcome: Said, message: RegExp, remedy: RegExp): void {
  failsOnce(t, outcome, message, remedy);
  t.match(outcome.stderr, /^nfs-fuse: [A-Z0-9/[]/);
  t.equal(outcome.stdout, '');
}

async function mock(t: Test, options: MockOptions) {
  const server = untilEnd(t, await startMock(options));
  return server;
}

for (const [how, flags] of [
  ['in the background', []],
  ['in the foreground', ['-f']],
] as const) {
  t.test(`a refused connection, ${how}`, async (t) => {
    const mnt = emptyFolder(t);
    const [port] = await freePorts(1);
    const args = ['mount', ...flags, '-o', `port=${port},mountport=${port}`, '127.0.0.1:/export', mnt];
    failsWith(
      t,
      await nfsFuse(args),
      new RegExp(`127\\.0\\.0\\.1 refuses connections to port ${port} \\(port=, NFS; mountport=, MOUNT\\)`),
      /Check that the server runs there; retry=minutes/,
    );
  });

  t.test(`an export that is denied, ${how}`, async (t) => {
    const mnt = emptyFolder(t);
    const server = await mock(t, { exports: [exported('/a', '10.0.0.0/8'), exported('/b')] });
    const args = ['mount', ...flags, '-o', server.options, '127.0.0.1:/secret', mnt];
    failsWith(
      t,
      await nfsFuse(args),
      /127\.0\.0\.1 does not let this machine mount \/secret \(MNT3ERR_ACCES\)\./,
      /The server exports: \/a, \/b/,
    );
    t.notMatch(server.calls, ['UMNT'], 'nothing to take back');
  });
}

t.test('mount explains a host whose name has no address', async (t) => {
  const outcome = await nfsFuse(['mount', 'nosuch.invalid:/export', emptyFolder(t)]);
  // If no name server answers, the resolver cannot tell that the name does not exist.
  failsWith(
    t,
    outcome,
    /nosuch\.invalid (is unknown: its name has no address|cannot be looked up just now)/,
    /address/,
  );
});

t.test('mount explains a machine without portmapper', async (t) => {
  // Port 111 of an address that only this machine uses.
  failsWith(
    t,
    await nfsFuse(['mount', '127.0.98.1:/export', emptyFolder(t)]),
    /There is no portmapper on 127\.0\.98\.1 \(port 111 refuses connections\)/,
    /give port= and mountport=/,
  );
});

t.test('mount explains that lock needs nlmport where there is no portmapper', async (t) => {
  const host = '127.0.98.3';
  const folder = untilEnd(t, publicFolder());
  const server = untilEnd(t, await EmbeddedServer.start({ path: folder.path, host }));
  const ports = `port=${server.port},mountport=${server.port}`;
  const lock = (options: string) =>
    nfsFuse(['mount', '-o', `${ports},lock${options}`, `${host}:/export`, emptyFolder(t)]);
  failsWith(
    t,
    await lock(''),
    /The portmapper of 127\.0\.98\.3 cannot be asked for the lock manager/,
    /^ *Give nlmport= .*or leave lock out, or give nolock\.$/,
  );
  const [closed] = await freePorts(1);
  failsWith(
    t,
    await lock(`,nlmport=${closed},retry=0`),
    new RegExp(`refuses connections to port ${closed} \\(nlmport=, NLM\\)`),
    /Check that the server runs there/,
  );
});

t.test('mount explains a portmapper that does not know NFS', async (t) => {
  const portmapper = new RpcServer();
  const { GETPORT } = portmapProcedures;
  portmapper.register(GETPORT.program, [handle(GETPORT, () => 0)]);
  await portmapper.listen({ host: '127.0.98.2', port: 111 });
  t.teardown(() => portmapper.close());
  const known = await mock(t, {
    host: '127.0.98.2',
    mnt: () => ({ status: MountStatus.OK, grant: { handle: HANDLE, flavors: [1] } }),
  });
  failsWith(
    t,
    await nfsFuse(['mount', '-o', `mountport=${known.port}`, '127.0.98.2:/export', emptyFolder(t)]),
    /The portmapper of 127\.0\.98\.2 knows no port of NFS \(program 100003\) version 3 over TCP/,
    /NFSv3 switched on, or give port=/,
  );
  failsWith(
    t,
    await nfsFuse(['mount', '-o', `port=${known.port}`, '127.0.98.2:/export', emptyFolder(t)]),
    /The portmapper of 127\.0\.98\.2 knows no port of the MOUNT service \(program 100005\)/,
    /rpc\.mountd on the server, or give mountport=/,
  );
});

t.test('mount explains a server that wants a reserved port', async (t) => {
  const server = await mock(t, {
    exports: [exported('/export', '127.0.0.0/8')],
    mnt: (_, call) =>
      call.remotePort < 1024 ? { status: MountStatus.NOENT } : { status: MountStatus.ACCES },
  });
  const mnt = emptyFolder(t);
  failsWith(
    t,
    await nfsFuse(['mount', '-o', server.options, '127.0.0.1:/export', mnt]),
    /does not let this machine mount \/export \(MNT3ERR_ACCES\)/,
    /exports \/export to 127\.0\.0\.0\/8\. If this machine is among them: the server wants a reserved port \(below 1024\): export it with `insecure`, or mount with resvport/,
  );
  failsWith(
    t,
    await nfsFuse(['mount', '-o', `resvport,${server.options}`, '127.0.0.1:/export', mnt]),
    /has no directory \/export/,
    /The server exports: \/export/,
  );
});

t.test('mount explains a server that refuses the credential because of the port', async (t) => {
  const server = await mock(t, { hooks: { before: () => ({ kind: 'auth-error', authStat: 5 }) } });
  failsWith(
    t,
    await nfsFuse(['mount', '-o', server.options, '127.0.0.1:/export', emptyFolder(t)]),
    /127\.0\.0\.1 refuses our credentials \(AUTH_TOOWEAK\)/,
    /export it with `insecure`, or mount with resvport/,
  );
});

t.test('mount explains a denied export on a server that does not list its exports', async (t) => {
  const server = await mock(t, {
    hooks: { before: ({ name }) => (name === 'EXPORT' ? 'disconnect' : undefined) },
  });
  failsWith(
    t,
    await nfsFuse(['mount', '-o', server.options, '127.0.0.1:/export', emptyFolder(t)]),
    /does not let this machine mount \/export/,
    /Add this machine to the clients of the export\. If it is among them: the server wants a reserved port/,
  );
});

t.test('mount explains an export that does not exist, and one that is no directory', async (t) => {
  const server = await mock(t, {
    exports: [exported('/other\x1b[31m')],
    mnt: (path) => ({ status: path === '/file' ? MountStatus.NOTDIR : MountStatus.NOENT }),
  });
  failsWith(
    t,
    await nfsFuse(['mount', '-o', server.options, '127.0.0.1:/export', emptyFolder(t)]),
    /127\.0\.0\.1 has no directory \/export to mount \(MNT3ERR_NOENT\)/,
    /The server exports: \/other\\x1b\[31m$/,
  );
  failsWith(
    t,
    await nfsFuse(['mount', '-o', server.options, '127.0.0.1:/file', emptyFolder(t)]),
    /\/file on 127\.0\.0\.1 is not a directory \(MNT3ERR_NOTDIR\)/,
    /Mount the directory that it is in/,
  );
});

t.test('mount explains a port where another program listens', async (t) => {
  const mountOnly = await mock(t, {
    mnt: () => ({ status: MountStatus.OK, grant: { handle: HANDLE, flavors: [1] } }),
  });
  failsWith(
    t,
    await nfsFuse(['mount', '-o', mountOnly.options, '127.0.0.1:/export', emptyFolder(t)]),
    /127\.0\.0\.1.*does not offer this program/,
    /check port= \(NFS\) and mountport= \(MOUNT\)/,
  );
  const onlyV4 = await mock(t, {
    mnt: () => ({ status: MountStatus.OK, grant: { handle: HANDLE, flavors: [1] } }),
    programs: [{ program: { ...NFS_PROGRAM, version: 4 }, procedures: [] }],
  });
  failsWith(
    t,
    await nfsFuse(['mount', '-o', onlyV4.options, '127.0.0.1:/export', emptyFolder(t)]),
    /127\.0\.0\.1 does not offer NFSv3/,
    /Switch NFSv3 on at the server/,
  );
});

t.test('retry goes on trying, reports that once, and gives up after its time', async (t) => {
  const mnt = emptyFolder(t);
  const [port] = await freePorts(1);
  const argv = [
    ...product,
    'mount',
    '-o',
    `retry=5,port=${port},mountport=${port}`,
    '127.0.0.1:/export',
    mnt,
  ];
  const mounting = untilEnd(t, start(argv));
  await until('it says that it tries again', () => mounting.output.includes('Trying again'));
  t.match(mounting.output, /refuses connections to port \d+ .*Trying again for 5 minutes\.\n$/);
  mounting.child.kill('SIGINT');
  const outcome = said(await mounting.ended);
  t.equal(outcome.status, 130);
  t.match(outcome.stderr, /Mounting was interrupted \(SIGINT\)/);
});

t.test('an interrupted command ends the process in the background', async (t) => {
  const { options, open } = await silentServer(t);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const argv = [...product, 'mount', '-o', options, '127.0.0.1:/export', emptyFolder(t)];
    const mounting = untilEnd(t, start(argv));
    await until('it is connected', () => open() > 0);
    mounting.child.kill(signal);
    await mounting.ended;
    await until('the connection ends with the process', () => open() === 0);
  }
  t.equal(open(), 0);
});

t.test('exports prints the same as showmount -e, and JSON', async (t) => {
  const server = await mock(t, { exports: [exported('/a', '10.0.0.0/8', 'host'), exported('/long/path')] });
  const plain = await nfsFuse(['exports', '-o', `mountport=${server.port}`, '127.0.0.1']);
  t.same(plain, {
    status: 0,
    stdout: 'Export list for 127.0.0.1:\n/a         10.0.0.0/8,host\n/long/path (everyone)\n',
    stderr: '',
  });
  const json = await nfsFuse(['exports', '--json', '-o', `mountport=${server.port}`, '127.0.0.1']);
  t.same(JSON.parse(json.stdout), [
    { path: '/a', clients: ['10.0.0.0/8', 'host'] },
    { path: '/long/path', clients: [] },
  ]);
  failsWith(
    t,
    await nfsFuse(['exports', '127.0.98.1']),
    /There is no portmapper on 127\.0\.98\.1/,
    /port= and mountport=/,
  );
});
