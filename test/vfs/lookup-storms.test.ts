import t from 'tap';
import type { Inode } from '../../lib/vfs/cache/inode.js';
import { Bench } from './support/bench.js';

const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

async function exists(bench: Bench, directory: Inode, name: string): Promise<boolean> {
  return (await bench.names.lookup(directory, bytes(name), bench.caller())).nodeid !== 0;
}

t.test('a name that another client makes in a directory of ours is found at once', async (t) => {
  const bench = new Bench();
  const { inode } = await bench.making.mkdir(bench.root, bytes('d'), 0o755, bench.caller());
  bench.server.tree.file('d/theirs');
  t.equal(await exists(bench, inode, 'theirs'), true);
});

t.test('a name that another client makes in a directory that was listed is found at once', async (t) => {
  const bench = new Bench();
  bench.server.tree.directory('d');
  bench.server.tree.file('d/old');
  t.same(await bench.names_('d'), ['old']);
  bench.server.tree.file('d/new');
  t.equal(await exists(bench, await bench.walk('d'), 'new'), true);
});

t.test(
  'a name that was asked for and not found is not asked for again while the directory is trusted',
  async (t) => {
    const bench = new Bench();
    await bench.vfs.current.fetch(bench.root, bench.caller());
    t.equal(await exists(bench, bench.root, 'a'), false);
    bench.server.forgetCalls();
    t.equal(await exists(bench, bench.root, 'a'), false);
    t.equal(bench.server.names(), '');
  },
);

t.test('lookupcache=pos and none ask for every absent name', async (t) => {
  for (const lookupCache of ['pos', 'none'] as const) {
    const bench = new Bench({ config: { lookupCache } });
    await exists(bench, bench.root, 'a');
    bench.server.forgetCalls();
    await exists(bench, bench.root, 'a');
    t.equal(bench.server.names(), 'LOOKUP', lookupCache);
  }
});

t.test('a storm of LOOKUPs for names that do not exist reads no directory', async (t) => {
  const bench = new Bench();
  await bench.vfs.current.fetch(bench.root, bench.caller());
  for (let index = 0; index < 100; index++) await exists(bench, bench.root, `new${index}`);
  t.equal(bench.server.count('READDIRPLUS'), 0);
});

t.test('a storm of LOOKUPs ends in one READDIRPLUS that answers the rest', async (t) => {
  const bench = new Bench();
  bench.server.tree.directorySize = 8192;
  const count = 200;
  for (let index = 0; index < count; index++) bench.server.tree.file(`f${index}`);
  await bench.vfs.current.fetch(bench.root, bench.caller());
  bench.server.forgetCalls();
  for (let index = 0; index < count; index++) t.ok(await exists(bench, bench.root, `f${index}`));
  t.ok(bench.server.count('LOOKUP') < count / 2, `${bench.server.count('LOOKUP')} LOOKUPs`);
  t.ok(bench.server.count('READDIRPLUS') >= 1);
});

t.test('a small directory is read after a few LOOKUPs, a large one only after many', async (t) => {
  const lookups: number[] = [];
  for (const directorySize of [4096, 8192]) {
    const bench = new Bench();
    bench.server.tree.directorySize = directorySize;
    for (let index = 0; index < 100; index++) bench.server.tree.file(`f${index}`);
    await bench.vfs.current.fetch(bench.root, bench.caller());
    bench.server.forgetCalls();
    for (let index = 0; bench.server.count('READDIRPLUS') === 0; index++)
      await exists(bench, bench.root, `f${index}`);
    lookups.push(bench.server.count('LOOKUP'));
  }
  t.same(lookups, [6, 24]);
});

t.test('a few LOOKUPs in a small directory do not hide what another client makes there', async (t) => {
  const bench = new Bench();
  for (let index = 0; index < 20; index++) bench.server.tree.file(`f${index}`);
  await bench.vfs.current.fetch(bench.root, bench.caller());
  for (let index = 0; index < 20; index++) await exists(bench, bench.root, `f${index}`);
  t.equal(bench.server.count('READDIRPLUS'), 1);
  bench.server.tree.file('new');
  t.equal(await exists(bench, bench.root, 'new'), true);
});

t.test('rdirplus=none never reads a directory for its names', async (t) => {
  const bench = new Bench({ config: { rdirplus: 'none' } });
  for (let index = 0; index < 100; index++) bench.server.tree.file(`f${index}`);
  await bench.vfs.current.fetch(bench.root, bench.caller());
  for (let index = 0; index < 100; index++) await exists(bench, bench.root, `f${index}`);
  t.equal(bench.server.count('READDIRPLUS'), 0);
});
