/** The life of our volumes with any engine. The deaths of what takes part are in volume-deaths.ts. */
import { existsSync, lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Ganesha } from '../../support/ganesha.js';
import { type EngineWithPlugin, volumeOptions } from './engine-with-plugin.js';

/** Volumes of one test; a machine that starts has so many. */
const MANY = 30;
/** Containers that start at the same time. */
const AT_ONCE = 3;

/**
 * Leaves the volume "shared", with a file of root, one of user 1000, and the running containers "one" of root and "two" of user 1000.
 */
export async function lifeOfVolumes(t: Test, engine: EngineWithPlugin, server: Ganesha): Promise<void> {
  const options = (...more: string[]) => volumeOptions(server, more);
  const served = (...names: string[]) => join(server.directory, ...names);
  const volumes = () => engine.mustRun(['volume', 'ls', '--quiet']);

  await t.test('a volume is created, looked at, listed and removed', async (t) => {
    await engine.createVolume('plain', [...options(), '-o', 'subdir=plain']);
    t.match(await volumes(), /^plain$/m);
    const driver = await engine.mustRun(['volume', 'inspect', '--format', '{{.Driver}}', 'plain']);
    t.equal(driver, 'nfs-fuse');
    t.match(await engine.stateOf('plain'), {
      target: `${server.host}:${server.exportPath}/plain`,
      state: 'not mounted',
    });
    t.notOk(existsSync(served('plain')), 'creating it reaches for no server');
    await engine.mustRun(['volume', 'rm', 'plain']);
    t.notMatch(await volumes(), /^plain$/m);
    t.not((await engine.run(['volume', 'inspect', 'plain'])).status, 0);
  });

  await t.test('what cannot be had is refused by the engine, in our words', async (t) => {
    const refused = await engine.run(['volume', 'create', '--driver=nfs-fuse', ...options('prot=udp'), 'no']);
    t.not(refused.status, 0);
    t.match(refused.stderr.toString(), /The mount option "prot" is unknown\. Did you mean/);
  });

  await t.test(
    'two containers share a volume, and files have the owners that they have inside',
    async (t) => {
      await engine.createVolume('shared', [...options(), '-o', 'subdir=shared']);
      await engine.startContainer('one', ['-v', 'shared:/data']);
      await engine.exec('one', 'umask 022; echo of root > /data/root; chmod 1777 /data');
      await engine.startContainer('two', ['--user=1000:1000', '-v', 'shared:/data']);
      t.equal(await engine.exec('two', 'cat /data/root; echo of 1000 > /data/other; id -u'), 'of root\n1000');
      const seen = await engine.exec('one', 'cat /data/other; stat -c %u:%g /data/root /data/other');
      t.equal(seen, 'of 1000\n0:0\n1000:1000');
      const owner = (name: string) => lstatSync(served('shared', name)).uid;
      t.same([owner('root'), owner('other')], [0, 1000], 'as the server has them');
      const refused = await engine.run(['exec', 'two', 'sh', '-c', 'echo more >> /data/root']);
      t.match(refused.stderr.toString(), /Permission denied/, "user 1000 does not write to root's file");
      t.match(await engine.stateOf('shared'), { state: 'mounted' });
    },
  );

  await t.test('a volume in use is not removed', async (t) => {
    const refused = await engine.run(['volume', 'rm', 'shared']);
    t.not(refused.status, 0);
    t.match(refused.stderr.toString(), /in use|being used/);
    t.equal(await engine.exec('two', 'cat /data/root'), 'of root');
  });

  await t.test('ro: of a volume for all, of a container for that one', async (t) => {
    const writes = ['sh', '-c', 'cat /data/root; echo more > /data/more'];
    await engine.createVolume('readonly', [...options('ro'), '-o', 'subdir=shared']);
    for (const volume of ['readonly:/data', 'shared:/data:ro']) {
      await engine.startContainer('reader', ['-v', volume]);
      const refused = await engine.run(['exec', 'reader', ...writes]);
      t.equal(refused.stdout.toString(), 'of root\n', volume);
      t.match(refused.stderr.toString(), /Read-only file system/, volume);
      await engine.remove('reader');
    }
    await engine.mustRun(['volume', 'rm', 'readonly']);
    t.notOk(existsSync(served('shared', 'more')));
  });

  await t.test('an empty volume gets what the image has in its place, unless nocopy', async (t) => {
    for (const [name, flag] of [
      ['copied', ''],
      ['bare', ':nocopy'],
    ] as const) {
      await engine.createVolume(name, [...options(), '-o', `subdir=${name}`]);
      await engine.runContainer(name, ['--rm', '-v', `${name}:/seed${flag}`], ['true']);
      t.equal(existsSync(served(name, 'of the image')), flag === '', name);
      await engine.mustRun(['volume', 'rm', name]);
    }
  });
}

export async function manyVolumes(t: Test, engine: EngineWithPlugin, server: Ganesha): Promise<void> {
  await t.test(`${MANY} volumes at once`, async (t) => {
    const names = Array.from({ length: MANY }, (_, index) => `v${index}`);
    mkdirSync(join(server.directory, 'many'));
    for (const name of names)
      await engine.createVolume(name, [...volumeOptions(server), '-o', `subdir=many/${name}`]);
    const groups = Array.from({ length: AT_ONCE }, (_, group) =>
      names.filter((_, index) => index % AT_ONCE === group),
    );
    await Promise.all(
      groups.map(async (group, index) => {
        await engine.startContainer(
          `many${index}`,
          group.flatMap((name) => ['-v', `${name}:/${name}`]),
        );
        await engine.exec(
          `many${index}`,
          `for name in ${group.join(' ')}; do echo $name > /$name/file; done`,
        );
      }),
    );
    const filled = names.filter((name) => existsSync(join(server.directory, 'many', name, 'file')));
    t.same(filled, names, 'each container has written to all of its volumes');
    await engine.remove(...groups.map((_, index) => `many${index}`));
    await engine.mustRun(['volume', 'rm', ...names]);
    const left = await Promise.all(names.map((name) => engine.isMounted(name)));
    t.notOk(left.includes(true), 'nothing stays mounted');
    t.same(readdirSync(join(server.directory, 'many')).sort(), [...names].sort(), 'and no data is lost');
  });
}

/** Ends what {@link lifeOfVolumes} has left. */
export async function endOfVolumes(t: Test, engine: EngineWithPlugin, server: Ganesha): Promise<void> {
  await t.test('the last container unmounts it, and removing it leaves the data', async (t) => {
    await engine.remove('two');
    t.ok(await engine.isMounted('shared'), 'one container is left');
    await engine.remove('one');
    t.notOk(await engine.isMounted('shared'));
    t.match(await engine.stateOf('shared'), { state: 'not mounted' });
    await engine.mustRun(['volume', 'rm', 'shared']);
    t.ok(existsSync(join(server.directory, 'shared', 'root')));
  });
}
