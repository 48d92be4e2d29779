import t from 'tap';
import type { UserCredential } from '../../../lib/vfs/caller/caller.js';
import { Extent } from '../../../lib/vfs/write-behind/extent.js';
import { ExtentMap } from '../../../lib/vfs/write-behind/extent-map.js';
import { SeededRandom } from '../../support/seeded-random.js';

const FILE = 400;
const NOBODY = {} as UserCredential;

function extentOf(offset: number, length: number, sequence: number): Extent {
  return new Extent(offset, NOBODY, Buffer.alloc(length, sequence & 0xff), length, sequence);
}

t.test('whatever is added and cut, each byte is that of the last extent that has it', async (t) => {
  const random = new SeededRandom(1);
  const map = new ExtentMap();
  /** Byte for byte, the number of the extent; 0: none. */
  const model = new Uint32Array(FILE);
  for (let sequence = 1; sequence <= 3000; sequence++) {
    const offset = random.below(FILE);
    const length = random.between(1, Math.min(60, FILE - offset));
    const had = model.subarray(offset, offset + length).filter((byte) => byte !== 0).length;
    if (map.cut(offset, offset + length) !== had) t.fail(`cut ${sequence} counts wrong`);
    model.fill(0, offset, offset + length);
    if (random.oneIn(3)) continue;
    map.add(extentOf(offset, length, sequence));
    model.fill(sequence, offset, offset + length);
    const seen = new Uint32Array(FILE);
    let last = 0;
    for (const extent of map) {
      if (extent.offset < last) t.fail('out of order, or overlapping');
      last = extent.end;
      seen.fill(extent.sequence, extent.offset, extent.end);
      if (extent.data[0] !== (extent.sequence & 0xff)) t.fail('the bytes are another extent’s');
    }
    if (!Buffer.from(seen.buffer).equals(Buffer.from(model.buffer))) t.fail(`differs after ${sequence}`);
    if (map.bytes !== model.filter((byte) => byte !== 0).length) t.fail('bytes are counted wrong');
    if (map.end !== last) t.fail('the end is wrong');
    const [from, to] = [random.below(FILE), random.below(FILE)];
    const within = map.within(from, to).map((extent) => extent.sequence);
    const expected = [...map].filter((extent) => extent.overlaps(from, to)).map((one) => one.sequence);
    if (from < to && within.join() !== expected.join()) t.fail(`within ${from} to ${to} is wrong`);
  }
  t.ok(map.size > 3, `${map.size} are left`);
  t.ok(map.hasUpTo(3000));
  t.notOk(map.hasUpTo(0));
  t.equal(map.take().length > 0, true);
  t.same([map.size, map.bytes, map.end], [0, 0, 0], 'nothing is left when all is taken');
});
