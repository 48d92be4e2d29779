/** `nfs-fuse check server:/export`: it finds what a server lacks or refuses. */
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { membership } from '../../lib/check/client-list.js';
import { serverSteps } from '../../lib/check/server-steps.js';
import { ServerVisit } from '../../lib/check/server-visit.js';
import { examineAll, type Finding } from '../../lib/check/step.js';
import { parseMountRequest } from '../../lib/mount/options/mount-options.js';
import { MountStatus } from '../../lib/programs/mount3/index.js';
import { Access, NFS_PROGRAM } from '../../lib/programs/nfs3/index.js';
import { type Mapping, portmapProcedures } from '../../lib/programs/portmap/index.js';
import { handle, RpcServer } from '../../lib/rpc/index.js';
import { exportFolder } from '../support/folders.js';
import { Ganesha, type GaneshaOptions } from '../support/ganesha.js';
import { openPlace, type PlaceName } from '../support/places.js';
import { freePorts } from '../support/ports.js';
import { run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { allWell, type Checked, checkedOf, checkWith, failsAt, warnsAt } from './support/check.js';
import { EVERYTHING, mockRoot } from './support/mock-nfs.js';
import { exported, type MockOptions, startMock } from './support/mock-server.js';
import { product, said } from './support/product.js';
import { silentServer } from './support/silent-server.js';

async function mock(t: Test, options: MockOptions) {
  const server = untilEnd(t, await startMock(options));
  return server;
}

async function ganesha(t: Test, options: GaneshaOptions = {}): Promise<Ganesha> {
  const server = untilEnd(t, await Ganesha.start(options));
  return server;
}

/** A folder to export. The server looks at it once and remembers it, so it must have its mode from the start. */
function folderOf(t: Test, uid: number, gid: number, mode: number): string {
  const scratch = untilEnd(t, exportFolder());
  const path = join(scratch.path, 'export');
  mkdirSync(path);
  chownSync(path, uid, gid);
  chmodSync(path, mode);
  return path;
}

/** Runs the steps about the server in this process, which is quicker than one process for each test. */
async function check(options: string, target = '127.0.0.1:/export', timeoutMs = 30_000): Promise<Checked> {
  const visit = new ServerVisit(parseMountRequest(target, options === '' ? [] : [options]), timeoutMs);
  const findings: Finding[] = [];
  for await (const finding of examineAll(serverSteps(visit), 4 * timeoutMs)) findings.push(finding);
  await visit.leave();
  return checkedOf(findings, findings.some(({ result }) => result === 'failure') ? 1 : 0);
}

/** Expects that every step that needs `step` is skipped. */
function skipped(t: Test, checked: Checked, ...steps: string[]): void {
  for (const step of steps) t.equal(checked.of(step).result, 'skipped', `${step} is skipped`);
}

/** A portmapper on port 111 of an address that only this machine uses. */
async function portmapper(t: Test, host: string, mappings: readonly Mapping[]): Promise<void> {
  const server = new RpcServer();
  const { GETPORT, DUMP } = portmapProcedures;
  const find = (wanted: Mapping) =>
    mappings.find(({ program, version }) => program === wanted.program && version === wanted.version);
  server.register(GETPORT.program, [
    handle(GETPORT, (wanted) => find(wanted)?.port ?? 0),
    handle(DUMP, () => mappings),
  ]);
  await server.listen({ host, port: 111 });
  t.teardown(() => server.close());
}

for (const name of ['root', 'userns', 'user'] satisfies PlaceName[]) {
  t.test(`${name}: check finds nothing missing on nfs-ganesha`, async (t) => {
    const place = untilEnd(t, await openPlace(name));
    const { uid, gid } = name === 'user' ? place.owner : { uid: 0, gid: 0 };
    const server = await ganesha(t, { directory: folderOf(t, uid, gid, 0o755) });
    const argv = [...place.product, 'check', '-o', server.mountOptions.join(','), '127.0.0.1:/export'];
    const checked = await checkWith(place.command(argv));
    allWell(t, checked);
    t.match(checked.of('portmapper').message, /port= and mountport= are given/);
    t.match(checked.of('export list').message, /^\/export is in it$/);
    t.match(checked.of('auth flavours').message, /AUTH_SYS is among them: sys/);
    t.match(checked.of('access').message, /uid \d+ may read and write/);
    t.match(checked.of('transfer sizes').message, /READ 1 MiB, WRITE 1 MiB, directories/);
    t.match(checked.of('reserved port').message, /not demanded/);
  });
}

t.test('check asks the server with the ids of --idmap-uid and --idmap-gid', async (t) => {
  const server = await ganesha(t, { directory: folderOf(t, 5000, 6000, 0o770), squash: 'Root_Squash' });
  const argv = [...product, 'check', '-o', server.mountOptions.join(','), '127.0.0.1:/export'];
  const root = await checkWith(argv);
  t.not(root.of('access').result, 'ok', 'without');
  const ranges = ['--idmap-uid', '1:1:4', '--idmap-uid', '0:5000:1', '--idmap-gid=0:7000:1'];
  const mapped = await checkWith([...argv, ...ranges]);
  t.match(mapped.of('access'), { result: 'ok', message: 'uid 5000 may read and write' });
  const conflict = said(await run([...product, 'check', '--mount', '/mnt', '--idmap-gid', '0:1:1']));
  t.match(conflict, { status: 1, stderr: /mount and idmap-gid are mutually exclusive/ });
});

t.test('check finds a server through its portmapper', async (t) => {
  const host = '127.0.97.1';
  const server = await mock(t, { ...mockRoot(), host });
  const of = (program: number, version: number, protocol = 6) => ({
    program,
    version,
    protocol,
    port: server.port,
  });
  await portmapper(t, host, [of(100003, 4), of(100003, 3), of(100005, 3), of(100021, 4), of(100003, 3, 17)]);
  const checked = await check('nolock', `${host}:/export`);
  allWell(t, checked);
  const { port } = server;
  t.equal(
    checked.of('portmapper').message,
    `NFS 3, 4 on port ${port}; MOUNT 3 on port ${port}; NLM 4 on port ${port}`,
  );
  t.match(
    checked.of('lock manager').message,
    /^not asked, as the options say; locks exclude only the programs of one mount/,
  );
  t.equal(server.calls.at(-1), 'UMNT', 'the mark that MNT has left is taken back');
});

t.test('check fails for a name without an address', async (t) => {
  const checked = await check('', 'nosuch.invalid:/export');
  // If no name server answers, the resolver cannot tell that the name does not exist.
  failsAt(
    t,
    checked,
    'server name',
    /nosuch\.invalid (is unknown: its name has no address|cannot be looked up just now)/,
    /give the server's address/,
  );
  skipped(t, checked, 'portmapper', 'MOUNT service', 'NFS service', 'MNT', 'export root', 'clock');
});

t.test('check fails for a name without an address of the wanted family', async (t) => {
  const checked = await check('proto=tcp6', '127.0.0.1:/export');
  failsAt(t, checked, 'server name', /127\.0\.0\.1 has no IPv6 address/, /Use proto=tcp/);
});

t.test('check fails if there is no portmapper, or if it does not know NFS', async (t) => {
  const without = await check('', '127.0.97.2:/export');
  failsAt(
    t,
    without,
    'portmapper',
    /There is no portmapper on 127\.0\.97\.2 \(port 111 refuses connections\)/,
    /give port= and mountport=/,
  );
  skipped(t, without, 'MOUNT service', 'NFS service');
  await portmapper(t, '127.0.97.3', [{ program: 100000, version: 2, protocol: 6, port: 111 }]);
  const empty = await check('', '127.0.97.3:/export');
  t.equal(empty.of('portmapper').result, 'ok');
  failsAt(t, empty, 'MOUNT service', /knows no port of the MOUNT service/, /Start rpc\.mountd/);
  failsAt(t, empty, 'NFS service', /knows no port of NFS/, /NFSv3 switched on, or give port=/);
});

t.test('check fails for a port where nothing listens', async (t) => {
  const server = await mock(t, mockRoot());
  const [port] = await freePorts(1);
  const checked = await check(`port=${port},mountport=${server.port}`);
  failsAt(
    t,
    checked,
    'NFS service',
    new RegExp(`refuses connections to port ${port} \\(port=, NFS\\)`),
    /Check that the server runs there/,
  );
  t.equal(checked.of('MNT').result, 'ok', 'what does not need NFS is looked at all the same');
  skipped(t, checked, 'export root', 'access', 'transfer sizes');
});

t.test('check fails for a server that speaks only NFSv4', async (t) => {
  const server = await mock(t, {
    ...mockRoot(),
    programs: [{ program: { ...NFS_PROGRAM, version: 4 }, procedures: [] }],
  });
  failsAt(
    t,
    await check(server.options),
    'NFS service',
    /127\.0\.0\.1 does not offer NFSv3/,
    /Switch NFSv3 on at the server \(vers3=y in nfs\.conf, Protocols in ganesha\.conf\)/,
  );
});

t.test('check fails for a server that accepts connections and never answers', async (t) => {
  const { options, accepted } = await silentServer(t);
  const checked = await check(options, '127.0.0.1:/export', 1000);
  failsAt(t, checked, 'MOUNT service', /127\.0\.0\.1 does not answer/, /server is up and no firewall/);
  failsAt(t, checked, 'NFS service', /127\.0\.0\.1 does not answer/, /server is up and no firewall/);
  skipped(t, checked, 'MNT', 'export root');

  const before = accepted();
  const waiting = untilEnd(
    t,
    start([...product, 'check', '--timeout', '600', '-o', options, '127.0.0.1:/export']),
  );
  await until('it is connected', () => accepted() > before);
  waiting.child.kill('SIGINT');
  t.equal((await waiting.ended).signal, 'SIGINT', 'and Ctrl-C ends it');
});

t.test('check fails for an export that does not exist', async (t) => {
  const server = await mock(t, {
    ...mockRoot(),
    exports: [exported('/other'), exported('/third', '10.0.0.0/8')],
    mnt: () => ({ status: MountStatus.NOENT }),
  });
  const checked = await check(server.options);
  warnsAt(t, checked, 'export list', /^\/export is not in it\.$/, /The server exports: \/other, \/third/);
  failsAt(t, checked, 'MNT', /has no directory \/export to mount/, /The server exports: \/other, \/third/);
  skipped(t, checked, 'auth flavours', 'export root', 'access');
});

t.test('check accepts a folder within an export, also on a server that lists no exports', async (t) => {
  const below = await mock(t, mockRoot());
  const inside = await check(below.options, '127.0.0.1:/export/below/it');
  allWell(t, inside);
  t.match(inside.of('export list').message, /\/export\/below\/it is in the export \/export$/);
  const secretive = await mock(t, {
    ...mockRoot(),
    hooks: { before: ({ name }) => (name === 'EXPORT' ? { kind: 'auth-error', authStat: 5 } : undefined) },
  });
  const checked = await check(secretive.options);
  warnsAt(t, checked, 'export list', /does not tell what it exports/, /MNT decides/);
  t.equal(checked.status, 0);
});

t.test('check warns if this machine is not among the clients of the export', async (t) => {
  const server = await mock(t, {
    ...mockRoot(),
    exports: [exported('/export', '10.0.0.0/8', '192.0.2.7')],
    mnt: () => ({ status: MountStatus.ACCES }),
  });
  const checked = await check(server.options);
  warnsAt(
    t,
    checked,
    'client list',
    /^This machine \(127\.0\.0\.1\) is not in it: 10\.0\.0\.0\/8, 192\.0\.2\.7\.$/,
    /Add 127\.0\.0\.1 to the clients of the export/,
  );
  failsAt(
    t,
    checked,
    'MNT',
    /does not let this machine mount \/export \(MNT3ERR_ACCES\)/,
    /exports \/export to 10\.0\.0\.0\/8, 192\.0\.2\.7.*add this machine to them/,
  );
});

t.test('membership tells which addresses a list of clients contains', async (t) => {
  for (const [clients, address, expected] of [
    [[], '192.0.2.1', 'yes'],
    [['*'], '192.0.2.1', 'yes'],
    [['192.0.2.1'], '192.0.2.1', 'yes'],
    [['192.0.2.0/24'], '192.0.2.1', 'yes'],
    [['192.0.2.0/255.255.255.0'], '192.0.2.200', 'yes'],
    [['192.0.2.0/255.255.255.0'], '192.0.3.1', 'no'],
    [['192.0.2.1/255.255.255.255'], '192.0.2.2', 'no'],
    [['192.0.2.0/255.0.255.0'], '192.0.2.1', 'unknown'],
    [['10.0.0.0/8', '192.0.2.0/25'], '192.0.2.200', 'no'],
    [['10.0.0.0/8', '*.example.org'], '192.0.2.1', 'unknown'],
    [['@staff', '192.0.2.1'], '192.0.2.1', 'yes'],
    [['192.0.2.0/24'], '::ffff:192.0.2.1', 'yes'],
    [['2001:db8::/32'], '2001:db8::1', 'yes'],
    [['2001:db8::/32'], '2001:db9::1', 'no'],
    [['2001:db8::/32'], '192.0.2.1', 'no'],
    [['fe80::/10'], 'fe80::1%eth0', 'yes'],
  ] as const)
    t.equal(membership(clients, address), expected, `${address} in "${clients.join(' ')}"`);
});

t.test('check fails if the server does not offer AUTH_SYS', async (t) => {
  const kerberos = await mock(t, mockRoot({ flavors: [390003, 390005] }));
  failsAt(
    t,
    await check(kerberos.options),
    'auth flavours',
    /^AUTH_SYS is not offered, only krb5, krb5p\.$/,
    /Add sec=sys to the options of the export/,
  );
  const anonymous = await mock(t, mockRoot({ flavors: [0] }));
  warnsAt(t, await check(anonymous.options), 'auth flavours', /same anonymous user: none/, /sec=sys/);
  const silent = await mock(t, mockRoot({ flavors: [] }));
  t.match((await check(silent.options)).of('auth flavours'), {
    result: 'ok',
    message: /AUTH_SYS is assumed/,
  });
});

t.test('check fails if the server demands a reserved port', async (t) => {
  const server = await ganesha(t, { privilegedPort: true });
  const options = server.mountOptions.join(',');
  const asRoot = await check(options);
  failsAt(
    t,
    asRoot,
    'reserved port',
    /refuses calls from ports above 1023/,
    /export it with `insecure`, or mount with resvport \(as root\)/,
  );
  t.equal(asRoot.of('access').result, 'ok', 'the rest is looked at from a reserved port');
  allWell(t, await check(`resvport,${options}`));

  const place = untilEnd(t, await openPlace('userns'));
  const argv = [...place.product, 'check', '-o', options, '127.0.0.1:/export'];
  const rootless = await checkWith(place.command(argv));
  const refused = rootless.findings.find(({ result }) => result === 'failure');
  t.match(refused?.step, /^(MNT|export root)$/);
  t.match(refused?.remedy, /reserved port \(below 1024\): export it with `insecure`/);
  t.equal(rootless.status, 1);
});

t.test('check warns if the server squashes root', async (t) => {
  const squash = 'Root_Squash';
  const shut = await ganesha(t, { squash, directory: folderOf(t, 0, 0, 0o700) });
  const refused = await check(shut.mountOptions.join(','));
  failsAt(
    t,
    refused,
    'access',
    /does not let uid 0 into the exported directory/,
    /a directory of 0:0, mode 0700; or export with no_root_squash/,
  );
  warnsAt(t, refused, 'root squash', /uid 0 seems to be squashed/, /Export with no_root_squash/);
  const foreign = await ganesha(t, { squash, directory: folderOf(t, 1234, 1234, 0o755) });
  const reader = await check(foreign.mountOptions.join(','));
  warnsAt(t, reader, 'access', /does not let uid 0 create files/, /no_root_squash/);
  warnsAt(t, reader, 'root squash', /uid 0 seems to be squashed/, /Export with no_root_squash/);
  t.equal(reader.status, 0, 'a warning is no failure');
});

t.test('check derives from ACCESS whether root is squashed', async (t) => {
  const reader = Access.READ | Access.LOOKUP | Access.EXECUTE;
  const readOnly = await mock(t, mockRoot({ attributes: { uid: 1000, gid: 1000 }, access: () => reader }));
  const checked = await check(readOnly.options);
  warnsAt(t, checked, 'access', /does not let uid 0 create files/, /If the export is read-only/);
  t.match(checked.of('root squash'), { result: 'ok', message: /cannot be told: nobody may write/ });
  allWell(t, await check(`ro,${readOnly.options}`));

  const open = await mock(t, mockRoot({ attributes: { mode: 0o777 } }));
  t.match((await check(open.options)).of('root squash'), {
    result: 'ok',
    message: /cannot be told: everybody/,
  });
  const blind = await mock(t, mockRoot({ access: () => EVERYTHING & ~Access.READ }));
  warnsAt(t, await check(blind.options), 'access', /does not let uid 0 list/, /no_root_squash/);
});

t.test('check warns of small transfers, and of a clock that is ahead', async (t) => {
  const small = await ganesha(t, { maxIo: 16384 });
  warnsAt(
    t,
    await check(small.mountOptions.join(',')),
    'transfer sizes',
    /They are small.*READ 16 KiB, WRITE 16 KiB/,
    /max_block_size .* MaxRead and MaxWrite/,
  );
  const ctime = { seconds: Math.floor(Date.now() / 1000) + 7200, nanoseconds: 0 };
  const ahead = await mock(t, mockRoot({ attributes: { ctime } }));
  warnsAt(t, await check(ahead.options), 'clock', /clock is at least 7\d\d\d s ahead/, /NTP/);
});

t.test('check escapes control characters in names from the server', async (t) => {
  const server = await mock(t, { ...mockRoot(), exports: [exported('/\x1b[31m')] });
  const outcome = said(await run([...product, 'check', '-o', server.options, '127.0.0.1:/export']));
  t.match(outcome.stdout, /The server exports: \/\\x1b\[31m/);
  t.match(outcome.stdout, /\n127\.0\.0\.1:\/export\n {2}ok {7}server name/);
  t.match(outcome.stdout, /\nNothing is missing; 1 warning\.\n$/);
  t.equal(outcome.status, 0);
});
