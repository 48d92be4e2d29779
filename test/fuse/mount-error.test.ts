import t from 'tap';
import { escapeOption } from '../../lib/fuse/mount/fusermount.js';
import { deviceError, fusermountError, mountCallError } from '../../lib/fuse/mount/mount-error.js';

t.test('a missing /dev/fuse names the option that containers need', async (t) => {
  const error = deviceError('ENOENT');
  t.equal(error.code, 'no-device');
  t.match(error.message, /--device \/dev\/fuse/);
});

t.test('a forbidden /dev/fuse is told apart from a missing one', async (t) => {
  t.equal(deviceError('EACCES').code, 'device-refused');
  t.equal(deviceError('EPERM').code, 'device-refused');
  t.equal(deviceError('ENODEV').code, 'no-fuse');
  t.match(deviceError('EMFILE').message, /EMFILE/);
});

t.test('a refused mount(2) names the capability', async (t) => {
  const error = mountCallError('EPERM', '/mnt');
  t.equal(error.code, 'refused');
  t.match(error.message, /\/mnt.*--cap-add SYS_ADMIN/);
  t.equal(mountCallError('EBUSY', '/mnt').code, 'busy');
  t.equal(mountCallError('ENODEV', '/mnt').code, 'no-fuse');
  t.match(mountCallError('ELOOP', '/mnt').message, /ELOOP/);
});

t.test(
  'a mount(2) that is refused in a user namespace names the mount namespace that it needs',
  async (t) => {
    t.match(mountCallError('EPERM', '/mnt', false).remedy, /"unshare -Urm".*--cap-add SYS_ADMIN/);
    t.notMatch(mountCallError('EPERM', '/mnt', true).remedy, /unshare/);
  },
);

t.test('the output of fusermount3 becomes one clear error with a remedy', async (t) => {
  const of = (output: string, setuid = true) =>
    fusermountError('/usr/bin/fusermount3', setuid, output, 'exit status 1', false);
  const allowOther = of(
    "/usr/bin/fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf\n",
  );
  t.equal(allowOther.code, 'allow-other');
  t.match(allowOther.remedy, /user_allow_other.*\/etc\/fuse.conf/);
  t.equal(of('fuse: device not found, try modprobe fuse first').code, 'no-device');
  t.equal(of('/bin/fusermount3: failed to open /dev/fuse: Permission denied').code, 'device-refused');
  t.equal(of('fusermount3: mount failed: Operation not permitted', false).code, 'fusermount-not-setuid');
  t.equal(of('fusermount3: mount failed: Operation not permitted').code, 'refused');
  t.equal(of('fusermount3: user has no write access to mountpoint /mnt').code, 'mountpoint-refused');
  t.equal(of('fusermount3: failed to unmount /mnt: Device or resource busy').code, 'busy');
  const filtered = fusermountError(
    '/bin/fusermount3',
    true,
    'fusermount3: mount failed: Operation not permitted',
    '',
    true,
  );
  t.match(filtered.remedy, /no-new-privileges/, 'a setuid program has no effect under no_new_privs');
  const other = of('line one\nline two\n');
  t.equal(other.code, 'fusermount-failed');
  t.match(other.message, /line one; line two/);
  t.match(of('').message, /exit status 1/);
});

t.test('commas and backslashes in the source cannot become options', async (t) => {
  t.equal(escapeOption('srv:/a,suid\\b'), 'srv:/a\\,suid\\\\b');
});
