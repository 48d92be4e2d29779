import t from 'tap';
import type { UserCredential } from '../../../lib/vfs/caller/caller.js';
import { Extent, overlay } from '../../../lib/vfs/write-behind/extent.js';

const NOBODY = {} as UserCredential;

const extentOf = (offset: number, text: string, sequence = 1): Extent =>
  new Extent(offset, NOBODY, Buffer.from(text), text.length, sequence);

/** `read` with extents laid over it, as text; a dot is a hole. */
function laid(read: string[], offset: number, size: number, extents: Extent[], fileEnd: number): string {
  const pieces = overlay(
    read.map((piece) => Buffer.from(piece)),
    offset,
    size,
    extents,
    fileEnd,
  );
  return Buffer.concat(pieces).toString().replaceAll('\0', '.');
}

t.test('an extent overlaps what has a byte in common with it', async (t) => {
  const extent = extentOf(10, 'abcde');
  t.equal(extent.end, 15);
  t.equal(extent.overlaps(5, 10), false);
  t.equal(extent.overlaps(5, 11), true);
  t.equal(extent.overlaps(14, 20), true);
  t.equal(extent.overlaps(15, 20), false);
});

t.test('what is left of an extent is itself, a part of it, two parts, or nothing', async (t) => {
  const extent = extentOf(10, 'abcde', 7);
  const left = (from: number, to: number) =>
    extent.without(from, to).map((part) => `${part.offset} ${part.data} ${part.length} ${part.sequence}`);
  t.equal(extent.without(0, 10)[0], extent);
  t.same(left(0, 12), ['12 cde 3 7']);
  t.same(left(13, 20), ['10 abc 3 7']);
  t.same(left(11, 14), ['10 a 1 7', '14 e 1 7']);
  t.same(left(10, 15), []);
});

t.test('a part has what its extent has, but for a buffer of its own', async (t) => {
  const extent = extentOf(10, 'abcde');
  t.equal(extent.whole, true);
  extent.verifier = 'verifier';
  extent.rewrites = 2;
  const [part] = extent.without(10, 11);
  t.match(part, { verifier: 'verifier', rewrites: 2, whole: false, credential: NOBODY });
});

t.test('what was read is handed on as it is where nothing lies over it', async (t) => {
  const read = [Buffer.from('ab'), Buffer.from('c')];
  t.equal(overlay(read, 0, 10, [], 3), read);
  t.not(overlay(read, 0, 10, [extentOf(0, 'a')], 3), read);
  t.not(overlay(read, 0, 10, [], 4), read);
});

t.test('extents lie over what was read, the later over the earlier, clipped at both ends', async (t) => {
  t.equal(laid(['abc', 'def'], 10, 6, [extentOf(12, 'CD')], 16), 'abCDef');
  t.equal(laid(['abcdef'], 10, 6, [extentOf(8, '89AB')], 16), 'ABcdef');
  t.equal(laid(['abcdef'], 10, 6, [extentOf(14, 'EFGH')], 18), 'abcdEF');
  t.equal(laid(['abcdef'], 10, 6, [extentOf(10, '111'), extentOf(11, '22', 2)], 16), '122def');
});

t.test(
  'what the file has and neither the server nor an extent is a hole, up to what was asked for',
  async (t) => {
    t.equal(laid(['ab'], 10, 6, [], 14), 'ab..');
    t.equal(laid(['ab'], 10, 6, [], 100), 'ab....');
    t.equal(laid(['ab'], 10, 6, [], 5), 'ab');
    t.equal(laid([], 10, 6, [extentOf(13, 'D')], 14), '...D');
  },
);
