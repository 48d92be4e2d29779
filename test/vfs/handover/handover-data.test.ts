/** A process goes on with the mount of one that has died: written data, and what is said of data that is lost. */
import t from 'tap';
import { Status } from '../../../lib/programs/nfs3/index.js';
import { Creation } from '../../../lib/vfs/data/creation.js';
import { RecordKind } from '../../../lib/vfs/handover/record-text.js';
import { firstProcess, nextProcess } from '../support/handover-rig.js';
import { named } from '../support/named.js';
import { O_DSYNC, O_RDWR, O_WRONLY, outcome, type Rig, settled, TestContext } from '../support/rig.js';

const EIO = 5;

t.test(
  'data that there was no memory for is lost, and every descriptor that may write is told once',
  async (t) => {
    const process = firstProcess({}, false);
    process.rig.server.tree.file('f', 'old');
    const writing = await process.rig.open('f', O_RDWR);
    const other = await process.rig.open('f', O_WRONLY);
    await process.rig.write(writing.fh, 0, 'new');
    const { rig } = await nextProcess(process);
    t.match(rig.log.join('\n'), /\/f: data between bytes 0 and 4096 was written, and died/);
    t.equal(await outcome(rig.write(writing.fh, 0, 'more')), EIO);
    t.equal(await outcome(rig.files.flush(writing.fh)), 'ok');
    t.equal(await outcome(rig.files.flush(other.fh)), EIO);
    t.equal(await outcome(rig.files.flush(other.fh)), 'ok');
    await rig.write(writing.fh, 0, 'more');
    t.equal(await outcome(rig.files.flush(writing.fh)), 'ok');
  },
);

t.test('a loss that nobody was told of yet is told by the process after the next', async (t) => {
  const process = firstProcess({}, false);
  process.rig.server.tree.file('f', 'old');
  const { fh } = await process.rig.open('f', O_RDWR);
  await process.rig.write(fh, 0, 'new');
  const { rig } = await nextProcess(await nextProcess(process));
  t.equal(await outcome(rig.files.flush(fh)), EIO);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
});

t.test('a loss is told once more where the process died before the kernel had the answer', async (t) => {
  const process = firstProcess({}, false);
  process.rig.server.tree.file('f', 'old');
  const { fh } = await process.rig.open('f', O_RDWR);
  await process.rig.write(fh, 0, 'new');
  const request = { ...new TestContext(), unique: 30, resent: false } as TestContext;
  const second = await nextProcess(process);
  t.equal(await outcome(second.rig.files.flush(fh, undefined, request)), EIO);
  const { rig } = await nextProcess(await nextProcess(second));
  t.equal(await outcome(rig.files.flush(fh, undefined, { ...request, resent: true } as TestContext)), EIO);
  t.equal(await outcome(rig.files.flush(fh, undefined, { ...request, unique: 32 } as TestContext)), 'ok');
});

t.test(
  'data that the next process writes again does not come to lie over a later synchronous write',
  async (t) => {
    const process = firstProcess();
    process.rig.server.tree.file('f', '');
    const { fh, inode } = await process.rig.open('f', O_RDWR);
    const other = await process.rig.open('f', O_RDWR | O_DSYNC);
    await process.rig.write(fh, 0, 'aaaa');
    await inode.writer?.drain();
    await process.rig.write(other.fh, 0, 'bb');
    const { rig } = await nextProcess(process);
    await rig.files.flush(fh);
    t.equal(String(rig.server.tree.at('f').data), 'bbaa');
  },
);

t.test('data that fsync or close has confirmed is there, and nobody is told of a loss', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'old');
  const { fh } = await process.rig.open('f', O_RDWR);
  await process.rig.write(fh, 0, 'new');
  await process.rig.files.flush(fh);
  const { rig } = await nextProcess(process);
  t.equal(String(rig.server.tree.at('f').data), 'new');
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  t.same(rig.log, []);
});

t.test('data that the server has, and has not lost in a restart, is made stable', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'old');
  const { fh, inode } = await process.rig.open('f', O_RDWR);
  await process.rig.write(fh, 0, 'new');
  await process.rig.write(fh, 100_000, 'end');
  await inode.writer?.drain();
  const { rig } = await nextProcess(process);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  t.same(rig.log, []);
});

t.test('data that was written, and had not reached the server, is there all the same', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'old data');
  const { fh } = await process.rig.open('f', O_RDWR);
  await process.rig.write(fh, 0, 'new');
  await process.rig.write(fh, 1, 'EW');
  await process.rig.write(fh, 5_000, 'far');
  const { rig, memory } = await nextProcess(process);
  t.equal(String(await rig.read(fh, 0, 8)), 'nEW data');
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  const { data } = rig.server.tree.at('f');
  t.equal(String(data.subarray(0, 8)), 'nEW data');
  t.equal(String(data.subarray(5_000)), 'far');
  t.same(rig.log, []);
  const count = memory.count;
  await rig.write(fh, 0, 'more');
  await rig.files.flush(fh);
  t.equal(memory.count, count, 'no copy is left of what is stable');
});

t.test('data survives several deaths, in the order in which it was written', async (t) => {
  const first = firstProcess();
  first.rig.server.tree.file('f', '');
  const { fh } = await first.rig.open('f', O_RDWR);
  await first.rig.write(fh, 0, 'aaaa');
  await first.rig.write(fh, 2_000, 'x');
  await first.rig.write(fh, 1, 'bb');
  const second = await nextProcess(first);
  await second.rig.write(fh, 2, 'c');
  const { rig } = await nextProcess(await nextProcess(second));
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  t.equal(String(rig.server.tree.at('f').data.subarray(0, 4)), 'abca');
});

t.test('data that is written again in two pieces does not come to lie over later data', async (t) => {
  const KIB = 1024;
  const large = { limits: { rsize: KIB * KIB, wsize: KIB * KIB }, writeBudget: 64 * KIB * KIB };
  const first = firstProcess(large);
  first.rig.server.tree.file('f', '');
  const { fh, inode } = await first.rig.open('f', O_RDWR);
  await first.rig.write(fh, 0, Buffer.alloc(600 * KIB, '1'));
  await inode.writer?.drain();
  await first.rig.write(fh, 600 * KIB, Buffer.alloc(600 * KIB, '2'));
  await first.rig.write(fh, 5_000 * KIB, Buffer.alloc(4 * KIB, '3'));
  await first.rig.write(fh, 1_100 * KIB, Buffer.alloc(4 * KIB, '4'));
  const found = [...first.memory.records()].filter(({ kind }) => kind === RecordKind.DATA).length;
  const second = await nextProcess(first, large);
  t.equal([...second.memory.records()].filter(({ kind }) => kind === RecordKind.DATA).length, found);
  const { rig } = await nextProcess(second, large);
  t.equal(await outcome(rig.files.flush(fh)), 'ok');
  const { data } = rig.server.tree.at('f');
  t.equal(data.subarray(600 * KIB, 1_100 * KIB).toString(), '2'.repeat(500 * KIB));
  t.equal(data.subarray(1_100 * KIB, 1_104 * KIB).toString(), '4'.repeat(4 * KIB), 'the later data');
  t.equal(data.subarray(1_104 * KIB, 1_200 * KIB).toString(), '2'.repeat(96 * KIB));
});

t.test('data that a COMMIT has vouched for is not written over what others have written since', async (t) => {
  const process = firstProcess();
  const { tree } = process.rig.server;
  tree.file('f', '');
  const { fh } = await process.rig.open('f', O_RDWR);
  await process.rig.write(fh, 0, 'ours');
  await process.rig.files.flush(fh);
  await process.rig.write(fh, 100, 'later');
  tree.write('f', Buffer.concat([Buffer.from('them'), Buffer.alloc(96)]));
  const { rig } = await nextProcess(process);
  await rig.files.flush(fh);
  t.equal(String(tree.at('f').data.subarray(0, 4)), 'them');
  t.equal(String(tree.at('f').data.subarray(100)), 'later');
});

t.test('a server that refuses data of one file keeps nobody from going on with the others', async (t) => {
  const ENOSPC = 28;
  const process = firstProcess();
  const { server } = process.rig;
  for (const name of ['full', 'other']) server.tree.file(name, '');
  const full = await process.rig.open('full', O_RDWR);
  const other = await process.rig.open('other', O_RDWR);
  for (let piece = 0; piece < 100; piece++) {
    await process.rig.write(full.fh, piece * 2_000, Buffer.alloc(1_000, 'x'));
    await process.rig.write(other.fh, piece * 10, 'other data');
  }
  const end = server.on('WRITE', (args, execute) =>
    args.file === server.tree.at('full').handle ? server.failure('WRITE', Status.NOSPC) : execute(),
  );
  const { rig, memory } = await nextProcess(process);
  t.equal(await outcome(rig.files.flush(full.fh)), ENOSPC);
  t.equal(await outcome(rig.files.flush(other.fh)), 'ok');
  t.equal(server.tree.at('other').stable.toString(), 'other data'.repeat(100));
  end();
  await rig.write(full.fh, 0, 'there is room');
  t.equal(await outcome(rig.files.flush(full.fh)), 'ok');
  const kinds = [...memory.records()].map(({ kind }) => kind);
  t.notOk(kinds.includes(RecordKind.DATA), 'no copy is left');
});

t.test('data that was cut off does not come back', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', '');
  const { fh, inode } = await process.rig.open('f', O_RDWR);
  await process.rig.write(fh, 0, 'long data');
  const changes = { mode: undefined, uid: undefined, gid: undefined, atime: undefined, mtime: undefined, fh };
  await process.rig.files.setAttributes(inode, { ...changes, size: 4n }, process.rig.caller());
  const { rig } = await nextProcess(process);
  await rig.files.flush(fh);
  t.equal(String(rig.server.tree.at('f').data), 'long');
});

t.test('data of a file that is closed, and was being written back, reaches the server', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', '');
  const { fh } = await process.rig.open('f', O_RDWR);
  await process.rig.write(fh, 0, 'data');
  process.rig.server.once('WRITE', () => new Promise(() => {}));
  void process.rig.files.release(fh);
  await settled();
  const { rig } = await nextProcess(process);
  await rig.files.release(fh);
  t.equal(String(rig.server.tree.at('f').data), 'data');
});

const mtime = { seconds: 77_777, nanoseconds: 5 };

/** A new file as tar(1) makes it, which is still open. */
async function unpacked(rig: Rig, name: string, content = 'content') {
  const O_EXCL = 0o200;
  const changes = { uid: undefined, gid: undefined, size: undefined, atime: undefined, fh: undefined };
  const creation = new Creation(rig.make, rig.files);
  const how = { mode: 0o600, flags: O_RDWR | O_EXCL };
  const { found, open } = await creation.open(rig.root, named(name), how, rig.caller());
  rig.vfs.replies.handOver(rig.root, named(name), found.inode, found.attributes, found.entryValidMs);
  await rig.write(open.fh, 0, content);
  await rig.files.setAttributes(found.inode, { ...changes, mode: 0o640, mtime }, rig.caller());
  return { inode: found.inode, fh: open.fh };
}

t.test(
  'the next process does not set a mode again that the server has set: another client may have changed it',
  async (t) => {
    const process = firstProcess();
    const { rig } = process;
    const { server } = rig;
    await rig.files.flush((await unpacked(rig, 'first')).fh);
    const { inode, fh } = await unpacked(rig, 'f', 'x'.repeat(5_000));
    await inode.writer?.drain();
    t.match(server.tree.at('f'), { mode: 0o640, mtime });
    t.equal(server.tree.at('f').stable.length, 0, 'the data is written once more');
    server.tree.chmod('f', 0o600);
    const next = await nextProcess(process);
    await next.rig.files.flush(fh);
    t.equal(server.tree.at('f').stable.length, 5_000);
    t.match(server.tree.at('f'), { mode: 0o600, mtime });
  },
);

t.test(
  'attributes that a program has set of a new file are set by the next process, after the data',
  async (t) => {
    const process = firstProcess();
    const { rig } = process;
    const { server } = rig;
    await rig.files.flush((await unpacked(rig, 'first')).fh);
    server.forgetCalls();
    const made = await unpacked(rig, 'f');
    t.equal(server.names(), 'CREATE', 'nothing has been asked for');
    const second = await nextProcess(process);
    t.equal(second.rig.vfs.inodes.get(made.inode.nodeid).writer?.setsLater, true);
    const third = await nextProcess(second);
    await third.rig.files.flush(made.fh);
    t.equal(String(server.tree.at('f').stable), 'content');
    t.match(server.tree.at('f'), { mode: 0o640, mtime });
    await third.rig.files.release(made.fh);
    const kinds = [...third.memory.records()].map(({ kind }) => kind);
    t.notOk(kinds.includes(RecordKind.ATTRIBUTES), 'they are recorded no more');
  },
);
