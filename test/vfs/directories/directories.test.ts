import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import { named } from '../support/named.js';
import { type Listed, outcome, Rig, type RigOptions, settled } from '../support/rig.js';

async function directory(entries: number, options: RigOptions = {}) {
  const rig = new Rig(options);
  rig.server.tree.directory('d');
  for (let i = 0; i < entries; i++) rig.server.tree.file(`d/f${i}`);
  const inode = await rig.walk('d');
  const { fh } = await rig.directories.open(inode, rig.caller());
  rig.server.forgetCalls();
  return { rig, server: rig.server, inode, fh };
}

const plainNames = (listed: Listed[]): string[] =>
  listed.map(({ name }) => name).filter((name) => name !== '.' && name !== '..');
const expected = (count: number): string[] => Array.from({ length: count }, (_, i) => `f${i}`);

t.test('ls -l is one pass: READDIRPLUS, and nothing per entry', async (t) => {
  const { rig, server, inode, fh } = await directory(250);
  const listed = await rig.list(fh);
  t.same(plainNames(listed), expected(250));
  t.equal(server.count(), 3);
  t.equal(server.count('READDIRPLUS'), 3);
  for (const { name, entry } of listed.slice(2)) {
    rig.vfs.kernel.tellsName(inode, named(name), undefined, 0);
    const found = await rig.lookup.entry(inode, named(name), rig.caller());
    if (found.nodeid === 0 || found.nodeid !== entry?.nodeid) t.fail(`${name} is another inode`);
  }
  t.equal(server.count(), 3);
});

t.test('cookies go back as they came, with the verifier; the first call has zeros', async (t) => {
  const { rig, server, fh } = await directory(250);
  await rig.list(fh);
  const calls = server.named('READDIRPLUS').map(({ args }) => args);
  t.equal(calls[0].cookie, 0n);
  t.same(calls[0].cookieVerifier, Buffer.alloc(8));
  t.ok(calls[1].cookie > 1n << 53n, 'beyond what a number holds');
  t.same(calls[1].cookieVerifier, Buffer.from('cookies!'));
});

t.test('what the kernel has no room for is asked for again, and counted once', async (t) => {
  const { rig, fh } = await directory(30);
  const listed = await rig.list(fh, true, 7);
  t.same(plainNames(listed), expected(30));
  for (const { entry } of listed.slice(2)) {
    if (entry !== undefined) t.equal(rig.vfs.inodes.get(entry.nodeid).nlookup, 1);
  }
});

t.test('who reads on finds the next part on its way; who does not has asked for nothing more', async (t) => {
  const { rig, server, fh } = await directory(50);
  server.entriesPerReply = 10;
  let room = 5;
  const take = () => room-- > 0;
  const sink = { add: take, addPlus: take };
  await rig.directories.read(fh, 0n, sink, true, rig.caller());
  await settled();
  t.equal(server.count('READDIRPLUS'), 1);
  room = 10;
  await rig.directories.read(fh, 5n, sink, true, rig.caller());
  await settled();
  t.equal(server.count('READDIRPLUS'), 3, 'the part that was wanted, and the one behind it');
  room = 4;
  await rig.directories.read(fh, 15n, sink, true, rig.caller());
  await settled();
  t.equal(server.count('READDIRPLUS'), 3);
});

t.test('who has read most of a part finds the next one on its way', async (t) => {
  const { rig, server, fh } = await directory(50);
  server.entriesPerReply = 10;
  const { offset } = await rig.listSome(fh, 0n, 5);
  await settled();
  t.equal(server.count('READDIRPLUS'), 1, 'half of it is not most');
  await rig.listSome(fh, offset, 1);
  await settled();
  t.equal(server.count('READDIRPLUS'), 2);
  t.same(plainNames(await rig.list(fh)), expected(50));
  t.equal(server.count('READDIRPLUS'), 6, 'each part once');
});

t.test('a void cookie starts the pass again, without duplicates or holes', async (t) => {
  const { rig, server, fh } = await directory(50);
  server.entriesPerReply = 10;
  let calls = 0;
  server.on('READDIRPLUS', (_args, execute) => {
    if (++calls === 3) {
      // The entry whose cookie comes next is removed, and so is one that was listed; one more appears.
      server.tree.remove('d/f17');
      server.tree.remove('d/f3');
      server.tree.file('d/new');
    }
    return execute();
  });
  const listed = plainNames(await rig.list(fh));
  t.equal(new Set(listed).size, listed.length, 'no name twice');
  for (let i = 0; i < 50; i++) {
    if (i !== 3 && i !== 17) t.ok(listed.includes(`f${i}`), `f${i} was there all the time`);
  }
  t.ok(listed.includes('new'));
});

t.test('a directory whose cookies never hold ends in an error', async (t) => {
  const { rig, server, fh } = await directory(50);
  server.entriesPerReply = 10;
  server.on('READDIRPLUS', (args, execute) =>
    args.cookie === 0n ? execute() : server.failure('READDIRPLUS', Status.BAD_COOKIE),
  );
  t.equal(await outcome(rig.list(fh)), Errno.EIO);
  t.ok(server.count() < 200);
});

t.test('a cookie that comes again is ELOOP, also after a detour', async (t) => {
  for (const period of [1, 3]) {
    const { rig, server, fh } = await directory(90);
    server.entriesPerReply = 10;
    const replies: unknown[] = [];
    let calls = 0;
    server.on('READDIRPLUS', (_args, execute) => {
      if (replies.length < period + 1) replies.push(execute());
      return replies[calls++ % replies.length];
    });
    t.equal(await outcome(rig.list(fh)), Errno.ELOOP);
    t.equal(await outcome(rig.list(fh)), Errno.ELOOP, 'and again');
    t.ok(server.count() < 30);
  }
});

t.test('no entries and no end is ELOOP', async (t) => {
  const { rig, server, fh } = await directory(5);
  server.on('READDIRPLUS', (_args, execute) => ({ ...execute(), entries: [], eof: false }));
  t.equal(await outcome(rig.list(fh)), Errno.ELOOP);
});

t.test('a server without READDIRPLUS is asked for it once', async (t) => {
  const { rig, server, fh } = await directory(250);
  server.readdirplus = false;
  t.same(plainNames(await rig.list(fh)), expected(250));
  t.equal(server.names(), 'READDIRPLUS READDIR READDIR READDIR');
  const again = await rig.directories.open(rig.root, rig.caller());
  await rig.list(again.fh);
  t.equal(server.count('READDIRPLUS'), 1);
});

t.test('TOOSMALL: more is asked for, then names alone', async (t) => {
  const { rig, server, fh } = await directory(5, { limits: { dtsize: 4096 } });
  server.on('READDIRPLUS', (args, execute) =>
    args.maxcount >= 65_536 ? execute() : server.failure('READDIRPLUS', Status.TOOSMALL),
  );
  t.same(plainNames(await rig.list(fh)), expected(5));
  const other = await directory(5);
  other.server.fail('READDIRPLUS', Status.TOOSMALL);
  t.same(plainNames(await other.rig.list(other.fh)), expected(5));
  t.equal(other.server.calls.at(-1)?.name, 'READDIR');
  const never = await directory(5);
  never.server.fail('READDIRPLUS', Status.TOOSMALL);
  never.server.fail('READDIR', Status.TOOSMALL);
  t.equal(await outcome(never.rig.list(never.fh)), Errno.EIO);
});

t.test('entries without handle or attributes are names, and nothing is made up for them', async (t) => {
  const { rig, server, inode, fh } = await directory(3);
  server.bareEntries.add('f1');
  const listed = await rig.list(fh);
  t.same(plainNames(listed), expected(3));
  const bare = listed.find(({ name }) => name === 'f1');
  t.equal(bare?.entry, undefined);
  t.equal(bare?.ino, server.tree.at('d/f1').fileid);
  t.equal(bare?.type, 0);
  server.forgetCalls();
  await rig.lookup.entry(inode, named('f1'), rig.caller());
  t.equal(server.names(), 'LOOKUP');
});

t.test('impossible names are left out, and said so', async (t) => {
  const { rig, server, fh } = await directory(2);
  server.on('READDIRPLUS', (_args, execute) => {
    const result = execute();
    const bad = ['', 'a/b', 'a\0b'].map((name, i) => ({
      ...result.entries[2],
      name: named(name),
      cookie: BigInt(1000 + i),
    }));
    return { ...result, entries: [...bad, ...result.entries] };
  });
  t.same(plainNames(await rig.list(fh)), expected(2));
  t.equal(rig.log.length, 3);
});

t.test('a listing that did not change is served again after one call', async (t) => {
  const { rig, server, inode, fh } = await directory(250);
  await rig.list(fh);
  rig.directories.release(fh);
  server.forgetCalls();
  const again = await rig.directories.open(inode, rig.caller());
  t.same(plainNames(await rig.list(again.fh)), expected(250));
  t.equal(server.names(), 'GETATTR');
  t.equal(rig.counters.listings.hits, 1);
});

t.test("a change, ours or another client's, voids the listing", async (t) => {
  const { rig, server, inode, fh } = await directory(3);
  await rig.list(fh);
  rig.directories.release(fh);
  server.tree.file('d/other');
  const second = await rig.directories.open(inode, rig.caller());
  t.same(plainNames(await rig.list(second.fh)), [...expected(3), 'other']);
  rig.directories.release(second.fh);
  await rig.make.mkdir(inode, named('ours'), 0o755, rig.caller());
  const third = await rig.directories.open(inode, rig.caller());
  t.same(plainNames(await rig.list(third.fh)), [...expected(3), 'other', 'ours']);
});

t.test('rewinddir(3) shows what opendir(3) would', async (t) => {
  const { rig, server, fh } = await directory(3);
  t.same(plainNames(await rig.list(fh)), expected(3));
  server.tree.file('d/other');
  t.same(plainNames(await rig.list(fh)), [...expected(3), 'other']);
});

t.test('entries that were listed long ago are listed again for their attributes', async (t) => {
  const { rig, server, inode, fh } = await directory(3);
  await rig.list(fh);
  rig.directories.release(fh);
  await rig.pass(5000);
  server.forgetCalls();
  const again = await rig.directories.open(inode, rig.caller());
  await rig.list(again.fh);
  t.equal(server.count('READDIRPLUS'), 1);
});

t.test('rdirplus=none reads names alone', async (t) => {
  const { rig, server, fh } = await directory(3, { config: { rdirplus: 'none' } });
  t.same(plainNames(await rig.list(fh)), expected(3));
  t.equal(server.names(), 'READDIR');
});

t.test('an interrupted reader does not take another with it', async (t) => {
  const { rig, server, fh } = await directory(3);
  const gate = server.gate('READDIRPLUS');
  const first = rig.interruptible();
  const sink = { add: () => true, addPlus: () => true };
  const interrupted = rig.directories.read(fh, 1n, sink, true, first.caller);
  const other = rig.directories.read(fh, 1n, sink, true, rig.caller());
  const both = Promise.all([outcome(interrupted), outcome(other)]);
  await settled();
  first.cancel();
  await settled();
  gate.open();
  t.same(await both.then(() => Promise.all([outcome(interrupted), outcome(other)])), [Errno.EINTR, 'ok']);
});

t.test('a directory that may not be read cannot be opened', async (t) => {
  const rig = new Rig();
  rig.server.tree.directory('d', 0o711);
  const inode = await rig.walk('d');
  t.equal(await outcome(rig.directories.open(inode, rig.caller(2000))), Errno.EACCES);
  t.equal(await outcome(rig.directories.open(inode, rig.caller(1000))), 'ok');
});

/** Somebody who has read two directories, and is about to open the third. */
async function walker() {
  const rig = new Rig();
  for (const name of ['a', 'b', 'c', 'e']) {
    rig.server.tree.directory(name);
    rig.server.tree.file(`${name}/f0`);
  }
  for (const name of ['a', 'b']) {
    const { fh } = await rig.directories.open(await rig.walk(name), rig.caller());
    await rig.list(fh);
    rig.directories.release(fh);
  }
  const inode = await rig.walk('c');
  rig.server.forgetCalls();
  return { rig, server: rig.server, inode };
}

t.test('who walks a tree gets the entries together with the right to read them', async (t) => {
  const { rig, server, inode } = await walker();
  const gate = server.gate('ACCESS');
  const opening = rig.directories.open(inode, rig.caller());
  await settled();
  t.equal(server.count('READDIRPLUS'), 1, 'before ACCESS is answered');
  gate.open();
  const { fh } = await opening;
  t.same(plainNames(await rig.list(fh)), expected(1));
  t.equal(server.count('READDIRPLUS'), 1);
  t.equal(server.count(), 2);
});

t.test('entries from before a change that the opening shows are not used', async (t) => {
  const { rig, server, inode } = await walker();
  const listing = server.gate('READDIRPLUS', 'reply');
  const access = server.gate('ACCESS');
  const opening = rig.directories.open(inode, rig.caller());
  await settled();
  server.tree.file('c/new');
  access.open();
  const { fh } = await opening;
  listing.open();
  t.same(plainNames(await rig.list(fh)).sort(), ['f0', 'new']);
});

t.test(
  'entries that came along with the opening serve nobody who reads the directory much later',
  async (t) => {
    for (const [waits, names] of [
      [2_999, ['f0']],
      [3_000, ['f0', 'new']],
    ] as const) {
      const { rig, server, inode } = await walker();
      const { fh } = await rig.directories.open(inode, rig.caller());
      await settled();
      server.tree.file('c/new');
      await rig.pass(waits);
      t.same(plainNames(await rig.list(fh)).sort(), names, `${waits} ms`);
    }
  },
);

t.test('nothing is listed early for who opens directories and does not read them', async (t) => {
  const { rig, server, inode } = await walker();
  const { fh } = await rig.directories.open(inode, rig.caller());
  rig.directories.release(fh);
  const next = await rig.walk('e');
  await settled();
  server.forgetCalls();
  await rig.directories.open(next, rig.caller());
  await settled();
  t.equal(server.count('READDIRPLUS'), 0);
});

t.test('what was to be listed early and failed is asked for again', async (t) => {
  const { rig, server, inode } = await walker();
  const end = server.fail('READDIRPLUS', Status.SERVERFAULT);
  const { fh } = await rig.directories.open(inode, rig.caller());
  await settled();
  end();
  t.same(plainNames(await rig.list(fh)), expected(1));
});

t.test('who waits for entries that are listed early can be interrupted', async (t) => {
  const { rig, server, inode } = await walker();
  const gate = server.gate('READDIRPLUS');
  const { fh } = await rig.directories.open(inode, rig.caller());
  const reader = rig.interruptible();
  const sink = { add: () => true, addPlus: () => true };
  const reading = rig.directories.read(fh, 0n, sink, true, reader.caller);
  await settled();
  reader.cancel();
  t.equal(await outcome(reading), Errno.EINTR);
  gate.open();
  t.same(plainNames(await rig.list(fh)), expected(1));
});

t.test('who may not read a directory is shown nothing of it', async (t) => {
  const { rig, server } = await walker();
  server.tree.directory('g', 0o711);
  const inode = await rig.walk('g');
  t.equal(await outcome(rig.directories.open(inode, rig.caller(2000))), Errno.EACCES);
  await settled();
});

t.test('an unknown directory handle is EBADF', async (t) => {
  const { rig } = await directory(1);
  t.equal(await outcome(rig.list(12345)), Errno.EBADF);
});

t.test('a directory that is removed takes its listing along', async (t) => {
  const { rig, server, inode, fh } = await directory(20);
  await rig.list(fh);
  rig.directories.release(fh);
  t.equal(rig.directories.cachedListings, 1);
  for (let index = 0; index < 20; index++) server.tree.remove(`d/f${index}`);
  await rig.remove.rmdir(rig.root, named('d'), rig.caller());
  rig.vfs.inodes.forget(inode.nodeid, inode.nlookup);
  t.equal(rig.directories.cachedListings, 0);
});

t.test("opendir leads to a directory's successor, where the server keeps the removed one", async (t) => {
  const { rig, server, inode } = await directory(1);
  const { tree } = server;
  const old = tree.at('d');
  tree.remove('d/f0');
  tree.remove('d');
  // As with Linux's own server, while somebody uses the directory.
  tree.assignHandle(old.handle, old);
  old.nlink = 0;
  tree.directory('d');
  const caller = rig.caller(1000, 5);
  const open = () => outcome(rig.directories.open(inode, caller));
  t.equal(await open(), Errno.ESTALE, 'the kernel looks the path up again');
  t.equal(await open(), 'ok', 'which is no way out for a program that works in the removed directory');
});
