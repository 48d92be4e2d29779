/** `nfs-fuse check --mount`: mounts that work, and every way in which a mount can fail. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { askStats } from '../../lib/mount/reach/mount-control.js';
import type { MountStats } from '../../lib/mount/serve/mount-stats.js';
import { publicFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount } from '../support/mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { endWatchers } from '../support/watchers.js';
import { checkWith, failsAt } from './support/check.js';
import { nfsFuse, product, type Said, said } from './support/product.js';

interface Ground {
  readonly place: Place;
  readonly server: Ganesha;
  readonly mount: Mount;
}

async function ground(t: Test, name: PlaceName, options: readonly string[] = []): Promise<Ground> {
  const place = untilEnd(t, await openPlace(name));
  const server = untilEnd(t, await Ganesha.start());
  const mount = untilEnd(t, await Mount.start({ source: server, place, options }));
  // The mount is listed earlier, but a change of the server at that time would affect the mounting.
  await mount.served();
  return { place, server, mount };
}

/** Runs the check in the mount's place, with much time unless the test expects no answer. */
async function checkMount({ place }: Ground, path: string, seconds = '30'): Promise<Said> {
  const argv = place.command([...place.product, 'check', '--mount', path, '--timeout', seconds]);
  const checking = start(argv, { cwd: '/' });
  return said(await checking.ended);
}

/** Expects one line on standard output with the fault and the remedy, and a matching exit status. */
function unwell(t: Test, outcome: Said, line: RegExp): void {
  t.equal(outcome.status, 1, 'exit status');
  t.match(outcome.stdout, line);
  t.equal(outcome.stdout.split('\n').length, 2, 'one line');
  t.equal(outcome.stderr, '');
}

for (const name of ['root', 'userns', 'user'] satisfies PlaceName[]) {
  t.test(`${name}: check succeeds for a mount that works`, async (t) => {
    const where = await ground(t, name);
    const { path } = where.mount;
    t.same(await checkMount(where, path), {
      status: 0,
      stdout: `127.0.0.1:/export on ${path} answers, and so does its server\n`,
      stderr: '',
    });
    t.equal((await checkMount(where, `${path}/.`)).status, 0, 'spelled otherwise');
  });
}

t.test(
  'check finds a mount by a path with spaces and any letters, and through a link, and prints JSON',
  async (t) => {
    const place = untilEnd(t, await openPlace('root'));
    const server = untilEnd(t, await Ganesha.start());
    const at = join(place.folder, 'a b\\040\tü\n#');
    mkdirSync(at);
    t.equal(
      (await nfsFuse(['mount', '-o', server.mountOptions.join(','), '127.0.0.1:/export', at])).status,
      0,
    );
    t.teardown(() => nfsFuse(['umount', at]));
    const link = join(place.folder, 'link');
    symlinkSync(at, link);
    const text = await nfsFuse(['check', '--mount', at, '--timeout', '30']);
    t.match(text.stdout, /a b\\040\\x09ü\\x0a# answers, and so does its server\n$/);
    t.equal(text.stdout.split('\n').length, 2, 'one line whatever the name');
    for (const path of [at, link]) {
      const checked = await checkWith([...product, 'check', '--mount', path]);
      t.equal(checked.status, 0);
      t.match(checked.findings, [
        { step: 'mounted', result: 'ok' },
        { step: 'answers', result: 'ok' },
      ]);
    }
  },
);

t.test('check fails where nothing is mounted, or another file system', async (t) => {
  const scratch = untilEnd(t, publicFolder());
  unwell(t, await nfsFuse(['check', '--mount', scratch.path]), /^.* is not a mount point\. /);
  unwell(t, await nfsFuse(['check', '--mount', `${scratch.path}/none`]), /\/none is not a mount point\. /);
  unwell(
    t,
    await nfsFuse(['check', '--mount', '/proc']),
    /^\/proc is mounted, but not by nfs-fuse \(proc\)\. /,
  );
  const checked = await checkWith([...product, 'check', '--mount', scratch.path]);
  failsAt(t, checked, 'mounted', /is not a mount point/, /mounted/);
  t.match(checked.of('answers'), { result: 'skipped' });
});

t.test('check reports a mount whose process was killed as dead', async (t) => {
  const where = await ground(t, 'root');
  const { mount } = where;
  // The dead mount must stay, so its watcher ends first.
  endWatchers(mount.path);
  await mount.kill();
  unwell(
    t,
    await checkMount(where, mount.path),
    /is a dead mount: the process that served it has ended\. Mount there again.*nfs-fuse umount /,
  );
});

t.test('check reports that a mount whose process is stopped does not answer', async (t) => {
  const where = await ground(t, 'root');
  const { mount } = where;
  t.teardown(() => mount.signal('SIGCONT'));
  mount.signal('SIGSTOP');
  const hung = /does not answer within 1 s\. .*nfs-fuse umount --force /;
  unwell(t, await checkMount(where, mount.path, '1'), hung);
  mount.signal('SIGCONT');
  t.equal((await checkMount(where, mount.path)).status, 0, 'and well again');
});

t.test('check reports that a mount whose server is silent does not answer', async (t) => {
  const where = await ground(t, 'userns');
  const { mount, server } = where;
  t.teardown(() => server.freeze(false));
  server.freeze(true);
  unwell(t, await checkMount(where, mount.path, '1'), /does not answer within 1 s\. Its server is away/);
  server.freeze(false);
  t.equal((await checkMount(where, mount.path)).status, 0, 'and well again');
});

t.test('check ends although its request to the mount cannot be killed', async (t) => {
  const where = await ground(t, 'root');
  const { mount, server } = where;
  t.teardown(() => {
    server.freeze(false);
    mount.signal('SIGCONT');
  });
  server.freeze(true);
  // The time is long, so that the check still waits when nfs-fuse has its request and stops.
  const checking = checkMount(where, mount.path, '10');
  const [major = 0, minor = 0] = mount.entry?.device.split(':').map(Number) ?? [];
  const wanted = { major, minor, superOptions: mount.entry?.options ?? '' };
  const underWay = async () => ((await askStats(wanted)) as MountStats).rpc.outstanding > 0;
  await until('the question is under way', underWay, 60_000);
  // From here on the kernel waits for an answer, even if the caller is killed.
  mount.signal('SIGSTOP');
  unwell(t, await checking, /does not answer within 10 s/);
});

t.test('check reports the error of a soft mount whose server is gone', async (t) => {
  const where = await ground(t, 'root', ['soft', 'timeo=5', 'retrans=0']);
  await where.server.stop();
  unwell(
    t,
    await checkMount(where, where.mount.path),
    /answers with an error \(EIO\)\. Its server cannot be reached/,
  );
});

t.test('check tells another user that the mount is not for that user', async (t) => {
  const where = await ground(t, 'user');
  unwell(
    t,
    await nfsFuse(['check', '--mount', where.mount.path]),
    /may not be looked at by uid 0 \(EACCES\)\. Check as the user who has mounted it, or mount with allow_other/,
  );
});
