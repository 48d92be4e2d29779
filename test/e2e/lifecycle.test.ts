/** How a mount begins and ends: unmounted from outside, told to end, killed, and mounted again in its place. */
import { readdirSync } from 'node:fs';
import t, { type Test } from 'tap';
import { errnoOf } from '../support/agent.js';
import { Mount, mountsOf, newMountPoint } from '../support/mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { mustRun, run, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { startServer, type TestServer } from '../support/variants.js';

interface Ground {
  readonly place: Place;
  readonly server: TestServer;
  mount(at?: string): Promise<Mount>;
}

/** Runs `body` for each way to mount, with a server and a means to mount it, again and again. */
function forEachPlace(name: string, body: (t: Test, ground: Ground) => Promise<void>): void {
  t.test(name, async (t) => {
    for (const placeName of ['root', 'userns', 'user'] satisfies PlaceName[]) {
      await t.test(placeName, { timeout: 180_000 }, async (t) => {
        const place = untilEnd(t, await openPlace(placeName));
        const server = untilEnd(t, await startServer('ganesha', place));
        const mount = async (at?: string) => {
          const mounted = untilEnd(
            t,
            await Mount.start({ source: server, place, ...(at === undefined ? {} : { at }) }),
          );
          return mounted;
        };
        await body(t, { place, server, mount });
      });
    }
  });
}

/** The mount is gone, and nothing says "Transport endpoint is not connected". */
async function isGone(t: Test, mount: Mount): Promise<void> {
  t.equal(mount.entry, undefined, 'nothing is mounted');
  const { status } = await run(mount.place.command(['ls', mount.path]), { cwd: '/' });
  t.equal(status, 0, 'the mount point is a plain folder again');
}

forEachPlace('unmounting from outside ends nfs-fuse with status 0', async (t, { mount }) => {
  const mounted = await mount();
  await mounted.mustRun(['sh', '-c', 'echo content > file']);
  t.match(await mounted.unmount(), { status: 0, signal: null });
  await isGone(t, mounted);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  forEachPlace(`${signal} unmounts and ends nfs-fuse with status 0`, async (t, { mount, server }) => {
    const mounted = await mount();
    await mounted.mustRun(['sh', '-c', 'echo content > file']);
    mounted.signal(signal);
    t.match(await mounted.exit(), { status: 0, signal: null });
    await isGone(t, mounted);
    t.same(readdirSync(server.directory), ['file'], 'the file is on the server');
  });
}

forEachPlace('nfs-fuse umount', async (t, { place, mount }) => {
  const mounted = await mount();
  await mustRun(place.command([...place.product, 'umount', mounted.path]), { cwd: '/' });
  t.match(await mounted.exit(), { status: 0, signal: null });
  await isGone(t, mounted);
});

forEachPlace('after SIGKILL, the same place can be mounted again', async (t, { mount, place }) => {
  const first = await mount();
  const agent = await first.agent();
  await agent.writeFile('file', 'survives');
  await first.kill();
  t.equal(await errnoOf(agent.stat('file')), 'ENOTCONN', 'the dead mount says so');
  await agent.close();
  const second = await mount(first.path);
  t.equal(await second.mustRun(['cat', 'file']), 'survives');
  const mounted = mountsOf(place.namespacePid).filter(({ path }) => path === first.path);
  t.equal(mounted.length, 1, 'the dead mount was taken away, not covered');
  t.match(await second.unmount(), { status: 0 });
  await isGone(t, second);
});

forEachPlace('an unmount in the moment of mounting ends nfs-fuse', async (t, { place, mount }) => {
  const unmount = place.name === 'user' ? ['fusermount3', '-u'] : ['umount'];
  for (let moment = 0; moment < 6; moment++) {
    // The kernel lists a mount before nfs-fuse has answered it, and before it has a keeper.
    const mounted = await mount();
    await new Promise((resolve) => setTimeout(resolve, moment * 2));
    await until('it is unmounted', async () => {
      const { status } = await run(place.command([...unmount, mounted.path]), { cwd: '/' });
      return status === 0 || mounted.entry === undefined;
    });
    const { signal } = await mounted.exit(30_000);
    t.equal(signal, null, `it has ended, ${moment * 2} ms later`);
  }
});

forEachPlace('without -f, nfs-fuse returns when the mount answers', async (t, { place, server }) => {
  const path = await newMountPoint(place);
  const options = server.mountOptions.join(',');
  const source = `${server.host}:${server.exportPath}`;
  await mustRun(place.command([...place.product, 'mount', '-o', options, source, path]), { cwd: '/' });
  const isMounted = () => mountsOf(place.namespacePid).some((entry) => entry.path === path);
  t.ok(isMounted(), 'mounted');
  await mustRun(place.command(['sh', '-c', 'echo content > "$0/file" && cat "$0/file"', path]), { cwd: '/' });
  await mustRun(place.command([...place.product, 'umount', path]), { cwd: '/' });
  await until('it is unmounted', () => !isMounted());
});

forEachPlace('the kernel lists the mount by its names', async (t, { mount, server }) => {
  const mounted = await mount();
  t.match(mounted.entry, { type: 'fuse.nfs-fuse', source: `${server.host}:${server.exportPath}` });
  t.match(mounted.entry?.options ?? '', /nosuid/);
  t.match(mounted.entry?.options ?? '', /nodev/);
});

forEachPlace('ro refuses every change', async (t, { place, server }) => {
  const mounted = untilEnd(t, await Mount.start({ source: server, place, options: ['ro'] }));
  const fs = await mounted.agent();
  t.equal(await errnoOf(fs.writeFile('file', 'x')), 'EROFS');
  t.equal(await errnoOf(fs.mkdir('folder')), 'EROFS');
  t.same(await fs.list('.'), []);
});

t.test('a connection that is aborted while a process sits in the mount ends nfs-fuse', async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await startServer('ganesha', place));
  const mounted = untilEnd(t, await Mount.start({ source: server, place }));
  const fs = await mounted.agent();
  await mounted.abort();
  t.match(await errnoOf(fs.list('.')), /^(ENOTCONN|ECONNABORTED)$/);
  await mounted.exit();
  await mounted.closeAgents();
  const again = untilEnd(t, await Mount.start({ source: server, place, at: mounted.path }));
  t.equal(await again.mustRun(['ls']), '');
});
