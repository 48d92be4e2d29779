/**
 * The root of the export gets a new handle, or is gone for a while: a re-export, a server that was set up anew, data
 * that moved. Paths go on working without a remount, descriptors as far as their objects still exist.
 */
import { constants, cpSync, renameSync, rmSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import t from 'tap';
import { errnoOf } from '../support/agent.js';
import { embeddedMount, statsOf } from '../support/embedded-mount.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const { O_RDONLY, O_RDWR, O_WRONLY } = constants;
const MiB = 1 << 20;
const lines = (log: string, pattern: RegExp) => log.split('\n').filter((line) => pattern.test(line)).length;

t.test('nfs-ganesha comes back with a copy of its export', { timeout: 120_000 }, async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await Ganesha.start());
  const mount = untilEnd(t, await Mount.start({ source: server, place }));
  const agent = await mount.agent();
  const old = Buffer.alloc(3 * MiB, 'o');
  // Made on the server's disk, so that no page of it is cached here.
  await mkdir(`${server.directory}/folder`);
  await writeFile(`${server.directory}/folder/read`, old);
  await writeFile(`${server.directory}/folder/write`, 'before');
  await writeFile(`${server.directory}/top`, 'top');

  // A shell sits in the root, a program in the folder and holds files open.
  const shell = untilEnd(
    t,
    start(place.command(['sh']), { cwd: mount.path, stdio: ['pipe', 'pipe', 'pipe'] }),
  );
  const type = async (line: string, answer: string) => {
    shell.child.stdin?.write(`${line}\n`);
    await until(`the shell answers ${answer}`, () => shell.output.includes(answer));
  };
  await type('cat top; echo " 1"', 'top 1');
  const inside = await mount.agent({ cwd: `${mount.path}/folder` });
  const reader = await agent.open('folder/read', O_RDONLY);
  t.same(await agent.pread(reader, 10, 0), old.subarray(0, 10));
  const writer = await agent.open('folder/write', O_RDWR);
  await agent.pwrite(writer, 'synced', 0);
  await agent.fsync(writer);
  await agent.pwrite(writer, 'not yet', 0);

  await server.stop();
  await server.replaceExport();
  await server.start();

  await type('cat top; echo " 2"', 'top 2');
  await type('echo new > made; cat made; ls', 'new\nfolder\nmade\ntop');
  t.same(await agent.readFile('folder/read'), old, 'paths lead to the copies');
  await agent.writeFile('folder/made', 'x');
  t.same((await readdir(`${server.directory}/folder`)).sort(), ['made', 'read', 'write']);
  t.equal(await errnoOf(agent.pread(reader, 100, 2 * MiB + 5)), 'EIO', 'the file of the descriptor is gone');
  t.match(await errnoOf(agent.fsync(writer)), 'EIO', 'data that was on its way is lost, and fsync says so');
  const later = [await errnoOf(agent.pwrite(writer, 'more', 0)), await errnoOf(agent.closeFd(writer))];
  t.ok(later.includes('EIO'), `later writes fail too, at the latest at close: ${later.join(', ')}`);
  t.match((await agent.readFile('folder/write')).toString(), /^(synced|before)/, 'the copy has none of it');
  t.equal(await errnoOf(inside.readFile('write')), 'no error', 'names in the folder lead to the new folder');
  t.equal(
    await errnoOf(inside.writeFile('made2', 'x')),
    'ENOENT',
    'the working directory is not that folder',
  );
  await inside.chdir(`${mount.path}/folder`);
  await inside.writeFile('made2', 'x');

  const { caches } = await statsOf(mount);
  t.equal(caches.rootRemounts, 1);
  t.equal(lines(mount.log, /new file handle/), 1, 'one line in the log');
  t.equal(lines(mount.log, /folder\/read: .*EIO/), 1, 'and one for each open file');
  t.equal(lines(mount.log, /folder\/write: .*EIO/), 1);
  await shell.stop();
  t.match(await mount.unmount(), { status: 0 });
});

t.test('new handles of the same objects: open descriptors go on', { timeout: 60_000 }, async (t) => {
  const { server, agent, mount, folder, stats } = await embeddedMount(t, ['actimeo=60']);
  await agent.mkdir('folder');
  await agent.writeFile('folder/read', Buffer.alloc(3 * MiB, 'o'));
  await agent.writeFile('folder/write', 'before');
  await agent.writeFile('folder/nameless', 'nameless');
  const inside = await mount.agent({ cwd: `${mount.path}/folder` });
  const reader = await agent.open('folder/read', O_RDONLY);
  await agent.pread(reader, 10, 0);
  const writer = await agent.open('folder/write', O_RDWR);
  await agent.pwrite(writer, 'BEF', 0);
  const nameless = await agent.open('folder/nameless', O_RDWR);
  await agent.unlink('folder/nameless');
  const stream = await agent.dirOpen('folder');
  const { ino } = await agent.fstat(reader);

  await server.restart({ newHandles: true });

  t.equal((await agent.pread(reader, 100, 2 * MiB + 5)).toString(), 'o'.repeat(100));
  t.equal((await agent.fstat(reader)).ino, ino);
  await agent.pwrite(writer, 'ORE', 3);
  await agent.fsync(writer);
  t.equal((await agent.readFile('folder/write')).toString(), 'BEFORE');
  await agent.ftruncate(writer, 2);
  t.equal((await agent.readFile('folder/write')).toString(), 'BE');
  t.equal((await agent.pread(nameless, 100, 0)).toString(), 'nameless');
  t.same(
    (await agent.dirRest(stream))
      .map(String)
      .filter((name) => !name.startsWith('.'))
      .sort(),
    ['read', 'write'],
  );
  await inside.writeFile('made', 'x');
  t.equal((await inside.readFile('made')).toString(), 'x', 'the working directory, too');
  for (const fd of [reader, writer, nameless]) t.equal(await errnoOf(agent.closeFd(fd)), 'no error');
  await until('the nameless file is removed', async () => (await readdir(`${folder}/folder`)).length === 3);
  t.equal((await stats()).caches.rootRemounts, 1);
  t.equal(lines(mount.log, /EIO/), 0);
});

t.test('again and again', { timeout: 60_000 }, async (t) => {
  const { server, agent, stats } = await embeddedMount(t);
  await agent.mkdir('folder');
  await agent.writeFile('folder/file', 'content');
  const fd = await agent.open('folder/file', O_RDWR);
  for (let round = 1; round <= 5; round++) {
    await server.restart({ newHandles: true });
    t.equal((await agent.stat('folder/file')).size, 7);
    await agent.pwrite(fd, String(round), 0);
    await agent.fsync(fd);
    t.equal((await agent.list('folder')).length, 1);
  }
  t.equal((await agent.readFile('folder/file')).toString(), '5ontent');
  t.equal((await stats()).caches.rootRemounts, 5);
});

t.test('a crash that loses uncommitted data, with new handles', { timeout: 60_000 }, async (t) => {
  const { server, agent, folder } = await embeddedMount(t, ['wsize=65536'], { undoUnstable: true });
  await agent.writeFile('file', Buffer.alloc(MiB, '.'));
  const fd = await agent.open('file', O_WRONLY);
  const data = Buffer.alloc(MiB, 'data ');
  await agent.pwrite(fd, data, 0);
  await until('most of it is on the server, unstable', () => server.counters.WRITE >= 8);
  await server.restart({ newHandles: true, loseUncommitted: true });
  t.equal(await errnoOf(agent.fsync(fd)), 'no error');
  t.equal(await errnoOf(agent.closeFd(fd)), 'no error');
  t.ok((await readFile(`${folder}/file`)).equals(data), 'all of it is there');
});

t.test('the export is gone for a while', { timeout: 60_000 }, async (t) => {
  const ground = await embeddedMount(t);
  const { place, folder } = ground;
  const shared = `${folder}/shared`;
  await mkdir(shared);
  await mkdir(`${shared}/folder`);
  await writeFile(`${shared}/folder/file`, 'content');
  await writeFile(`${shared}/held`, Buffer.alloc(2 * MiB, 'h'));
  const mount = untilEnd(
    t,
    await Mount.start({
      source: { ...ground.source, exportPath: '/export/shared' },
      place,
      options: ['actimeo=0'],
    }),
  );
  const agent = await mount.agent();
  t.equal((await agent.readFile('folder/file')).toString(), 'content');
  const held = await agent.open('held', O_RDWR);
  await agent.pread(held, 10, 0);
  cpSync(shared, `${folder}/elsewhere`, { recursive: true });
  rmSync(shared, { recursive: true });

  for (let round = 0; round < 3; round++) {
    t.equal(await errnoOf(agent.stat('folder/file')), 'ENOENT');
    t.equal(await errnoOf(agent.mkdir('made')), 'ENOENT');
    t.equal(await errnoOf(agent.writeFile('made', 'x')), 'ENOENT');
    t.match(await errnoOf(agent.list('.')), /^(ENOENT|EIO)$/, 'not an empty directory');
    t.equal(await errnoOf(agent.statvfs('.')), 'ENOENT');
    t.equal(await errnoOf(agent.pread(held, 100, MiB + 4096 * round)), 'EIO');
  }
  t.equal(await errnoOf(agent.pwrite(held, 'x', 0).then(() => agent.fsync(held))), 'EIO');
  t.equal(lines(mount.log, /no longer knows the export's root/), 1, 'one line says why');
  t.equal(lines(mount.log, /./), 2, 'and nothing else, but that it is mounted');

  renameSync(`${folder}/elsewhere`, shared);
  // nfs-fuse does not ask mountd for a second after a refusal.
  await until('the mount works again', async () => (await errnoOf(agent.stat('folder/file'))) === 'no error');
  t.equal((await agent.readFile('folder/file')).toString(), 'content');
  await agent.writeFile('made', 'x');
  t.equal(await errnoOf(agent.pread(held, 100, MiB)), 'EIO', 'the held file is another one by now');
  t.equal(lines(mount.log, /the export is back/), 1);
});
