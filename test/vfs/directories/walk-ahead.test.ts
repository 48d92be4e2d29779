import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { FileType, Status } from '../../../lib/programs/nfs3/index.js';
import type { Inode } from '../../../lib/vfs/cache/inode.js';
import type { Caller } from '../../../lib/vfs/caller/caller.js';
import type { ClientConfig } from '../../../lib/vfs/config.js';
import { named } from '../support/named.js';
import { outcome, Rig, type RigOptions, settled } from '../support/rig.js';

const NAMES = Array.from({ length: 40 }, (_, i) => `d${10 + i}`);

/** A mount of a folder `tree` with these directories, a file in each. */
function mounted(names: readonly string[] = NAMES, options: RigOptions = {}) {
  const rig = new Rig({ ...options, config: { closeToOpen: false, ...options.config } });
  const { server } = rig;
  server.tree.directory('tree');
  for (const name of names) {
    server.tree.directory(`tree/${name}`);
    server.tree.file(`tree/${name}/file`);
  }
  return { rig, server, program: rig.caller(1000, 77) };
}

/** Lists the directories one after the other, as a program does; answers their names. */
async function list(rig: Rig, path: string, caller: Caller): Promise<string[]> {
  const inode = await rig.walk(path, caller);
  const { fh } = await rig.directories.open(inode, caller);
  const names: string[] = [];
  let offset = 0n;
  for (let room = 1000; ; ) {
    const before = names.length;
    const sink = {
      addPlus(name: Uint8Array, _ino: bigint, _type: number, next: bigint) {
        if (room-- <= 0) return false;
        names.push(Buffer.from(name).toString('latin1'));
        offset = next;
        return true;
      },
      add: () => false,
    };
    await rig.directories.read(fh, offset, sink, true, caller);
    if (names.length === before) break;
  }
  rig.directories.release(fh);
  await settled();
  return names.filter((name) => name !== '.' && name !== '..').sort();
}

async function visit(rig: Rig, caller: Caller, names: readonly string[]): Promise<void> {
  for (const name of names) await list(rig, `tree/${name}`, caller);
}

/** The first ten have been listed: those that follow are on their way, or have come. */
async function walked(names: readonly string[] = NAMES, options: RigOptions = {}) {
  const mount = mounted(names, options);
  await list(mount.rig, 'tree', mount.program);
  await visit(mount.rig, mount.program, names.slice(0, 10));
  mount.server.forgetCalls();
  return mount;
}

const inodeOf = (rig: Rig, path: string): Promise<Inode> => rig.walk(path);

t.test('a walk finds its directories listed, and costs no call more', async (t) => {
  const { rig, server, program } = mounted();
  await list(rig, 'tree', program);
  for (const name of NAMES) t.same(await list(rig, `tree/${name}`, program), ['file']);
  t.equal(server.count('READDIRPLUS'), 1 + NAMES.length);
  t.equal(server.count('ACCESS'), 1 + NAMES.length);
  t.equal(rig.counters.listedAheadHits, NAMES.length - 1);
  t.equal(rig.counters.listedAheadWasted, 0);
});

t.test('a directory that was listed ahead is opened and read without a call', async (t) => {
  const { rig, server, program } = await walked();
  const reading = server.gate('READDIRPLUS');
  const asking = server.gate('ACCESS');
  t.same(await list(rig, 'tree/d20', program), ['file']);
  reading.open();
  asking.open();
});

t.test('the walk of a whole tree costs no call more, depth-first and breadth-first', async (t) => {
  for (const depthFirst of [true, false]) {
    const { rig, server, program } = mounted([]);
    for (const above of ['a', 'b', 'c']) {
      server.tree.directory(`tree/${above}`);
      for (const name of ['x', 'y', 'z']) {
        server.tree.directory(`tree/${above}/${name}`);
        for (const below of ['1', '2']) server.tree.directory(`tree/${above}/${name}/${below}`);
      }
    }
    const waiting = ['tree'];
    let directories = 0;
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
      directories++;
      const found = (await list(rig, path, program)).map((name) => `${path}/${name}`);
      if (depthFirst) waiting.unshift(...found);
      else waiting.push(...found);
    }
    t.equal(directories, 31);
    t.equal(server.count('READDIRPLUS'), directories);
    t.ok(rig.counters.listedAheadHits > 20, `${rig.counters.listedAheadHits} ahead`);
  }
});

t.test('nothing is listed ahead where a program may not be shown what is older than its call', async (t) => {
  const off: [string, Partial<ClientConfig>][] = [
    ['cto', { closeToOpen: true }],
    ['nowalkahead', { walkAhead: false }],
    ['noac', { attributeCache: false }],
    ['acregmin=0', { acRegMinMs: 0 }],
    ['acdirmin=0', { acDirMinMs: 0 }],
    ['nordirplus', { rdirplus: 'none' }],
    ['lookupcache=none', { lookupCache: 'none' }],
  ];
  for (const [what, config] of off) {
    const { rig, server } = await walked(NAMES, { config });
    t.equal(rig.counters.listedAheadHits + rig.counters.listedAheadWasted, 0, what);
    const handles = new Set(server.named('READDIRPLUS').map(({ args }) => args.directory));
    t.equal(handles.size, 0, what);
  }
});

t.test('a walk that ends has asked for no more directories than it has listed', async (t) => {
  for (const visited of [1, 2, 5, 20]) {
    const { rig, server, program } = mounted();
    await list(rig, 'tree', program);
    await visit(rig, program, NAMES.slice(0, visited));
    const asked = server.count('READDIRPLUS');
    t.ok(asked <= 1 + 2 * visited, `${asked} for ${visited}`);
    t.ok(asked > 1 + visited || visited === 1);
  }
});

t.test('a program that goes no way that can be foreseen has nearly nothing listed ahead', async (t) => {
  const { rig, server, program } = mounted();
  await list(rig, 'tree', program);
  const there = new Map(NAMES.map((name, at) => [(at * 17) % NAMES.length, name]));
  await visit(
    rig,
    program,
    [...there.keys()].sort((a, b) => a - b).map((at) => there.get(at) ?? ''),
  );
  const asked = server.count('READDIRPLUS') - 1;
  t.ok(asked <= NAMES.length + 4, `${asked} for ${NAMES.length}`);
});

t.test('a program that leaves out two of three has little listed in vain', async (t) => {
  const { rig, server, program } = mounted();
  await list(rig, 'tree', program);
  const some = NAMES.filter((_, at) => at % 3 === 0);
  await visit(rig, program, some);
  const asked = server.count('READDIRPLUS') - 1;
  t.ok(asked <= 1.5 * some.length, `${asked} for ${some.length}`);
});

t.test('directories and calls on their way have a bound', async (t) => {
  const many = Array.from({ length: 400 }, (_, i) => `d${100 + i}`);
  const { rig, server, program } = mounted(many, { limits: { dtsize: 65_536 } });
  server.entriesPerReply = 1000;
  await list(rig, 'tree', program);
  await visit(rig, program, many.slice(0, 200));
  const ahead = server.count('READDIRPLUS') - 201;
  t.ok(ahead > 16 && ahead <= 32, `${ahead} ahead`);
});

t.test(
  'a directory that another client has changed since is read anew once its attributes say so',
  async (t) => {
    const { rig, server, program } = await walked();
    server.tree.file('tree/d20/new');
    await rig.vfs.current.fetch(await inodeOf(rig, 'tree/d20'), program);
    t.same(await list(rig, 'tree/d20', program), ['file', 'new']);
  },
);

t.test(
  'what was listed ahead is not used when it is older than what it says of its files may be',
  async (t) => {
    const { rig, server, program } = await walked();
    server.tree.file('tree/d20/new');
    await rig.pass(3_001);
    t.same(await list(rig, 'tree/d20', program), ['file', 'new']);
    const short = await walked(NAMES, { config: { acRegMinMs: 500 } });
    short.server.tree.file('tree/d20/new');
    await short.rig.pass(501);
    t.same(await list(short.rig, 'tree/d20', short.program), ['file', 'new']);
  },
);

t.test(
  'it is not used either by a program that opens the directory in time and reads it later',
  async (t) => {
    for (const [waits, names] of [
      [2_999, ['file']],
      [3_000, ['file', 'new']],
    ] as const) {
      const { rig, server, program } = await walked();
      const { fh } = await rig.directories.open(await inodeOf(rig, 'tree/d20'), program);
      server.tree.file('tree/d20/new');
      await rig.pass(waits);
      const listed = (await rig.list(fh)).map(({ name }) => name).filter((name) => !name.startsWith('.'));
      t.same(listed.sort(), names, `${waits} ms`);
    }
  },
);

t.test('a directory whose attributes have run out is asked about when it is opened', async (t) => {
  const { rig, server, program } = await walked(NAMES, { config: { acDirMinMs: 1_000 } });
  server.tree.file('tree/d20/new');
  await rig.pass(999);
  server.forgetCalls();
  await rig.pass(2);
  t.same(await list(rig, 'tree/d20', program), ['file', 'new']);
  t.ok(server.count('ACCESS') >= 1);
});

t.test('changes of this mount show, whenever the directory was listed', async (t) => {
  const { rig, program } = await walked();
  const directory = await inodeOf(rig, 'tree/d20');
  await rig.make.create(directory, named('mine'), 0o644, false, program);
  await rig.remove.unlink(directory, named('file'), program);
  t.same(await list(rig, 'tree/d20', program), ['mine']);
});

t.test('what was listed for one program is shown to no other', async (t) => {
  const { rig, server, program } = await walked();
  server.tree.file('tree/d20/new');
  t.same(await list(rig, 'tree/d20', rig.caller(2000, 88)), ['file', 'new'], 'of another user');
  server.tree.file('tree/d21/new');
  t.same(await list(rig, 'tree/d20', program), ['file', 'new'], 'the younger listing counts');
});

t.test('who may not read a directory that is listed ahead is refused, by the server', async (t) => {
  const { rig, server, program } = await walked([...NAMES.slice(0, 12), 'secret', ...NAMES.slice(12)]);
  const secret = server.tree.at('tree/d20');
  secret.mode = 0o700;
  secret.uid = 1000;
  const stranger = rig.caller(2000, 88);
  server.forgetCalls();
  const inode = await inodeOf(rig, 'tree/d20');
  t.equal(await outcome(rig.directories.open(inode, stranger)), Errno.EACCES);
  t.equal(server.count('ACCESS'), 1);
  t.same(await list(rig, 'tree/d20', program), ['file']);
});

t.test('a walk comes past directories that it may not read, and is told so by each', async (t) => {
  const { rig, server } = mounted();
  for (const name of ['d13', 'd22', 'd23']) server.tree.at(`tree/${name}`).mode = 0o700;
  const stranger = rig.caller(2000, 88);
  await list(rig, 'tree', stranger);
  for (const name of NAMES) {
    const listed = await list(rig, `tree/${name}`, stranger).then(
      () => 'ok',
      (error: { errno?: number }) => error.errno,
    );
    t.equal(listed, ['d13', 'd22', 'd23'].includes(name) ? Errno.EACCES : 'ok', name);
  }
});

t.test('a listing that fails ahead of its program is asked for again by it', async (t) => {
  const { rig, server, program } = mounted();
  await list(rig, 'tree', program);
  await visit(rig, program, NAMES.slice(0, 5));
  const end = server.fail('READDIRPLUS', Status.SERVERFAULT);
  const plain = server.fail('READDIR', Status.SERVERFAULT);
  await visit(rig, program, NAMES.slice(5, 7)).catch(() => {});
  end();
  plain();
  for (const name of NAMES.slice(8)) t.same(await list(rig, `tree/${name}`, program), ['file']);
});

t.test(
  'a huge directory is not listed ahead, nor one in which this mount is changing something',
  async (t) => {
    const { rig, server, program } = mounted();
    server.tree.directorySize = 1 << 20;
    await list(rig, 'tree', program);
    await visit(rig, program, NAMES.slice(0, 10));
    t.equal(server.count('READDIRPLUS'), 11);

    const other = await walked(NAMES);
    const busy = await inodeOf(other.rig, 'tree/d30');
    other.rig.vfs.attributes.beginChange(busy);
    await visit(other.rig, other.program, NAMES.slice(10, 16));
    const asked = other.server.named('READDIRPLUS').map(({ args }) => args.directory);
    t.notOk(asked.includes(busy.handle));
    t.ok(asked.includes((await inodeOf(other.rig, 'tree/d31')).handle));
  },
);

t.test('of a directory with more than one part, the first is there', async (t) => {
  const { rig, server, program } = mounted();
  for (let i = 0; i < 30; i++) server.tree.file(`tree/d20/more${i}`);
  await list(rig, 'tree', program);
  server.entriesPerReply = 10;
  await visit(rig, program, NAMES.slice(0, 10));
  server.forgetCalls();
  t.equal((await list(rig, 'tree/d20', program)).length, 31);
  const { handle } = await inodeOf(rig, 'tree/d20');
  const parts = server.named('READDIRPLUS').filter(({ args }) => args.directory === handle);
  t.equal(parts.length, 3, 'of four');
});

t.test('who waits for a directory that is listed ahead can be interrupted', async (t) => {
  const { rig, server, program } = mounted();
  await list(rig, 'tree', program);
  await visit(rig, program, NAMES.slice(0, 5));
  const gate = server.gate('ACCESS');
  await visit(rig, program, NAMES.slice(5, 6));
  const next = await Promise.all(NAMES.slice(6).map((name) => inodeOf(rig, `tree/${name}`)));
  const waiting = rig.interruptible();
  let interrupted: string | number = 'none';
  for (const inode of next) {
    const caller = { ...program, cancellation: waiting.caller.cancellation };
    const opening = rig.directories.open(inode, caller);
    if ((await outcome(opening)) !== 'pending') continue;
    waiting.cancel();
    interrupted = await outcome(opening);
    break;
  }
  t.equal(interrupted, Errno.EINTR);
  gate.open();
});

t.test('two programs walk one tree, and the threads of one take turns', async (t) => {
  const { rig, server } = mounted();
  const programs = [rig.caller(1000, 1), rig.caller(2000, 2)] as const;
  const third = rig.caller(1000, 3);
  for (const program of [...programs, third]) await list(rig, 'tree', program);
  server.forgetCalls();
  for (const [at, name] of NAMES.entries()) {
    for (const program of programs) t.same(await list(rig, `tree/${name}`, program), ['file']);
    // It is some way behind, and finds what the others have left.
    if (at >= 8) t.same(await list(rig, `tree/${NAMES[at - 8]}`, third), ['file']);
  }
  const asked = server.count('READDIRPLUS');
  t.ok(asked <= NAMES.length + 2, `${asked} for three programs and ${NAMES.length} directories`);

  const pool = mounted();
  await list(pool.rig, 'tree', pool.rig.caller(1000, 10));
  for (const [at, name] of NAMES.entries()) {
    await list(pool.rig, `tree/${name}`, pool.rig.caller(1000, 10 + (at % 4)));
  }
  t.equal(pool.server.count('READDIRPLUS'), 1 + NAMES.length);
  t.ok(pool.rig.counters.listedAheadHits > NAMES.length - 4);
});

t.test('two programs that share the beginning of a directory each read it to its end', async (t) => {
  const { rig, server } = mounted();
  for (let i = 0; i < 30; i++) server.tree.file(`tree/d20/more${i}`);
  server.entriesPerReply = 100;
  const programs = [rig.caller(1000, 1), rig.caller(2000, 2)] as const;
  for (const program of programs) await list(rig, 'tree', program);
  server.entriesPerReply = 10;
  for (const name of NAMES.slice(0, 10))
    for (const program of programs) await list(rig, `tree/${name}`, program);
  const inode = await inodeOf(rig, 'tree/d20');
  const opened = await Promise.all(programs.map((program) => rig.directories.open(inode, program)));
  const listed = await Promise.all(opened.map(({ fh }) => rig.list(fh, true, 4)));
  for (const names of listed) t.equal(new Set(names.map(({ name }) => name)).size, 33);
});

t.test('of many walks, the one that has rested longest is forgotten', async (t) => {
  const { rig, program } = await walked();
  const ahead = rig.counters.listedAheadHits;
  rig.server.tree.directory('elsewhere');
  for (let i = 0; i < 10; i++) await list(rig, 'elsewhere', rig.caller(1000, 200 + i));
  t.ok(rig.counters.listedAheadWasted > 0);
  await visit(rig, program, NAMES.slice(10, 12));
  t.equal(rig.counters.listedAheadHits, ahead);
});

t.test('other kinds of files are no directories to come', async (t) => {
  const { rig, server, program } = mounted();
  const node = server.tree.at('tree/d20/file');
  t.equal(node.type, FileType.REG);
  await list(rig, 'tree', program);
  await visit(rig, program, NAMES);
  const asked = new Set(server.named('READDIRPLUS').map(({ args }) => args.directory));
  t.notOk(asked.has(node.handle));
});
