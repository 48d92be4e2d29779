import t from 'tap';
import { mountAt, parseMountinfo, unescapeOctal } from '../../lib/fuse/mount/mountinfo.js';

const sample = Buffer.concat([
  Buffer.from(
    '22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n' +
      '42 27 0:39 / /mnt/with\\040space rw,nosuid,nodev,relatime - fuse.nfs-fuse srv:/a\\040b,c rw,user_id=0\n' +
      '43 27 0:40 /sub /mnt/x rw shared:1 master:2 - ext4 /dev/vda1 rw\n' +
      '44 43 0:41 / /mnt/x rw - fuse.nfs-fuse srv:/\\134\\011\\012\\043 rw\n' +
      'garbage line\n45 x y\n46 27 0:42 / /mnt/',
    'latin1',
  ),
  Buffer.from([0xff, 0xfe]),
  Buffer.from(' rw - tmpfs none rw\n'),
]);

t.test('mountinfo is parsed with escapes, optional fields and bytes that are not UTF-8', async (t) => {
  const entries = parseMountinfo(sample);
  t.equal(entries.length, 5);
  const ours = mountAt(entries, '/mnt/with space');
  t.match(ours, { id: 42, major: 0, minor: 39, type: 'fuse.nfs-fuse', superOptions: 'rw,user_id=0' });
  t.equal(ours?.source.toString(), 'srv:/a b,c');
  t.equal(mountAt(entries, Buffer.from([...Buffer.from('/mnt/'), 0xff, 0xfe]))?.type, 'tmpfs');
});

t.test('the mount on top wins where several are stacked', async (t) => {
  const top = mountAt(parseMountinfo(sample), '/mnt/x');
  t.equal(top?.type, 'fuse.nfs-fuse');
  t.equal(top?.source.toString(), 'srv:/\\\t\n#');
});

t.test('a path that is no mount point is not found, not even below one', async (t) => {
  t.equal(mountAt(parseMountinfo(sample), '/mnt/x/sub'), undefined);
});

t.test('only octal escapes of the kernel are resolved', async (t) => {
  t.equal(unescapeOctal('a\\040b\\9\\777').toString('latin1'), 'a b\\9\\777');
});
