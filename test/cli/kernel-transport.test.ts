/** --transport: its values, and the options that do not fit them. */
import t from 'tap';
import { parseMountRequest } from '../../lib/mount/options/mount-options.js';
import { checkKernelTransport, parseKernelTransport } from '../../lib/mount/serve/kernel-transport.js';

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

t.test('allow_other and lock are accepted with the kernel transport only', async (t) => {
  const asking = (options: string) => parseMountRequest('server:/export', [options]);
  checkKernelTransport('fuse-native', asking('ro'));
  for (const [option, message] of [
    ['allow_other', /allow_other is not possible/],
    ['lock', /lock is not possible/],
  ] as const) {
    checkKernelTransport('kernel', asking(option));
    t.throws(() => checkKernelTransport('fuse-native', asking(option)), {
      message,
      remedy: /--transport kernel/,
    });
  }
});
