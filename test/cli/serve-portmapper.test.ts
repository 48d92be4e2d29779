/** `nfs-fuse serve` beside a real port mapper, rpcbind, in a network of its own. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { GuestNetwork } from '../support/guest/network.js';
import { newMountPoint } from '../support/mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { Rpcbind } from '../support/rpcbind.js';
import { untilEnd } from '../support/until-end.js';
import { said } from './support/product.js';

const network = await GuestNetwork.make();
t.teardown(() => network.close());

/** PMAPPROC_SET of a program version over TCP, as somebody else. */
const SET = `
import socket, struct, sys
call = (77, 0, 2, 100000, 2, 1, 0, 0, 0, 0, int(sys.argv[1]), int(sys.argv[2]), 6, int(sys.argv[3]))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", 111))
s.send(struct.pack(">14I", *call))
assert s.recv(100)[-4:] == bytes((0, 0, 0, 1))
`;
const somebodyElse = (...mapping: readonly number[]) =>
  network.mustRun(['python3', '-c', SET, ...mapping.map(String)]);

interface Serving {
  readonly place: Place;
  readonly program: Background;
  readonly port: number;
}

async function serving(t: Test, options: readonly string[] = [], name: PlaceName = 'root'): Promise<Serving> {
  const place = untilEnd(t, await openPlace(name));
  const folder = join(place.folder, 'served');
  await mustRun(place.command(['mkdir', '-p', folder]));
  const argv = ['env', `XDG_STATE_HOME=${place.folder}/state`, ...place.product];
  const serve = ['serve', folder, '--insecure', '--port', '0', ...options];
  const program = untilEnd(t, start([...network.enter, ...place.command([...argv, ...serve])], { cwd: '/' }));
  let port = 0;
  await until('it serves', () => {
    if (program.outcome) throw new Error(program.output);
    port = Number(/(?:on port |"port":)(\d+)/.exec(program.output)?.[1] ?? 0);
    return port > 0;
  });
  return { place, program, port };
}

async function killed({ program }: Pick<Serving, 'program'>): Promise<void> {
  program.signal('SIGKILL');
  await program.ended;
}

/** As rpcbind lists a server's registrations. */
function registrationsOf(port: number, owner: string, address = '127.0.0.1', netid = 'tcp'): string[] {
  const where = `${netid} ${address}.${port >> 8}.${port & 255} ${owner}`;
  return [`100003 3 ${where}`, `100005 3 ${where}`, `100021 4 ${where}`];
}

t.test('without a portmapper, serve says nothing about one', async (t) => {
  const { program } = await serving(t, ['--verbose', '--json']);
  t.match(JSON.parse(program.output), { portmapper: null, export: '/export' });
  const { status, stderr } = await program.stop();
  t.same([status, stderr.toString()], [0, '']);
});

t.test('beside a mount with nlmcallback, serve says what its clients have to give', async (t) => {
  const { place, program, port } = await serving(t, ['--no-portmap']);
  const mountPoint = await newMountPoint(place);
  const options = `port=${port},mountport=${port},nlmport=${port},nlmcallback`;
  const mount = [...place.product, 'mount', '-f', '-o', options, '127.0.0.1:/export', mountPoint];
  const mounting = untilEnd(t, start([...network.enter, ...place.command(mount)], { cwd: '/' }));
  await until('it listens as a portmapper', async () => {
    if (mounting.outcome) throw new Error(mounting.output);
    return (await run([...network.enter, 'bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/111'])).status === 0;
  });
  const other = await serving(t);
  t.equal(
    (await other.program.stop()).stderr.toString(),
    'nfs-fuse: The portmapper of this host refuses to register NFS: clients of this server need port=, mountport= ' +
      'and nlmport=. A mount with nlmcallback is such a portmapper.\n',
  );
  await mounting.stop();
  await program.stop();
});

t.test('where a portmapper runs', async (t) => {
  const rpcbind = untilEnd(t, await Rpcbind.start(network));
  const nothing = async (t: Test) => t.same(await rpcbind.registrations(), []);

  t.test('serve registers NFS, MOUNT and NLM while it runs, and clients need no ports', async (t) => {
    const { place, program, port } = await serving(t, ['--verbose']);
    t.same(await rpcbind.registrations(), registrationsOf(port, 'superuser'));
    await until('it says so', () =>
      /^nfs-fuse: Registered with the portmapper of this host: NFS, MOUNT and NLM\.$/m.test(program.output),
    );
    const shown = await network.mustRun(place.command([...place.product, 'exports', '127.0.0.1']));
    t.match(shown, '/export');
    await network.mustRun(['rpcinfo', '-T', 'tcp', '127.0.0.1', '100021', '4']);
    t.equal((await program.stop()).status, 0);
    await nothing(t);
  });

  t.test('without --verbose it says nothing, and with --no-portmap it does nothing', async (t) => {
    const plain = await serving(t);
    t.equal((await plain.program.stop()).stderr.toString(), '');
    const { program } = await serving(t, ['--no-portmap', '--json']);
    await nothing(t);
    t.match(JSON.parse(program.output), { portmapper: null });
  });

  t.test('an IPv6 server is registered too', async (t) => {
    const { program, port } = await serving(t, ['--host', '::1']);
    t.same(await rpcbind.registrations(), registrationsOf(port, 'superuser', '::1', 'tcp6'));
    await program.stop();
    await nothing(t);
  });

  t.test('an ordinary user can register, and remove it again', async (t) => {
    const { program, port } = await serving(t, [], 'user');
    t.same(await rpcbind.registrations(), registrationsOf(port, 'unknown'));
    await program.stop();
    await nothing(t);
  });

  t.test(
    'a second server leaves the registrations of the first alone, and says so in one line',
    async (t) => {
      const first = await serving(t, ['--json']);
      const line = (number: number, program: string, version: number) => ({
        program,
        number,
        version,
        netid: 'tcp',
        address: '127.0.0.1',
        port: first.port,
      });
      t.strictSame(JSON.parse(first.program.output).portmapper, {
        registered: [line(100003, 'NFS', 3), line(100005, 'MOUNT', 3), line(100021, 'NLM', 4)],
        refused: [],
      });
      const before = registrationsOf(first.port, 'superuser');
      const second = await serving(t);
      t.same(await rpcbind.registrations(), before);
      const { status, stderr } = await second.program.stop();
      t.equal(status, 0);
      t.equal(
        stderr.toString(),
        `nfs-fuse: The portmapper of this host has another registration of NFS version 3 (tcp, port ${first.port}), MOUNT version 3 (tcp, port ${first.port}): it stays, and clients of this server need port=, mountport= and nlmport=.\n`,
      );
      t.same(await rpcbind.registrations(), before);
      await first.program.stop();
      await nothing(t);
    },
  );

  t.test('the registrations of a server that was killed are taken over by the next one', async (t) => {
    for (const host of ['127.0.0.1', '0.0.0.0', '::1']) {
      const first = await serving(t, ['--host', host]);
      const netid = host === '::1' ? 'tcp6' : 'tcp';
      const before = registrationsOf(first.port, 'superuser', host, netid);
      t.same(await rpcbind.registrations(), before);
      await killed(first);
      t.same(await rpcbind.registrations(), before, 'they stay');
      const { program, port } = await serving(t, ['--host', host, '--verbose']);
      t.not(port, first.port);
      t.same(await rpcbind.registrations(), registrationsOf(port, 'superuser', host, netid));
      const { status, stderr } = await program.stop();
      t.equal(status, 0);
      t.equal(
        stderr.toString(),
        `nfs-fuse: Replaced what a server at port ${first.port} had left with the portmapper: it does not run any more.\n` +
          'nfs-fuse: Registered with the portmapper of this host: NFS, MOUNT and NLM.\n',
      );
      await nothing(t);
    }
  });

  t.test('an ordinary user cannot take over what root has left, and says so', async (t) => {
    const first = await serving(t);
    await killed(first);
    const second = await serving(t, [], 'user');
    t.same(await rpcbind.registrations(), registrationsOf(first.port, 'superuser'));
    t.match(
      (await second.program.stop()).stderr.toString(),
      new RegExp(
        `^nfs-fuse: The portmapper of this host has another registration of NFS version 3 \\(tcp, port ${first.port}\\)`,
      ),
    );
    const third = await serving(t);
    await third.program.stop();
    await nothing(t);
  });

  t.test('what NFS and MOUNT servers of another kind have left stays', async (t) => {
    await somebodyElse(100003, 3, 20_491);
    await somebodyElse(100005, 3, 20_492);
    const before = await rpcbind.registrations();
    const { program } = await serving(t);
    t.same(await rpcbind.registrations(), before);
    t.match((await program.stop()).stderr.toString(), /has another registration of NFS/);
    for (const number of ['100003', '100005']) await network.mustRun(['rpcinfo', '-d', number, '3']);
  });

  t.test(
    'a client that is sent to a server which was killed says so in one line',
    { timeout: 60_000 },
    async (t) => {
      const { place, program, port } = await serving(t);
      await killed({ program });
      const mountPoint = await newMountPoint(place);
      const mounting = (...options: readonly string[]) =>
        run([
          ...network.enter,
          ...place.command([...place.product, 'mount', ...options, '127.0.0.1:/export', mountPoint]),
        ]);
      const saysSo = new RegExp(
        `^nfs-fuse: 127\\.0\\.0\\.1 refuses connections to port ${port} \\(found through the portmapper\\)\\.\n`,
      );
      t.match(said(await mounting()), { status: 1, stderr: saysSo });
      // Only its lock manager is looked for there.
      const living = await serving(t, ['--no-portmap']);
      const ports = `port=${living.port},mountport=${living.port}`;
      t.match(said(await mounting('-o', `lock,${ports}`)), { status: 1, stderr: saysSo });
      t.same(said(await mounting('-o', ports)), {
        status: 0,
        stdout: '',
        stderr:
          `nfs-fuse: The lock manager of 127.0.0.1 does not answer on port ${port}: locks exclude only the programs of ` +
          'this mount. With -o nolock this is not said; with -o lock mounting fails instead.\n',
      });
      await network.mustRun(place.command([...place.product, 'umount', mountPoint]));
      await (await serving(t)).program.stop();
    },
  );

  t.test('beside the lock manager of somebody else, NFS and MOUNT are registered', async (t) => {
    await somebodyElse(100021, 4, 4045);
    const { program, port } = await serving(t);
    const other = '100021 4 tcp 0.0.0.0.15.205 unknown';
    const [nfs = '', mount = ''] = registrationsOf(port, 'superuser');
    t.same(await rpcbind.registrations(), [nfs, mount, other]);
    t.match(
      (await program.stop()).stderr.toString(),
      /has another registration of NLM version 4 \(tcp, port 4045\): it stays, and clients do not find the locks of this server\.\n$/,
    );
    t.same(await rpcbind.registrations(), [other]);
    await network.mustRun(['rpcinfo', '-d', '100021', '4']);
  });

  t.test('a portmapper that ends before the server is not missed', async (t) => {
    const { program } = await serving(t);
    await rpcbind.stop();
    const { status, stderr } = await program.stop();
    t.same([status, stderr.toString()], [0, '']);
  });
});
