import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import type {
  EntryReply,
  FuseRead,
  FuseWrite,
  NegativeEntryReply,
} from '../../lib/fuse/contract/operations.js';
import { Status } from '../../lib/programs/nfs3/index.js';
import { DEFAULT_CONFIG } from '../../lib/vfs/config.js';
import { NfsFileSystem } from '../../lib/vfs/filesystem.js';
import { ManualClock } from '../rpc/support/manual-clock.js';
import { FakeServer } from './support/fake-server.js';
import { NO_CHANGES } from './support/no-changes.js';
import { O_RDONLY, O_RDWR, outcome, settled, TestContext } from './support/rig.js';

const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const ROOT = 1;
const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

function mounted() {
  const server = new FakeServer();
  const clock = new ManualClock();
  const log: string[] = [];
  const note = (message: string): void => {
    // The callers here are no threads of this machine, and the log says so.
    if (!message.startsWith('A caller ')) log.push(message);
  };
  let closed = false;
  const fs = new NfsFileSystem(
    {
      rpc: server,
      machineName: 'test',
      limits: { rsize: 4096, wsize: 4096, dtsize: 65_536, nameMax: 255 },
      rootHandle: server.root.handle,
      rootAttributes: server.tree.attributes(server.root),
      generation: 7,
      findRoot: () => Promise.resolve(server.root.handle),
      close: () => {
        closed = true;
        return Promise.resolve();
      },
    },
    { ...DEFAULT_CONFIG, host: 'h', exportPath: bytes('/') },
    { log: { info: note, warn: note, error: note }, clock },
  );
  const ctx = new TestContext();
  return { fs, server, tree: server.tree, clock, log, ctx, isClosed: () => closed };
}

function found(reply: EntryReply | NegativeEntryReply): EntryReply {
  if (reply.nodeid === 0) throw new Error('no such name');
  return reply as EntryReply;
}

const reading = (fh: number, offset: number, size: number): FuseRead => ({
  fh,
  offset,
  size,
  flags: 0,
  direct: false,
});
const writing = (fh: number, data: Uint8Array): FuseWrite => ({
  fh,
  offset: 0,
  data,
  flags: 0,
  fromPageCache: false,
  direct: false,
});

t.test('a file is made, written, read, closed and forgotten, and leaves nothing behind', async (t) => {
  const { fs, tree, ctx } = mounted();
  const { entry, open } = await fs.create(ctx, ROOT, bytes('f'), 0o100640, O_RDWR | O_EXCL);
  t.match(entry, { generation: 7, attributes: { mode: 0o100640, nlink: 1 } });
  t.equal(await fs.write(ctx, entry.nodeid, writing(open.fh, bytes('hello'))), 5);
  t.equal((await fs.getattr(ctx, entry.nodeid, open.fh)).attributes.size, 5n);
  t.equal(Buffer.concat((await fs.read(ctx, entry.nodeid, reading(open.fh, 1, 3))).pieces).toString(), 'ell');
  await fs.fsync(ctx, entry.nodeid, open.fh);
  await fs.flush(ctx, entry.nodeid, open.fh, 0n);
  await fs.release(ctx, entry.nodeid, open.fh);
  t.equal(tree.at('f').stable.toString(), 'hello');
  t.equal(fs.openFileCount, 0);
  await fs.unlink(ctx, ROOT, bytes('f'));
  fs.forget(entry.nodeid, 1);
  t.equal(fs.inodeCount, 1, 'the root');
});

t.test('O_TRUNC on create, truncate, chmod and utimes arrive as they should', async (t) => {
  const { fs, server, tree, ctx } = mounted();
  tree.file('f', 'content');
  const { entry, open } = await fs.create(ctx, ROOT, bytes('f'), 0o100644, O_RDWR | O_TRUNC);
  t.equal(entry.attributes.size, 0n);
  await fs.setattr(ctx, entry.nodeid, { ...NO_CHANGES, size: 10n, fh: open.fh });
  t.equal(tree.at('f').data.length, 10);
  const times = { atime: { seconds: -5, nanoseconds: 3 }, mtime: { seconds: 2 ** 40, nanoseconds: 1 } };
  await fs.setattr(ctx, entry.nodeid, { ...NO_CHANGES, mode: 0o104755, ...times });
  const { attributes } = server.named('SETATTR').at(-1)?.args ?? {};
  t.same(attributes.mode, 0o4755);
  t.same(attributes.atime, { seconds: 0, nanoseconds: 0 });
  t.same(attributes.mtime, { seconds: 0xffff_ffff, nanoseconds: 999_999_999 });
  const now = await fs.setattr(ctx, entry.nodeid, { ...NO_CHANGES, mtime: 'now' });
  t.equal(server.named('SETATTR').at(-1)?.args.attributes.mtime, 'server');
  t.equal(now.attributes.size, 10n);
});

t.test('a file is not made where another client has made a directory: the kernel looks again', async (t) => {
  const { fs, server, tree, ctx } = mounted();
  const directory = tree.directory('d');
  // As Linux's own server answers.
  server.on('CREATE', () => ({
    status: Status.OK,
    object: directory.handle,
    attributes: tree.attributes(directory),
    directoryWcc: { before: undefined, after: undefined },
  }));
  for (const flags of [O_RDWR, O_RDWR | O_TRUNC])
    t.equal(await outcome(fs.create(ctx, ROOT, bytes('d'), 0o100644, flags)), Errno.ESTALE);
  t.equal(server.count('SETATTR'), 0, 'nothing is cut');
  t.equal(fs.openFileCount, 0);
  t.equal(found(await fs.lookup(ctx, ROOT, bytes('d'))).attributes.mode, 0o40755);
});

t.test('stat leads to what has the name now, where the server keeps what was removed', async (t) => {
  const { fs, tree } = mounted();
  const ctx = new TestContext(1000, 5);
  for (const old of [tree.file('f'), tree.directory('d')]) {
    const name = tree.has('f') ? 'f' : 'd';
    const { nodeid } = found(await fs.lookup(ctx, ROOT, bytes(name)));
    tree.remove(name);
    // As with Linux's own server, for a moment.
    tree.assignHandle(old.handle, old);
    old.nlink = 0;
    // A lookup may see it first: the directory's attributes come with the answer.
    if (name === 'd') t.equal((await fs.lookup(ctx, nodeid, bytes('x'))).nodeid, 0);
    const stat = () => outcome(fs.getattr(ctx, nodeid, undefined));
    t.equal(await stat(), Errno.ESTALE, `${name}: the kernel looks the path up again`);
    t.equal((await fs.lookup(ctx, ROOT, bytes(name))).nodeid, 0, 'and finds nothing');
    t.equal(await stat(), 'ok', 'which is no way out for a program that works in it');
  }
});

t.test('chmod of a removed file that the server keeps is repeated for what has the name now', async (t) => {
  const { fs, tree } = mounted();
  const ctx = new TestContext(1000, 5);
  const old = tree.file('f');
  const { nodeid } = found(await fs.lookup(ctx, ROOT, bytes('f')));
  tree.remove('f');
  tree.assignHandle(old.handle, old);
  tree.file('f');
  const chmod = (id: number) => outcome(fs.setattr(ctx, id, { ...NO_CHANGES, mode: 0o600 }));
  t.equal(await chmod(nodeid), Errno.ESTALE, 'the kernel looks the path up again');
  t.equal(await chmod(found(await fs.lookup(ctx, ROOT, bytes('f'))).nodeid), 'ok');
  t.equal(tree.at('f').mode & 0o777, 0o600);
});

t.test('fstat of a removed file is answered while the server answers for it', async (t) => {
  const { fs, tree, clock } = mounted();
  const ctx = new TestContext(2000, 5);
  const old = tree.file('f', 'content');
  const { nodeid, entryValidMs } = found(await fs.lookup(ctx, ROOT, bytes('f')));
  const { fh } = await fs.open(ctx, nodeid, O_RDONLY);
  tree.remove('f');
  tree.assignHandle(old.handle, old);
  // The kernel would have asked for the name, had a path led to the file.
  clock.advance(entryValidMs);
  t.equal((await fs.getattr(ctx, nodeid, fh)).attributes.nlink, 0);
});

t.test('directories, links, nodes and their removal', async (t) => {
  const { fs, tree, ctx } = mounted();
  const d = await fs.mkdir(ctx, ROOT, bytes('d'), 0o40755);
  const s = await fs.symlink(ctx, d.nodeid, bytes('s'), bytes('target'));
  t.equal(Buffer.from(await fs.readlink(ctx, s.nodeid)).toString(), 'target');
  await fs.mknod(ctx, d.nodeid, bytes('p'), 0o010600, 0);
  const f = await fs.mknod(ctx, d.nodeid, bytes('f'), 0o100600, 0);
  const g = await fs.link(ctx, f.nodeid, ROOT, bytes('g'));
  t.equal(g.nodeid, f.nodeid);
  t.equal(g.attributes.nlink, 2);
  await fs.rename(ctx, { parent: d.nodeid, name: bytes('p') }, { parent: ROOT, name: bytes('q') }, 0);
  t.ok(tree.has('q'));
  t.equal(await outcome(fs.rmdir(ctx, ROOT, bytes('d'))), Errno.ENOTEMPTY);
  for (const name of ['s', 'f']) await fs.unlink(ctx, d.nodeid, bytes(name));
  await fs.rmdir(ctx, ROOT, bytes('d'));
  t.equal(tree.has('d'), false);
  t.equal((await fs.lookup(ctx, ROOT, bytes('d'))).nodeid, 0);
});

t.test('a directory is listed, with and without attributes', async (t) => {
  const { fs, tree, ctx } = mounted();
  for (const name of ['a', 'b']) tree.file(name);
  const { fh } = await fs.opendir(ctx, ROOT);
  const names: string[] = [];
  const sink = {
    add: (name: Uint8Array) => names.push(Buffer.from(name).toString()) > 0,
    addPlus: (name: Uint8Array) => names.push(Buffer.from(name).toString()) > 0,
  };
  await fs.readdir(ctx, ROOT, fh, 0n, sink);
  await fs.readdirplus(ctx, ROOT, fh, 0n, sink);
  fs.releasedir(ctx, ROOT, fh);
  t.same(names, ['.', '..', 'a', 'b', '.', '..', 'a', 'b']);
});

t.test('statfs counts in blocks of 4096 bytes', async (t) => {
  const { fs, ctx } = mounted();
  t.match(await fs.statfs(ctx, ROOT), {
    blocks: 1000n,
    bfree: 600n,
    bavail: 500n,
    frsize: 4096,
    namelen: 255,
  });
});

t.test('an unknown node id is ESTALE, an unknown file handle EBADF', async (t) => {
  const { fs, ctx } = mounted();
  t.equal(await outcome(fs.getattr(ctx, 999, undefined)), Errno.ESTALE);
  t.equal(await outcome(fs.read(ctx, ROOT, reading(999, 0, 1))), Errno.EBADF);
  t.equal(await outcome(fs.flush(ctx, ROOT, 999, 0n)), Errno.EBADF);
});

t.test(
  'whoever is interrupted while waiting for the server gets EINTR, whatever the wait is for',
  async (t) => {
    const { fs, server, tree, ctx } = mounted();
    tree.file('f', 'x'.repeat(100));
    const { nodeid } = found(await fs.lookup(ctx, ROOT, bytes('f')));
    const { fh } = await fs.open(ctx, nodeid, O_RDWR);
    await fs.write(ctx, nodeid, writing(fh, Buffer.alloc(8192)));
    const gates = ['WRITE', 'GETATTR', 'COMMIT', 'LOOKUP'].map((name) => server.gate(name));
    await fs.write(ctx, nodeid, writing(fh, Buffer.alloc(8192)));
    const waits: ((ctx: TestContext) => Promise<unknown>)[] = [
      (caller) => fs.fsync(caller, nodeid, fh),
      (caller) => fs.flush(caller, nodeid, fh, 0n),
      (caller) => fs.getattr(caller, nodeid, fh),
      (caller) => fs.read(caller, nodeid, reading(fh, 0, 10)),
      (caller) => fs.setattr(caller, nodeid, { ...NO_CHANGES, size: 0n, fh }),
      (caller) => fs.open(caller, nodeid, O_RDONLY),
      (caller) => fs.lookup(caller, ROOT, bytes('other')),
    ];
    for (const wait of waits) {
      const caller = new TestContext();
      const waiting = wait(caller);
      t.equal(await outcome(waiting), 'pending', wait.toString());
      caller.cancel();
      t.equal(await outcome(waiting), Errno.EINTR, wait.toString());
    }
    for (const gate of gates) gate.open();
    await fs.fsync(ctx, nodeid, fh);
    t.equal(tree.at('f').stable.length, 8192);
  },
);

t.test(
  'the end of the mount: data written, silly names removed, the server told; it never rejects',
  async (t) => {
    const { fs, tree, ctx, log, isClosed } = mounted();
    const { entry, open } = await fs.create(ctx, ROOT, bytes('f'), 0o100644, O_RDWR);
    const kept = await fs.create(ctx, ROOT, bytes('kept'), 0o100644, O_RDWR);
    await fs.write(ctx, kept.entry.nodeid, writing(kept.open.fh, bytes('data')));
    await fs.write(ctx, entry.nodeid, writing(open.fh, bytes('gone')));
    await fs.unlink(ctx, ROOT, bytes('f'));
    await fs.shutdown();
    t.same([...tree.root.children.keys()], ['kept']);
    t.equal(tree.at('kept').stable.toString(), 'data');
    t.equal(isClosed(), true);
    t.same(log, []);
  },
);

t.test('data that cannot be written at the end of the mount is said to be lost', async (t) => {
  const { fs, server, ctx, log } = mounted();
  const { entry, open } = await fs.create(ctx, ROOT, bytes('f'), 0o100644, O_RDWR);
  await fs.write(ctx, entry.nodeid, writing(open.fh, bytes('gone')));
  server.fail('WRITE', 28);
  await fs.shutdown();
  t.match(log, [/lost/]);
  await settled();
});
