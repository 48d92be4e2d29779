/** Errors that nfs-fuse survives, and the state that its death leaves behind. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { servingProcess } from '../keep/support/serving.js';
import { rig } from '../server/support/rig.js';
import { ServeCommand } from '../support/embedded.js';
import { publicFolder } from '../support/folders.js';
import { Mount, mountsOf, newMountPoint } from '../support/mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { mustRun, type Outcome, run, start, until } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { registerProcess } from '../support/registry.js';
import { fileByFile } from '../support/stage.js';
import { untilEnd } from '../support/until-end.js';
import { endWatchers, watchersOf } from '../support/watchers.js';
import { said } from './support/product.js';

const PATIENCE_MS = 60_000;

interface Ground {
  readonly place: Place;
  readonly server: ServeCommand;
  /** The command line of `nfs-fuse` with these arguments, in the place. */
  nfsFuse(...args: string[]): Promise<ReturnType<typeof said>>;
  /** The names of the journals. */
  journals(): string[];
}

async function ground(t: Test, name: PlaceName = 'root'): Promise<Ground> {
  const place = untilEnd(t, await openPlace(name));
  const server = untilEnd(t, await ServeCommand.start(place));
  const kept = join(place.folder, 'nfs-fuse');
  return {
    place,
    server,
    nfsFuse: async (...args) => said(await run(place.command([...place.product, ...args]), { cwd: '/' })),
    journals: () => {
      try {
        const isJournal = (file: string) => file.endsWith('.log');
        return readdirSync(kept)
          .filter(isJournal)
          .map((file) => join(kept, file));
      } catch {
        return [];
      }
    },
  };
}

/** Expects an ordinary, empty directory without a watcher. */
async function isOrdinary(t: Test, place: Place, path: string): Promise<void> {
  const isListed = () => mountsOf(place.namespacePid).some((entry) => entry.path === path);
  await until('the dead mount is taken away', () => !isListed(), PATIENCE_MS);
  t.equal(await mustRun(place.command(['ls', '-A', path]), { cwd: '/' }), '', 'an ordinary empty directory');
  await until('the watcher has ended', () => watchersOf(path).length === 0, PATIENCE_MS);
}

const variants: [PlaceName, string[]][] = [
  ['root', []],
  ['userns', []],
  ['user', []],
  ['root', ['--transport', 'fuse-native']],
  ['user', ['--transport', 'fuse-native']],
];

for (const [name, args] of variants) {
  t.test(
    `${[name, ...args].join(' ')}: the watcher takes a killed mount away, and reports it on standard error`,
    async (t) => {
      const { place, server, journals } = await ground(t, name);
      const mount = untilEnd(t, await Mount.start({ source: server, place, args: ['--no-keep', ...args] }));
      await mount.mustRun(['sh', '-c', 'echo content > file']);
      await until('one shell watches', () => watchersOf(mount.path).length === 1);
      await mount.kill();
      await isOrdinary(t, place, mount.path);
      const message = new RegExp(`process ${mount.pid} that served ${mount.path} died, and .* was unmounted`);
      t.match(mount.log, message);
      const [journal = '', ...more] = journals();
      t.same(more, []);
      t.match(readFileSync(journal, 'utf8'), message);
    },
  );
}

for (const [name, args] of variants.filter(([, args]) => args.length === 0)) {
  t.test(
    `${[name, ...args].join(' ')}: the watcher takes away a mount that is killed during its first look`,
    async (t) => {
      const made = await rig(t);
      const place = untilEnd(t, await openPlace(name));
      const path = await newMountPoint(place);
      const isMounted = () => mountsOf(place.namespacePid).some((entry) => entry.path === path);
      let held = 0;
      const hold = async (): Promise<void> => {
        if (!isMounted()) return;
        held += 1;
        await new Promise(() => {});
      };
      made.server.faults.add({ procedure: 'GETATTR', times: Number.POSITIVE_INFINITY, wait: hold });
      const source = {
        host: '127.0.0.1',
        exportPath: made.server.exportName,
        mountOptions: [
          `port=${made.server.port}`,
          `mountport=${made.server.port}`,
          `nlmport=${made.server.port}`,
        ],
      };
      // Without noac, the first look would be answered with the attributes that came with the connection.
      const mount = untilEnd(
        t,
        await Mount.start({ source, place, at: path, args: ['--no-keep'], options: ['noac'] }),
      );
      await until('the root is looked at', () => held > 0, PATIENCE_MS);
      t.notMatch(mount.log, /is mounted on/, 'it does not count as mounted yet');
      await mount.kill();
      await isOrdinary(t, place, path);
    },
  );
}

t.test('the watcher takes a dead mount away although a program is in it', async (t) => {
  const { place, server } = await ground(t);
  const mount = untilEnd(t, await Mount.start({ source: server, place, args: ['--no-keep'] }));
  const sitting = untilEnd(
    t,
    start(['sh', '-c', 'cd "$0" && echo in && exec sleep 600', mount.path], { cwd: '/' }),
  );
  await until('somebody uses it', () => sitting.output === 'in\n');
  await mount.kill();
  await isOrdinary(t, place, mount.path);
});

t.test('the watcher takes away a mount on a path with blanks, quotes, newlines and a dash', async (t) => {
  const { place, server } = await ground(t);
  const path = join(place.folder, `-l "a'b\\ $(x)\t\u00e9\n`);
  mkdirSync(path);
  const mount = untilEnd(t, await Mount.start({ source: server, place, at: path, args: ['--no-keep'] }));
  await mount.kill();
  await isOrdinary(t, place, path);
});

/** Mounts in the background; the result is the process that serves the mount. */
async function background(t: Test, where: Ground, flags: readonly string[] = []) {
  const { place, server, nfsFuse } = where;
  const path = await newMountPoint(place);
  t.teardown(() => run(place.command(['umount', '-l', path]), { cwd: '/' }));
  const options = server.mountOptions.join(',');
  const args = ['mount', '--no-keep', ...flags, '-o', options, `${server.host}:${server.exportPath}`, path];
  const mounted = await nfsFuse(...args);
  t.same(mounted, { status: 0, stdout: '', stderr: '' });
  const found = await mustRun(['pgrep', '-f', '--', `nfs-fuse\\.js mount .*${path}$`]);
  const pid = Number(found.trim());
  registerProcess(pid, 'nfs-fuse in the background');
  return { path, args, pid };
}

t.test('the watcher leaves alone what was mounted on the place meanwhile', async (t) => {
  const where = await ground(t);
  const { path, pid } = await background(t, where);
  const [watcher = 0] = watchersOf(path);
  process.kill(watcher, 'SIGSTOP');
  t.teardown(() => endWatchers(path));
  process.kill(pid, 'SIGKILL');
  await until('the mount is dead', async () => (await run(['ls', path])).status !== 0, PATIENCE_MS);
  await mustRun(['umount', '-l', path]);
  await mustRun(['mount', '-t', 'tmpfs', 'none', path]);
  process.kill(watcher, 'SIGCONT');
  await until('the watcher has ended', () => watchersOf(path).length === 0, PATIENCE_MS);
  t.match(mountsOf(process.pid).find((entry) => entry.path === path)?.type, 'tmpfs');
  t.match(readFileSync(where.journals()[0] ?? '', 'utf8'), /died, and its mount was gone already/);
});

t.test('stats, umount and the next mount report how a mount in the background died', async (t) => {
  const where = await ground(t);
  const { place, nfsFuse, journals } = where;
  const { path, args, pid } = await background(t, where);
  t.same(journals(), [], 'nothing is kept of a mount that has nothing to say');
  process.kill(pid, 'SIGKILL');
  await isOrdinary(t, place, path);
  const message = new RegExp(`Of the last mount .*process ${pid} that served ${path} died`);
  for (const command of ['stats', 'umount']) {
    const asked = await nfsFuse(command, path);
    t.equal(asked.status, 1);
    t.match(asked.stderr, message, command);
  }
  const [journal = ''] = journals();
  t.equal(statSync(journal).mode & 0o777, 0o600);
  t.equal(statSync(join(journal, '..')).mode & 0o777, 0o700);
  const next = await nfsFuse(...args);
  t.equal(next.status, 0);
  t.match(next.stderr, message);
  t.same(journals(), [], 'it is told once');
  t.same(await nfsFuse('umount', path), { status: 0, stdout: '', stderr: '' });
});

t.test('a log file gets the death of its mount', async (t) => {
  const where = await ground(t);
  const log = join(where.place.folder, 'log');
  const { path, pid } = await background(t, where, ['--log-file', log]);
  process.kill(pid, 'SIGKILL');
  await isOrdinary(t, where.place, path);
  t.match(readFileSync(log, 'utf8'), new RegExp(`^[0-9TZ:-]+ error The process ${pid} .* died`, 'm'));
});

t.test('a mount does not use a folder for journals that another user may have made', async (t) => {
  const where = await ground(t);
  const trap = join(where.place.folder, 'trap');
  mkdirSync(trap);
  await mustRun(['ln', '-s', trap, join(where.place.folder, 'nfs-fuse')]);
  const mount = untilEnd(
    t,
    await Mount.start({ source: where.server, place: where.place, args: ['--no-keep'] }),
  );
  await mount.served();
  await mount.kill();
  await isOrdinary(t, where.place, mount.path);
  t.same(readdirSync(trap), []);
});

const endings: [string, (where: Ground, mount: Mount) => Promise<unknown>][] = [
  ['umount', (where, mount) => where.nfsFuse('umount', mount.path)],
  ['umount from outside', (_, mount) => mustRun(['umount', mount.path])],
  ['SIGTERM', async (_, mount) => mount.signal('SIGTERM')],
];

for (const [name, end] of endings) {
  t.test(`${name}: an orderly end leaves no watcher and no journal`, async (t) => {
    const where = await ground(t);
    const mount = untilEnd(t, await Mount.start({ source: where.server, place: where.place }));
    // A shell that starts another program is there twice for a moment.
    await until('one shell watches', () => watchersOf(mount.path).length === 1);
    // An earlier signal would interrupt the mounting.
    await mount.served();
    await end(where, mount);
    t.match(await mount.exit(PATIENCE_MS), { status: 0 });
    t.same(watchersOf(mount.path), [], 'gone when the process has ended');
    t.same(where.journals(), []);
    t.notMatch(mount.log, /died/);
  });
}

t.test('a mount that does not come about leaves no watcher', async (t) => {
  const { place, server, nfsFuse } = await ground(t);
  const path = join(place.folder, 'missing');
  const options = server.mountOptions.join(',');
  t.match(await nfsFuse('mount', '-o', options, `${server.host}:/export`, path), { status: 1 });
  t.same(watchersOf(path), []);
});

t.test('without a shell, nfs-fuse warns and mounts', async (t) => {
  const { place, server } = await ground(t);
  const shell = (await mustRun(['readlink', '-f', '/bin/sh'])).trim();
  const path = await newMountPoint(place);
  const options = server.mountOptions.join(',');
  const argv = [...place.product, 'mount', '-f', '-o', options, `${server.host}:/export`, path];
  const hidden = ['bash', '-c', `mount --bind /dev/null ${shell} && exec "$@"`, 'bash', ...argv];
  const mounting = untilEnd(t, start(['unshare', '-m', '--propagation', 'private', ...hidden]));
  await until('it is mounted', () => {
    if (mounting.outcome !== undefined) throw new Error(mounting.output);
    return mounting.output.includes('is mounted on');
  });
  t.match(mounting.output, /There is no sh: if this process is killed/);
  mounting.signal('SIGTERM');
  t.match(await mounting.ended, { status: 0 });
});

/** A mount whose file system has the faults of test/support/faulty.mjs. */
async function faulty(
  t: Test,
  more: Readonly<Record<string, string>> = {},
  args: readonly string[] = [],
): Promise<{ where: Ground; mount: Mount }> {
  const where = await ground(t);
  const url = (path: string) => pathToFileURL(join(projectRoot, path)).href;
  const env = {
    NODE_OPTIONS: `--import=${url('test/support/faulty.mjs')}`,
    FAULTY_FILESYSTEM: url('dist/lib/vfs/filesystem.js'),
    ...more,
  };
  writeFileSync(join(where.server.directory, 'file'), 'content');
  const place = { ...where.place, product: fileByFile(where.place.product) };
  const mount = untilEnd(t, await Mount.start({ source: where.server, place, env, args }));
  return { where, mount };
}

const complaint = ({ stderr }: Outcome) => stderr.toString();

t.test('an exception in a request is answered with EIO and logged, and the mount lives on', async (t) => {
  const { mount } = await faulty(t);
  for (const kind of ['thrown', 'rejected']) {
    t.match(complaint(await mount.run(['cat', `fault-${kind}`])), /Input\/output error/);
    await until('it is logged', () => mount.log.includes(`${kind} on purpose`));
    t.match(mount.log, new RegExp(`LOOKUP of node 1 name "fault-${kind}" failed: TypeError`));
    t.equal(await mount.mustRun(['cat', 'file']), 'content');
  }
  t.match(await mount.unmount(), { status: 0 });
});

t.test('an unhandled rejection is logged, and the mount lives on', async (t) => {
  const { mount } = await faulty(t);
  t.match(complaint(await mount.run(['cat', 'fault-forgotten'])), /No such file/);
  await until('it is logged', () => mount.log.includes('forgotten on purpose'));
  t.match(mount.log, /Internal error, the mount goes on: TypeError: forgotten on purpose/);
  t.equal(await mount.mustRun(['cat', 'file']), 'content');
  t.match(await mount.unmount(), { status: 0 });
});

t.test('an unhandled rejection before the mount answers is logged, and the mount comes about', async (t) => {
  const { mount } = await faulty(t, { FAULTY_START: 'yes' });
  await mount.served();
  await until('it is logged', () => mount.log.includes('at the start, on purpose'));
  t.equal(await mount.mustRun(['cat', 'file']), 'content');
  t.match(await mount.unmount(), { status: 0 });
});

t.test(
  'an exception in a callback ends a mount that is not kept: it is written back and unmounted, and the status is 1',
  async (t) => {
    const { where, mount } = await faulty(t, {}, ['--no-keep']);
    const agent = await mount.agent();
    const fd = await agent.open('written', 0o102);
    await agent.pwrite(fd, 'dirty', 0);
    await mount.run(['cat', 'fault-later']);
    t.match(await mount.exit(PATIENCE_MS), { status: 1, signal: null });
    t.match(mount.log, /Internal error, the mount ends: TypeError: later on purpose/);
    await mount.closeAgents();
    await isOrdinary(t, where.place, mount.path);
    t.equal(readFileSync(join(where.server.directory, 'written'), 'utf8'), 'dirty');
    const [journal = ''] = where.journals();
    t.match(readFileSync(journal, 'utf8'), /ended with an error: Internal error: later on purpose/);
  },
);

t.test('an exception in a callback ends the process, and another one goes on with the mount', async (t) => {
  const folder = untilEnd(t, publicFolder());
  const { where, mount } = await faulty(t, { FAULTY_ONCE: join(folder.path, 'once') });
  await mount.served();
  const before = await servingProcess(mount);
  const agent = await mount.agent();
  const fd = await agent.open('written', 0o102);
  await agent.pwrite(fd, 'dirty', 0);
  await mount.run(['cat', 'fault-later']);
  await until('another process serves', async () => ![0, before].includes(await servingProcess(mount)));
  t.match(mount.log, /Internal error, another process goes on with the mount: TypeError: later on purpose/);
  await agent.fsync(fd);
  t.equal(readFileSync(join(where.server.directory, 'written'), 'utf8'), 'dirty');
  await mount.closeAgents();
  await mount.unmount();
});
