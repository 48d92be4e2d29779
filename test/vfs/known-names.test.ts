import t from 'tap';
import { BufferPool } from '../../lib/vfs/buffer-pool.js';
import { Bench } from './support/bench.js';

const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

async function made(bench: Bench, name: string) {
  await bench.vfs.fetchAttributes(bench.root, bench.caller());
  return (await bench.making.mkdir(bench.root, bytes(name), 0o755, bench.caller())).inode;
}

async function exists(bench: Bench, directory: Parameters<Bench['names']['lookup']>[0], name: string) {
  return (await bench.names.lookup(directory, bytes(name), bench.caller())).nodeid !== 0;
}

t.test('a directory that we made has no names but those that we put into it', async (t) => {
  const bench = new Bench();
  const directory = await made(bench, 'd');
  bench.server.forgetCalls();
  t.equal(await exists(bench, directory, 'a'), false);
  t.equal(await exists(bench, directory, 'b'), false);
  t.equal(
    bench.server.names(),
    'ACCESS',
    'no LOOKUP for names that cannot be there, only the leave to search',
  );
  await bench.making.create(directory, bytes('a'), 0o644, false, bench.caller());
  t.equal(await exists(bench, directory, 'a'), true);
  await bench.removal.unlink(directory, bytes('a'), bench.caller());
  bench.server.forgetCalls();
  t.equal(await exists(bench, directory, 'a'), false);
  t.equal(bench.server.names(), '');
});

t.test(
  'what another client puts into a directory that we made is found once its change is seen',
  async (t) => {
    const bench = new Bench();
    const directory = await made(bench, 'd');
    await bench.pass(1000);
    bench.server.tree.file('d/theirs');
    await bench.vfs.fetchAttributes(directory, bench.caller());
    t.equal(await exists(bench, directory, 'theirs'), true);
  },
);

t.test('what is known of a directory is not believed for longer than acdirmin', async (t) => {
  const bench = new Bench();
  const directory = await made(bench, 'd');
  await bench.pass(30_001);
  bench.server.tree.file('d/theirs');
  t.equal(await exists(bench, directory, 'theirs'), true);
});

t.test('lookupcache=pos and none ask for every absent name', async (t) => {
  for (const lookupCache of ['pos', 'none'] as const) {
    const bench = new Bench({ config: { lookupCache } });
    const directory = await made(bench, 'd');
    bench.server.forgetCalls();
    await exists(bench, directory, 'a');
    t.equal(bench.server.names(), 'LOOKUP', lookupCache);
  }
});

t.test('a storm of LOOKUPs ends in one READDIRPLUS that answers the rest', async (t) => {
  const bench = new Bench();
  bench.server.tree.directorySize = 8192;
  const count = 200;
  for (let index = 0; index < count; index++) bench.server.tree.file(`f${index}`);
  await bench.vfs.fetchAttributes(bench.root, bench.caller());
  bench.server.forgetCalls();
  for (let index = 0; index < count; index++) t.ok(await exists(bench, bench.root, `f${index}`));
  t.ok(bench.server.count('LOOKUP') < count / 2, `${bench.server.count('LOOKUP')} LOOKUPs`);
  t.ok(bench.server.count('READDIRPLUS') >= 1);
  t.equal(await exists(bench, bench.root, 'none'), false);
  bench.server.forgetCalls();
  t.equal(await exists(bench, bench.root, 'nor this'), false);
  t.equal(bench.server.names(), '', 'the whole directory is known by then');
});

t.test('a small directory is read after a few LOOKUPs, a large one only after many', async (t) => {
  const lookups: number[] = [];
  for (const directorySize of [4096, 8192]) {
    const bench = new Bench();
    bench.server.tree.directorySize = directorySize;
    for (let index = 0; index < 100; index++) bench.server.tree.file(`f${index}`);
    await bench.vfs.fetchAttributes(bench.root, bench.caller());
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
  await bench.vfs.fetchAttributes(bench.root, bench.caller());
  for (let index = 0; index < 20; index++) await exists(bench, bench.root, `f${index}`);
  t.equal(bench.server.count('READDIRPLUS'), 1);
  bench.server.tree.file('new');
  t.equal(await exists(bench, bench.root, 'new'), true);
});

t.test('rdirplus=none never reads a directory for its names', async (t) => {
  const bench = new Bench({ config: { rdirplus: 'none' } });
  for (let index = 0; index < 100; index++) bench.server.tree.file(`f${index}`);
  await bench.vfs.fetchAttributes(bench.root, bench.caller());
  for (let index = 0; index < 100; index++) await exists(bench, bench.root, `f${index}`);
  t.equal(bench.server.count('READDIRPLUS'), 0);
});

t.test('a write buffer is used again, but not one that a reader may look at', (t) => {
  const pool = new BufferPool(4096, 2);
  const first = pool.take();
  pool.give(first);
  t.equal(pool.take(), first);
  pool.beginReading();
  pool.give(first);
  pool.endReading();
  t.not(pool.take(), first);
  pool.give(Buffer.alloc(10));
  t.equal(pool.take().length, 4096, 'only whole buffers come back');
  t.end();
});
