/**
 * context= and its relatives: what is understood, what reaches mount(2), and what is said where that is not possible. No kernel
 * with SELinux runs here, so the labels themselves are not looked at.
 */
import { join } from 'node:path';
import t from 'tap';
import { UserError } from '../../lib/base/user-error.js';
import { mountData } from '../../lib/fuse/mount/mount.js';
import { labelError, MountError } from '../../lib/fuse/mount/mount-error.js';
import { selinuxEnabled } from '../../lib/fuse/mount/security-labels.js';
import { type MountRequest, parseMountRequest } from '../../lib/mount/options/mount-options.js';
import { checkKernelTransport } from '../../lib/mount/serve/kernel-transport.js';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { mountsOf } from '../support/mount.js';
import { openPlace, type PlaceName } from '../support/places.js';
import { run } from '../support/process.js';
import { removeStaged } from '../support/stage.js';
import { untilEnd } from '../support/until-end.js';
import { failsOnce, said } from './support/product.js';

t.teardown(() => removeStaged());

const LABEL = 'system_u:object_r:container_file_t:s0:c1,c2';

function parse(...options: string[]): MountRequest {
  return parseMountRequest('server:/export', options);
}

function refusal(...options: string[]): UserError {
  try {
    parse(...options);
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error('accepted');
}

t.test('a context may have commas between quotes, as mount(8) has them, or behind backslashes', async (t) => {
  t.same(parse().fuse.labels, {});
  t.same(parse(`ro,context="${LABEL}",nolock`).fuse.labels, { context: LABEL });
  t.same(parse(`context=${LABEL.replace(',', '\\,')}`).fuse.labels, { context: LABEL });
  t.same(parse('context=u:r:t').fuse.labels, { context: 'u:r:t' }, 'a policy without levels');
  t.same(
    parse('fscontext=u:r:t:s0', `rootcontext="${LABEL}"`, 'defcontext=u:r:d:s0-s0:c0.c1023').fuse.labels,
    { fscontext: 'u:r:t:s0', rootcontext: LABEL, defcontext: 'u:r:d:s0-s0:c0.c1023' },
  );
  t.same(
    parse('context=u:r:a:s0', 'context=u:r:b:s0').fuse.labels,
    { context: 'u:r:b:s0' },
    'the last one wins',
  );
  t.same(parse('seclabel').notes, [], 'the kernel shows it, and mount(8) repeats it in a remount');
});

t.test('contexts that the kernel could not read are refused, with the right form', async (t) => {
  const cases: [string, RegExp, RegExp][] = [
    ['context', /"context" needs a value/, /context=user:role:type:level/],
    ['context=', /"context" needs a value/, /context=user:role:type:level/],
    ['fscontext=container_file_t', /fscontext=container_file_t is no SELinux context/, /"ls -Z"/],
    ['context=a:b:c:', /no SELinux context/, /"ls -Z"/],
    ['context=a:b:c\\"d', /no SELinux context/, /context="/],
    [`context=${LABEL}`, /"c2" is unknown/, /the rest of context=: a comma ends an option, unless quotes/],
    ['context=a:b:c:s0:c1,c4.c9', /"c4\.c9" is unknown/, /the rest of context=/],
    [
      'context=a:b:c,defcontext=a:b:c',
      /context= and defcontext= exclude each other/,
      /Leave defcontext= out/,
    ],
    ['rootcontext=@target', /is for mount\(8\)/, /"ls -dZ"/],
  ];
  for (const [options, message, remedy] of cases) {
    const error = refusal(options);
    t.match(error.message, message, options);
    t.match(error.remedy, remedy, options);
  }
  t.notMatch(refusal('ro,c2').remedy, /context/, 'other unknown options are not explained so');
});

t.test('contexts reach mount(2) between quotes, and nothing else changes there', async (t) => {
  const [uid, gid] = [process.geteuid?.(), process.getegid?.()];
  const own = `fd=7,rootmode=40000,user_id=${uid},group_id=${gid}`;
  t.equal(mountData(7, {}), own);
  t.equal(
    mountData(7, { allowOther: true, defaultPermissions: true, maxRead: 4096, labels: { context: LABEL } }),
    `${own},allow_other,default_permissions,max_read=4096,context="${LABEL}"`,
  );
  t.equal(
    mountData(7, { labels: { rootcontext: 'a:b:r', defcontext: 'a:b:d', fscontext: 'a:b:f' } }),
    `${own},fscontext="a:b:f",defcontext="a:b:d",rootcontext="a:b:r"`,
  );
  const many = Array.from({ length: 1024 }, (_, index) => `c${index}`).join(',');
  t.throws(
    () => mountData(7, { labels: { context: `u:r:t:s0:${many}` } }),
    { name: 'MountError', code: 'bad-option', message: /4095 bytes.*c0\.c1023/ },
    'the kernel would cut it off without a word',
  );
});

t.test('the reason for a refused label is told apart by the kernel and by who mounts', async (t) => {
  const of = (errno: string, selinux: boolean | undefined, initialUserNamespace = true, ...names: string[]) =>
    labelError(errno, '/mnt', names.length === 0 ? ['context'] : names, { selinux, initialUserNamespace });
  t.match(of('EINVAL', false), {
    code: 'bad-option',
    message:
      /this kernel has no SELinux enabled, and so refuses to mount with context= \(EINVAL\); leave it out; mount\(8\)/,
  });
  t.match(
    of('EINVAL', false, true, 'fscontext', 'rootcontext')?.message,
    /fscontext= and rootcontext=.*leave them/,
  );
  t.match(of('EACCES', true, false)?.message, /lets nobody mount with context= in a user namespace/);
  t.match(of('EACCES', true)?.message, /does not let this process mount.*audit log/);
  for (const selinux of [true, undefined])
    t.match(
      of('EINVAL', selinux)?.message,
      /the kernel refuses to mount on \/mnt with context=.*policy must know/,
    );
  t.equal(of('EACCES', false), undefined, 'without SELinux, that has another reason');
  t.equal(of('EPERM', true), undefined);
  t.equal(labelError('EINVAL', '/mnt', [], { selinux: false, initialUserNamespace: true }), undefined);
});

t.test('the other ways to the kernel do not take labels', async (t) => {
  const request = parse(`context="${LABEL}"`);
  t.throws(
    () => checkKernelTransport('fuse-native', request),
    /context= is not possible with --transport fuse-native/,
  );
  t.doesNotThrow(() => checkKernelTransport('kernel', request));
  const two = parse('fscontext=a:b:c,context=a:b:c');
  t.throws(() => checkKernelTransport('fuse-native', two), /context= and fscontext= is not possible/);
  t.ok(new MountError('bad-option', 'x') instanceof Error);
});

const withSelinux = selinuxEnabled() === true && 'SELinux is enabled in this kernel';
const IN_PLACES: [PlaceName, RegExp, RegExp][] = [
  [
    'root',
    /This kernel has no SELinux enabled, and so refuses to mount with context=/,
    /Leave it out; mount\(8\)/,
  ],
  [
    'userns',
    /This kernel has no SELinux enabled, and so refuses to mount with context=/,
    /Leave it out; mount\(8\)/,
  ],
  ['user', /Fusermount3 cannot mount with context=/i, /Leave that out, or mount as root/],
];
for (const [name, message, remedy] of IN_PLACES) {
  t.test(
    `a kernel without SELinux refuses the label of a mount, as ${name}`,
    { skip: withSelinux },
    async (t) => {
      const place = untilEnd(t, await openPlace(name));
      const served = untilEnd(t, publicFolder());
      const { port } = untilEnd(t, await EmbeddedServer.start({ path: served.path }));
      const mnt = join(place.folder, 'mnt');
      t.equal((await run(place.command(['mkdir', mnt]))).status, 0);
      const mount = async (options: string) => {
        const ports = `port=${port},mountport=${port},nolock`;
        const argv = [...place.product, 'mount', '-o', `${ports}${options}`, '127.0.0.1:/export', mnt];
        return said(await run(place.command(argv), { cwd: '/', timeoutMs: 60_000 }));
      };
      failsOnce(t, await mount(`,context="${LABEL}"`), message, remedy);
      t.notOk(
        mountsOf(place.namespacePid).some(({ path }) => path === mnt),
        'nothing is mounted',
      );
      t.match(await mount(''), { status: 0, stderr: '' }, 'the label was the only reason');
      const umount = await run(place.command([...place.product, 'umount', mnt]), { cwd: '/' });
      t.equal(umount.status, 0, umount.stderr.toString());
    },
  );
}
