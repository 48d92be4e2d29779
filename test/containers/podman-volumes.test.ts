/** Volumes of rootless podman: the plugin runs in podman's namespaces, as `podman unshare` starts it. */
import { existsSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { publicFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { type Background, mustRun, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { killForGood } from '../support/watchers.js';
import { RootlessPodman } from './rootless-podman.js';
import { requireTools } from './tools.js';

const IMAGE = 'localhost/nfs-fuse-test-busybox:1';
const MINUTES = 60_000;

/** An image of busybox and its libraries, with a folder that is not empty. */
async function makeImage(podman: RootlessPodman): Promise<void> {
  const scratch = publicFolder();
  try {
    const root = join(scratch.path, 'root');
    const busybox = (await mustRun(['sh', '-c', 'command -v busybox'])).trim();
    const libraries = (await mustRun(['sh', '-c', `ldd ${busybox} || :`])).match(/\/\S+/g) ?? [];
    for (const file of [busybox, ...libraries.filter((path) => existsSync(path))]) {
      mkdirSync(join(root, dirname(file)), { recursive: true });
      await mustRun(['cp', '-L', file, join(root, file)]);
    }
    mkdirSync(join(root, 'bin'), { recursive: true });
    for (const name of ['sh', 'ls', 'cat', 'sleep', 'stat', 'chmod', 'id'])
      symlinkSync(busybox, join(root, 'bin', name));
    mkdirSync(join(root, 'seed'));
    writeFileSync(join(root, 'seed', 'of the image'), '');
    const archive = join(scratch.path, 'image.tar');
    await mustRun(['tar', '-C', root, '-cf', archive, '.']);
    await podman.mustRun(['import', archive, IMAGE], { timeoutMs: 5 * MINUTES });
  } finally {
    await scratch.remove();
  }
}

t.test('volumes of rootless podman', { timeout: 15 * MINUTES }, async (t) => {
  requireTools('podman', 'newuidmap', 'busybox');
  const podman = untilEnd(t, await RootlessPodman.start());
  const server = untilEnd(t, await Ganesha.start());
  const { folder } = podman.place;
  const root = join(folder, '.local/share/nfs-fuse-volumes');
  const place = (name: string) => join(root, 'mounts', name, 'data');
  const configuration = join(folder, '.config/containers/containers.conf');
  const asUser = (...argv: string[]) => mustRun(podman.place.command(argv));
  await asUser('mkdir', '-p', dirname(configuration));
  writeFileSync(configuration, '[engine.volume_plugins]\nnfs-fuse = "/dev/shm/run/nfs-fuse/volumes.sock"\n');
  await makeImage(podman);

  const startPlugin = async (): Promise<Background> => {
    const plugin = start(podman.command(['unshare', ...podman.place.product, 'volume-plugin']), { cwd: '/' });
    await until('the plugin is ready', () => {
      if (plugin.outcome) throw new Error(`the plugin ended: ${plugin.output}`);
      return plugin.output.includes('ready');
    });
    return plugin;
  };
  /** The process that serves a mount; its parent has ended, so it is a child of the first process of the namespace. */
  const servingProcess = (mounted: string): number => {
    const pid = podman.processes().find((process) => {
      try {
        const words = readFileSync(`/proc/${process}/cmdline`, 'utf8').split('\0');
        return words.includes('mount') && words.includes(mounted);
      } catch {
        return false;
      }
    });
    if (pid === undefined) throw new Error('no process serves the mount');
    return pid;
  };
  const killPlugin = async (plugin: Background) => {
    plugin.signal('SIGKILL');
    await plugin.ended;
  };
  /** On a busy machine the first attempt may be told to try again. */
  const runContainer = async (name: string, options: string[], command: string[]): Promise<string> => {
    for (;;) {
      const argv = ['run', '--replace', '--name', name, '--network=none', ...options, IMAGE, ...command];
      const { status, stdout, stderr } = await podman.run(argv);
      if (status === 0) return stdout.toString();
      if (!/not mounted yet/.test(stderr.toString())) throw new Error(stderr.toString());
    }
  };
  const exec = (name: string, script: string) => podman.mustRun(['exec', name, 'sh', '-c', script]);
  const isThere = async (path: string) => (await podman.run(['unshare', 'test', '-e', path])).status === 0;

  let plugin = await startPlugin();
  const options = [
    '-o',
    `device=${server.host}:${server.exportPath}`,
    '-o',
    `o=${server.mountOptions.join(',')}`,
  ];

  await t.test(
    'two containers share a volume, and files have the owners that they have inside',
    async (t) => {
      await podman.mustRun([
        'volume',
        'create',
        '--driver=nfs-fuse',
        ...options,
        '-o',
        'subdir=shared',
        'shared',
      ]);
      t.notOk(existsSync(join(server.directory, 'shared')), 'creating it reaches for no server');
      await runContainer('one', ['-d', '-v', 'shared:/data'], ['sleep', '600']);
      await exec('one', 'umask 0; echo of root > /data/root; chmod 1777 /data');
      await runContainer('two', ['-d', '--user=1000:1000', '-v', 'shared:/data'], ['sleep', '600']);
      t.equal(await exec('two', 'cat /data/root; echo of 1000 > /data/other; id -u'), 'of root\n1000');
      t.equal(
        await exec('one', 'cat /data/other; stat -c %u:%g /data/root /data/other'),
        'of 1000\n0:0\n1000:1000',
      );
      const owner = (name: string) => lstatSync(join(server.directory, 'shared', name)).uid;
      t.same([owner('root'), owner('other')], [0, 1000], 'as the server has them');
    },
  );

  await t.test('what cannot be had is refused by podman, in our words', async (t) => {
    const refused = await podman.run([
      'volume',
      'create',
      '--driver=nfs-fuse',
      ...options,
      '-o',
      'prot=udp',
      'no',
    ]);
    t.not(refused.status, 0);
    t.match(refused.stderr.toString(), /The mount option "prot" is unknown\. Did you mean/);
  });

  await t.test('the plugin is killed, containers go on, and the next one adopts the mount', async (t) => {
    await killPlugin(plugin);
    t.equal(await exec('two', 'echo meanwhile > /data/between; cat /data/root'), 'of root');
    plugin = await startPlugin();
    t.match(await podman.mustRun(['volume', 'ls', '--quiet']), /^shared$/m);
    t.equal(
      await runContainer('three', ['--rm', '-v', 'shared:/data'], ['cat', '/data/between']),
      'meanwhile\n',
    );
    t.equal(await exec('one', 'cat /data/between'), 'meanwhile');
  });

  await t.test('the mount dies for good: no container ever finds an empty folder in its place', async (t) => {
    killForGood(servingProcess(place('shared')), place('shared'));
    const seen = new Set<string>();
    await until('a container has the volume again', async () => {
      const argv = ['run', '--rm', '--network=none', '-v', 'shared:/data', IMAGE, 'ls', '/data'];
      const { status, stdout } = await podman.run(argv);
      if (status === 0) seen.add(stdout.toString());
      return status === 0;
    });
    t.same([...seen], ['between\nother\nroot\n']);
    await podman.mustRun(['restart', '--time=0', 'one']);
    t.equal(await exec('one', 'cat /data/root'), 'of root', 'a container that is restarted has it, too');
  });

  await t.test('the last container unmounts it, and removing it leaves the data', async (t) => {
    t.ok(await isThere(join(root, 'volumes/shared/data')));
    await podman.mustRun(['rm', '--force', '--time=0', 'one', 'two']);
    t.notOk(await isThere(join(root, 'volumes/shared')));
    t.notOk(await isThere(place('shared')));
    await podman.mustRun(['volume', 'rm', 'shared']);
    t.ok(existsSync(join(server.directory, 'shared', 'root')));
  });

  await t.test('an empty volume gets what the image has in its place, unless nocopy', async (t) => {
    for (const [name, flag] of [
      ['copied', ''],
      ['bare', ':nocopy'],
    ] as const) {
      await podman.mustRun([
        'volume',
        'create',
        '--driver=nfs-fuse',
        ...options,
        '-o',
        `subdir=${name}`,
        name,
      ]);
      await runContainer(name, ['--rm', '-v', `${name}:/seed${flag}`], ['ls', '/seed']);
      t.equal(existsSync(join(server.directory, name, 'of the image')), flag === '', name);
    }
  });
});
