/**
 * Under bubblewrap, as sandboxes of ordinary users do it: a user namespace with one user, its own processes and
 * mounts, a /dev of its own into which /dev/fuse is let.
 */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Ganesha } from '../support/ganesha.js';
import { newMountPoint } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { type Outcome, run } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { compileSmoke, showSmoke } from './run-smoke.js';
import { requireTools } from './tools.js';

const FUSE = ['--dev-bind', '/dev/fuse', '/dev/fuse'];
const MAY_MOUNT = ['--cap-add', 'CAP_SYS_ADMIN'];

interface Sandbox {
  readonly server: Ganesha;
  readonly mnt: string;
  readonly smoke: string;
  /** Runs a shell script in a sandbox; $NODE, $MNT and $SMOKE are set, and \`nfs_mount\` and \`nfs_umount\` mount. */
  run(options: readonly string[], script: string): Promise<Outcome>;
}

async function sandbox(t: Test): Promise<Sandbox> {
  requireTools('bwrap');
  const server = untilEnd(t, await Ganesha.start());
  const place = untilEnd(t, await openPlace('user'));
  const mnt = await newMountPoint(place);
  const smoke = compileSmoke(place.folder);
  const [node = '', product = ''] = place.product;
  const target = `${server.host}:${server.exportPath}`;
  const options = server.mountOptions.join(',');
  const preamble = `
    nfs_mount() { "$NODE" "$PRODUCT" mount -o ${options} ${target} "$MNT"; }
    nfs_umount() { "$NODE" "$PRODUCT" umount "$MNT"; }`;
  const environment = { NODE: node, PRODUCT: product, MNT: mnt, SMOKE: smoke };
  return {
    server,
    mnt,
    smoke,
    run(flags, script) {
      const box = ['--unshare-user', '--uid', '0', '--gid', '0', '--unshare-pid', '--die-with-parent'];
      const tree = ['--bind', '/', '/', '--dev', '/dev', '--proc', '/proc'];
      const variables = Object.entries(environment).flatMap(([name, value]) => ['--setenv', name, value]);
      const argv = ['bwrap', ...box, ...tree, ...flags, ...variables, 'sh', '-c', `${preamble}\n${script}`];
      return run(place.command(argv), { cwd: '/' });
    },
  };
}

t.test('it mounts, passes the smoke test, reads, writes and unmounts', async (t) => {
  const { server, run } = await sandbox(t);
  const outcome = await run(
    [...FUSE, ...MAY_MOUNT],
    'nfs_mount && "$NODE" "$SMOKE" "$MNT" && echo content > "$MNT/file" && nfs_umount && ls -A "$MNT"',
  );
  showSmoke(t, ['bwrap'], outcome);
  t.same(
    outcome.stdout.toString().split('\n').at(-2)?.startsWith('{'),
    true,
    'the mount point is empty again',
  );
  t.same(readdirSync(server.directory), ['file'], 'the server has the file');
  t.equal(lstatSync(join(server.directory, 'file')).uid, 0, 'as root of the sandbox');
});

t.test('a mount ends with its sandbox, and closed files are on the server', async (t) => {
  const { server, run } = await sandbox(t);
  const outcome = await run([...FUSE, ...MAY_MOUNT], 'nfs_mount && echo content > "$MNT/file"');
  t.equal(outcome.status, 0, outcome.stderr.toString());
  t.same(readdirSync(server.directory), ['file']);
});

t.test('it says what is missing, and how to pass it', async (t) => {
  const { run } = await sandbox(t);
  const cases: [missing: string, options: string[], message: RegExp][] = [
    ['CAP_SYS_ADMIN', FUSE, /The kernel refused to mount on .* \(EPERM\)\.\n.*--cap-add SYS_ADMIN/],
    ['/dev/fuse', MAY_MOUNT, /\/dev\/fuse does not exist\.\n.*--device \/dev\/fuse/],
  ];
  for (const [missing, options, message] of cases) {
    const outcome = await run(options, 'nfs_mount');
    t.equal(outcome.status, 1, `without ${missing}: exit status`);
    t.match(outcome.stderr.toString(), message, `without ${missing}`);
  }
});
