/** Volumes of rootless podman, whose containers have the ids of their user's namespace, or others. */
import { chownSync, lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Ganesha } from '../support/ganesha.js';
import { untilEnd } from '../support/until-end.js';
import { rootlessEngine } from './engines/engine.js';
import { EngineWithPlugin, volumeOptions } from './engines/engine-with-plugin.js';
import { deathsAroundVolumes } from './engines/volume-deaths.js';
import { endOfVolumes, lifeOfVolumes, manyVolumes } from './engines/volume-suite.js';
import { requireTools } from './tools.js';

/** How --userns=keep-id shows id `id` of podman's namespace, whose root is user `own` there. */
function keptId(id: number, own: number): number {
  if (id === 0) return own;
  return id <= own ? id - 1 : id;
}

t.test('volumes of rootless podman', { timeout: 900_000 }, async (t) => {
  requireTools('podman', 'newuidmap', 'busybox');
  const engine = await EngineWithPlugin.start(untilEnd(t, await rootlessEngine()));
  const server = untilEnd(t, await Ganesha.start());
  const ownerOf = (...names: string[]) => lstatSync(join(server.directory, ...names)).uid;
  await lifeOfVolumes(t, engine, server);

  const ids = 'id -u; stat -c %u /data/root /data/other';
  await t.test('--userns=keep-id: the user is the server’s root, and is shown as himself', async (t) => {
    await engine.startContainer('keep', ['--userns=keep-id', '-v', 'shared:/data']);
    const [own = Number.NaN, root, other] = (await engine.exec('keep', ids)).split('\n').map(Number);
    t.ok(own > 0, 'it does not run as root');
    t.same([root, other], [keptId(0, own), keptId(1000, own)]);
    await engine.exec('keep', 'echo by keep-id > /data/keep');
    t.equal(ownerOf('shared', 'keep'), 0);
    await engine.remove('keep');
  });

  await t.test('--userns=auto: files have the numbers of podman’s namespace', async (t) => {
    await engine.startContainer('auto', ['--userns=auto:size=4096', '-v', 'shared:/data']);
    const map = await engine.exec('auto', 'cat /proc/self/uid_map');
    const [, first = Number.NaN, count = 0] = map.trim().split(/ +/).map(Number);
    t.ok(first > 0, 'its root is another than that of podman’s namespace');
    const isInside = 1000 >= first && 1000 < first + count;
    const shown = ['0', '65534', isInside ? `${1000 - first}` : '65534'];
    t.same((await engine.exec('auto', ids)).split('\n'), shown, 'the server’s root is nobody');
    await engine.exec('auto', 'cat /data/root > /dev/null; echo by auto > /data/auto');
    t.equal(ownerOf('shared', 'auto'), first);
    await engine.remove('auto');
  });

  await t.test('uid= and gid= make one user of the server of them all', async (t) => {
    mkdirSync(join(server.directory, 'theirs'));
    chownSync(join(server.directory, 'theirs'), 1234, 1234);
    await engine.createVolume('theirs', [
      ...volumeOptions(server, ['uid=1234', 'gid=1234']),
      ...['-o', 'subdir=theirs'],
    ]);
    for (const [name, flag] of [
      ['plain', '--userns=host'],
      ['kept', '--userns=keep-id'],
    ] as const) {
      await engine.startContainer(name, [flag, '-v', 'theirs:/data']);
      const shown = await engine.exec(name, `id -u; echo > /data/${name}; stat -c %u /data /data/${name}`);
      const [own, ...files] = shown.split('\n');
      t.same(files, [own, own], `${name}: the files are shown as the container's own`);
      t.equal(ownerOf('theirs', name), 1234);
      await engine.remove(name);
    }
    await engine.mustRun(['volume', 'rm', 'theirs']);
  });

  await deathsAroundVolumes(t, engine, server);
  await manyVolumes(t, engine, server);
  await endOfVolumes(t, engine, server);
});
