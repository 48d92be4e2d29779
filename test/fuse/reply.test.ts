import t from 'tap';
import { decodeDevice, encodeDevice } from '../../lib/fuse/contract/device-number.js';
import { FuseError } from '../../lib/fuse/contract/errno.js';
import type { FuseAttributes } from '../../lib/fuse/contract/operations.js';
import { initFlagNames, opcodeName } from '../../lib/fuse/contract/protocol.js';
import { DirectoryReply, ListingBuffers, ReplyBuffer } from '../../lib/fuse/session/reply.js';
import { RequestBuffer } from '../../lib/fuse/session/request-buffer.js';

const attributes: FuseAttributes = {
  ino: 0xffff_ffff_ffff_fffen,
  size: (1n << 62n) + 3n,
  blocks: 17n,
  atime: { seconds: -2, nanoseconds: 999_999_999 },
  mtime: { seconds: 0x1_2345_6789, nanoseconds: 1 },
  ctime: { seconds: 0, nanoseconds: 0 },
  mode: 0o100644,
  nlink: 3,
  uid: 0xffff_fffe,
  gid: 7,
  rdevMajor: 259,
  rdevMinor: 70000,
  blksize: 1 << 20,
};

t.test('attributes keep 64-bit numbers, times before 1970 and nanoseconds', async (t) => {
  const reply = new ReplyBuffer(256);
  reply.attributesReply(4, { attributes, attrValidMs: 1500 });
  const { bytes } = reply;
  t.equal(bytes.readBigUInt64LE(16), 1n, 'whole seconds of validity');
  t.equal(bytes.readUInt32LE(24), 500_000_000);
  t.equal(bytes.readBigUInt64LE(32), attributes.ino);
  t.equal(bytes.readBigUInt64LE(40), attributes.size);
  t.equal(bytes.readBigUInt64LE(48), 17n);
  t.equal(bytes.readBigInt64LE(56), -2n);
  t.equal(bytes.readBigInt64LE(64), 0x1_2345_6789n);
  t.equal(bytes.readUInt32LE(80), 999_999_999);
  t.equal(bytes.readUInt32LE(84), 1);
  t.equal(bytes.readUInt32LE(92), 0o100644);
  t.equal(bytes.readUInt32LE(96), 3);
  t.equal(bytes.readUInt32LE(100), 0xffff_fffe);
  t.equal(bytes.readUInt32LE(112), 1 << 20);
  t.same(decodeDevice(bytes.readUInt32LE(108)), { major: 259, minor: 70000 });
});

t.test('device numbers survive the encoding', async (t) => {
  for (const [major, minor] of [
    [0, 0],
    [8, 1],
    [4095, 1048575],
    [1, 256],
  ] as const)
    t.same(decodeDevice(encodeDevice(major, minor)), { major, minor });
});

t.test(
  'an entry carries node id, validity and attributes where struct fuse_entry_out has them',
  async (t) => {
    const reply = new ReplyBuffer(256);
    reply.u32.fill(0xaaaa_aaaa);
    reply.entry(4, {
      nodeid: 2 ** 53 - 1,
      generation: 2 ** 40,
      entryValidMs: 0.5,
      attrValidMs: 60_000,
      attributes,
    });
    t.equal(reply.bytes.readBigUInt64LE(16), 2n ** 53n - 1n);
    t.equal(reply.bytes.readBigUInt64LE(24), 2n ** 40n);
    t.equal(reply.bytes.readBigUInt64LE(32), 0n);
    t.equal(reply.bytes.readBigUInt64LE(40), 60n);
    t.equal(reply.bytes.readUInt32LE(48), 500_000);
    t.equal(reply.bytes.readUInt32LE(52), 0);
    t.equal(reply.bytes.readBigUInt64LE(56), attributes.ino);
  },
);

t.test('a listing takes no entry that does not fit, and pads every entry', async (t) => {
  const buffer = new ReplyBuffer(128);
  buffer.bytes.fill(0xff);
  const listing = new DirectoryReply(buffer, 24 + 8 + 24 + 16, false);
  t.equal(listing.add(Buffer.from('abc'), 5n, 8, 1n), true);
  t.equal(listing.add(Buffer.from('123456789'), 6n, 4, 0xffff_ffff_ffff_ffffn), true);
  t.equal(listing.add(Buffer.from('x'), 7n, 8, 3n), false);
  t.equal(listing.count, 2);
  t.equal(listing.length, 16 + 72);
  const at = 16 + 32;
  t.equal(buffer.bytes.toString('latin1', 16 + 24, 16 + 32), 'abc\0\0\0\0\0');
  t.equal(buffer.bytes.readBigUInt64LE(at), 6n);
  t.equal(buffer.bytes.readBigUInt64LE(at + 8), 0xffff_ffff_ffff_ffffn);
  t.equal(buffer.bytes.readUInt32LE(at + 16), 9);
  t.equal(buffer.bytes.readUInt32LE(at + 20), 4);
});

t.test(
  'a READDIRPLUS entry without attributes has node id 0, so that the kernel counts no lookup',
  async (t) => {
    const buffer = new ReplyBuffer(1024);
    buffer.bytes.fill(0xff);
    const listing = new DirectoryReply(buffer, 1008, true);
    t.equal(listing.addPlus(Buffer.from('name'), 9n, 8, 1n, undefined), true);
    t.equal(buffer.bytes.subarray(16, 16 + 128).equals(Buffer.alloc(128)), true);
    t.equal(buffer.bytes.readBigUInt64LE(16 + 128), 9n);
    t.equal(listing.add(Buffer.from('other'), 10n, 8, 2n), true, 'add() takes the READDIRPLUS form too');
    t.equal(listing.length, 16 + 2 * 160);
  },
);

t.test('memory of a listing is used again, and shows nothing of the listing before', async (t) => {
  const entry = { nodeid: 7, generation: 1, entryValidMs: 1000, attrValidMs: 1000, attributes };
  const bytes = (buffer: ReplyBuffer) => {
    const listing = new DirectoryReply(buffer, 4096, true);
    listing.addPlus(Buffer.from('a'), 9n, 8, 1n, entry);
    listing.addPlus(Buffer.from('b'), 9n, 8, 1n, undefined);
    return Buffer.from(buffer.bytes.subarray(16, listing.length));
  };
  const buffers = new ListingBuffers();
  const first = buffers.take(4096 + 16);
  const other = buffers.take(4096 + 16);
  t.not(first, other, 'two listings at a time have nothing in common');
  first.bytes.fill(0xff);
  buffers.give(first);
  const again = buffers.take(4096 + 16);
  t.equal(again, first);
  t.same(bytes(again), bytes(new ReplyBuffer(8192)));
  buffers.give(again);
  t.ok(buffers.take(1 << 20).bytes.length >= 1 << 20, 'one that is too small is not taken');
});

t.test('READDIR refuses entries that count a lookup', async (t) => {
  const listing = new DirectoryReply(new ReplyBuffer(1024), 1008, false);
  t.throws(() => listing.addPlus(Buffer.from('a'), 1n, 8, 1n, undefined), TypeError);
});

t.test('numbers of ours that are too large are refused rather than rounded', async (t) => {
  const message = new RequestBuffer(64);
  message.u64[0] = 2n ** 53n - 1n;
  message.u64[1] = 2n ** 53n;
  message.u64[2] = 0xffff_ffff_ffff_ffffn;
  t.equal(message.ownHandle(0), 2 ** 53 - 1);
  t.throws(() => message.ownHandle(8), FuseError);
  t.equal(message.signed(16), -1);
  t.equal(message.big(16), 0xffff_ffff_ffff_ffffn);
});

t.test('a name without its NUL is refused, not read beyond the message', async (t) => {
  const message = new RequestBuffer(64);
  message.bytes.write('abc\0def', 0, 'latin1');
  t.equal(message.name(0, 4).toString(), 'abc');
  t.throws(() => message.name(0, 3), FuseError);
});

t.test('opcodes and flags have names', async (t) => {
  t.equal(opcodeName(1), 'LOOKUP');
  t.equal(opcodeName(4096), 'opcode 4096');
  t.equal(initFlagNames((1n << 36n) | 1n), 'ASYNC_READ|DIRECT_IO_ALLOW_MMAP');
  t.equal(initFlagNames(0n), '0');
});
