/** Volumes of an engine when something dies: the process of a mount, the plugin, the server, the machine. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { Ganesha } from '../../support/ganesha.js';
import { until } from '../../support/process.js';
import { untilEnd } from '../../support/until-end.js';
import { type EngineWithPlugin, isLate, volumeOptions } from './engine-with-plugin.js';

/** Needs the volume and the containers of lifeOfVolumes, and leaves both. */
export async function deathsAroundVolumes(t: Test, engine: EngineWithPlugin, server: Ganesha): Promise<void> {
  const shared = (name: string) => join(server.directory, 'shared', name);

  await t.test('the process of a mount is killed, and containers go on', async (t) => {
    const waits = 'until [ -e /data/go ]; do sleep 0.1; done';
    const program = `exec 3> /data/open; echo before >&3; ${waits}; echo after >&3; exec 3>&-; echo done > /data/done`;
    await engine.mustRun(['exec', '--detach', 'one', 'sh', '-c', program]);
    await until('the program has its file open', async () =>
      (await engine.exec('one', 'ls /data')).includes('open'),
    );
    const before = engine.servingProcess('shared');
    engine.killProcess('shared');
    t.equal(await engine.exec('two', 'cat /data/root'), 'of root');
    t.not(engine.servingProcess('shared'), before, 'another process serves it');
    await engine.exec('one', 'echo > /data/go');
    await until('the program has ended', async () => (await engine.exec('two', 'ls /data')).includes('done'));
    t.equal(readFileSync(shared('open'), 'utf8'), 'before\nafter\n');
  });

  await t.test('the plugin is killed, containers go on, and the next one adopts the mount', async (t) => {
    const before = engine.servingProcess('shared');
    await engine.killPlugin();
    t.equal(await engine.exec('two', 'echo meanwhile > /data/between; cat /data/root'), 'of root');
    await engine.startPlugin();
    t.match(await engine.mustRun(['volume', 'ls', '--quiet']), /^shared$/m);
    const another = await engine.runContainer(
      'three',
      ['--rm', '-v', 'shared:/data'],
      ['cat', '/data/between'],
    );
    t.equal(another, 'meanwhile\n');
    t.equal(await engine.exec('one', 'cat /data/between'), 'meanwhile');
    t.equal(engine.servingProcess('shared'), before, 'it is the same mount');
  });

  await t.test('the mount dies for good: no container ever finds an empty folder in its place', async (t) => {
    engine.killMount('shared');
    const seen = new Set<string>();
    await until('a container has the volume again', async () => {
      const { status, stdout } = await engine.run(
        engine.container(['--rm', '-v', 'shared:/data'], ['ls', '/data']),
      );
      if (status === 0) seen.add(stdout.toString());
      return status === 0;
    });
    t.same([...seen], [`${readdirSync(join(server.directory, 'shared')).sort().join('\n')}\n`]);
    for (const name of ['one', 'two']) {
      await engine.mustRun(['restart', '--time=0', name]);
      t.equal(
        await engine.exec(name, 'cat /data/root'),
        'of root',
        'a container that is restarted has it, too',
      );
    }
  });

  await t.test('a dead server: the engine hears so, and other volumes go on', async (t) => {
    const dead = untilEnd(t, await Ganesha.start());
    await engine.createVolume('dead', volumeOptions(dead));
    await engine.createVolume('never', volumeOptions(dead));
    await engine.startContainer('waits', ['-v', 'dead:/data']);
    dead.freeze(true);
    const never = engine.run(engine.container(['--name=never', '-v', 'never:/data'], ['ls', '/data']));
    const meanwhile = await engine.runContainer(
      'meanwhile',
      ['--rm', '-v', 'shared:/data'],
      ['cat', '/data/root'],
    );
    t.equal(meanwhile, 'of root\n');
    const { status, stderr } = await never;
    t.not(status, 0);
    // podman itself gives up after 5 s, in other words.
    t.match(stderr.toString(), /Volume never is not mounted yet: .* does not answer in time/);
    t.match(await engine.mustRun(['volume', 'ls', '--quiet']), /^dead$/m);
    t.match(await engine.stateOf('dead'), { state: 'mounted' });
    const removed = await engine.remove('waits', 'never');
    t.equal(removed.status, 0, `a container goes though its server is away: ${removed.stderr}`);
    t.equal(await engine.exec('one', 'cat /data/root'), 'of root');
    dead.freeze(false);
    await until(
      'the volume is unmounted when the server is back',
      async () => !(await engine.isMounted('dead')),
    );
    await until(
      'both volumes can be removed',
      async () => (await engine.run(['volume', 'rm', '--force', 'dead', 'never'])).status === 0,
    );
  });

  await t.test('after a restart of the machine, volumes and containers are there', async (t) => {
    await engine.reboot();
    t.match(await engine.mustRun(['volume', 'ls', '--quiet']), /^shared$/m);
    t.match(await engine.stateOf('shared'), { state: 'not mounted' });
    t.notOk(await engine.isMounted('shared'), 'nothing is mounted until it is asked for');
    for (const name of ['one', 'two']) {
      await until(`container ${name} is started`, async () => {
        const started = await engine.run(['start', name]);
        if (started.status !== 0 && !isLate(started.stderr)) throw new Error(started.stderr.toString());
        return started.status === 0;
      });
      t.equal(await engine.exec(name, 'cat /data/root'), 'of root');
    }
    writeFileSync(shared('late'), 'late\n');
    t.equal(
      await engine.runContainer('new', ['--rm', '-v', 'shared:/data'], ['cat', '/data/late']),
      'late\n',
    );
  });
}
