/** The socket of the volume plugin: requests that cannot be carried out, strangers, and systemd. */
import { existsSync, lstatSync, mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';
import { localDriverOptions, Plugin } from './support/plugin.js';

const place = untilEnd(t, await openPlace('root'));
const served = untilEnd(t, await ServeCommand.start(place));
const plugin = untilEnd(t, await Plugin.start(place));

t.test(
  'what cannot be had is refused as the volume is created, in the words of the command line',
  async (t) => {
    const refused = async (options: Record<string, string>, message: RegExp) => {
      const { status, body } = await plugin.call('Create', { Name: 'refused', Opts: options });
      t.equal(status, 500);
      t.match(body.Err, message);
    };
    const device = 'server:/export';
    const unknown = await plugin.run([...place.product, 'mount', '-o', 'prot=udp', device, '/mnt']);
    const [line = '', remedy = ''] = unknown.stderr
      .toString()
      .split('\n')
      .map((text) => text.trim());
    t.match(line, /The mount option "prot" is unknown/);
    const { body } = await plugin.call('Create', { Name: 'refused', Opts: { device, o: 'prot=udp' } });
    t.equal(body.Err, `${line.replace('nfs-fuse: ', '')} ${remedy}`);
    await refused({}, /The option device is missing/);
    await refused({ device: ':/export' }, /names no server, and there is no addr=/);
    await refused({ device, o: 'addr=other' }, /name two servers/);
    await refused({ device, type: 'nfs4' }, /nfs-fuse speaks only NFSv3/);
    await refused({ device, type: 'tmpfs' }, /not a type of nfs-fuse/);
    await refused({ device, subdir: 'a/../../b' }, /not a folder below the export/);
    await refused({ device, bg: '' }, /"bg" is not for volumes/);
    await refused({ device, 'ro,bg': '' }, /"bg" is not for volumes/);
    await refused({ device, o: 'remount' }, /"remount" is not for volumes/);
    await refused({ device, 'ro,debug': '' }, /"debug" is not for volumes/);
    await refused({ device: 'server' }, /has no ":"/);
    t.same((await plugin.must('List')).Volumes, []);
  },
);

t.test('names of volumes do not lead out of their folder', async (t) => {
  for (const name of ['..', '.', 'a/b', '-x', '.hidden', 'a\nb', 'x'.repeat(201)]) {
    const { status, body } = await plugin.call('Create', { Name: name, Opts: { device: 'server:/export' } });
    t.equal(status, 500, JSON.stringify(name));
    t.match(body.Err, /is not the name of a volume/);
  }
  t.match((await plugin.call('Create', { Name: '' })).body.Err, /no text in Name/);
  for (const name of ['__proto__', 'constructor', '../volumes'])
    t.match((await plugin.call('Mount', { Name: name, ID: 'one' })).body.Err, /There is no volume/);
});

t.test(
  'the same name with other options is refused, and with none it is the volume that there is',
  async (t) => {
    await plugin.create('same', localDriverOptions(served));
    t.match(
      (await plugin.call('Create', { Name: 'same', Opts: { device: 's:/' } })).body.Err,
      /with other options/,
    );
    await plugin.must('Create', { Name: 'same', Opts: null });
    await plugin.must('Remove', { Name: 'same' });
  },
);

t.test('uid= and gid= may come twice, as podman sends them', async (t) => {
  const device = 'server:/export';
  await plugin.create('twice', { device, o: 'uid=7,gid=8,ro', UID: '7', GID: '8' });
  await plugin.create('once', { device, UID: '7' });
  for (const [name, options] of [
    ['twice', 'allow_other,uid=7,gid=8,ro'],
    ['once', 'allow_other,uid=7'],
  ] as const) {
    t.match((await plugin.must('Get', { Name: name })).Volume, { Status: { options } });
    await plugin.must('Remove', { Name: name });
  }
});

t.test('a request that is wrong has an answer, and the plugin goes on', async (t) => {
  const cases: [path: string, bytes: string, status: number, message: RegExp][] = [
    ['/VolumeDriver.Get', '{', 400, /not JSON/],
    ['/VolumeDriver.Get', '[]', 400, /another kind/],
    ['/VolumeDriver.Get', '{"Name":7}', 400, /no text in Name/],
    ['/VolumeDriver.Create', '{"Name":"x","Opts":{"device":7}}', 400, /in Opts/],
    ['/VolumeDriver.Get', `"${'x'.repeat(70_000)}"`, 413, /at most 65536 bytes/],
    ['/VolumeDriver.Nothing', '{}', 404, /no call of a volume plugin/],
    ['/', '', 404, /no call/],
  ];
  for (const [path, bytes, status, message] of cases) {
    const answered = await plugin.post(path, bytes);
    t.equal(answered.status, status, `${path} ${bytes.slice(0, 30)}`);
    t.match(answered.body.Err, message);
  }
  t.equal((await plugin.post('/Plugin.Activate', '', 'PUT')).status, 404);
  const said = await new Promise<string>((resolve, reject) => {
    const socket = connect(plugin.socket, () => socket.write('nonsense\r\n\r\n'));
    let text = '';
    socket.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
    socket.on('close', () => resolve(text)).on('error', reject);
  });
  t.match(said, /^HTTP\/1\.1 400 .*\{"Err":"This is no request of HTTP\."\}$/s);
  t.same((await plugin.must('List')).Volumes, []);
});

t.test('socket, folder and file are for the user of the plugin alone', async (t) => {
  const mode = (path: string) => lstatSync(path).mode & 0o777;
  t.equal(mode(plugin.socket), 0o600);
  t.equal(mode(plugin.root), 0o700);
  t.equal(mode(join(plugin.root, 'volumes.json')), 0o600);
});

t.test('a second plugin on the same folder, or on the same socket, is refused', async (t) => {
  const second = await plugin.run(plugin.argv);
  t.equal(second.status, 1);
  t.match(second.stderr.toString(), /Another plugin has the folder .*\n.*--root/);
  const argv = [
    ...place.product,
    'volume-plugin',
    '--socket',
    plugin.socket,
    '--root',
    join(place.folder, 'other'),
  ];
  const other = await plugin.run(argv);
  t.match(other.stderr.toString(), /Another program listens on .*\n.*--socket/);
  t.equal(other.status, 1);
});

t.test('a socket or a folder in a place that others may change is refused', async (t) => {
  const shared = join(place.folder, 'shared');
  mkdirSync(shared);
  await plugin.run(['chmod', '1777', shared]);
  const free = join(place.folder, 'free');
  const socket = [...place.product, 'volume-plugin', '--root', free, '--socket', join(shared, 'p.sock')];
  t.match(
    (await plugin.run(socket)).stderr.toString(),
    /Others may change the folder .*shared, and could put/,
  );
  const root = [
    ...place.product,
    'volume-plugin',
    '--root',
    shared,
    '--socket',
    join(place.folder, 'x/p.sock'),
  ];
  t.match((await plugin.run(root)).stderr.toString(), /Others may change the folder .*shared\./);
});

t.test('systemd opens the socket, and it is there before and after the plugin', async (t) => {
  await plugin.create('data', localDriverOptions(served));
  await plugin.end();
  const activate = `
import os, socket, sys
path = sys.argv[1]
if os.path.exists(path): os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
os.dup2(os.dup(listener.fileno()), 3, inheritable=True)
os.environ['LISTEN_FDS'] = '1'
os.environ['LISTEN_PID'] = str(os.getpid())
os.execvp(sys.argv[2], sys.argv[2:])`;
  // It executes nfs-fuse, so that the number of the process stays.
  await plugin.start(['python3', '-c', activate, plugin.socket]);
  t.equal(await plugin.mount('data'), join(plugin.root, 'volumes/data/data'));
  await plugin.unmount('data');
  await plugin.end();
  t.ok(existsSync(plugin.socket), 'the socket is not ours to remove');
  await plugin.start();
});
