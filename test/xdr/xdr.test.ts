/** The bounds of XDR: nothing read beyond the message, nothing allocated on a stranger's word. */
import t from 'tap';
import { XdrError } from '../../lib/xdr/xdr-error.js';
import { padding, XdrReader } from '../../lib/xdr/xdr-reader.js';
import { XdrWriter } from '../../lib/xdr/xdr-writer.js';

function written(write: (writer: XdrWriter) => void, size?: number): Buffer {
  const writer = new XdrWriter(size);
  write(writer);
  return writer.toBuffer();
}

t.test('integers keep every bit in both directions', async (t) => {
  const bytes = written((w) => {
    w.uint32(0xffff_ffff);
    w.int32(-2);
    w.uint64(0xffff_ffff_ffff_fffen);
    w.uint64FromNumber(Number.MAX_SAFE_INTEGER);
    w.uint64FromNumber(0x1_0000_0001);
    w.bool(true);
    w.bool(false);
  });
  t.equal(
    bytes.toString('hex'),
    'fffffffffffffffefffffffffffffffe001fffffffffffff00000001000000010000000100000000',
  );
  const r = new XdrReader(bytes);
  t.equal(r.uint32(), 0xffff_ffff);
  t.equal(r.int32(), -2);
  t.equal(r.uint64(), 0xffff_ffff_ffff_fffen);
  t.equal(r.uint64AsNumber(), Number.MAX_SAFE_INTEGER);
  t.equal(r.uint64AsNumber(), 0x1_0000_0001);
  t.equal(r.bool(), true);
  t.equal(r.bool(), false);
  t.equal(r.remaining, 0);
  r.expectEnd();
});

t.test('a 64-bit value that a number cannot hold is refused rather than rounded', async (t) => {
  t.throws(() => new XdrReader(Buffer.from('0020000000000000', 'hex')).uint64AsNumber(), XdrError);
  const w = new XdrWriter();
  for (const value of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => w.uint64FromNumber(value), XdrError, String(value));
  }
  t.equal(w.length, 0, 'and nothing was written');
});

t.test('only 0 and 1 are booleans', async (t) => {
  t.throws(() => new XdrReader(Buffer.from('00000002', 'hex')).bool(), {
    name: 'XdrError',
    message: 'boolean is 2',
  });
});

t.test('an enum outside its range is refused by name', async (t) => {
  const of = (value: number): XdrReader => new XdrReader(written((w) => w.uint32(value)));
  t.equal(of(1).enumeration(1, 7, 'ftype3'), 1);
  t.equal(of(7).enumeration(1, 7, 'ftype3'), 7);
  t.throws(() => of(0).enumeration(1, 7, 'ftype3'), { message: 'ftype3 is 0, not one of 1..7' });
  t.throws(() => of(8).enumeration(1, 7, 'ftype3'), XdrError);
  t.throws(() => of(0xffff_ffff).enumeration(1, 7, 'ftype3'), XdrError);
});

t.test('every read past the end is an XdrError, wherever the message was cut', async (t) => {
  const bytes = written((w) => {
    w.uint32(1);
    w.uint64(2n);
    w.opaque(Buffer.from('abcde'));
    w.opaqueFromLatin1('xyz');
    w.opaqueFixed(Buffer.from('12'));
  });
  for (let length = 0; length < bytes.length; length++) {
    const r = new XdrReader(bytes.subarray(0, length));
    t.throws(
      () => {
        r.uint32();
        r.uint64AsNumber();
        r.opaque(5, 'first');
        r.opaqueAsLatin1(3, 'second');
        r.opaqueFixed(2);
      },
      XdrError,
      `cut at ${length}`,
    );
  }
});

t.test(
  'a length is checked against its limit and against what is there before anything is sliced',
  async (t) => {
    const huge = Buffer.from('ffffffff00000000', 'hex');
    t.throws(() => new XdrReader(huge).opaque(64, 'handle'), {
      message: 'handle is 4294967295 bytes long, more than 64',
    });
    t.throws(() => new XdrReader(huge).opaque(0xffff_ffff, 'handle'), XdrError);
    t.throws(() => new XdrReader(huge).opaqueAsLatin1(64, 'handle'), XdrError);
    t.throws(() => new XdrReader(huge).opaqueAsLatin1(0xffff_ffff, 'handle'), XdrError);
    t.throws(() => new XdrReader(huge).count(100, 'groups'), {
      message: 'groups has 4294967295 elements, more than 100',
    });
  },
);

t.test('opaque data of every length to 9 is padded with zeros and read back', async (t) => {
  for (let length = 0; length <= 9; length++) {
    t.equal(padding(length), (4 - (length % 4)) % 4);
    const data = Buffer.alloc(length, 0xee);
    const bytes = written((w) => {
      w.opaque(data);
      w.opaqueFromLatin1(data.toString('latin1'));
      w.opaqueFixed(data);
    });
    const part = Buffer.concat([data, Buffer.alloc(padding(length))]);
    const size = Buffer.from([0, 0, 0, length]);
    t.same(bytes, Buffer.concat([size, part, size, part, part]));
    const r = new XdrReader(bytes);
    t.same(r.opaque(9, 'a'), data);
    t.equal(r.opaqueAsLatin1(9, 'b'), data.toString('latin1'));
    t.same(r.opaqueFixed(length), data);
    r.expectEnd();
  }
});

t.test('latin1 strings carry all 256 byte values unchanged', async (t) => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  const bytes = written((w) => w.opaqueFromLatin1(all.toString('latin1')));
  t.same(Buffer.from(new XdrReader(bytes).opaqueAsLatin1(256, 'x'), 'latin1'), all);
});

t.test('slices handed out share the memory of the message', async (t) => {
  const bytes = written((w) => w.opaque(Buffer.alloc(8, 1)));
  const slice = new XdrReader(bytes).opaque(8, 'data');
  bytes[4] = 9;
  t.equal(slice[0], 9);
});

t.test('left-over bytes are noticed', async (t) => {
  const r = new XdrReader(Buffer.alloc(6));
  r.uint32();
  t.throws(() => r.expectEnd(), { message: '2 bytes too many' });
});

t.test('a reader that starts in the middle knows its position and what remains', async (t) => {
  const r = new XdrReader(Buffer.from('0000000100000002', 'hex'), 4);
  t.equal(r.position, 4);
  t.equal(r.remaining, 4);
  t.equal(r.claim(4), 4);
  t.equal(r.buffer.readUInt32BE(4), 2);
  t.throws(() => r.claim(1), XdrError);
});

t.test('the writer grows from any size and keeps what was written', async (t) => {
  for (const size of [0, 1, 3, 7, 64]) {
    const bytes = written((w) => {
      for (let index = 0; index < 100; index++) w.uint32(index);
    }, size);
    const r = new XdrReader(bytes);
    for (let index = 0; index < 100; index++) t.equal(r.uint32(), index);
    r.expectEnd();
  }
});

t.test(
  'large opaque data goes by reference, small data is copied, and the message is the same',
  async (t) => {
    const large = Buffer.alloc(5001, 0xaa);
    const small = Buffer.alloc(4095, 0xbb);
    const writer = new XdrWriter(16);
    writer.uint32(7);
    writer.opaqueByReference(large);
    writer.opaqueByReference(small);
    writer.opaqueByReference(large);
    writer.uint32(8);
    const { length } = writer;
    const pieces = writer.finish();
    t.equal(pieces.filter((piece) => piece === large).length, 2, 'the very same memory');
    t.notOk(pieces.includes(small));
    const plain = written((w) => {
      w.uint32(7);
      w.opaque(large);
      w.opaque(small);
      w.opaque(large);
      w.uint32(8);
    });
    t.same(Buffer.concat(pieces), plain);
    t.equal(length, plain.length);
  },
);

t.test(
  'data by reference at the very end leaves no empty piece, and needs no padding when aligned',
  async (t) => {
    const writer = new XdrWriter();
    writer.opaqueByReference(Buffer.alloc(4096));
    t.equal(writer.length, 4100);
    t.equal(writer.finish().length, 2);
  },
);

t.test('reserved bytes can be filled in before and after a piece by reference', async (t) => {
  const early = new XdrWriter(16, 4);
  early.uint32(1);
  early.patchUint32(0, 0x8000_0004);
  t.equal(early.toBuffer().toString('hex'), '8000000400000001');
  const late = new XdrWriter(16, 4);
  late.opaqueByReference(Buffer.alloc(4096));
  for (let index = 0; index < 100; index++) late.uint32(index);
  late.patchUint32(0, 0x8000_1234);
  t.equal(late.length, 4 + 4 + 4096 + 400);
  t.equal(late.toBuffer().readUInt32BE(0), 0x8000_1234);
});

t.test('pieces survive the growth of the buffer they were cut from', async (t) => {
  const writer = new XdrWriter(8);
  writer.uint32(0x01020304);
  writer.opaqueByReference(Buffer.alloc(4096, 5));
  for (let index = 0; index < 1000; index++) writer.uint32(0xffff_ffff);
  const bytes = writer.toBuffer();
  t.equal(bytes.readUInt32BE(0), 0x01020304);
  t.equal(bytes.readUInt32BE(4), 4096);
  t.equal(bytes.length, 8 + 4096 + 4000);
});
