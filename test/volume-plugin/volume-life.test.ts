/** The volume plugin as docker and podman use it, over its socket, with real servers and real mounts. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { Ganesha } from '../support/ganesha.js';
import type { MountSource } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';
import { localDriverOptions, Plugin } from './support/plugin.js';

const place = untilEnd(t, await openPlace('root'));
const served = untilEnd(t, await ServeCommand.start(place));
const ganesha = untilEnd(t, await Ganesha.start());
const plugin = untilEnd(t, await Plugin.start(place));

const servers: [string, MountSource & { readonly directory: string }][] = [
  ['nfs-fuse serve', served],
  ['nfs-ganesha', ganesha],
];

for (const [what, server] of servers) {
  t.test(`a volume on ${what}: created, mounted, shared, unmounted, removed`, async (t) => {
    t.same((await plugin.post('/Plugin.Activate', '')).body.Implements, ['VolumeDriver'], 'an empty request');
    t.same((await plugin.must('Capabilities')).Capabilities, { Scope: 'local' });
    t.equal((await plugin.call('Get', { Name: 'data' })).status, 500, 'it does not exist before');

    await plugin.create('data', localDriverOptions(server));
    await plugin.create('data', localDriverOptions(server));
    t.equal((await plugin.must('Path', { Name: 'data' })).Mountpoint, '', 'creating it mounts nothing');
    t.notOk(existsSync(join(plugin.root, 'volumes', 'data')));

    const path = await plugin.mount('data', 'one');
    t.equal(await plugin.mount('data', 'two'), path, 'the second container has the same');
    writeFileSync(join(path, 'file'), 'by a container');
    t.equal(readFileSync(join(server.directory, 'file'), 'utf8'), 'by a container');
    const { Volume } = await plugin.must('Get', { Name: 'data' });
    t.match(Volume, {
      Name: 'data',
      Mountpoint: path,
      Status: { target: `127.0.0.1:/export`, state: 'mounted' },
    });
    t.same((await plugin.must('List')).Volumes, [{ Name: 'data', Mountpoint: path }]);

    await plugin.must('Unmount', { Name: 'data', ID: 'one' });
    t.ok(plugin.isMounted('data'), 'one container is left');
    await plugin.unmount('data', 'two');
    t.notOk(existsSync(path), 'without a mount there is no folder to write to');
    t.notOk(existsSync(plugin.placeOf('data')));
    await plugin.must('Unmount', { Name: 'data', ID: 'never heard of' });

    await plugin.must('Remove', { Name: 'data' });
    t.equal((await plugin.call('Get', { Name: 'data' })).status, 500);
    t.same(readdirSync(server.directory), ['file'], 'its data stays');
  });

  t.test(`subdir= on ${what} is made when it is first mounted`, async (t) => {
    await plugin.create('sub', { ...localDriverOptions(server), subdir: 'team/some data' });
    t.notOk(existsSync(join(server.directory, 'team')), 'and not before');
    const path = await plugin.mount('sub');
    writeFileSync(join(path, 'in'), '');
    t.same(readdirSync(join(server.directory, 'team/some data')), ['in']);
    await plugin.unmount('sub');
    await plugin.mount('sub');
    t.same(readdirSync(path), ['in'], 'it may exist');
    await plugin.unmount('sub');
    await plugin.must('Remove', { Name: 'sub' });
  });
}

t.test('a subdir= that leads through a symbolic link of the server is refused', async (t) => {
  mkdirSync(join(served.directory, 'links'));
  await plugin.run(['ln', '-s', '/etc', join(served.directory, 'links', 'out')]);
  await plugin.create('out', { ...localDriverOptions(served), subdir: 'links/out/more' });
  const { body } = await plugin.call('Mount', { Name: 'out', ID: 'one' });
  t.match(
    body.Err,
    /The folder "out" of subdir=links\/out\/more cannot be made: it exists, and is no folder/,
  );
  await plugin.must('Remove', { Name: 'out' });
});

t.test('ro of a volume protects it, and options may be separate ones', async (t) => {
  const [first = '', ...rest] = served.mountOptions;
  const [name = '', value = ''] = first.split('=');
  await plugin.create('ro', {
    device: `127.0.0.1:/export`,
    [name]: value,
    o: rest.join(','),
    ro: '',
  });
  const path = await plugin.mount('ro');
  t.throws(() => writeFileSync(join(path, 'no'), ''), { code: 'EROFS' });
  await plugin.unmount('ro');
  await plugin.must('Remove', { Name: 'ro' });
});

t.test('other users come in, since containers have some', async (t) => {
  await plugin.create('others', localDriverOptions(served));
  const path = await plugin.mount('others');
  mkdirSync(join(path, 'theirs'), { mode: 0o777 });
  await plugin.run(['chmod', '777', join(path, 'theirs')]);
  // The way to the mount is for its owner alone; an engine opens it for the container.
  const enter = [
    'unshare',
    '-m',
    'sh',
    '-c',
    'mount --bind "$0" /mnt && exec setpriv --reuid=1234 --clear-groups "$@"',
  ];
  const made = await plugin.run([...enter, path, 'touch', '/mnt/theirs/file']);
  t.equal(made.status, 0, made.stderr.toString());
  t.equal(statSync(join(served.directory, 'theirs/file')).uid, 1234);
  await plugin.unmount('others');
  await plugin.must('Remove', { Name: 'others' });
});
