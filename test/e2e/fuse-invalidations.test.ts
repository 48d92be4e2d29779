/** Notifications that the kernel answers late, while it holds what they are about, and pages and names that it has to ask for again. */
import t, { type Test } from 'tap';
import type { FuseRead, RequestContext } from '../../lib/fuse/contract/operations.js';
import { OpenFlag } from '../../lib/fuse/index.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { run, start, until } from '../support/process.js';
import { Gate, pendingAfter, serve } from '../support/served-memory.js';

/** A mount that the kernel may cache for an hour, with one file, and a program that reads it. */
async function cached(t: Test) {
  const hour = 3_600_000;
  const fs = new MemoryFileSystem({
    attrValidMs: hour,
    entryValidMs: hour,
    openFlags: OpenFlag.KEEP_CACHE,
  });
  const file = fs.addFile('file', Buffer.from('before'));
  const { path, session } = await serve(t, fs);
  const cat = async (): Promise<string> => (await run(['cat', path('file')])).stdout.toString();
  return { fs, file, path, session, cat };
}

t.test(
  'the invalidation of a page that a pending READ holds waits, and everything else is served',
  async (t) => {
    const gate = new Gate();
    class Held extends MemoryFileSystem {
      override async read(ctx: RequestContext, nodeid: number, read: FuseRead) {
        await gate.wait();
        return super.read(ctx, nodeid, read);
      }
    }
    const fs = new Held({ attrValidMs: 0, entryValidMs: 0 });
    const file = fs.addFile('file', Buffer.from('content'));
    fs.addFile('other', Buffer.from(''));
    const { path, session, log } = await serve(t, fs);
    const reader = start(['cat', path('file')]);
    await until('the READ is pending', () => gate.waiting > 0);
    const notice = session.notifier.invalidatePages(file.id, 0, 0);
    t.equal(await pendingAfter(notice, ['ls', '-l', path('')]), true, 'the page is locked until the answer');
    session.notifier.invalidateAttributes(file.id);
    t.equal(await pendingAfter(notice, ['touch', path('new')]), true, 'attributes can be dropped meanwhile');
    gate.open();
    await notice;
    t.equal((await reader.ended).stdout.toString(), 'content');
    t.same(log, []);
  },
);

t.test('the invalidation of a name in a directory that a pending MKDIR has locked waits, too', async (t) => {
  const gate = new Gate();
  class Held extends MemoryFileSystem {
    override async mkdir(ctx: RequestContext, parent: number, name: Buffer, mode: number) {
      await gate.wait();
      return super.mkdir(ctx, parent, name, mode);
    }
  }
  const fs = new Held();
  fs.addFile('file', Buffer.from('content'));
  const { path, session, mount } = await serve(t, fs);
  await run(['stat', path('file')]);
  const maker = start(['mkdir', path('dir')]);
  await until('the MKDIR is pending', () => gate.waiting > 0);
  const notice = session.notifier.invalidateEntry(fs.root.id, Buffer.from('file'));
  t.equal(await pendingAfter(notice, ['stat', '-f', mount.mountpoint]), true);
  gate.open();
  await notice;
  t.equal((await maker.ended).status, 0);
});

t.test('the kernel asks again for pages and names that were invalidated', async (t) => {
  const { fs, file, path, session, cat } = await cached(t);
  t.equal(await cat(), 'before');
  file.data = Buffer.from('after!');
  t.equal(await cat(), 'before', 'cached by the kernel');
  await session.notifier.invalidatePages(file.id, 0, 0);
  t.equal(await cat(), 'after!');
  fs.root.children.delete('file');
  t.equal(await cat(), 'after!', 'the name is cached too');
  await session.notifier.invalidateEntry(fs.root.id, Buffer.from('file'));
  t.match((await run(['cat', path('file')])).stderr.toString(), /No such file/);
});

t.test(
  'a file that another client changed in size is never a mixture of old pages and new size',
  async (t) => {
    const { file, session, cat } = await cached(t);
    t.equal(await cat(), 'before');
    for (const content of ['before, and more', 'less', 'x'.repeat(10_000)]) {
      file.data = Buffer.from(content);
      file.size = content.length;
      session.notifier.invalidateAttributes(file.id);
      t.equal(await cat(), content);
    }
  },
);
