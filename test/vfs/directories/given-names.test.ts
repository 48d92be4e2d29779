import t from 'tap';
import { fileNameFromBytes } from '../../../lib/programs/nfs3/index.js';
import { GivenNames } from '../../../lib/vfs/directories/given-names.js';

const name = (text: string) => fileNameFromBytes(Buffer.from(text, 'latin1'));

t.test('a name is new once, whatever its bytes and its length', async (t) => {
  const given = new GivenNames();
  const names = [''];
  for (let length = 1; length <= 255; length++) {
    names.push('n'.repeat(length), '\0'.repeat(length), '\xff'.repeat(length), `${'n'.repeat(length - 1)}\0`);
  }
  for (let byte = 0; byte < 256; byte++)
    names.push(`${String.fromCharCode(byte)}x`, `x${String.fromCharCode(byte)}`);
  for (let number = 0; number < 200_000; number++) names.push(`file${number}`);
  const all = [...new Set(names)];
  t.equal(all.filter((one) => !given.add(name(one))).length, 0, 'no name is taken for another');
  t.equal(given.size, all.length);
  t.equal(all.filter((one) => given.add(name(one))).length, 0, 'and all are known');
});

t.test(
  'its memory is bounded: then new names stay new, and old ones known',
  { timeout: 120_000 },
  async (t) => {
    const given = new GivenNames();
    const bytes = Buffer.alloc(8);
    const add = (number: number): boolean => {
      bytes.writeDoubleBE(number);
      return given.add(fileNameFromBytes(bytes));
    };
    for (let number = 0; number < 2_000_000; number++) if (!add(number)) t.fail(`${number} is new`);
    t.ok(given.bytes <= 24 * 1024 * 1024, `${given.bytes} bytes`);
    t.ok(given.size > 1_500_000, `${given.size} names`);
    t.equal(add(0), false);
    t.equal(add(1_500_000), false);
    t.equal(add(1_999_999), true, 'nothing is hidden for want of room');
  },
);
