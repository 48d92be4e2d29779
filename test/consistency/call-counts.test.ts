/** The number of calls that everyday work costs, counted at the server: no optimisation makes up for a round trip. */
import { mkdirSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { watchedServer } from '../support/two-mounts.js';

/** Attributes that do not run out while the test goes on, however slow the machine is. */
const LONG = ['acregmin=600', 'acregmax=600', 'acdirmin=600', 'acdirmax=600'];

function total(calls: Record<string, number>): number {
  return Object.values(calls).reduce((sum, count) => sum + count, 0);
}

t.test('ls -l of 1000 files costs a few READDIRPLUS cold, and a GETATTR at the most warm', async (t) => {
  const { directory, mount, calls } = await watchedServer(t);
  mkdirSync(`${directory}/folder`);
  for (let i = 0; i < 1000; i++) writeFileSync(`${directory}/folder/file${i}`, '');
  const client = await mount(LONG);
  const list = () => client.mount.mustRun(['ls', '-l', 'folder']);
  const cold = await calls(async () => {
    t.equal((await list()).trimEnd().split('\n').length, 1001);
  });
  const { READDIRPLUS = 0, ...others } = cold;
  t.ok(READDIRPLUS >= 1 && READDIRPLUS <= 5, JSON.stringify(cold));
  t.ok(total(others) <= 2, `and the LOOKUP and ACCESS of the directory: ${JSON.stringify(cold)}`);
  await list();
  const warm = await calls(list);
  t.ok(total(warm) <= 1, JSON.stringify(warm));
  t.same(
    Object.keys(warm).filter((name) => name !== 'GETATTR'),
    [],
  );
});

t.test('cat of a warm file costs one GETATTR', async (t) => {
  const { directory, mount, calls } = await watchedServer(t);
  writeFileSync(`${directory}/file`, 'content');
  const client = await mount(LONG);
  const cat = async () => t.equal(await client.mount.mustRun(['cat', 'file']), 'content');
  // Content that has only just changed may change again without a new ctime: its pages are read once more.
  let cost: Record<string, number> = {};
  for (let attempt = 0; attempt < 20 && total(cost) !== 1; attempt++) cost = await calls(cat);
  t.same(cost, { GETATTR: 1 });
});

t.test('a small file is made, written and closed with three calls', async (t) => {
  const { mount, calls } = await watchedServer(t);
  const client = await mount(LONG);
  await client.fs.writeFile('first', 'x');
  t.same(await calls(() => client.fs.writeFile('second', 'x')), { LOOKUP: 1, CREATE: 1, WRITE: 1 });
});

t.test(
  'the same in a directory that this client has made, since another client may have put the name there',
  async (t) => {
    const { mount, calls } = await watchedServer(t);
    const client = await mount(LONG);
    await client.fs.mkdir('folder');
    await client.fs.writeFile('folder/first', 'x');
    t.same(await calls(() => client.fs.writeFile('folder/second', 'x')), { LOOKUP: 1, CREATE: 1, WRITE: 1 });
  },
);

t.test('a name that is not there is asked for once, by two stats', async (t) => {
  const { mount, calls } = await watchedServer(t);
  const client = await mount(LONG);
  const cost = await calls(async () => {
    for (let i = 0; i < 2; i++) await client.fs.stat('absent').catch(() => undefined);
  });
  t.same(cost, { LOOKUP: 1 });
});

t.test(
  'tar x costs for each file a LOOKUP of the new name, its CREATE, one WRITE, and a SETATTR for each that tar makes',
  async (t) => {
    const files = 40;
    const { place, mount, calls } = await watchedServer(t);
    const client = await mount(LONG);
    const source = `${place.folder}/source`;
    mkdirSync(`${source}/tree`, { recursive: true });
    for (let i = 0; i < files; i++) writeFileSync(`${source}/tree/file${i}`, 'x'.repeat(100 * i));
    await client.mount.mustRun(['tar', '-cf', `${source}/archive`, '-C', source, 'tree']);
    const {
      LOOKUP = 0,
      CREATE,
      WRITE,
      SETATTR,
      ...others
    } = await calls(() => client.mount.mustRun(['tar', '-xf', `${source}/archive`]));
    t.ok(LOOKUP <= files + 2, `${LOOKUP} LOOKUP`);
    t.equal(CREATE, files);
    t.equal(WRITE, files - 1, 'one is empty');
    // utimensat, fchown and fchmod, and the one that goes with CREATE EXCLUSIVE (O_EXCL).
    t.ok(SETATTR !== undefined && SETATTR <= 4 * files + 4, `${SETATTR} SETATTR`);
    t.ok(total(others) <= 6, `beside them, nothing for each file: ${JSON.stringify(others)}`);
  },
);

t.test('rm -rf costs one REMOVE for each file', async (t) => {
  const files = 60;
  const { directory, mount, calls } = await watchedServer(t);
  mkdirSync(`${directory}/tree`);
  for (let i = 0; i < files; i++) writeFileSync(`${directory}/tree/file${i}`, '');
  const client = await mount(LONG);
  const { REMOVE, ...others } = await calls(() => client.mount.mustRun(['rm', '-rf', 'tree']));
  t.equal(REMOVE, files);
  t.ok(total(others) <= 8, JSON.stringify(others));
});
