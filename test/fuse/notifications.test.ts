/** Notifications to the kernel: attributes, pages and names that it should ask for again. */
import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import { InitFlag } from '../../lib/fuse/contract/protocol.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { serve } from './support/session-bench.js';

t.test(
  'notifications about attributes go out at once, those about pages and names from another thread',
  async (t) => {
    const { channel, session } = serve(new MemoryFileSystem());
    const before = channel.written.length;
    session.notifier.invalidateAttributes(7);
    const attributes = channel.written[before];
    t.match(attributes, { unique: 0n, error: 2 });
    t.same(attributes?.payload, Buffer.from(new BigInt64Array([7n, -1n, 0n]).buffer));
    await session.notifier.invalidatePages(7, 2 ** 40, 4096);
    await session.notifier.invalidateEntry(1, Buffer.from([0xff, 0x61]));
    t.equal(channel.written.length, before + 1);
    const [pages, entry] = channel.fromThread;
    t.match(pages, { unique: 0n, error: 2 });
    t.same(pages?.payload, Buffer.from(new BigInt64Array([7n, 2n ** 40n, 4096n]).buffer));
    t.match(entry, { unique: 0n, error: 3 });
    t.same(entry?.payload, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x61, 0]));
  },
);

t.test(
  'the kernel asks for names again; where that would unhash them, only for those that do not exist',
  async (t) => {
    const names = [
      { name: Buffer.from('there'), exists: true },
      { name: Buffer.from('missing'), exists: false },
    ];
    const expire = async (offered?: bigint) => {
      const { channel, session } = serve(new MemoryFileSystem(), {}, false);
      channel.init(offered);
      const before = channel.written.length;
      await session.notifier.expireEntries(1, names);
      t.equal(channel.written.length, before, 'nothing from the thread that serves requests');
      t.equal(session.notifier.expiresEntries, offered === undefined);
      return channel.fromThread.map(({ error, payload }) => ({
        error,
        flags: payload.readUInt32LE(12),
        name: payload.subarray(16, -1).toString(),
      }));
    };
    t.same(await expire(), [
      { error: 3, flags: 1, name: 'there' },
      { error: 3, flags: 1, name: 'missing' },
    ]);
    t.same(await expire(InitFlag.BIG_WRITES), [{ error: 3, flags: 0, name: 'missing' }]);
  },
);

t.test(
  'a notification about an object that the kernel does not know is not logged; a refused one is',
  async (t) => {
    const { channel, session, log } = serve(new MemoryFileSystem());
    channel.nextErrno = Errno.ENOENT;
    session.notifier.invalidateAttributes(7);
    t.equal(log.length, 0);
    channel.nextErrno = Errno.EINVAL;
    await session.notifier.invalidatePages(7, 0, 0);
    t.match(log, [/INVAL_INODE.*EINVAL/]);
    channel.end('unmounted');
    await session.closed;
    session.notifier.invalidateAttributes(7);
    await session.notifier.invalidateEntry(1, Buffer.from('x'));
    t.equal(channel.fromThread.length, 0);
  },
);
