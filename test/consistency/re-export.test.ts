/**
 * Our mount as the source of an export: handles of the kernel's exportfs over FUSE (EXPORT_SUPPORT), stable inode
 * numbers, and the whole way through a server that exports a mount. These are the promises of docs/re-export.md.
 */
import { readdirSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { errnoOf } from '../support/agent.js';
import { type EmbeddedMount, embeddedMount } from '../support/embedded-mount.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { freePorts } from '../support/ports.js';
import { mustRun, start, until } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const program = [python, `${projectRoot}/test/support/handles.py`];

/** Handles of paths in the mount. */
async function make(mount: Mount, paths: readonly string[]): Promise<string[]> {
  const argv = [...program, 'make', ...paths.map((path) => `${mount.path}/${path}`)];
  return (await mustRun(argv, { cwd: '/' })).trim().split('\n');
}

/** The object that each handle leads to: `inode data`, or an errno. */
async function use(mount: Mount, handles: readonly string[]): Promise<string[]> {
  return (await mustRun([...program, 'use', mount.path, ...handles], { cwd: '/' })).trim().split('\n');
}

/** The kernel drops its cached names and inodes, so that only the handle is left. */
function forgetAll(): void {
  writeFileSync('/proc/sys/vm/drop_caches', '2');
}

async function tree({ agent }: EmbeddedMount): Promise<void> {
  await agent.mkdir('folder');
  await agent.mkdir('folder/sub');
  await agent.writeFile('folder/sub/file', 'content');
}
const PATHS = ['.', 'folder', 'folder/sub', 'folder/sub/file'];

t.test(
  'handles lead to their objects, also after the kernel has forgotten the objects',
  { timeout: 60_000 },
  async (t) => {
    const ground = await embeddedMount(t);
    await tree(ground);
    const { mount, agent } = ground;
    const inodes = await Promise.all(PATHS.map(async (path) => (await agent.stat(path)).ino));
    const handles = await make(mount, PATHS);
    const expected = PATHS.map((_, index) => `${inodes[index]} ${index === 3 ? 'content' : 'directory'}`);
    t.same(await use(mount, handles), expected);
    for (const handle of handles) t.equal(handle.split(':')[1]?.length, 2 * 12, 'twelve bytes');
    forgetAll();
    t.same(await use(mount, handles), expected, 'by LOOKUP of "."');
    forgetAll();
    const [, , sub = ''] = handles;
    const above = await mustRun([...program, 'parent', mount.path, sub], { cwd: '/' });
    t.equal(above.trim(), String(inodes[1]), 'by LOOKUP of ".."');
    forgetAll();
    const [, folder = ''] = handles;
    const root = await mustRun([...program, 'parent', mount.path, folder], { cwd: '/' });
    t.equal(root.trim(), String(inodes[0]), 'up to the root');
    t.equal(
      (await agent.readFile('folder/sub/file')).toString(),
      'content',
      'and the mount is as well as before',
    );
    t.same(await make(mount, PATHS), handles, 'the handles stay the same');
  },
);

t.test('a handle of a removed file is stale', { timeout: 60_000 }, async (t) => {
  const ground = await embeddedMount(t);
  await tree(ground);
  const handles = await make(ground.mount, ['folder/sub/file']);
  await ground.agent.unlink('folder/sub/file');
  await ground.agent.writeFile('folder/sub/file', 'another');
  t.same(await use(ground.mount, handles), ['ESTALE']);
});

t.test('a handle of an earlier mount is stale, and never another object', { timeout: 60_000 }, async (t) => {
  const ground = await embeddedMount(t);
  await tree(ground);
  const { mount, source, place } = ground;
  const [, ...handles] = await make(mount, PATHS);
  t.match(await mount.unmount(), { status: 0 });
  const again = untilEnd(t, await Mount.start({ source, place, at: mount.path }));
  // Other objects have the node ids of before.
  for (const name of ['a', 'b', 'c', 'd']) await again.mustRun(['mkdir', name]);
  t.same(await use(again, handles), ['ESTALE', 'ESTALE', 'ESTALE']);
  t.equal(
    await again.mustRun(['cat', 'folder/sub/file']),
    'content',
    'the new mount is none the worse for it',
  );
});

t.test('inode numbers are the server’s, on every mount', { timeout: 60_000 }, async (t) => {
  const ground = await embeddedMount(t);
  await tree(ground);
  const { mount, source, place, agent, folder } = ground;
  const inodes = async (of: { stat: typeof agent.stat }) =>
    Promise.all(PATHS.map(async (path) => (await of.stat(path)).ino));
  const first = await inodes(agent);
  const onDisk = (await mustRun(['stat', '-c', '%i', ...PATHS.map((path) => `${folder}/${path}`)])).trim();
  t.equal(first.join('\n'), onDisk);
  t.match(await mount.unmount(), { status: 0 });
  const again = untilEnd(t, await Mount.start({ source, place }));
  t.same(await inodes(await again.agent()), first);
});

/** A client of the re-export works as clients do, and its changes arrive at the far end. */
async function worksThrough(t: Test, ground: EmbeddedMount, outer: Mount): Promise<void> {
  const agent = await outer.agent();
  t.equal((await agent.readFile('folder/sub/file')).toString(), 'content');
  await agent.mkdir('made');
  const data = Buffer.alloc(3 << 20, 'some data ');
  await agent.writeFile('made/file', data);
  await agent.symlink('file', 'made/symlink');
  await agent.link('made/file', 'made/link');
  await agent.rename('folder/sub', 'made/sub');
  await agent.chmod('made/file', 0o640);
  t.same(readdirSync(`${ground.folder}/made`).sort(), ['file', 'link', 'sub', 'symlink']);
  t.ok((await ground.agent.readFile('made/link')).equals(data));
  t.equal((await agent.stat('made/file')).mode & 0o7777, 0o640);
  t.equal((await agent.stat('made/file')).ino, (await ground.agent.stat('made/file')).ino);
  const fd = await agent.open('made/file', 2);
  await agent.unlink('made/file');
  t.equal((await agent.pread(fd, 4, 0)).toString(), 'some', 'a file without a name');
  await agent.closeFd(fd);
  await agent.unlink('made/link');
  await until('nothing is left of it', () => readdirSync(`${ground.folder}/made`).length === 2);
  t.equal(await errnoOf(agent.stat('made/link')), 'ENOENT');
  t.same((await agent.list('made')).map(String), ['sub', 'symlink']);
}

t.test('through nfs-fuse serve', { timeout: 120_000 }, async (t) => {
  const ground = await embeddedMount(t);
  await tree(ground);
  const { place, mount } = ground;
  const [port = 0] = await freePorts(1);
  const trusting = ['--insecure', '--no-root-squash'];
  const state = ['env', `XDG_STATE_HOME=${place.folder}/state`];
  const argv = [...state, ...place.product, 'serve', mount.path, '--port', String(port), ...trusting];
  const serve = untilEnd(t, start(place.command(argv), { cwd: '/' }));
  await until('nfs-fuse serve listens', async () => {
    if (serve.outcome) throw new Error(serve.output);
    return serve.output.includes(`on port ${port}`);
  });
  const outer = untilEnd(
    t,
    await Mount.start({
      source: {
        host: '127.0.0.1',
        exportPath: '/',
        mountOptions: [`port=${port}`, `mountport=${port}`, 'nolock'],
      },
      place,
    }),
  );
  await worksThrough(t, ground, outer);
  t.match(await outer.unmount(), { status: 0 });
});

t.test('through nfs-ganesha', { timeout: 120_000 }, async (t) => {
  const ground = await embeddedMount(t, ['allow_other']);
  await tree(ground);
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await Ganesha.start({ directory: ground.mount.path }));
  const outer = untilEnd(t, await Mount.start({ source: server, place }));
  await worksThrough(t, ground, outer);
  t.match(await outer.unmount(), { status: 0 });
});
