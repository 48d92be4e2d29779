/** A process goes on with the mount of one that has died: requests that the kernel sends again. */
import t from 'tap';
import type { Inode } from '../../../lib/vfs/cache/inode.js';
import type { Caller } from '../../../lib/vfs/caller/caller.js';
import { firstProcess, nextProcess } from '../support/handover-rig.js';
import { named } from '../support/named.js';
import { O_APPEND, O_RDWR, O_WRONLY, outcome, type Rig, settled, TestContext } from '../support/rig.js';

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

t.test('a rename that comes again does not move what another client has put in the old place', async (t) => {
  const process = firstProcess();
  const { rig: before } = process;
  const { tree } = before.server;
  tree.file('tmp', 'ours');
  await before.walk('tmp');
  const end = before.server.on('RENAME', (_args, execute) => {
    execute();
    return new Promise(() => {});
  });
  void before.remove.rename(before.at('tmp'), before.at('final'), 0, first(before, 20));
  await settled();
  end();
  tree.file('tmp', 'theirs');
  const { rig } = await nextProcess(process);
  await rig.remove.rename(rig.at('tmp'), rig.at('final'), 0, again(rig, 20));
  t.equal(String(tree.at('final').data), 'ours');
  t.equal(String(tree.at('tmp').data), 'theirs');
  await rig.remove.rename(rig.at('tmp'), rig.at('final'), 0, first(rig, 22));
  t.equal(String(tree.at('final').data), 'theirs', 'a new request does');
});

t.test('an exclusive create that comes again finds its file on a server without EXCLUSIVE', async (t) => {
  const process = firstProcess();
  const { rig: before } = process;
  before.server.exclusiveCreate = false;
  const end = before.server.on('CREATE', (_args, execute) => {
    const result = execute();
    return result.status === 0 ? new Promise(() => {}) : result;
  });
  void before.make.create(before.root, named('c'), 0o644, true, first(before, 12));
  await settled();
  end();
  t.equal(before.server.count('CREATE'), 2);
  const { rig } = await nextProcess(process);
  t.equal(await outcome(rig.make.create(rig.root, named('c'), 0o644, true, again(rig, 12))), 'ok');
  t.equal(await outcome(rig.make.create(rig.root, named('c'), 0o644, true, first(rig, 14))), EEXIST);
});

/** rename(2) of a file over an open one, whose process dies before it hears of the second RENAME. */
async function renamedOverOpen(isCarriedOut: boolean) {
  const process = firstProcess();
  const { rig: before } = process;
  before.server.tree.file('from', 'new');
  before.server.tree.file('to', 'old');
  await before.walk('from');
  const { fh } = await before.open('to', O_RDWR);
  const end = before.server.on('RENAME', (args, execute) => {
    if (args.from.name === 'to' || isCarriedOut) {
      const result = execute();
      if (args.from.name === 'to') return result;
    }
    return new Promise(() => {});
  });
  void before.remove.rename(before.at('from'), before.at('to'), 0, first(before, 20));
  await settled();
  end();
  const { rig } = await nextProcess(process);
  const content = () =>
    Object.fromEntries([...rig.server.tree.root.children].map(([name, { data }]) => [name, String(data)]));
  return { rig, fh, content };
}

t.test(
  'an open file that a rename was to replace has its name again if the process dies before',
  async (t) => {
    const { rig, fh, content } = await renamedOverOpen(false);
    t.same(content(), { from: 'new', to: 'old' });
    await rig.files.release(fh);
    await settled();
    t.same(content(), { from: 'new', to: 'old' }, 'also when it is closed');
  },
);

t.test('a rename over an open file that comes again is carried out', async (t) => {
  for (const isCarriedOut of [false, true]) {
    const { rig, fh, content } = await renamedOverOpen(isCarriedOut);
    await rig.remove.rename(rig.at('from'), rig.at('to'), 0, again(rig, 20));
    t.equal(content().to, 'new');
    t.equal(Object.keys(content()).length, 2, 'the other one is there, under a silly name');
    t.equal(String(await rig.read(fh, 0, 5)), 'old');
    await rig.files.release(fh);
    await settled();
    t.same(content(), { to: 'new' });
  }
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
