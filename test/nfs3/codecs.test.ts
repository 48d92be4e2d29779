/** The codecs of all 22 procedures: what one half writes the other reads back, and nothing that is not the protocol's. */
import t from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import type { Procedure } from '../../lib/rpc/wire/procedure.js';
import { XdrError } from '../../lib/xdr/xdr-error.js';
import { XdrReader } from '../../lib/xdr/xdr-reader.js';
import { XdrWriter } from '../../lib/xdr/xdr-writer.js';
import { type AnyCase, cases } from './support/cases.js';
import { Generator } from './support/generator.js';

const { Status } = nfs;
const status = Status.OK;

interface Half {
  readonly name: string;
  make(g: Generator): unknown;
  encode(writer: XdrWriter, value: unknown): void;
  decode(reader: XdrReader): unknown;
}

function halves({ procedure, args, result }: AnyCase): Half[] {
  return [
    {
      name: `arguments of ${procedure.name}`,
      make: args,
      encode: (writer, value) => procedure.encodeArguments(writer, value),
      decode: (reader) => procedure.decodeArguments(reader),
    },
    {
      name: `result of ${procedure.name}`,
      make: result,
      encode: (writer, value) => procedure.encodeResult(writer, value),
      decode: (reader) => procedure.decodeResult(reader),
    },
  ];
}

function encoded(half: Half, value: unknown): Buffer {
  const writer = new XdrWriter(64);
  half.encode(writer, value);
  return Buffer.from(writer.toBuffer());
}

t.test('there are 22 procedures, numbered as RFC 1813 numbers them', async (t) => {
  t.same(
    cases.map(({ procedure }) => [procedure.number, procedure.name]),
    [
      'NULL GETATTR SETATTR LOOKUP ACCESS READLINK READ WRITE CREATE MKDIR SYMLINK MKNOD REMOVE RMDIR RENAME',
      'LINK READDIR READDIRPLUS FSSTAT FSINFO PATHCONF COMMIT',
    ]
      .join(' ')
      .split(' ')
      .map((name, number) => [number, name]),
  );
  for (const { procedure } of cases) t.equal(procedure.program, nfs.NFS_PROGRAM);
});

t.test('whatever is written is read back the same, to the last byte', async (t) => {
  for (const half of cases.flatMap(halves)) {
    const g = new Generator(half.name);
    for (let i = 0; i < 200; i++) {
      const value = half.make(g);
      const bytes = encoded(half, value);
      const reader = new XdrReader(bytes);
      const back = half.decode(reader);
      reader.expectEnd();
      // Once more to the wire: the same bytes, so nothing was lost that the wire can tell.
      if (!encoded(half, back).equals(bytes)) t.fail(`${half.name}: bytes differ for value ${i}`);
      if (i < 5) t.strictSame(g.plain(back), g.plain(value), `${half.name} ${i}`);
      if (bytes.length % 4 !== 0) t.fail(`${half.name}: ${bytes.length} bytes`);
    }
  }
});

function isRefused(half: Half, bytes: Buffer): boolean {
  try {
    half.decode(new XdrReader(bytes));
    return false;
  } catch (error) {
    if (error instanceof XdrError) return true;
    throw error;
  }
}

t.test('a message that ends early is refused, wherever it ends', async (t) => {
  for (const half of cases.flatMap(halves)) {
    const g = new Generator(half.name);
    const accepted: string[] = [];
    for (let i = 0; i < 10; i++) {
      const bytes = encoded(half, half.make(g));
      const step = Math.max(1, Math.floor(bytes.length / 200));
      for (let end = 0; end < bytes.length; end += step) {
        if (!isRefused(half, bytes.subarray(0, end))) accepted.push(`${end} of ${bytes.length} bytes`);
      }
    }
    t.same(accepted, [], half.name);
  }
});

t.test('garbage is refused with an XdrError, or read as something, but does no harm', async (t) => {
  let refused = 0;
  let read = 0;
  for (const half of cases.flatMap(halves)) {
    const g = new Generator(half.name);
    for (let i = 0; i < 400; i++) {
      const bytes = encoded(half, half.make(g));
      // A few words changed, to what lengths, counts and enums fear most.
      for (let n = 0; n <= i % 3 && bytes.length >= 4; n++) {
        const at = g.below(bytes.length / 4) * 4;
        bytes.writeUInt32BE(g.pick([0, 1, 2, 7, 65, 1025, 4097, 0x7fff_ffff, 0xffff_ffff]), at);
      }
      if (isRefused(half, bytes)) refused += 1;
      else read += 1;
    }
  }
  t.ok(refused > 1000, `${refused} refused`);
  t.ok(read > 1000, `${read} read`);
});

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, i * 4);
  return bytes;
}

t.test('lengths beyond the limits are refused before anything is allocated', async (t) => {
  const read = <Arguments, Result>(procedure: Procedure<Arguments, Result>, ...parts: Buffer[]) =>
    procedure.decodeArguments(new XdrReader(Buffer.concat(parts)));
  const reply = <Arguments, Result>(procedure: Procedure<Arguments, Result>, ...parts: Buffer[]) =>
    procedure.decodeResult(new XdrReader(Buffer.concat(parts)));
  t.throws(() => read(nfs.GETATTR, words(65), Buffer.alloc(68)), { message: /file handle is 65 bytes long/ });
  t.equal(read(nfs.GETATTR, words(64), Buffer.alloc(64)).object.length, 64);
  t.throws(() => read(nfs.LOOKUP, words(0, 1025), Buffer.alloc(1028)), /name is 1025 bytes long/);
  t.throws(() => reply(nfs.READLINK, words(0, 0, 0xffff_ffff)), /link text is 4294967295 bytes long/);
  t.throws(() => reply(nfs.READ, words(0, 0, 0xffff_ffff, 1, 0xffff_ffff)), /READ data is 4294967295 bytes/);
  t.throws(() => read(nfs.WRITE, words(0, 0, 0, 5, 0, 4, 0)), /WRITE says 5 bytes and carries 4/);
  t.throws(() => nfs.fileHandleFromBytes(Buffer.alloc(65)), RangeError);
});

t.test('a READ that announces and carries different amounts has the smaller one', async (t) => {
  const reply = (count: number, eof: number, data: string) => {
    const head = words(0, 0, count, eof, data.length);
    const padding = Buffer.alloc((4 - (data.length % 4)) % 4);
    return nfs.READ.decodeResult(new XdrReader(Buffer.concat([head, Buffer.from(data), padding])));
  };
  const text = (result: nfs.ReadResult) =>
    result.status === nfs.Status.OK ? [Buffer.from(result.data).toString(), result.eof] : [];
  t.same(text(reply(3, 1, 'abcdefgh')), ['abc', true], 'it carries what lies behind the end of the file');
  t.same(text(reply(8, 1, 'abc')), ['abc', false], 'the rest is missing, so this is not the end');
  t.same(text(reply(0, 1, 'abc')), ['', true]);
  t.same(text(reply(3, 0, 'abc')), ['abc', false]);
});

t.test('numbers out of range are refused by name', async (t) => {
  const arguments_ = <Arguments, Result>(procedure: Procedure<Arguments, Result>, ...values: number[]) =>
    procedure.decodeArguments(new XdrReader(words(...values)));
  t.throws(() => arguments_(nfs.WRITE, 0, 0, 0, 0, 3, 0), /stable_how is 3/);
  t.throws(() => arguments_(nfs.CREATE, 0, 0, 3), /createmode3 is 3/);
  t.throws(() => arguments_(nfs.MKNOD, 0, 0, 8), /file type is 8/);
  t.throws(() => arguments_(nfs.READ, 0, 0x20_0000, 0, 1), /2\^53/);
  t.throws(() => arguments_(nfs.SETATTR, 0, 2), /boolean is 2/);
  const time = [0, 0, 0, 0, 0, 2, 1, 1_000_000_000];
  t.throws(() => arguments_(nfs.SETATTR, 0, ...time), /1000000000 nanoseconds/);
});

t.test('odd attributes from a sloppy server are an error of the object at the most', async (t) => {
  const before = { ...nfs.oddValues };
  const unknownType = words(0, 9, ...Array(20).fill(0));
  t.same(nfs.GETATTR.decodeResult(new XdrReader(unknownType)), { status: Status.IO });
  t.equal(nfs.oddValues.fileTypes, before.fileTypes + 1);
  const times = words(7, 1_000_000_000, 7, 0xffff_ffff, 7, 999_999_999);
  const bytes = Buffer.concat([words(0, nfs.FileType.REG), Buffer.alloc(56), times]);
  const mended = { seconds: 7, nanoseconds: 999_999_999 };
  t.match(nfs.GETATTR.decodeResult(new XdrReader(bytes)), {
    status: Status.OK,
    attributes: { atime: mended, mtime: mended, ctime: mended },
  });
  t.equal(nfs.oddValues.nanoseconds, before.nanoseconds + 2);
  const wcc = Buffer.concat([words(0, 1, 0, 5), times.subarray(0, 16), words(1, 0), Buffer.alloc(80)]);
  t.match(nfs.SETATTR.decodeResult(new XdrReader(wcc)), {
    status: Status.OK,
    wcc: { before: { size: 5n, mtime: mended, ctime: mended }, after: undefined },
  });
});

t.test(
  'an entry with a wrong handle, wrong attributes or a wrong name does not spoil the others',
  async (t) => {
    const entry = (name: string, type: number, handle: number) => {
      const bytes = Buffer.from(name.padEnd((name.length + 3) & ~3, '\0'));
      return Buffer.concat([
        words(1, 0, 1, name.length),
        bytes,
        words(0, 7, 1, type),
        Buffer.alloc(80),
        words(1, handle),
        Buffer.alloc((handle + 3) & ~3, 1),
      ]);
    };
    const head = words(0, 0, 0, 0);
    const odd = [
      entry('type', 8, 8),
      entry('handle', 1, 200),
      entry('n'.repeat(5000), 1, 8),
      entry('well', 1, 8),
    ];
    const result = nfs.READDIRPLUS.decodeResult(new XdrReader(Buffer.concat([head, ...odd, words(0, 1)])));
    if (result.status !== Status.OK) throw new Error('it is OK');
    t.same(
      result.entries.map(({ name, attributes, handle }) => [name.length, attributes?.type, handle?.length]),
      [
        [4, undefined, 8],
        [6, 1, undefined],
        [5000, 1, 8],
        [4, 1, 8],
      ],
    );
  },
);

t.test('a status that RFC 1813 does not know is read as a server fault', async (t) => {
  const result = nfs.GETATTR.decodeResult(new XdrReader(words(4711)));
  t.equal(result.status, Status.SERVERFAULT);
  t.equal(nfs.statusName(Status.JUKEBOX), 'NFS3ERR_JUKEBOX');
  t.equal(nfs.statusName(4711), 'NFS status 4711');
});

t.test('64-bit quantities and bytes above 127 keep every bit', async (t) => {
  const g = new Generator('bits');
  const attributes = { ...g.attributes(), size: 0xffff_ffff_ffff_fffen, fileid: 0x8000_0000_0000_0001n };
  const writer = new XdrWriter();
  nfs.GETATTR.encodeResult(writer, { status, attributes });
  const back = nfs.GETATTR.decodeResult(new XdrReader(writer.toBuffer()));
  t.match(back, { attributes: { size: attributes.size, fileid: attributes.fileid } });
  const bytes = Buffer.from(Array.from({ length: 64 }, (_, i) => 255 - i));
  const handle = nfs.fileHandleFromBytes(bytes);
  t.same(nfs.fileHandleToBytes(handle), bytes);
  t.equal(nfs.formatFileHandle(handle), bytes.toString('hex'));
  t.equal(nfs.formatFileHandle(nfs.fileHandleFromBytes(Buffer.alloc(0))), '(empty)');
});

t.test('mode bits that name a file type are no part of the mode', async (t) => {
  const bytes = Buffer.concat([words(0, nfs.FileType.REG, 0o100644), Buffer.alloc(76)]);
  const result = nfs.GETATTR.decodeResult(new XdrReader(bytes));
  t.match(result, { attributes: { mode: 0o644 } });
});

t.test('times are compared as times', async (t) => {
  const time = (seconds: number, nanoseconds: number) => ({ seconds, nanoseconds });
  t.ok(nfs.compareTime(time(1, 999_999_999), time(2, 0)) < 0);
  t.ok(nfs.compareTime(time(2, 1), time(2, 0)) > 0);
  t.equal(nfs.compareTime(time(2, 1), time(2, 1)), 0);
  t.equal(nfs.sameTime(time(2, 1), time(2, 1)), true);
  t.equal(nfs.sameTime(time(2, 1), time(2, 2)), false);
});
