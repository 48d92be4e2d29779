/** READs that go out along with an open: when they do, which reads they serve, and that they are never in the way. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { type Fattr3, Status } from '../../../lib/programs/nfs3/index.js';
import type { Inode } from '../../../lib/vfs/cache/inode.js';
import { Credentials } from '../../../lib/vfs/caller/caller.js';
import {
  O_APPEND,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  outcome,
  Rig,
  type RigOptions,
  settled,
  TestContext,
} from '../support/rig.js';

const KIB = 1024;
const O_DIRECT = 0o40000;
/** Far enough from the last change for the server's clock to have moved on. */
const LATER = 100;

/** A file that has been looked up and not changed lately. */
async function known(options: RigOptions = {}, content: string | Buffer = 'content') {
  const rig = new Rig({ ...options, limits: { rsize: 256 * KIB, ...options.limits } });
  rig.server.tree.file('f', content);
  const inode = await rig.walk('f');
  await rig.walk('f');
  await rig.pass(LATER);
  rig.server.forgetCalls();
  return { rig, server: rig.server, inode };
}

async function openOf(rig: Rig, inode: Inode, flags = O_RDONLY, caller = rig.caller()): Promise<number> {
  return (await rig.files.open(inode, flags, caller)).fh;
}

function attributesOf({ attributes }: Inode): Fattr3 {
  if (attributes === undefined) throw new Error('no attributes');
  return attributes;
}

const text = async (reading: Promise<Buffer>): Promise<string> => (await reading).toString();

t.test('the READ of a small file is on its way together with what close-to-open asks', async (t) => {
  const { rig, server, inode } = await known();
  const gate = server.gate('ACCESS', 'request');
  const opening = openOf(rig, inode);
  await settled();
  t.equal(server.names(), 'ACCESS READ');
  gate.open();
  const fh = await opening;
  t.equal(await text(rig.read(fh, 0, 4096)), 'content');
  t.equal(await text(rig.read(fh, 7, 4096)), '');
  t.equal(server.names(), 'ACCESS READ', 'nothing more is asked for, not even for the end');
  t.match(rig.counters, { earlyReadHits: 1, earlyReadWasted: 0 });
});

t.test('it goes out with GETATTR where the rights are known, with the opener’s credential', async (t) => {
  const { rig, server, inode } = await known();
  const caller = rig.caller(1000);
  await rig.files.release(await openOf(rig, inode, O_RDONLY, caller));
  inode.advanceGeneration();
  await openOf(rig, inode, O_RDONLY, caller);
  await rig.files.release(await openOf(rig, inode, O_WRONLY, caller));
  inode.pagesGeneration = -1;
  server.forgetCalls();
  const fh = await openOf(rig, inode, O_RDONLY, caller);
  t.equal(server.names(), 'GETATTR READ');
  t.equal(await text(rig.read(fh, 0, 10, rig.caller(2000))), 'content');
  t.ok(server.named('READ').every(({ uid }) => uid === 1000));
});

t.test('no READ goes out where it would most likely be in vain, or would not be right', async (t) => {
  const cases: [string, RigOptions, number, string | Buffer][] = [
    ['noearlyread', { config: { earlyRead: false } }, O_RDONLY, 'x'],
    ['nocto', { config: { closeToOpen: false } }, O_RDONLY, 'x'],
    ['noac', { config: { attributeCache: false } }, O_RDONLY, 'x'],
    ['actimeo=0', { config: { acRegMaxMs: 0 } }, O_RDONLY, 'x'],
    ['readahead=0', { readBudget: 0 }, O_RDONLY, 'x'],
    ['for writing', {}, O_WRONLY, 'x'],
    ['for both', {}, O_RDWR, 'x'],
    ['for appending', {}, O_WRONLY | O_APPEND, 'x'],
    ['O_DIRECT', {}, O_RDONLY | O_DIRECT, 'x'],
    ['an empty file', {}, O_RDONLY, ''],
    ['a large file', {}, O_RDONLY, Buffer.alloc(128 * KIB + 1)],
    ['a file of more than one READ', { limits: { rsize: 8 * KIB } }, O_RDONLY, Buffer.alloc(8 * KIB + 1)],
  ];
  for (const [what, options, flags, content] of cases) {
    const { rig, server, inode } = await known(options, content);
    await openOf(rig, inode, flags);
    t.equal(server.count('READ'), 0, what);
  }
  const { rig, server, inode } = await known({}, Buffer.alloc(128 * KIB));
  await openOf(rig, inode);
  t.equal(server.count('READ'), 1, 'the largest of the small ones');
});

t.test(
  'a file whose pages the kernel has, or that nobody read after its last open, costs no READ',
  async (t) => {
    const { rig, server, inode } = await known();
    const first = await openOf(rig, inode);
    await rig.read(first, 0, 4096);
    await rig.files.release(first);
    t.equal(server.count('READ'), 1);
    t.equal((await rig.files.open(inode, O_RDONLY, rig.caller())).openFlags & 2, 2, 'the pages are kept');
    t.equal(server.count('READ'), 1);
  },
);

t.test(
  'pages that may be older than their ctime says are dropped, and read anew along with the open',
  async (t) => {
    const { rig, server, inode } = await known();
    const first = await openOf(rig, inode);
    // Changed within the tick in which it is read: seen by this READ or not, its ctime would be the same.
    rig.server.tree.write('f', 'younger');
    await rig.vfs.current.fetch(inode, rig.caller());
    t.equal(await text(rig.read(first, 0, 4096)), 'younger');
    t.ok(inode.pagesRacy);
    server.forgetCalls();
    const second = await openOf(rig, inode);
    t.equal(server.count('READ'), 1);
    t.notOk(inode.pagesRacy, 'the kernel has no pages of it');
    t.equal(await text(rig.read(second, 0, 4096)), 'younger');
    t.ok(inode.pagesRacy, 'and these may be outdated as the others were');
  },
);

t.test(
  'a change that the open sees makes the data void, whichever of the two answers came first',
  async (t) => {
    for (const late of ['ACCESS', 'READ'] as const) {
      const { rig, server, inode } = await known();
      const gate = server.gate(
        late === 'ACCESS' ? 'ACCESS' : 'READ',
        late === 'ACCESS' ? 'request' : 'reply',
      );
      const opening = openOf(rig, inode);
      await settled();
      server.tree.write('f', 'changed');
      const opened = late === 'ACCESS' ? undefined : await opening;
      gate.open();
      const fh = opened ?? (await opening);
      await rig.vfs.current.fetch(inode, rig.caller());
      t.equal(await text(rig.read(fh, 0, 4096)), 'changed', late);
    }
  },
);

t.test('what any later answer, write, lock or truncation shows makes the data void', async (t) => {
  const changes: [string, (rig: Rig, inode: Inode) => unknown][] = [
    [
      'GETATTR',
      (rig, inode) => {
        rig.server.tree.write('f', 'changed');
        return rig.vfs.current.fetch(inode, rig.caller());
      },
    ],
    [
      'lock',
      (rig, inode) => {
        rig.server.tree.write('f', 'changed');
        inode.countContentChange();
      },
    ],
    [
      'own write',
      async (rig, inode) => {
        const fh = await openOf(rig, inode, O_RDWR);
        await rig.write(fh, 0, 'changed');
        await rig.files.flush(fh);
      },
    ],
  ];
  for (const [what, change] of changes) {
    const { rig, inode } = await known();
    const fh = await openOf(rig, inode);
    await change(rig, inode);
    t.equal(await text(rig.read(fh, 0, 4096)), 'changed', what);
    t.equal(rig.counters.earlyReadWasted, 1, what);
  }
});

t.test(
  'the data serves as long as the open took, and no longer: another client may have told the program',
  async (t) => {
    for (const [waits, reads] of [
      [20, 1],
      [21, 2],
    ] as const) {
      const { rig, server, inode } = await known();
      const gate = server.gate('ACCESS', 'request');
      const opening = openOf(rig, inode);
      await rig.pass(20);
      gate.open();
      const fh = await opening;
      if (reads === 2) server.tree.write('f', 'changed');
      await rig.pass(waits);
      t.equal(await text(rig.read(fh, 0, 4096)), reads === 2 ? 'changed' : 'content');
      t.equal(server.count('READ'), reads, `a read ${waits} ms after an open of 20 ms`);
    }
  },
);

t.test('an open that took a minute leaves no minute for a first read', async (t) => {
  for (const [waits, read] of [
    [20, 'content'],
    [21, 'changed'],
  ] as const) {
    const { rig, server, inode } = await known();
    const gate = server.gate('ACCESS', 'request');
    const opening = openOf(rig, inode);
    await rig.pass(60_000);
    gate.open();
    const fh = await opening;
    server.tree.write('f', 'changed');
    await rig.pass(waits);
    t.equal(await text(rig.read(fh, 0, 4096)), read, `a read ${waits} ms after it`);
  }
});

t.test('an open that is refused gets no data, and its READ gives back what it holds', async (t) => {
  const rig = new Rig();
  rig.server.tree.file('f', 'secret', 0o600);
  const inode = await rig.walk('f');
  t.equal(await outcome(rig.files.open(inode, O_RDONLY, rig.caller(2000))), Errno.EACCES);
  await settled();
  t.equal(rig.vfs.memory.readBudget.used, 0);
  t.equal(rig.counters.earlyReadWasted, 1);
});

t.test(
  'a READ that fails is no error: the read asks again, and hears what the server says then',
  async (t) => {
    for (const status of [Status.ACCES, Status.IO, Status.JUKEBOX, Status.STALE]) {
      const { rig, server, inode } = await known();
      let failures = 1;
      server.on('READ', (_args, execute) => (failures-- > 0 ? { status, attributes: undefined } : execute()));
      const fh = await openOf(rig, inode);
      const reading = text(rig.read(fh, 0, 4096));
      await rig.pass(60_000);
      t.equal(await reading, 'content', `status ${status}`);
      t.same(rig.log, [], 'nothing is logged');
    }
    const { rig, server, inode } = await known();
    server.on('READ', () => ({ status: Status.ACCES, attributes: undefined }));
    const fh = await openOf(rig, inode);
    t.equal(await outcome(rig.read(fh, 0, 4096)), Errno.EACCES);
  },
);

t.test('a server that gives less than the file costs one READ in vain, and no wait', async (t) => {
  const { rig, server, inode } = await known();
  server.mostRead = 3;
  const fh = await openOf(rig, inode);
  t.equal(server.count('READ'), 1);
  t.equal(await text(rig.read(fh, 0, 7)), 'content');
  t.equal(server.count('READ'), 4);
});

t.test('handles that went stale are found again once, for the open and for the READ', async (t) => {
  const { rig, server, inode } = await known();
  server.tree.reexport();
  const fh = await openOf(rig, inode);
  t.equal(await text(rig.read(fh, 0, 4096)), 'content');
  t.equal(rig.counters.redrivesFailed, 0);
  t.ok(rig.counters.redrives <= 2, 'the file, and the root');
});

t.test('a file that has grown is read to its new end', async (t) => {
  const { rig, server, inode } = await known();
  server.tree.write('f', 'c'.repeat(10_000));
  const fh = await openOf(rig, inode);
  t.equal((await rig.read(fh, 0, 64 * KIB)).length, 10_000);
});

t.test('programs that open files and do not read them end it for a while', async (t) => {
  const rig = new Rig();
  const { server } = rig;
  const inodes: Inode[] = [];
  for (let i = 0; i < 200; i++) {
    server.tree.file(`f${i}`, 'content');
    inodes.push(await rig.walk(`f${i}`));
  }
  await rig.pass(LATER);
  server.forgetCalls();
  const next = (): Inode => inodes.shift() ?? rig.root;
  const openNext = async () => openOf(rig, next());
  for (let i = 0; i < 60; i++) await rig.files.release(await openNext());
  t.equal(server.count('READ'), 4);
  for (let i = 0; i < 20; i++) await rig.files.release(await openNext());
  t.equal(server.count('READ'), 5, 'it is tried again, and given up again');
  for (let i = 0; i < 64; i++) await rig.read(await openNext(), 0, 100);
  const before = server.count('READ');
  for (let i = 0; i < 20; i++) await rig.read(await openNext(), 0, 100);
  t.equal(server.count('READ') - before, 20, 'one READ each');
  t.ok(rig.counters.earlyReadHits >= 20, 'which went along with the open again');
});

t.test(
  'fstat after such a read asks nothing: its attributes came with the data, younger than the open',
  async (t) => {
    const { rig, inode } = await known();
    const caller = rig.caller();
    rig.vfs.replies.attributes(inode, attributesOf(inode));
    const gate = rig.server.gate('ACCESS', 'request');
    const opening = openOf(rig, inode);
    await rig.pass(20);
    gate.open();
    const fh = await opening;
    await rig.read(fh, 0, 4096);
    t.notOk(rig.vfs.kernel.insists(inode, caller));
    await rig.pass(21);
    t.ok(rig.vfs.kernel.insists(inode, caller), 'but not for longer than the data itself');
  },
);

t.test(
  'fstat asks all the same where something else than the time of access is not as the READ showed it',
  async (t) => {
    const { rig, server, inode } = await known();
    rig.vfs.replies.attributes(inode, attributesOf(inode));
    const fh = await openOf(rig, inode);
    await rig.read(fh, 0, 4096);
    t.notOk(rig.vfs.kernel.insists(inode, rig.caller()));
    server.tree.chmod('f', 0o600);
    await rig.vfs.current.fetch(inode, rig.caller());
    rig.vfs.kernel.doubts(inode);
    inode.told ??= inode.attributes;
    t.ok(rig.vfs.kernel.insists(inode, rig.caller()));
  },
);

t.test(
  'the time of access that the READ left counts, though the answer to the open came later',
  async (t) => {
    const { rig, server, inode } = await known();
    const read = { seconds: 2_000_000, nanoseconds: 0 };
    server.on('READ', (_args, execute) => {
      const result = execute();
      return result.attributes === undefined
        ? result
        : { ...result, attributes: { ...result.attributes, atime: read } };
    });
    const gate = server.gate('ACCESS', 'reply');
    const opening = openOf(rig, inode);
    await settled();
    gate.open();
    await opening;
    t.same(inode.attributes?.atime, read);
  },
);

t.test(
  'of a file that is gone, only the open speaks: nothing is logged, and nothing is counted against it',
  async (t) => {
    const { rig, server, inode } = await known();
    server.tree.remove('f');
    t.equal(await outcome(rig.files.open(inode, O_RDONLY, rig.caller())), Errno.ESTALE);
    await settled();
    t.same(rig.log, []);
    t.equal(rig.vfs.memory.readBudget.used, 0);
  },
);

t.test('data that was asked for without the group that counts is not handed out', async (t) => {
  const { rig, server, inode } = await known();
  const groups = Array.from({ length: 24 }, (_, i) => 100 + i);
  const credentials = new Credentials({ machineName: 'm', now: () => 0, groupsOf: () => groups });
  const caller = credentials.caller(new TestContext(2000, 1));
  // Within the tick of the last change: the new group is all that shows it.
  server.tree.at('f').gid = 120;
  const gate = server.gate('READ', 'reply');
  const opening = openOf(rig, inode, O_RDONLY, caller);
  await settled();
  gate.open();
  const fh = await opening;
  server.forgetCalls();
  t.equal(await text(rig.read(fh, 0, 4096)), 'content');
  t.same(
    server.named('READ').map((call) => call.groups.includes(120)),
    [true],
  );
});
