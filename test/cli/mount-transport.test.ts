/** --transport: which there are, and what is refused with them. */
import t from 'tap';
import { checkTransport, parseTransport } from '../../lib/mount/serve/mount-transport.js';

const plain = { allowOther: false, defaultPermissions: false, noExec: false, debug: false, flags: {} };

t.test('the kernel transport is the default', async (t) => {
  t.equal(parseTransport(undefined), 'kernel');
  t.equal(parseTransport('kernel'), 'kernel');
  t.equal(parseTransport('fuse-native'), 'fuse-native');
});

t.test('another name is refused, with what was probably meant', async (t) => {
  t.throws(() => parseTransport('fuse_native'), {
    message: '--transport=fuse_native is not one of kernel, fuse-native.',
    remedy: 'Did you mean --transport=fuse-native?',
  });
  t.throws(() => parseTransport('tcp'), {
    message: /^--transport=tcp is not/,
    remedy: 'Leave --transport out.',
  });
});

t.test('allow_other goes with the kernel transport only', async (t) => {
  checkTransport('fuse-native', plain);
  checkTransport('kernel', { ...plain, allowOther: true });
  t.throws(() => checkTransport('fuse-native', { ...plain, allowOther: true }), {
    message: /allow_other is not possible/,
    remedy: /--transport kernel/,
  });
});
