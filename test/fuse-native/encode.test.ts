/** 64-bit quantities in the 32-bit fields that fuse-native has. */
import t from 'tap';
import { encodeStatfs } from '../../lib/fuse-native/encode.js';
import { InodeNumbers } from '../../lib/fuse-native/inode-numbers.js';

t.test('small inode numbers stay as they are, and large ones never meet another', async (t) => {
  const numbers = new InodeNumbers(10);
  t.equal(numbers.of(1n), 1);
  t.equal(numbers.of(2n ** 31n - 1n), 2 ** 31 - 1);
  const seen = new Set<number>();
  for (let i = 0n; i < 100n; i++) seen.add(numbers.of(1n + (i << 32n) + 2n ** 40n));
  t.equal(seen.size, 100);
  for (const number of seen) t.ok(number >= 2 ** 31 && number < 2 ** 32);
  const last = numbers.of(2n ** 63n);
  t.equal(numbers.of(2n ** 63n), last, 'the same file, the same number');
  t.not(numbers.of(0n), 0, 'zero is no inode number');
});

t.test('file systems beyond 16 TiB are counted in larger blocks', async (t) => {
  const statfs = { files: 2n ** 40n, ffree: 5n, bsize: 1 << 20, namelen: 255, frsize: 4096 };
  const words = encodeStatfs({ ...statfs, blocks: 2n ** 40n, bfree: 2n ** 39n, bavail: 2n ** 38n });
  const [, frsize = 0, blocks = 0, bfree = 0, bavail = 0, files, ffree] = words;
  t.equal(blocks * frsize, 2 ** 52);
  t.equal(bfree * frsize, 2 ** 51);
  t.equal(bavail * frsize, 2 ** 50);
  t.equal(files, 2 ** 32 - 1, 'more than can be said');
  t.equal(ffree, 5);
  const small = encodeStatfs({ ...statfs, blocks: 1000n, bfree: 10n, bavail: 9n });
  t.same([...small.subarray(0, 5)], [1 << 20, 4096, 1000, 10, 9]);
});
