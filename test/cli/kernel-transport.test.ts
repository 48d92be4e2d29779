/** --transport: its values, and the options that do not fit them. */
import t from 'tap';
import { checkKernelTransport, parseKernelTransport } from '../../lib/mount/serve/kernel-transport.js';

const plain = { allowOther: false, defaultPermissions: false, noExec: false, debug: false, flags: {} };

t.test('the kernel transport is the default', async (t) => {
  t.equal(parseKernelTransport(undefined), 'kernel');
  t.equal(parseKernelTransport('kernel'), 'kernel');
  t.equal(parseKernelTransport('fuse-native'), 'fuse-native');
});

t.test('an unknown transport is refused, with the name that was probably meant', async (t) => {
  t.throws(() => parseKernelTransport('fuse_native'), {
    message: '--transport=fuse_native is not one of kernel, fuse-native.',
    remedy: 'Did you mean --transport=fuse-native?',
  });
  t.throws(() => parseKernelTransport('tcp'), {
    message: /^--transport=tcp is not/,
    remedy: 'Leave --transport out.',
  });
});

t.test('allow_other is accepted with the kernel transport only', async (t) => {
  checkKernelTransport('fuse-native', plain);
  checkKernelTransport('kernel', { ...plain, allowOther: true });
  t.throws(() => checkKernelTransport('fuse-native', { ...plain, allowOther: true }), {
    message: /allow_other is not possible/,
    remedy: /--transport kernel/,
  });
});
