/** `--transport fuse-native`: the same file system through libfuse 2.9, as root and as an ordinary user. */
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { type Agent, errnoOf } from '../support/agent.js';
import { publicFolder } from '../support/folders.js';
import { Mount } from '../support/mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { run, until } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { startServer, type TestServer } from '../support/variants.js';
import { endWatchers } from '../support/watchers.js';

const O_RDONLY = 0;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_APPEND = 0o2000;
const MS = 1_000_000n;

interface Ground {
  readonly place: Place;
  readonly server: TestServer;
  mount(options?: readonly string[], at?: string): Promise<Mount>;
  /** A mount, and an agent in it. */
  agent(options?: readonly string[]): Promise<Agent>;
  /** An agent in a mount by the other transport, which keeps every nanosecond. */
  otherClient(): Promise<Agent>;
}

function forEachPlace(name: string, body: (t: Test, ground: Ground) => Promise<void>): void {
  t.test(name, async (t) => {
    for (const placeName of ['root', 'user'] satisfies PlaceName[]) {
      await t.test(placeName, { timeout: 120_000 }, async (t) => {
        const place = untilEnd(t, await openPlace(placeName));
        const server = untilEnd(t, await startServer(placeName === 'root' ? 'ganesha' : 'embedded', place));
        const mount = async (options: readonly string[] = [], at?: string) => {
          const mounted = untilEnd(
            t,
            await Mount.start({
              source: server,
              place,
              options,
              args: ['--transport', 'fuse-native'],
              ...(at === undefined ? {} : { at }),
            }),
          );
          return mounted;
        };
        const agent = async (options?: readonly string[]) => (await mount(options)).agent();
        const otherClient = async () => {
          const mounted = untilEnd(t, await Mount.start({ source: server, place }));
          return mounted.agent();
        };
        await body(t, { place, server, mount, agent, otherClient });
      });
    }
  });
}

forEachPlace('files, directories, links and names of any bytes', async (t, { agent: start, server }) => {
  const agent = await start(['noac']);
  await agent.mkdir('d', 0o750);
  await agent.writeFile('d/f', 'content');
  await agent.rename('d/f', 'd/g');
  t.equal((await agent.readFile('d/g')).toString(), 'content');
  await agent.link('d/g', 'hard');
  await agent.symlink('d/g', 'soft');
  t.equal((await agent.readlink('soft')).toString(), 'd/g');
  const [one, two] = [await agent.stat('d/g'), await agent.stat('hard')];
  t.equal(one.ino, two.ino, 'one file under two names has one number');
  t.equal(one.nlink, 2);
  t.not((await agent.stat('soft')).ino, (await agent.lstat('soft')).ino);
  await agent.chmod('hard', 0o640);
  t.equal((await agent.stat('d/g')).mode & 0o7777, 0o640);
  await agent.mkfifo('pipe');
  await agent.truncate('hard', 3);
  t.equal(readFileSync(join(server.directory, 'hard'), 'utf8'), 'con');

  const name = Buffer.from([0x63, 0x61, 0x66, 0xe9, 0xff]);
  await agent.writeFile(name, 'bytes');
  await agent.symlink(Buffer.from([0xfe, 0x80]), 'to bytes');
  t.same(await agent.readlink('to bytes'), Buffer.from([0xfe, 0x80]));
  const onServer = readdirSync(Buffer.from(server.directory), { encoding: 'buffer' });
  t.ok(
    onServer.some((entry) => entry.equals(name)),
    'byte for byte on the server',
  );
  const listed = await agent.list('.');
  t.same(listed, [...onServer].sort(Buffer.compare), 'and in the listing');
  t.equal(await errnoOf(agent.rmdir('d')), 'ENOTEMPTY');
  for (const path of ['d/g', 'hard', 'soft', 'pipe', 'to bytes', name]) await agent.unlink(path);
  await agent.rmdir('d');
  t.same(readdirSync(server.directory), []);
});

forEachPlace(
  'an open file that is removed or replaced becomes .nfs…',
  async (t, { agent: start, server }) => {
    const agent = await start();
    const names = () => readdirSync(server.directory).map((name) => name.replace(/^\.nfs.*/, '.nfs'));
    await agent.writeFile('removed', 'content');
    const removed = await agent.open('removed', O_RDWR);
    await agent.unlink('removed');
    t.same(names(), ['.nfs'], 'no .fuse_hidden');
    t.equal(await errnoOf(agent.stat('removed')), 'ENOENT');
    t.equal((await agent.pread(removed, 100, 0)).toString(), 'content');
    await agent.pwrite(removed, 'X', 0);
    await agent.ftruncate(removed, 4);
    await agent.fchmod(removed, 0o600);
    await agent.fsync(removed);
    t.match(await agent.fstat(removed), { size: 4, nlink: 0 });
    t.equal((await agent.pread(removed, 100, 0)).toString(), 'Xont');

    await agent.writeFile('target', 'old');
    const replaced = await agent.open('target', O_RDONLY);
    await agent.writeFile('source', 'new one');
    await agent.rename('source', 'target');
    t.equal((await agent.readFile('target')).toString(), 'new one');
    t.equal((await agent.pread(replaced, 100, 0)).toString(), 'old');
    await agent.closeFd(removed);
    await agent.closeFd(replaced);
    await until('the hidden files are removed', () => names().join() === 'target');
  },
);

forEachPlace('sizes and offsets beyond 4 GiB', async (t, { agent: start, server }) => {
  const agent = await start();
  const far = 5 * 2 ** 30 + 7;
  const fd = await agent.open('big', O_RDWR | O_CREAT);
  await agent.pwrite(fd, 'far', far);
  t.equal((await agent.fstat(fd)).size, far + 3);
  t.equal((await agent.pread(fd, 100, far)).toString(), 'far');
  t.same(await agent.pread(fd, 4, 2 ** 32), Buffer.alloc(4));
  await agent.closeFd(fd);
  t.equal(statSync(join(server.directory, 'big')).size, far + 3);
  await agent.truncate('big', 6 * 2 ** 30);
  t.equal(statSync(join(server.directory, 'big')).size, 6 * 2 ** 30);
});

forEachPlace('a program that opens after a close sees the new content', async (t, { agent: start }) => {
  const writer = await start();
  const reader = await start();
  for (const content of ['first', 'longer than that', 'short', 'again']) {
    await writer.writeFile('f', content);
    t.equal((await reader.readFile('f')).toString(), content);
  }
  const held = await reader.open('f', O_RDONLY);
  t.equal((await reader.pread(held, 100, 0)).toString(), 'again');
  await writer.writeFile('f', 'AGAIN');
  const fresh = await reader.open('f', O_RDONLY);
  t.equal(
    (await reader.pread(fresh, 100, 0)).toString(),
    'AGAIN',
    'although another descriptor has it cached',
  );
  t.equal((await reader.fstat(fresh)).size, 5);
});

forEachPlace('a file that replaces an open one is never mixed up with it', async (t, { agent: start }) => {
  const agent = await start(['noac']);
  const other = await start();
  await agent.writeFile('f', 'the old content');
  const old = await agent.open('f', O_RDONLY);
  await other.writeFile('f.new', 'new');
  await other.rename('f.new', 'f');
  t.equal(await errnoOf(agent.readFile('f')), 'ESTALE', 'refused while the old one is open');
  await agent.closeFd(old);
  await until('it can be opened', async () => (await errnoOf(agent.stat('f'))) === 'no error');
  t.equal((await agent.readFile('f')).toString(), 'new');
});

forEachPlace(
  'O_EXCL excludes, and O_APPEND lands at the server’s end',
  async (t, { agent: start, server }) => {
    const agent = await start();
    const other = await start();
    const lock = await agent.open('lock', O_WRONLY | O_CREAT | O_EXCL);
    t.equal(await errnoOf(other.open('lock', O_WRONLY | O_CREAT | O_EXCL)), 'EEXIST');
    await agent.closeFd(lock);
    const [one, two] = await Promise.all(
      [agent, other].map((each) => each.open('log', O_WRONLY | O_CREAT | O_APPEND)),
    );
    await agent.write(one ?? -1, 'a');
    await other.write(two ?? -1, 'bb');
    await agent.write(one ?? -1, 'ccc');
    t.equal(readFileSync(join(server.directory, 'log'), 'utf8'), 'abbccc');
    t.equal((await agent.readFile('log')).toString(), 'abbccc');
  },
);

forEachPlace(
  'a directory of 1000 files is listed whole, while it is emptied as well',
  async (t, { agent: start }) => {
    const agent = await start();
    await agent.mkdir('d');
    await agent.makeFiles('d', 'file', 0, 1000);
    t.same(await agent.checkListing('d', 'file', 1000), {
      entries: 1002,
      repeated: 0,
      missing: 0,
      others: 0,
    });
    t.same(await agent.unlinkWhileReading('d'), { unlinked: 1000, absent: 0 });
    await agent.rmdir('d');
  },
);

forEachPlace(
  'times: both as asked, to the millisecond; unchanged ones stay exact',
  async (t, { agent: start, server, otherClient }) => {
    const agent = await start(['noac']);
    await agent.writeFile('f', 'content');
    await agent.utimens('f', 1_600_000_000_123n * MS, 1_500_000_000_987n * MS);
    const onServer = () => statSync(join(server.directory, 'f'), { bigint: true });
    t.equal(onServer().mtimeNs, 1_500_000_000_987n * MS, 'the mtime is not the atime');
    t.equal(onServer().atimeNs, 1_600_000_000_123n * MS);
    t.equal((await agent.stat('f')).mtimeNs, 1_500_000_000_987n * MS);

    await (await otherClient()).utimens('f', 1_600_000_000_250n * MS, 1_500_000_000_123_456_789n);
    const exact = onServer().mtimeNs;
    t.not(exact % MS, 0n, 'the server has more than milliseconds');
    const shown = await agent.stat('f');
    t.equal(shown.mtimeNs, exact - (exact % MS), 'shown in whole milliseconds');
    await agent.utimens('f', 1_700_000_000_000n * MS, shown.mtimeNs);
    t.equal(onServer().mtimeNs, exact, 'a time given back as it was shown changes nothing');

    await agent.utimens('f', 'omit', 1_234_567_890_000n * MS);
    t.equal(onServer().mtimeNs, exact, 'one time alone never arrives: libfuse drops it, and README says so');
    const { status } = await agent.execute(['cp', '-p', 'f', 'copy']);
    t.equal(status, 0);
    t.equal(statSync(join(server.directory, 'copy'), { bigint: true }).mtimeNs, shown.mtimeNs, 'cp -p');
  },
);

forEachPlace('a mapped file is written back in its place', async (t, { agent: start, server }) => {
  const agent = await start();
  await agent.writeFile('m', Buffer.alloc(10_000));
  const fd = await agent.open('m', O_RDWR);
  const map = await agent.mmap(fd, 10_000, true);
  await agent.mapWrite(map, 5000, 'mapped');
  await agent.msync(map);
  t.equal(readFileSync(join(server.directory, 'm')).toString('latin1', 5000, 5006), 'mapped');
});

forEachPlace(
  'it ends in good order when unmounted, when told to, and when killed',
  async (t, { mount, server, place }) => {
    const first = await mount();
    t.equal(first.entry?.type, 'fuse.nfs-fuse');
    t.equal(first.entry?.source, `${server.host}:${server.exportPath}`);
    await first.mustRun(['sh', '-c', 'echo one > file']);
    t.match(await first.unmount(), { status: 0, signal: null });
    t.equal(first.entry, undefined);

    const second = await mount([], first.path);
    await second.mustRun(['sh', '-c', 'echo two > file']);
    second.signal('SIGTERM');
    t.match(await second.exit(), { status: 0, signal: null });
    t.equal(second.entry, undefined);
    t.equal(readFileSync(join(server.directory, 'file'), 'utf8'), 'two\n');

    const third = await mount([], first.path);
    const agent = await third.agent();
    const fd = await agent.open('file', O_RDWR);
    third.signal('SIGTERM');
    await until('it is detached', () => third.entry === undefined);
    await agent.pwrite(fd, 'busy', 0);
    await agent.closeFd(fd);
    await third.closeAgents();
    t.match(await third.exit(), { status: 0 }, 'a busy mount ends when it is left');
    t.equal(readFileSync(join(server.directory, 'file'), 'utf8'), 'busy');

    const fourth = await mount([], first.path);
    endWatchers(first.path);
    await fourth.kill();
    const { status } = await run(place.command(['ls', first.path]), { cwd: '/' });
    t.not(status, 0, 'a killed one is dead');
    const fifth = await mount([], first.path);
    t.equal(await fifth.mustRun(['cat', 'file']), 'busy', 'and is taken over');
    t.match(await fifth.unmount(), { status: 0 });
  },
);

t.test(
  'an aborted connection ends nfs-fuse with an error, not with a crash',
  { timeout: 60_000 },
  async (t) => {
    const place = untilEnd(t, await openPlace('root'));
    const server = untilEnd(t, await startServer('embedded', place));
    const mount = untilEnd(
      t,
      await Mount.start({ source: server, place, args: ['--transport', 'fuse-native'] }),
    );
    await mount.mustRun(['ls']);
    await mount.abort();
    t.match(await mount.exit(), { status: 1, signal: null });
    t.match(mount.log, /aborted/);
  },
);

t.test('allow_other is refused: everybody would act as the mounter', async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const argv = ['mount', '--transport', 'fuse-native', '-o', 'allow_other', 'server:/export', '/mnt'];
  const outcome = await run([...place.product, ...argv]);
  t.not(outcome.status, 0);
  t.match(outcome.stderr.toString(), /allow_other is not possible with --transport fuse-native/);
});

t.test('without the package, the message says what to do', async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await startServer('embedded', place));
  const bare = untilEnd(t, publicFolder());
  for (const part of ['dist', 'package.json']) {
    cpSync(join(projectRoot, part), join(bare.path, part), { recursive: true });
  }
  for (const name of readdirSync(join(projectRoot, 'node_modules'))) {
    if (name === 'fuse-native' || name.startsWith('.')) continue;
    const link = join(bare.path, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(projectRoot, 'node_modules', name), link);
  }
  const product = [process.execPath, join(bare.path, 'dist/bin/nfs-fuse.js')];
  const mountpoint = join(place.folder, 'mnt');
  mkdirSync(mountpoint);
  const target = [`${server.host}:${server.exportPath}`, mountpoint, '-o', server.mountOptions.join()];
  const refused = await run([...product, 'mount', '--transport', 'fuse-native', ...target], { cwd: '/' });
  t.equal(refused.status, 1);
  t.match(refused.stderr.toString(), /fuse-native is not installed[\s\S]*npm install fuse-native/i);
  const mounted = await run([...product, 'mount', ...target], { cwd: '/' });
  t.equal(mounted.status, 0, 'the kernel transport does not need it');
  t.equal((await run([...product, 'umount', mountpoint], { cwd: '/' })).status, 0);
});
