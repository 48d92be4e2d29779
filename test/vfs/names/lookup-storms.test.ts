import t from 'tap';
import type { Inode } from '../../../lib/vfs/cache/inode.js';
import { named } from '../support/named.js';
import { Rig } from '../support/rig.js';

async function exists(rig: Rig, directory: Inode, name: string): Promise<boolean> {
  return (await rig.lookup.entry(directory, named(name), rig.caller())).nodeid !== 0;
}

t.test('a name that another client makes in a directory of ours is found at once', async (t) => {
  const rig = new Rig();
  const { inode } = await rig.make.mkdir(rig.root, named('d'), 0o755, rig.caller());
  rig.server.tree.file('d/theirs');
  t.equal(await exists(rig, inode, 'theirs'), true);
});

t.test('a name that another client makes in a directory that was listed is found at once', async (t) => {
  const rig = new Rig();
  rig.server.tree.directory('d');
  rig.server.tree.file('d/old');
  t.same(await rig.names_('d'), ['old']);
  rig.server.tree.file('d/new');
  t.equal(await exists(rig, await rig.walk('d'), 'new'), true);
});

t.test(
  'a name that was asked for and not found is not asked for again while the directory is trusted',
  async (t) => {
    const rig = new Rig();
    await rig.vfs.current.fetch(rig.root, rig.caller());
    t.equal(await exists(rig, rig.root, 'a'), false);
    rig.server.forgetCalls();
    t.equal(await exists(rig, rig.root, 'a'), false);
    t.equal(rig.server.names(), '');
  },
);

t.test('lookupcache=pos and none ask for every absent name', async (t) => {
  for (const lookupCache of ['pos', 'none'] as const) {
    const rig = new Rig({ config: { lookupCache } });
    await exists(rig, rig.root, 'a');
    rig.server.forgetCalls();
    await exists(rig, rig.root, 'a');
    t.equal(rig.server.names(), 'LOOKUP', lookupCache);
  }
});

t.test('a storm of LOOKUPs for names that do not exist reads no directory', async (t) => {
  const rig = new Rig();
  await rig.vfs.current.fetch(rig.root, rig.caller());
  for (let index = 0; index < 100; index++) await exists(rig, rig.root, `new${index}`);
  t.equal(rig.server.count('READDIRPLUS'), 0);
});

t.test('a storm of LOOKUPs ends in one READDIRPLUS that answers the rest', async (t) => {
  const rig = new Rig();
  rig.server.tree.directorySize = 8192;
  const count = 200;
  for (let index = 0; index < count; index++) rig.server.tree.file(`f${index}`);
  await rig.vfs.current.fetch(rig.root, rig.caller());
  rig.server.forgetCalls();
  for (let index = 0; index < count; index++) t.ok(await exists(rig, rig.root, `f${index}`));
  t.ok(rig.server.count('LOOKUP') < count / 2, `${rig.server.count('LOOKUP')} LOOKUPs`);
  t.ok(rig.server.count('READDIRPLUS') >= 1);
});

t.test('a small directory is read after a few LOOKUPs, a large one only after many', async (t) => {
  const lookups: number[] = [];
  for (const directorySize of [4096, 8192]) {
    const rig = new Rig();
    rig.server.tree.directorySize = directorySize;
    for (let index = 0; index < 100; index++) rig.server.tree.file(`f${index}`);
    await rig.vfs.current.fetch(rig.root, rig.caller());
    rig.server.forgetCalls();
    for (let index = 0; rig.server.count('READDIRPLUS') === 0; index++)
      await exists(rig, rig.root, `f${index}`);
    lookups.push(rig.server.count('LOOKUP'));
  }
  t.same(lookups, [6, 24]);
});

t.test('a few LOOKUPs in a small directory do not hide what another client makes there', async (t) => {
  const rig = new Rig();
  for (let index = 0; index < 20; index++) rig.server.tree.file(`f${index}`);
  await rig.vfs.current.fetch(rig.root, rig.caller());
  for (let index = 0; index < 20; index++) await exists(rig, rig.root, `f${index}`);
  t.equal(rig.server.count('READDIRPLUS'), 1);
  rig.server.tree.file('new');
  t.equal(await exists(rig, rig.root, 'new'), true);
});

t.test('rdirplus=none never reads a directory for its names', async (t) => {
  const rig = new Rig({ config: { rdirplus: 'none' } });
  for (let index = 0; index < 100; index++) rig.server.tree.file(`f${index}`);
  await rig.vfs.current.fetch(rig.root, rig.caller());
  for (let index = 0; index < 100; index++) await exists(rig, rig.root, `f${index}`);
  t.equal(rig.server.count('READDIRPLUS'), 0);
});
