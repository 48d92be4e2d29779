/** The right to mount: of an ordinary user, of root of a user namespace, and of users who lack something. */
import { basename } from 'node:path';
import t, { type Test } from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { mountsOf, newMountPoint } from '../support/mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { mustRun, run } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { failsOnce, type Said, said } from './support/product.js';

interface Ground {
  readonly place: Place;
  readonly mnt: string;
  /** The command line of `nfs-fuse mount` with these flags, in the place. */
  mount(...flags: string[]): string[];
}

async function ground(t: Test, name: PlaceName): Promise<Ground> {
  const place = untilEnd(t, await openPlace(name));
  const served = untilEnd(t, publicFolder());
  const server = untilEnd(t, await EmbeddedServer.start({ path: served.path }));
  const mnt = await newMountPoint(place);
  const options = `port=${server.port},mountport=${server.port},nlmport=${server.port}`;
  return {
    place,
    mnt,
    mount: (...flags) => [...place.product, 'mount', ...flags, '-o', options, '127.0.0.1:/export', mnt],
  };
}

/** Runs `argv` in a mount namespace of its own, after `prepare` has changed it. */
async function inside(prepare: string, argv: readonly string[]): Promise<Said> {
  const script = `${prepare} && exec "$@"`;
  return said(await run(['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh', ...argv]));
}

const DEVICES = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3';

for (const name of ['root', 'userns', 'user'] satisfies PlaceName[]) {
  t.test(`${name}: mount works in the background, and umount ends it`, async (t) => {
    const { place, mnt, mount } = await ground(t, name);
    const isMounted = () => mountsOf(place.namespacePid).some(({ path }) => path === mnt);
    t.equal(await mustRun(place.command(mount()), { cwd: '/' }), '');
    t.ok(isMounted());
    t.equal(await mustRun(place.command(['ls', mnt]), { cwd: '/' }), '');
    t.equal(await mustRun(place.command([...place.product, 'umount', mnt]), { cwd: '/' }), '');
    t.notOk(isMounted());
  });
}

t.test('without /dev/fuse, mount says what to pass to podman or docker', async (t) => {
  const { mount } = await ground(t, 'root');
  for (const flags of [[], ['-f']]) {
    failsOnce(
      t,
      await inside(DEVICES, mount(...flags)),
      /\/dev\/fuse does not exist\.$/,
      /In a container pass --device \/dev\/fuse to podman or docker/,
    );
  }
});

t.test('with a /dev/fuse that this user may not open, mount says what to pass', async (t) => {
  const { place, mount } = await ground(t, 'user');
  failsOnce(
    t,
    await inside(
      `${DEVICES} && mknod -m 600 /dev/fuse c 10 229`,
      place.command(['unshare', '-Urm', ...mount('-f')]),
    ),
    /\/dev\/fuse exists but may not be opened\.$/,
    /--device \/dev\/fuse to podman or docker/,
  );
});

t.test('without the right to mount, mount says which capability to add', async (t) => {
  const { mount } = await ground(t, 'root');
  const without = ['setpriv', '--bounding-set', '-sys_admin', '--inh-caps', '-sys_admin'];
  failsOnce(
    t,
    said(await run([...without, ...mount()])),
    /The kernel refused to mount on .* \(EPERM\)\.$/,
    /--cap-add SYS_ADMIN/,
  );
});

t.test('an ordinary user without fusermount3 is told to install it', async (t) => {
  const { place, mount } = await ground(t, 'user');
  const found = (await mustRun(['sh', '-c', 'command -v fusermount3; command -v fusermount || true']))
    .split('\n')
    .filter((path) => basename(path).startsWith('fusermount'));
  const hide = found.map((path) => `mount --bind /dev/null ${path}`).join(' && ');
  failsOnce(
    t,
    await inside(hide, place.command(mount('-f'))),
    /fusermount3 is not installed/,
    /Install the package fuse3/,
  );
});

t.test('an ordinary user with allow_other is told about /etc/fuse.conf', async (t) => {
  const { place, mount } = await ground(t, 'user');
  failsOnce(
    t,
    await inside('mount --bind /dev/null /etc/fuse.conf', place.command(mount('-f', '-o', 'allow_other'))),
    /Only root may mount with allow_other here/,
    /user_allow_other/,
  );
});
