/** A process goes on with the mount of one that has died: what that one had told the kernel and programs holds. */
import t from 'tap';
import type { FileHandle } from '../../../lib/programs/nfs3/index.js';
import type { Inode } from '../../../lib/vfs/cache/inode.js';
import { type Caller, unattended } from '../../../lib/vfs/caller/caller.js';
import { firstProcess, nextProcess } from '../support/handover-rig.js';
import { named } from '../support/named.js';
import {
  O_APPEND,
  O_DSYNC,
  O_RDWR,
  O_WRONLY,
  outcome,
  type Rig,
  settled,
  TestContext,
} from '../support/rig.js';

const EIO = 5;
const EEXIST = 17;
const ENOENT = 2;

/** A request that the kernel sends again, because nobody had answered it. */
function again(rig: Rig, unique: number, resent = true): Caller {
  const request = Object.assign(new TestContext(), { unique, resent });
  return { ...rig.caller(), request };
}

const first = (rig: Rig, unique: number): Caller => again(rig, unique, false);

function known(rig: Rig, { nodeid }: Inode): Inode {
  return rig.vfs.inodes.get(nodeid);
}

t.test('node ids go on to stand for the same objects, with their counts, parents and names', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.directory('d');
  process.rig.server.tree.directory('d/e');
  process.rig.server.tree.file('d/e/f', 'x');
  const f = await process.rig.walk('d/e/f');
  await process.rig.walk('d/e/f');
  const { rig, memory } = await nextProcess(process);
  const after = known(rig, f);
  t.equal(after.handle, f.handle);
  t.equal(after.nlookup, f.nlookup);
  t.equal(after.name, 'f');
  t.equal(after.parent?.name, 'e');
  t.equal(after.parent?.parent?.parent, rig.root);
  const before = memory.count;
  rig.vfs.inodes.forget(f.nodeid, f.nlookup - 1);
  t.equal(memory.count, before);
  rig.vfs.inodes.forget(f.nodeid, 1);
  t.equal(memory.count, before - 1, 'what the kernel forgets is recorded no more');
});

t.test('new node ids are none that the kernel may still know', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('a', 'x');
  process.rig.server.tree.file('b', 'x');
  const a = await process.rig.walk('a');
  process.rig.vfs.inodes.forget(a.nodeid, a.nlookup);
  const { rig } = await nextProcess(process);
  const b = await rig.walk('b');
  t.ok(b.nodeid > a.nodeid);
});

t.test('a renamed file has its new place', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('a', 'x');
  process.rig.server.tree.directory('d');
  const d = await process.rig.walk('d');
  const a = await process.rig.walk('a');
  await process.rig.remove.rename(
    process.rig.at('a'),
    { parent: d, name: named('b') },
    0,
    process.rig.caller(),
  );
  const { rig } = await nextProcess(process);
  t.equal(known(rig, a).name, 'b');
  t.equal(known(rig, a).parent?.nodeid, d.nodeid);
});

t.test('open files go on to be read and written, and closed', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'hello');
  const { fh, inode } = await process.rig.open('f', O_RDWR);
  const { rig } = await nextProcess(process);
  t.equal(String(await rig.read(fh, 0, 5)), 'hello');
  await rig.write(fh, 0, 'HELLO');
  await rig.files.flush(fh);
  t.equal(String(rig.server.tree.at('f').data), 'HELLO');
  t.equal(known(rig, inode).opens, 1);
  await rig.files.release(fh);
  t.equal(known(rig, inode).opens, 0);
});

t.test('a new file handle is none that the kernel may still know', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'hello');
  const { fh } = await process.rig.open('f');
  await process.rig.files.release(fh);
  const { rig } = await nextProcess(process);
  t.ok((await rig.open('f')).fh > fh);
});

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

t.test('a file without a name goes on, and goes with its last close', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'hello');
  const { fh, inode } = await process.rig.open('f', O_RDWR);
  await process.rig.remove.unlink(process.rig.root, named('f'), process.rig.caller());
  const { rig } = await nextProcess(process);
  t.match(known(rig, inode).silly?.name, /^\.nfs/);
  t.equal(String(await rig.read(fh, 0, 5)), 'hello');
  await rig.files.release(fh);
  await settled();
  t.same(await rig.names_('/'), []);
});

t.test('a file without a name goes although the kernel has forgotten it and its directory', async (t) => {
  const process = firstProcess();
  const { rig: before } = process;
  before.server.tree.directory('d');
  before.server.tree.file('d/f', 'hello');
  const d = await before.walk('d');
  const { fh, inode } = await before.open('d/f', O_RDWR);
  await before.remove.unlink(d, named('f'), before.caller());
  before.vfs.inodes.forget(d.nodeid, d.nlookup);
  before.server.once('REMOVE', () => new Promise(() => {}));
  await before.files.release(fh);
  before.vfs.inodes.forget(inode.nodeid, inode.nlookup);
  await settled();
  const { rig } = await nextProcess(process);
  t.same([...rig.server.tree.at('d').children.keys()], []);
});

t.test('a request that was carried out already, and comes again, succeeds', async (t) => {
  const process = firstProcess();
  const { tree } = process.rig.server;
  tree.file('gone', 'x');
  tree.file('from', 'x');
  tree.file('linked', 'x');
  await process.rig.walk('gone');
  await process.rig.walk('from');
  const linked = await process.rig.walk('linked');
  const before = process.rig;
  await before.make.mkdir(before.root, named('d'), 0o755, first(before, 10));
  await before.make.create(before.root, named('c'), 0o644, true, first(before, 12));
  await before.make.symlink(before.root, named('s'), Buffer.from('to'), first(before, 14));
  await before.make.link(linked, before.root, named('l'), first(before, 16));
  await before.remove.unlink(before.root, named('gone'), first(before, 18));
  await before.remove.rename(before.at('from'), before.at('to'), 0, first(before, 20));
  const { rig } = await nextProcess(process);
  await rig.make.mkdir(rig.root, named('d'), 0o755, again(rig, 10));
  await rig.make.create(rig.root, named('c'), 0o644, true, again(rig, 12));
  await rig.make.symlink(rig.root, named('s'), Buffer.from('to'), again(rig, 14));
  await rig.make.link(known(rig, linked), rig.root, named('l'), again(rig, 16));
  await rig.remove.unlink(rig.root, named('gone'), again(rig, 18));
  await rig.remove.rename(rig.at('from'), rig.at('to'), 0, again(rig, 20));
  t.same(await rig.names_('/'), ['c', 'd', 'l', 'linked', 's', 'to']);
});

t.test('an open file that was renamed already keeps its new name when the rename comes again', async (t) => {
  const process = firstProcess();
  const { rig: before } = process;
  before.server.tree.file('from', 'x');
  before.server.tree.file('to', 'y');
  const { fh } = await before.open('from', O_RDWR);
  await before.walk('to');
  const end = before.server.on('RENAME', (_args, execute) => {
    execute();
    return new Promise(() => {});
  });
  void before.remove.rename(before.at('from'), before.at('to'), 0, first(before, 20));
  await settled();
  end();
  const { rig } = await nextProcess(process);
  await rig.remove.rename(rig.at('from'), rig.at('to'), 0, again(rig, 20));
  t.same(await rig.names_('/'), ['to']);
  t.equal(String(await rig.read(fh, 0, 5)), 'x');
});

t.test('a new request fails where one that comes again succeeds', async (t) => {
  const process = firstProcess();
  const before = process.rig;
  await before.make.create(before.root, named('c'), 0o644, true, first(before, 12));
  await before.make.mkdir(before.root, named('d'), 0o755, first(before, 14));
  const { rig } = await nextProcess(process);
  t.equal(await outcome(rig.make.create(rig.root, named('c'), 0o644, true, first(rig, 30))), EEXIST);
  t.equal(await outcome(rig.make.mkdir(rig.root, named('d'), 0o755, first(rig, 32))), EEXIST);
  t.equal(await outcome(rig.remove.unlink(rig.root, named('x'), first(rig, 34))), ENOENT);
});

t.test('an exclusive create that comes again does not take another client’s file for its own', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('c', 'theirs');
  const { rig } = await nextProcess(process);
  t.equal(await outcome(rig.make.create(rig.root, named('c'), 0o644, true, again(rig, 12))), EEXIST);
});

t.test('an open that comes again leaves no file open that nobody closes', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'hello');
  const inode = await process.rig.walk('f');
  await process.rig.files.open(inode, O_RDWR, first(process.rig, 40));
  const { rig } = await nextProcess(process);
  const { fh } = await rig.files.open(known(rig, inode), O_RDWR, again(rig, 40));
  t.equal(known(rig, inode).opens, 1);
  await rig.files.release(fh);
  t.equal(known(rig, inode).opens, 0);
});

function append(rig: Rig, fh: number, data: string, unique: number, resent = false): Promise<number> {
  const request = { offset: 0, data: Buffer.from(data), flags: O_APPEND, fromPageCache: false, direct: true };
  return rig.files.write(fh, request, Object.assign(new TestContext(), { unique, resent }));
}

t.test('an append that comes again is in the file once', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'a');
  const { fh } = await process.rig.open('f', O_WRONLY | O_APPEND);
  await append(process.rig, fh, 'bb', 50);
  await append(process.rig, fh, 'cc', 52);
  const { rig } = await nextProcess(process);
  await append(rig, fh, 'cc', 52, true);
  await append(rig, fh, 'dd', 54);
  t.equal(String(rig.server.tree.at('f').data), 'abbccdd');
});

t.test('an append that comes again and again is in the file once', async (t) => {
  const process = firstProcess();
  process.rig.server.tree.file('f', 'a');
  const { fh } = await process.rig.open('f', O_WRONLY | O_APPEND);
  await append(process.rig, fh, 'bb', 50);
  const second = await nextProcess(process);
  const { memory } = second;
  const setCell = memory.setCell.bind(memory);
  // It dies with the first thing that it records of it.
  memory.setCell = (...cell) => {
    setCell(...cell);
    memory.setCell = () => {};
  };
  second.rig.server.once('WRITE', () => new Promise(() => {}));
  void append(second.rig, fh, 'bb', 50, true).catch(() => {});
  await settled();
  const { rig } = await nextProcess(second);
  await append(rig, fh, 'bb', 50, true);
  t.equal(String(rig.server.tree.at('f').data), 'abb');
});

t.test('a request that is under way stays recorded while many others come and go', async (t) => {
  const process = firstProcess();
  const { rig: before } = process;
  const end = before.server.on('MKDIR', (args, execute) => {
    const result: unknown = execute();
    return args.where.name === 'slow' ? new Promise(() => {}) : result;
  });
  void before.make.mkdir(before.root, named('slow'), 0o755, first(before, 10));
  await settled();
  const others = async (rig: Rig, from: number): Promise<void> => {
    for (let at = 0; at < 300; at++)
      await rig.make.mkdir(rig.root, named(`d${from + at}`), 0o755, first(rig, 1000 + from + at));
  };
  await others(before, 0);
  const second = await nextProcess(process);
  void second.rig.make.mkdir(second.rig.root, named('slow'), 0o755, again(second.rig, 10)).catch(() => {});
  await others(second.rig, 500);
  const { rig } = await nextProcess(second);
  end();
  await rig.make.mkdir(rig.root, named('slow'), 0o755, again(rig, 10));
  t.ok(rig.server.tree.has('slow'));
});

t.test(
  'an append that comes again, and was never sent, does not destroy what another client has appended',
  async (t) => {
    const process = firstProcess();
    process.rig.server.tree.file('f', 'a');
    const { fh } = await process.rig.open('f', O_WRONLY | O_APPEND);
    const { tree } = process.rig.server;
    process.rig.server.once('WRITE', () => new Promise(() => {}));
    void append(process.rig, fh, 'bb', 50).catch(() => {});
    await settled();
    tree.write('f', 'aXX');
    const { rig } = await nextProcess(process);
    await append(rig, fh, 'bb', 50, true);
    t.equal(String(tree.at('f').data), 'aXXbb');
  },
);

t.test('a listing goes on where it was', async (t) => {
  const process = firstProcess();
  const { tree } = process.rig.server;
  const names = Array.from({ length: 1_000 }, (_, at) => `f${String(at).padStart(4, '0')}`);
  tree.directory('d');
  for (const name of names) tree.file(`d/${name}`, '');
  const d = await process.rig.walk('d');
  const { fh } = await process.rig.directories.open(d, process.rig.caller());
  const half = await process.rig.listSome(fh, 0n, 600);
  const { rig } = await nextProcess(process);
  const rest = await rig.listSome(fh, half.offset, 5_000);
  const listed = [...half.names, ...rest.names].filter((name) => !name.startsWith('.'));
  t.same(listed.sort(), names);
});

t.test('a listing gives no name twice because the records of its directory are old', async (t) => {
  const process = firstProcess();
  const { rig: before } = process;
  before.server.tree.directory('d');
  const d = await before.walk('d');
  for (const name of ['a', 'b', 'c', 'e']) before.server.tree.file(`d/${name}`, '');
  await before.pass(60_000);
  const { fh } = await before.directories.open(d, before.caller());
  const half = await before.listSome(fh, 0n, 4);
  const { rig } = await nextProcess(process);
  const rest = await rig.listSome(fh, half.offset, 100);
  t.same([...half.names, ...rest.names].sort(), ['.', '..', 'a', 'b', 'c', 'e']);
});

t.test('a listing of a directory that has changed meanwhile leaves no file out', async (t) => {
  const process = firstProcess();
  const { tree } = process.rig.server;
  const names = Array.from({ length: 1_000 }, (_, at) => `f${String(at).padStart(4, '0')}`);
  tree.directory('d');
  for (const name of names) tree.file(`d/${name}`, '');
  const d = await process.rig.walk('d');
  const { fh } = await process.rig.directories.open(d, process.rig.caller());
  const half = await process.rig.listSome(fh, 0n, 600);
  for (const name of names.slice(0, 100)) tree.remove(`d/${name}`);
  const { rig } = await nextProcess(process);
  const rest = await rig.listSome(fh, half.offset, 5_000);
  const listed = new Set([...half.names, ...rest.names]);
  t.same(
    names.filter((name) => !listed.has(name)),
    [],
  );
});

t.test(
  'nothing that the dead process believed is served: a file that has changed meanwhile is read anew',
  async (t) => {
    const process = firstProcess();
    const { tree } = process.rig.server;
    tree.file('f', 'old');
    const { fh, inode } = await process.rig.open('f');
    await process.rig.read(fh, 0, 3);
    tree.write('f', 'newer');
    const { rig } = await nextProcess(process);
    t.equal(String(await rig.read(fh, 0, 10)), 'newer');
    await rig.vfs.current.fetch(known(rig, inode), unattended(rig.caller().credential), 'object');
    t.match(rig.notices.join(), new RegExp(`(attributes|pages) ${inode.nodeid}`));
  },
);

t.test('records go with what they are about', async (t) => {
  const process = firstProcess();
  const { rig, memory } = process;
  const empty = memory.count;
  rig.server.tree.directory('d');
  for (let at = 0; at < 50; at++) rig.server.tree.file(`d/f${at}`, 'x');
  const inodes: Inode[] = [];
  for (let at = 0; at < 50; at++) {
    const { fh, inode } = await rig.open(`d/f${at}`, O_RDWR);
    inodes.push(inode);
    await rig.write(fh, 0, 'data');
    await rig.files.flush(fh);
    await rig.files.release(fh);
  }
  const d = await rig.walk('d');
  const { fh } = await rig.directories.open(d, rig.caller());
  for (const { entry } of await rig.list(fh)) if (entry) rig.vfs.inodes.forget(entry.nodeid, 1);
  rig.directories.release(fh);
  for (const inode of [...inodes, d]) rig.vfs.inodes.forget(inode.nodeid, inode.nlookup);
  t.equal(memory.count, empty);
});

t.test('other work goes on while a great many inodes are taken up', async (t) => {
  const process = firstProcess();
  const { inodes } = process.rig.vfs;
  for (let at = 0; at < 40_000; at++) inodes.hold(inodes.intern(`h${at}` as FileHandle));
  let turns = 0;
  const count = (): void => {
    turns++;
    turn = setImmediate(count);
  };
  let turn = setImmediate(count);
  const { rig } = await nextProcess(process);
  clearImmediate(turn);
  t.equal(rig.vfs.inodes.size, 40_001);
  t.ok(turns > 20, `${turns} turns`);
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

t.test('a listing that has come to its end ends in the next process, too', async (t) => {
  const process = firstProcess();
  const { tree } = process.rig.server;
  tree.directory('d');
  const d = await process.rig.walk('d');
  for (let at = 0; at < 50; at++) tree.file(`d/f${at}`, '');
  const { fh } = await process.rig.directories.open(d, process.rig.caller());
  const all = await process.rig.listSome(fh, 0n, 1_000);
  const { rig } = await nextProcess(process);
  t.same((await rig.listSome(fh, all.offset, 1_000)).names, []);
});
