/** `nfs-fuse check` without a server: it finds what this machine, container and user lack for mounting. */
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mountVerdict, protocolVerdict } from '../../lib/check/environment-steps.js';
import { nodeVerdict } from '../../lib/check/program.js';
import { securityHint } from '../../lib/check/security-profile.js';
import { readRights } from '../../lib/fuse/mount/rights.js';
import { publicFolder } from '../support/folders.js';
import { mountsOf } from '../support/mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { mustRun, run } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { allWell, checkWith, failsAt, warnsAt } from './support/check.js';
import { nfsFuse, product, STACK_TRACE, said } from './support/product.js';

async function place(t: Test, name: PlaceName): Promise<Place> {
  const opened = untilEnd(t, await openPlace(name));
  return opened;
}

/** Runs `argv` in a mount namespace of its own, after `prepare` has changed it. */
function inside(prepare: string, argv: readonly string[]): string[] {
  const script = `${prepare} && exec "$@"`;
  return ['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh', ...argv];
}

const DEVICES = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3';
const WITHOUT_CAPABILITY = ['setpriv', '--bounding-set', '-sys_admin', '--inh-caps', '-sys_admin'];

/** The programs that mount for ordinary users, wherever they are installed. */
async function helpers(): Promise<string[]> {
  const found = await mustRun(['sh', '-c', 'command -v fusermount3; command -v fusermount || true']);
  return found.split('\n').filter((path) => path.startsWith('/'));
}

for (const name of ['root', 'userns', 'user'] satisfies PlaceName[]) {
  t.test(`${name}: check finds nothing missing, and leaves nothing behind`, async (t) => {
    const where = await place(t, name);
    const checked = await checkWith(where.command([...where.product, 'check']));
    allWell(t, checked);
    t.match(checked.of('FUSE protocol').message, /FUSE 7\.\d+, Linux \d/);
    t.match(
      checked.of('read-ahead').message,
      name === 'root' ? /lets it be raised/ : /stays at the kernel's 128 KiB/,
    );
    const left = mountsOf(where.namespacePid).filter(({ source }) => source === 'trial');
    t.same(left, [], 'the trial mount was seen by nobody');
  });
}

/** The ways that work without the right to mount. */
const WAY_OUT = /For one program there is "nfs-fuse exec"/;

t.test('check aligns its lines, uses no colours outside of a terminal, and ends with the sum', async (t) => {
  const outcome = await nfsFuse(['check', '--timeout', '30']);
  t.equal(outcome.status, 0);
  t.equal(outcome.stderr, '');
  const [heading, ...lines] = outcome.stdout.trimEnd().split('\n');
  t.equal(heading, 'This machine');
  t.equal(lines.pop(), 'Nothing is missing.');
  for (const line of lines) t.match(line, /^ {2}ok {7}\S.{13} {2}\S/);
  t.notMatch(outcome.stdout, '\x1b');
});

t.test('without /dev/fuse, check says what to pass to podman, docker or Kubernetes', async (t) => {
  const checked = await checkWith(inside(DEVICES, [...product, 'check']));
  failsAt(
    t,
    checked,
    '/dev/fuse',
    /^\/dev\/fuse does not exist\.$/,
    /--device \/dev\/fuse to podman or docker/,
  );
  t.match(checked.of('/dev/fuse').remedy, /Kubernetes/);
  t.match(checked.of('mount(2)'), { result: 'skipped', message: /without "\/dev\/fuse"/ });
  t.match(checked.of('FUSE protocol'), { result: 'skipped' });
  const text = said(await run(inside(DEVICES, [...product, 'check', '--timeout', '30'])));
  t.equal(text.status, 1);
  t.match(
    text.stdout,
    /\n {2}failure {2}\/dev\/fuse {7}\/dev\/fuse does not exist\.\n +→ In a container pass/,
  );
  t.match(text.stdout, /\n {2}skipped {2}mount\(2\)/);
  t.match(text.stdout, /\n1 failure\n$/);
  t.notMatch(text.stderr, STACK_TRACE);
});

t.test('check fails if /dev/fuse is another file', async (t) => {
  const checked = await checkWith(inside(`${DEVICES} && mkdir /dev/fuse`, [...product, 'check']));
  failsAt(t, checked, '/dev/fuse', /is there, but is not the FUSE device/, /--device \/dev\/fuse/);
});

t.test('check fails if this user may not open /dev/fuse', async (t) => {
  const where = await place(t, 'user');
  const closed = `${DEVICES} && mknod -m 600 /dev/fuse c 10 229`;
  const check = [...where.product, 'check'];
  const inNamespace = await checkWith(inside(closed, where.command(['unshare', '-Urm', ...check])));
  failsAt(
    t,
    inNamespace,
    '/dev/fuse',
    /^\/dev\/fuse exists but may not be opened\.$/,
    /--device \/dev\/fuse to podman or docker, which also allows the device in its cgroup/,
  );
  const byHelper = await checkWith(inside(closed, where.command(check)));
  failsAt(t, byHelper, '/dev/fuse', /may not be opened/, /readable and writable for this user/);
});

t.test('check fails for root without the capability to mount', async (t) => {
  const checked = await checkWith([...WITHOUT_CAPABILITY, ...product, 'check']);
  failsAt(
    t,
    checked,
    'right to mount',
    /root, but without the capability SYS_ADMIN/,
    /--cap-add SYS_ADMIN \(Kubernetes: securityContext\.capabilities\.add: \[SYS_ADMIN\]\)/,
  );
  t.match(checked.of('right to mount').remedy, WAY_OUT);
  t.match(checked.of('mount(2)'), { result: 'skipped' });
});

t.test('check leaves the trial of mount(2) out where it cannot make a mount namespace', async (t) => {
  const where = await place(t, 'userns');
  const script = 'echo 0 > /proc/sys/user/max_mnt_namespaces && exec "$@"';
  const own = ['unshare', '-Ur', 'sh', '-c', script, 'sh', ...where.product, 'check'];
  const checked = await checkWith(where.command(own));
  warnsAt(t, checked, 'mount(2)', /Could not be tried/, /Try it: nfs-fuse mount|--security-opt/);
  t.match(checked.of('FUSE protocol'), { result: 'ok', message: /Linux .* is new enough/ });
  t.equal(checked.status, 0, 'a warning is no failure');
  t.equal((await checkWith(where.command([...own, '--strict']))).status, 1, 'unless it is asked for');
});

t.test('check explains a mount(2) that is refused in spite of the capability', async (t) => {
  const rights = { ...readRights(), mayMount: true, filtered: true };
  const refused = mountVerdict({ outcome: 'refused', errno: 'EPERM' }, rights);
  t.match(refused, {
    result: 'failure',
    message: /^The kernel refused to mount on a directory \(EPERM\)\.$/,
    remedy: /--security-opt seccomp=unconfined \(a seccomp filter is at work\)/,
  });
  t.match(mountVerdict({ outcome: 'refused', errno: 'ENODEV' }, rights), {
    result: 'failure',
    message: /no FUSE/,
    remedy: /modprobe fuse/,
  });
});

t.test('check names the security profile that may refuse the mount', async (t) => {
  const unfiltered = { filtered: false };
  t.match(
    securityHint(unfiltered, 'docker-default (enforce)'),
    /^Pass --security-opt apparmor=unconfined \(AppArmor: docker-default \(enforce\)\) to podman or docker/,
  );
  t.match(
    securityHint({ filtered: true }, 'system_u:system_r:container_t:s0:c1,c2'),
    /--security-opt label=disable \(SELinux: .*\) and --security-opt seccomp=unconfined/,
  );
  for (const label of ['', 'unconfined', 'mine (complain)'])
    t.equal(securityHint(unfiltered, label), undefined, `"${label}" forbids nothing`);
});

t.test('check fails for a kernel or a Node.js that is too old', async (t) => {
  const old = { outcome: 'mounted', protocol: '7.27', spoken: false, readAheadWritable: false } as const;
  t.match(protocolVerdict(old), {
    result: 'failure',
    message: /FUSE 7\.27 is too old/,
    remedy: /Linux 5\.4/,
  });
  const untried = { outcome: 'untried', errno: 'EPERM' } as const;
  t.match(protocolVerdict(untried, '4.19.0-amd64'), { result: 'failure', message: /Linux 4\.19/ });
  t.match(protocolVerdict(untried, '5.3.18'), { result: 'failure' });
  t.match(protocolVerdict(untried, '5.4.0'), { result: 'ok' });
  t.match(nodeVerdict('20.9.0', '20.19.0'), { result: 'failure', remedy: /Node\.js 20\.19\.0 or newer/ });
  t.match(nodeVerdict('22.0.0', '20.19.0'), { result: 'ok' });

  const scratch = untilEnd(t, publicFolder());
  const pretence = join(scratch.path, 'old.cjs');
  writeFileSync(pretence, `Object.defineProperty(process.versions, 'node', { value: '18.20.8' });`);
  const checked = await checkWith([...product, 'check'], {
    ...process.env,
    NODE_OPTIONS: `--require ${pretence}`,
  });
  failsAt(
    t,
    checked,
    'Node.js',
    /^Version 18\.20\.8 is too old\.$/,
    /Install Node\.js \d+\.\d+\.\d+ or newer/,
  );
});

t.test('check explains a native part that cannot be loaded', async (t) => {
  const scratch = untilEnd(t, publicFolder());
  for (const part of ['dist', 'package.json'])
    cpSync(join(projectRoot, part), join(scratch.path, part), { recursive: true });
  const modules = join(scratch.path, 'node_modules');
  mkdirSync(join(modules, 'koffi'), { recursive: true });
  for (const name of ['yargs', 'lru-cache'])
    symlinkSync(join(projectRoot, 'node_modules', name), join(modules, name));
  const broken =
    'throw new Error("Cannot find the native Koffi module; did you bundle it correctly?\\nmore")';
  writeFileSync(join(modules, 'koffi/index.js'), broken);
  const itself = [process.execPath, join(scratch.path, 'dist/bin/nfs-fuse.js')];
  const checked = await checkWith([...itself, 'check']);
  const message = /cannot be loaded: Cannot find the native Koffi module; did you bundle it correctly\?$/;
  failsAt(t, checked, 'packages', message, /Install nfs-fuse again on this very machine/);
  t.match(checked.of('Node.js'), { result: 'ok' });
  const mount = said(await run([...itself, 'mount', 'server:/export', '/mnt']));
  t.equal(mount.status, 1);
  t.match(mount.stderr, /^nfs-fuse: The program cannot be loaded: .*\n {10}Install nfs-fuse again.*\n$/);
});

t.test('check tells an ordinary user that fusermount3 is missing or has no effect', async (t) => {
  const where = await place(t, 'user');
  const check = [...where.product, 'check'];
  const paths = await helpers();
  const scratch = untilEnd(t, publicFolder());
  const over = (source: string) => paths.map((path) => `mount --bind ${source} ${path}`).join(' && ');

  const missing = await checkWith(inside(over('/dev/null'), where.command(check)));
  failsAt(t, missing, 'right to mount', /fusermount3 is not installed/, /Install the package fuse3/);
  t.match(missing.of('user namespace'), { result: 'ok', message: /nfs-fuse exec/ });

  const plain = join(scratch.path, 'fusermount3');
  await mustRun(['install', '-m', '755', paths[0] ?? '', plain]);
  const notSetuid = await checkWith(inside(over(plain), where.command(check)));
  failsAt(t, notSetuid, 'right to mount', /is not setuid root/, /chmod u\+s .*fusermount/);

  const noNewPrivileges = await checkWith(where.command(['setpriv', '--no-new-privs', ...check]));
  failsAt(
    t,
    noNewPrivileges,
    'right to mount',
    /setuid programs have no effect here \(no_new_privs\)/,
    /no-new-privileges \(Kubernetes: allowPrivilegeEscalation: true\)/,
  );

  const powerless = await checkWith([...WITHOUT_CAPABILITY, ...where.command(check)]);
  failsAt(t, powerless, 'right to mount', /not even root has the capability/, /--cap-add SYS_ADMIN/);
  for (const { of } of [missing, notSetuid, noNewPrivileges, powerless])
    t.match(of('right to mount').remedy, WAY_OUT, 'and what works all the same');
});

t.test('check does not recommend nfs-fuse exec where no user namespace can be made', async (t) => {
  const where = await place(t, 'userns');
  const script =
    'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all --inh-caps -all "$@"';
  const own = ['unshare', '-Urm', 'sh', '-c', script, 'sh', ...where.product, 'check'];
  const checked = await checkWith(where.command(own));
  t.match(checked.of('right to mount'), { result: 'failure', message: /without the capability/ });
  t.notMatch(checked.of('right to mount').remedy, WAY_OUT);
  t.match(checked.of('user namespace'), {
    result: 'warning',
    message: /^None of its own can be made, as nfs-fuse exec would need it: unshare: .*\.$/,
    remedy: /max_user_namespaces/,
  });
});

t.test('check tells an ordinary user what allow_other needs', async (t) => {
  const where = await place(t, 'user');
  const scratch = untilEnd(t, publicFolder());
  const configuration = join(scratch.path, 'fuse.conf');
  const check = where.command([...where.product, 'check', '-o', 'allow_other']);
  const withConfiguration = (text: string) => {
    writeFileSync(configuration, text);
    return checkWith(inside(`mount --bind ${configuration} /etc/fuse.conf`, check));
  };
  const forbidden = await withConfiguration('#user_allow_other\n');
  failsAt(
    t,
    forbidden,
    'allow_other',
    /Only root may mount with allow_other/,
    /user_allow_other.* \/etc\/fuse\.conf/,
  );
  allWell(t, await withConfiguration('user_allow_other\n'));
  t.throws(() => forbidden.of('server name'), 'no server was asked for');
});

t.test('check refuses wrong arguments', async (t) => {
  for (const [args, message] of [
    [['--timeout', '0'], /--timeout=0 is not a number of seconds/],
    [['--mount', '/mnt', 'server:/export'], /mutually exclusive/],
    [['server'], /has no ":"/],
    [['-o', 'nosuch'], /mount option "nosuch" is unknown/],
  ] as const) {
    const outcome = await nfsFuse(['check', ...args]);
    t.equal(outcome.status, 1);
    t.match(outcome.stderr, message);
    t.notMatch(outcome.stderr, STACK_TRACE);
  }
});
