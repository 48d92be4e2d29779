/**
 * The cache on the local disk (fsc) as users have it: beside other mounts, killed, with another process, on a full disk, and for
 * users that must not have it. From mount to mount: disk-cache-servers.test.ts.
 */
import {
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cachedScene, cat, random, readAndStore, workOf } from '../support/cached-scene.js';
import { statsOf } from '../support/embedded-mount.js';
import { Mount, newMountPoint } from '../support/mount.js';
import { mustRun, run, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const MIB = 1 << 20;
const STRANGER = 65_534;

t.test('two mounts at once store and read the same files', async (t) => {
  const { mount, put } = await cachedScene(t);
  const names = Array.from({ length: 8 }, (_, i) => `file${i}`);
  const contents = new Map(names.map((name) => [name, random.bytes(MIB + random.below(3 * MIB))]));
  for (const [name, data] of contents) await put(name, data);
  const mounts = [await mount(), await mount()];
  const checkAll = (one: Mount) =>
    Promise.all(
      names.map(async (name) => t.ok((await cat(one, name)).equals(contents.get(name) ?? Buffer.alloc(0)))),
    );
  await Promise.all(mounts.map(checkAll));
  for (const one of mounts) await one.unmount();
  const [third, fourth] = [await mount(), await mount()];
  await Promise.all([checkAll(third), checkAll(fourth)]);
  for (const one of [third, fourth]) {
    const { disk } = await workOf(one);
    t.ok(disk.bytesRead > 0);
    t.equal(disk.damaged, 0);
  }
});

t.test('killed while it stores, over and over: what is there is right', { timeout: 300_000 }, async (t) => {
  const { mount, cache, put } = await cachedScene(t);
  const data = random.bytes(10 * MIB + 5);
  await put('big', data);
  for (let round = 0; round < 4; round++) {
    const one = await mount();
    const reading = cat(one, 'big').catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, random.below(120)));
    await one.kill();
    await run(['umount', '-l', one.path], { cwd: '/' });
    await reading;
    const next = await mount();
    t.ok((await cat(next, 'big')).equals(data), `round ${round}`);
    t.equal((await workOf(next)).disk.damaged, 0);
    await next.unmount();
    // As after a crash of the machine: parts of what was written are not there.
    for (const shard of readdirSync(join(cache, 'v1')))
      for (const name of readdirSync(join(cache, 'v1', shard))) {
        const path = join(cache, 'v1', shard, name);
        const holes = readFileSync(path);
        for (let i = 0; i < 40; i++) {
          const at = random.below(holes.length / 4096) * 4096;
          holes.fill(0, at, at + 4096);
        }
        const cut = random.below(2) * random.below(holes.length);
        writeFileSync(path, holes.subarray(0, holes.length - cut));
      }
    const spoilt = await mount();
    t.ok((await cat(spoilt, 'big')).equals(data), `round ${round}, with parts missing`);
    await spoilt.unmount();
  }
});

t.test('another process goes on with a mount, and with its cache', async (t) => {
  const { mount, put } = await cachedScene(t);
  const data = random.bytes(4 * MIB);
  await put('big', data);
  const one = await mount();
  t.ok((await cat(one, 'big')).equals(data));
  const { pid } = await statsOf(one);
  process.kill(pid, 'SIGKILL');
  await until('another process serves', async () => (await statsOf(one).catch(() => ({ pid }))).pid !== pid);
  t.ok((await cat(one, 'big')).equals(data));
  t.ok((await workOf(one)).disk.bytesRead > 0, 'the pages of the kernel were dropped, and the disk has them');
});

t.test('a full disk is no error, and costs one line', async (t) => {
  const { mount, cache, put } = await cachedScene(t);
  mkdirSync(cache, { mode: 0o700 });
  await mustRun(['mount', '-t', 'tmpfs', '-o', 'size=3m,mode=700', 'none', cache]);
  t.teardown(() => run(['umount', '-l', cache], { cwd: '/' }));
  const data = random.bytes(8 * MIB);
  await put('big', data);
  const one = await mount([`fsc=${cache}`, 'fscsize=100m']);
  t.ok((await cat(one, 'big')).equals(data));
  const { disk } = await workOf(one);
  t.ok(disk.bytesStored < 3 * MIB);
  t.match(one.log, /fails at storing \(ENOSPC\): the mount goes on/);
  t.equal(one.log.match(/ENOSPC/g)?.length, 1);
  t.equal((await one.unmount()).status, 0);
  const next = await mount([`fsc=${cache}`, 'fscsize=100m']);
  t.ok((await cat(next, 'big')).equals(data));
});

t.test('the folder has to be the user’s own, and local: otherwise mounting is refused', async (t) => {
  const { place, server, mount, cache } = await cachedScene(t);
  const refused = async (folder: string, why: RegExp, env: NodeJS.ProcessEnv = {}) => {
    const at = await newMountPoint(place);
    const options = [...server.mountOptions, folder === '' ? 'fsc' : `fsc=${folder}`].join(',');
    const argv = [...place.product, 'mount', '-o', options, `${server.host}:${server.exportPath}`, at];
    const { status, stderr } = await run(place.command(argv), { cwd: '/', env: { ...process.env, ...env } });
    t.equal(status, 1, folder);
    t.match(stderr, why, folder);
  };
  const inside = (name: string): string => join(place.folder, name);
  mkdirSync(inside('open'), { mode: 0o755 });
  await refused(inside('open'), /may be entered by other users/);
  mkdirSync(inside('theirs'), { mode: 0o700 });
  chownSync(inside('theirs'), STRANGER, STRANGER);
  await refused(inside('theirs'), /belongs to another user \(uid 65534\)/);
  symlinkSync(inside('open'), inside('link'));
  await refused(inside('link'), /is a symbolic link/);
  writeFileSync(inside('file'), '');
  await refused(inside('file'), /is no folder/);
  await refused(inside('no/such/folder'), /cannot be made \(ENOENT\)/);
  await refused('relative', /fsc=relative is no absolute path/);
  const one = await mount();
  await one.mustRun(['mkdir', '-m', '700', 'inside']);
  await refused(join(one.path, 'inside'), /lies on FUSE/);
  t.equal(statSync(cache).mode & 0o777, 0o700, 'a folder that was missing is made, for its user alone');
  for (const shard of readdirSync(cache)) {
    const { mode } = statSync(join(cache, shard));
    t.equal(mode & 0o077, 0, shard);
  }
});

t.test('without a folder it is the user’s own cache folder', async (t) => {
  const { place, server, cache, put } = await cachedScene(t);
  await put('f', random.bytes(100_000));
  const start = (env: NodeJS.ProcessEnv) =>
    Mount.start({ source: server, place, options: ['fsc'], asUsual: true, env });
  const one = untilEnd(t, await start({ XDG_CACHE_HOME: join(cache, 'deep') }));
  await one.served();
  await cat(one, 'f');
  await one.unmount();
  t.ok(readdirSync(join(cache, 'deep', 'nfs-fuse')).includes('v1'));
});

t.test('an ordinary user has a cache as well, which a stranger cannot enter', async (t) => {
  const { cache, mount, put } = await cachedScene(t, 'embedded', 'user');
  const data = random.bytes(300_000);
  await put('f', data);
  await readAndStore(t, mount, 'f', data);
  const asStranger = ['setpriv', `--reuid=${STRANGER}`, `--regid=${STRANGER}`, '--clear-groups'];
  t.not((await run([...asStranger, 'ls', cache], { cwd: '/' })).status, 0);
});
