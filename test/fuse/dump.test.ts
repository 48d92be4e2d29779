import t from 'tap';
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import { Opcode } from '../../lib/fuse/contract/protocol.js';
import { FuseSession } from '../../lib/fuse/session/session.js';
import { MemoryChannel, name, raw, u32, u64 } from '../support/memory-channel.js';
import { MemoryFileSystem } from '../support/memory-fs.js';

t.test('the dump shows each request and its answer on a line', async (t) => {
  const lines: string[] = [];
  const channel = new MemoryChannel();
  class Refusing extends MemoryFileSystem {
    override rmdir(): never {
      throw new FuseError(Errno.ENOTEMPTY);
    }
  }
  const fs = new Refusing();
  const node = fs.addFile('plain', Buffer.from('12345'));
  const session = new FuseSession(channel, fs, { debug: (line) => lines.push(line) });
  channel.init();
  t.match(lines, [/^> INIT .*protocol=7\.45.*WRITEBACK_CACHE/, /^< INIT .*max_write=1048576/]);
  const last = (
    opcode: number,
    nodeid: number,
    fields: Parameters<MemoryChannel['deliver']>[2],
  ): string[] => {
    lines.length = 0;
    channel.deliver(opcode, nodeid, fields);
    return [...lines];
  };
  t.match(last(Opcode.LOOKUP, 1, [name('plain')]), [
    /^> LOOKUP #\d+ node=1 uid=1000 gid=100 pid=4321 name="plain"$/,
    new RegExp(`^< LOOKUP #\\d+ ok node=${node.id} ino=${node.id} mode=0100644 .*size=5`),
  ]);
  t.match(last(Opcode.LOOKUP, 1, [name(Buffer.from([0xff, 0x41]))]), [
    /name=0xff41$/,
    /^< LOOKUP #\d+ ENOENT$/,
  ]);
  t.match(last(Opcode.RMDIR, 1, [name('d')]), [/name="d"$/, /ENOTEMPTY$/]);
  t.match(last(Opcode.RENAME2, 1, [u64(1), u32(1), u32(0), name('a'), name('b\n')]), [
    /name="a" to=1 as="b\\n" flags=0x1$/,
    /ENOENT/,
  ]);
  t.match(
    last(Opcode.WRITE, node.id, [
      u64(3),
      u64(2n ** 40n),
      u32(2),
      u32(1),
      u64(0),
      u32(0),
      u32(0),
      raw(Buffer.from('hi')),
    ]),
    [/fh=3 offset=1099511627776 size=2 from-page-cache$/, /EFBIG/],
  );
  t.match(last(Opcode.OPEN, node.id, [u32(0o100001), u32(0)]), [/flags=0100001$/, /ok fh=1 open=0x0$/]);
  t.match(
    last(Opcode.SETATTR, node.id, [
      ...[
        u32(0x1 | 0x8 | 0x20 | 0x80),
        u32(0),
        u64(0),
        u64(7),
        u64(0),
        u64(0),
        u64(0xffff_ffff_ffff_ffffn),
        u64(0),
      ],
      ...[u32(0), u32(5), u32(0), u32(0o600), u32(0), u32(0), u32(0), u32(0)],
    ]),
    [/mode=0600 size=7 atime=now mtime=-1\.000000005$/, /mode=0100600 .*size=7/],
  );
  t.match(last(Opcode.INTERRUPT, 0, [u64(44)]), [/of=#44$/]);
  t.match(last(Opcode.READ, node.id, [u64(3), u64(0), u32(4), u32(0), u64(0), u32(0), u32(0)]), [
    /fh=3 offset=0 size=4$/,
    /ok 4 bytes$/,
  ]);
  lines.length = 0;
  session.notifier.invalidateAttributes(5);
  await session.notifier.invalidateEntry(1, Buffer.from('gone'));
  channel.end('unmounted');
  t.match(lines, [
    /INVAL_INODE node=5 attributes = ok/,
    /INVAL_ENTRY parent=1 name="gone" = ok/,
    /unmounted/,
  ]);
});
