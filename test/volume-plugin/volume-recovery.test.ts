/** Volumes when something dies: the plugin, the process of a mount, its keeper, the server, the machine. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { Ganesha } from '../support/ganesha.js';
import { openPlace } from '../support/places.js';
import { mustRun, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { killForGood } from '../support/watchers.js';
import { localDriverOptions, Plugin } from './support/plugin.js';

const place = untilEnd(t, await openPlace('root'));
const served = untilEnd(t, await ServeCommand.start(place));
const plugin = untilEnd(t, await Plugin.start(place));
await plugin.create('data', localDriverOptions(served));

async function stateOf(name: string): Promise<unknown> {
  const { Volume } = await plugin.must('Get', { Name: name });
  return (Volume as { Status: { state: string } }).Status.state;
}

t.test('a plugin that was killed leaves the mounts, and the next one adopts them', async (t) => {
  const path = await plugin.mount('data');
  const pid = await plugin.pidOf('data');
  await plugin.end('SIGKILL');
  writeFileSync(join(path, 'meanwhile'), '');
  await plugin.start();
  t.same((await plugin.must('List')).Volumes, [{ Name: 'data', Mountpoint: path }]);
  t.equal(await plugin.mount('data', 'another'), path);
  t.equal(await plugin.pidOf('data'), pid, 'it is the same mount');
  await plugin.unmount('data', 'another');
  t.notOk(existsSync(path));
  t.ok(readdirSync(served.directory).includes('meanwhile'));
});

t.test('an adopted mount stays while a container of earlier times sees it', async (t) => {
  const path = await plugin.mount('data', 'early');
  const container = start([
    'unshare',
    '-m',
    'sh',
    '-c',
    `mount --bind ${path} /mnt && echo ready && sleep infinity`,
  ]);
  await until('the container runs', () => container.output.includes('ready'));
  await plugin.end('SIGKILL');
  await plugin.start();
  await plugin.mount('data', 'late');
  await plugin.must('Unmount', { Name: 'data', ID: 'late' });
  t.ok(plugin.isMounted('data'), 'the early container still has it');
  await container.stop();
  await plugin.unmount('data', 'early');
  t.notOk(existsSync(path));
});

t.test('a process that was killed has a successor, and the path stays', async (t) => {
  const path = await plugin.mount('data');
  const pid = await plugin.pidOf('data');
  process.kill(pid, 'SIGKILL');
  writeFileSync(join(path, 'goes on'), '');
  t.not(await plugin.pidOf('data'), pid);
  t.notMatch(plugin.log, /has died/, 'the plugin had nothing to do');
  await plugin.unmount('data');
});

t.test(
  'a mount that is dead for good is made again, and meanwhile nobody finds a local folder',
  async (t) => {
    const path = await plugin.mount('data');
    const pid = await plugin.pidOf('data');
    writeFileSync(join(path, 'before'), '');
    const seen = new Set<string>();
    killForGood(pid, plugin.placeOf('data'));
    await until('it is mounted again', async () => {
      const looked = await plugin.run(['ls', path]);
      seen.add(looked.status === 0 ? looked.stdout.toString() : `status ${looked.status}`);
      return /is mounted again\.$/m.test(plugin.log) && looked.status === 0;
    });
    t.notOk(seen.has(''), 'an empty folder was never seen');
    t.not(await plugin.pidOf('data'), pid);
    await plugin.unmount('data');
  },
);

t.test('a mount that somebody takes away while it has users is made again', async () => {
  const path = await plugin.mount('data');
  await mustRun(['umount', '-l', plugin.placeOf('data')]);
  await until('it is mounted again', () => plugin.isMounted('data') && existsSync(join(path, 'before')));
  await plugin.unmount('data');
});

t.test('a mount that died while there was no plugin is made again', async (t) => {
  const path = await plugin.mount('data');
  await plugin.end('SIGKILL');
  await mustRun([...place.product, 'umount', plugin.placeOf('data')]);
  await plugin.start();
  await until('it is mounted again', () => existsSync(join(path, 'before')));
  t.equal(await stateOf('data'), 'mounted');
  await plugin.unmount('data');
});

t.test(
  'after a restart of the machine volumes are there, and nothing is mounted until it is asked for',
  async (t) => {
    const path = await plugin.mount('data');
    await plugin.end('SIGKILL');
    await mustRun([...place.product, 'umount', plugin.placeOf('data')]);
    const file = join(plugin.root, 'volumes.json');
    writeFileSync(
      file,
      readFileSync(file, 'utf8').replace(/"bootId": "[^"]*"/, '"bootId": "an earlier one"'),
    );
    await plugin.start();
    t.equal(await stateOf('data'), 'not mounted');
    t.notOk(existsSync(path));
    t.notMatch(JSON.stringify(plugin.records()), /an earlier one/);
    t.equal(await plugin.mount('data'), path);
    await plugin.unmount('data');
  },
);

t.test('files that were written where nothing was mounted are not covered', async (t) => {
  await mustRun(['mkdir', '-p', plugin.placeOf('data')]);
  writeFileSync(join(plugin.placeOf('data'), 'stray'), '');
  const { body } = await plugin.call('Mount', { Name: 'data', ID: 'one' });
  t.match(body.Err, /cannot be removed \(ENOTEMPTY\). Move away what is in it/);
  await mustRun(['rm', '-r', join(plugin.root, 'mounts', 'data')]);
});

t.test('a record that is damaged is not written over', async (t) => {
  await plugin.end();
  const file = join(plugin.root, 'volumes.json');
  const before = readFileSync(file, 'utf8');
  writeFileSync(file, before.slice(0, -20));
  const failed = await plugin.run(plugin.argv);
  t.match(failed.stderr.toString(), /volumes.json is damaged/);
  t.equal(failed.status, 1);
  writeFileSync(file, before);
  await plugin.start();
});

t.test('a mount whose volume is not known any more is not taken for that of a new one', async (t) => {
  const path = await plugin.mount('data');
  await plugin.end();
  const file = join(plugin.root, 'volumes.json');
  rmSync(file);
  await plugin.start();
  t.match(plugin.log, /mounts\/data has the mount of a volume that is not known here/);
  t.notOk(existsSync(path), 'it is not found any more');
  const options = localDriverOptions(served, 'ro');
  const refused = await plugin.call('Create', { Name: 'data', Opts: options });
  t.match(refused.body.Err, /is still there, and nobody knows its options\. End it with "nfs-fuse umount /);
  await mustRun(place.command([...place.product, 'umount', plugin.placeOf('data')]), { cwd: '/' });
  await plugin.create('data', options);
  t.equal(await plugin.mount('data'), path);
  t.throws(() => writeFileSync(join(path, 'no'), ''), { code: 'EROFS' });
  await plugin.unmount('data');
  await plugin.must('Remove', { Name: 'data' });
  await plugin.create('data', localDriverOptions(served));
});

t.test('a server that does not answer delays no other volume', async (t) => {
  const dead = untilEnd(t, await Ganesha.start());
  await plugin.create('dead', localDriverOptions(dead));
  await plugin.create('never', localDriverOptions(dead));
  await plugin.mount('dead');
  dead.freeze(true);
  const attempt = plugin.call('Mount', { Name: 'never', ID: 'one' });
  await plugin.mount('data');
  await plugin.unmount('data');
  const { status, body } = await attempt;
  t.equal(status, 500);
  t.match(body.Err, /Volume never is not mounted yet: .*does not answer in time/);
  await plugin.must('Unmount', { Name: 'dead', ID: 'container' });
  await plugin.mount('data');
  await plugin.unmount('data');
  dead.freeze(false);
  await until('the dead one is unmounted', () => !plugin.isMounted('dead'));
  await plugin.mount('never');
  await plugin.unmount('never');
  for (const name of ['dead', 'never']) await plugin.must('Remove', { Name: name });
});
