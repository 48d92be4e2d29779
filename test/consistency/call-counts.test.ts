/**
 * The number of calls that everyday work costs, counted at the server, and how many of them wait for one another, counted
 * by a relay (test/support/round-relay.ts): no optimisation makes up for a round trip.
 */
import { constants, mkdirSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { type Cost, countedServer, LONG, makeTree, total } from '../support/counted-server.js';

t.test('ls -l of 1000 files costs a few READDIRPLUS cold, and a GETATTR at the most warm', async (t) => {
  const { directory, mount, cost } = await countedServer(t);
  mkdirSync(`${directory}/folder`);
  for (let i = 0; i < 1000; i++) writeFileSync(`${directory}/folder/file${i}`, '');
  const client = await mount(LONG);
  const list = () => client.mount.mustRun(['ls', '-l', 'folder']);
  const cold = await cost(async () => {
    t.equal((await list()).trimEnd().split('\n').length, 1001);
  });
  const { READDIRPLUS = 0, ...others } = cold.calls;
  t.ok(READDIRPLUS >= 1 && READDIRPLUS <= 5, JSON.stringify(cold));
  t.ok(total(others) <= 2, `and the LOOKUP and ACCESS of the directory: ${JSON.stringify(cold)}`);
  t.ok(cold.rounds <= total(cold.calls), `${cold.rounds} rounds`);
  await list();
  const warm = await cost(list);
  t.ok(total(warm.calls) <= 1, JSON.stringify(warm));
  t.same(
    Object.keys(warm.calls).filter((name) => name !== 'GETATTR'),
    [],
  );
  t.equal(warm.rounds, total(warm.calls));
});

const FOLDERS = 30;
const WALKS = [
  ['ls', '-lR', 'tree'],
  ['find', 'tree'],
  ['du', '-a', 'tree'],
];

t.test(
  'whoever walks a tree waits once for each directory: its listing is sent for after it was opened',
  async (t) => {
    const { directory, mount, cost } = await countedServer(t);
    makeTree(directory, FOLDERS);
    for (const options of [[], ['nocto', 'nowalkahead']]) {
      for (const walk of WALKS.slice(0, 1)) {
        const client = await mount([...LONG, ...options]);
        const { calls, rounds } = await cost(() => client.mount.mustRun(walk));
        const { READDIRPLUS, ACCESS = 0, ...others } = calls;
        t.equal(READDIRPLUS, FOLDERS + 1);
        t.ok(ACCESS <= FOLDERS + 1, `${ACCESS} ACCESS`);
        t.ok(total(others) <= 4, JSON.stringify(others));
        t.ok(rounds >= FOLDERS && rounds <= FOLDERS + 8, `${walk.join(' ')} ${options}: ${rounds} rounds`);
        await client.mount.close();
      }
    }
  },
);

t.test(
  'with nocto, directories are listed ahead of whoever walks: few rounds, and no call more',
  async (t) => {
    const { directory, mount, cost } = await countedServer(t);
    makeTree(directory, FOLDERS);
    for (const walk of WALKS) {
      const client = await mount([...LONG, 'nocto']);
      const { calls, rounds } = await cost(() => client.mount.mustRun(walk));
      const { READDIRPLUS, ACCESS = 0, ...others } = calls;
      t.equal(READDIRPLUS, FOLDERS + 1);
      t.ok(ACCESS <= FOLDERS + 1, `${ACCESS} ACCESS`);
      t.ok(total(others) <= 4, JSON.stringify(others));
      t.ok(rounds <= FOLDERS / 2, `${walk.join(' ')}: ${rounds} rounds`);
      await client.mount.close();
    }
  },
);

t.test('cat of a warm file costs one GETATTR', async (t) => {
  const { directory, mount, cost } = await countedServer(t);
  writeFileSync(`${directory}/file`, 'content');
  const client = await mount(LONG);
  const cat = async () => t.equal(await client.mount.mustRun(['cat', 'file']), 'content');
  // Content that has only just changed may change again without a new ctime: its pages are read once more.
  let warm: Cost = { calls: {}, rounds: 0 };
  for (let attempt = 0; attempt < 20 && total(warm.calls) !== 1; attempt++) warm = await cost(cat);
  t.same(warm, { calls: { GETATTR: 1 }, rounds: 1 });
});

t.test(
  'a small file is looked up, opened, read and closed, cold, with three calls in two round trips',
  async (t) => {
    const { directory, mount, cost } = await countedServer(t);
    const names = Array.from({ length: 20 }, (_, i) => `file${i}`);
    for (const name of ['first', ...names]) writeFileSync(`${directory}/${name}`, 'x');
    const client = await mount(LONG);
    await client.fs.readFile('first');
    // A program that is kept from reading for longer than the open took asks again: another client may have been told.
    let reading: Cost = { calls: {}, rounds: 0 };
    for (const name of names) if (reading.rounds !== 2) reading = await cost(() => client.fs.readFile(name));
    t.same(reading, { calls: { LOOKUP: 1, ACCESS: 1, READ: 1 }, rounds: 2 });
  },
);

t.test('with noearlyread a small file takes a round trip more, and no call less', async (t) => {
  const { directory, mount, cost } = await countedServer(t);
  writeFileSync(`${directory}/first`, 'x');
  writeFileSync(`${directory}/second`, 'x');
  const client = await mount([...LONG, 'noearlyread']);
  await client.fs.readFile('first');
  const read = await cost(() => client.fs.readFile('second'));
  t.same(read, { calls: { LOOKUP: 1, ACCESS: 1, READ: 1 }, rounds: 3 });
});

t.test('tar c costs for each file an ACCESS and a READ, which go out together', async (t) => {
  const files = 40;
  const { directory, place, mount, cost } = await countedServer(t);
  mkdirSync(`${directory}/tree`);
  for (let i = 0; i < files; i++) writeFileSync(`${directory}/tree/file${i}`, 'x'.repeat(100 * i));
  const client = await mount(LONG);
  const archive = `${place.folder}/archive.tar`;
  const { calls, rounds } = await cost(() => client.mount.mustRun(['tar', '-cf', archive, 'tree']));
  const { READ = 0, ...others } = calls;
  // Most of them: tar may be kept from reading for longer than an open took, and then both READ and GETATTR come after it.
  t.ok(READ >= files - 1 && READ <= 1.5 * files, `${READ} READ`);
  t.ok(total(others) <= 1.5 * files + 4, JSON.stringify(others));
  t.ok(rounds <= 2 * files, `${rounds} rounds`);
});

t.test('a small file is made, written and closed with three calls', async (t) => {
  const { mount, cost } = await countedServer(t);
  const client = await mount(LONG);
  await client.fs.writeFile('first', 'x');
  const making = await cost(() => client.fs.writeFile('second', 'x'));
  t.same(making, { calls: { LOOKUP: 1, CREATE: 1, WRITE: 1 }, rounds: 3 });
});

t.test(
  'the same in a directory that this client has made, since another client may have put the name there',
  async (t) => {
    const { mount, cost } = await countedServer(t);
    const client = await mount(LONG);
    await client.fs.mkdir('folder');
    await client.fs.writeFile('folder/first', 'x');
    const making = await cost(() => client.fs.writeFile('folder/second', 'x'));
    t.same(making, { calls: { LOOKUP: 1, CREATE: 1, WRITE: 1 }, rounds: 3 });
  },
);

t.test(
  'a name that may not exist is made with one call, in one round trip, however it is made',
  async (t) => {
    const { mount, cost } = await countedServer(t);
    const client = await mount([...LONG, 'directcreate']);
    await client.fs.mkdir('folder');
    await client.fs.writeFile('folder/old', 'x');
    await client.fs.stat('folder/old');
    const O_EXCLUSIVE = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY;
    for (const [calls, rounds, make] of [
      [{ MKDIR: 1 }, 1, () => client.fs.mkdir('folder/directory')],
      [{ SYMLINK: 1 }, 1, () => client.fs.symlink('target', 'folder/symlink')],
      [{ LINK: 1 }, 1, () => client.fs.link('folder/old', 'folder/link')],
      [
        { CREATE: 1, SETATTR: 1 },
        2,
        async () => client.fs.closeFd(await client.fs.open('folder/file', O_EXCLUSIVE)),
      ],
    ] as const)
      t.same(await cost(make), { calls, rounds });
    const asking = await mount([...LONG, 'nodirectcreate']);
    await asking.fs.stat('folder');
    const made = await cost(() => asking.fs.mkdir('folder/other'));
    t.same(made, { calls: { LOOKUP: 1, MKDIR: 1 }, rounds: 2 });
  },
);

t.test('a name that is not there is asked for once, by two stats', async (t) => {
  const { mount, cost } = await countedServer(t);
  const client = await mount(LONG);
  const looking = await cost(async () => {
    for (let i = 0; i < 2; i++) await client.fs.stat('absent').catch(() => undefined);
  });
  t.same(looking, { calls: { LOOKUP: 1 }, rounds: 1 });
});

t.test('tar x costs for each file its CREATE, and one WRITE and one SETATTR at the same time', async (t) => {
  const files = 40;
  const { place, mount, cost } = await countedServer(t);
  const client = await mount([...LONG, 'directcreate']);
  const source = `${place.folder}/source`;
  mkdirSync(`${source}/tree`, { recursive: true });
  for (let i = 0; i < files; i++) writeFileSync(`${source}/tree/file${i}`, 'x'.repeat(100 * i));
  await client.mount.mustRun(['tar', '-cf', `${source}/archive`, '-C', source, 'tree']);
  const { calls, rounds } = await cost(() => client.mount.mustRun(['tar', '-xf', `${source}/archive`]));
  const { LOOKUP = 0, CREATE, WRITE, SETATTR, ...others } = calls;
  t.ok(LOOKUP <= 4, `${LOOKUP} LOOKUP`);
  t.equal(CREATE, files);
  t.equal(WRITE, files - 1, 'one is empty');
  // utimensat, fchown, fchmod, and the mode that CREATE EXCLUSIVE (O_EXCL) cannot give go as one, but for the first file. A few
  // overtake their WRITE, and are repeated.
  t.ok(SETATTR !== undefined && SETATTR <= files + files / 4 + 8, `${SETATTR} SETATTR`);
  t.ok(total(others) <= 6, `beside them, nothing for each file: ${JSON.stringify(others)}`);
  t.ok(rounds <= 2 * files + files / 4 + 16, `${rounds} rounds`);
});

t.test('rm -rf costs one REMOVE for each file', async (t) => {
  const files = 60;
  const { directory, mount, cost } = await countedServer(t);
  mkdirSync(`${directory}/tree`);
  for (let i = 0; i < files; i++) writeFileSync(`${directory}/tree/file${i}`, '');
  const client = await mount(LONG);
  const { calls, rounds } = await cost(() => client.mount.mustRun(['rm', '-rf', 'tree']));
  const { REMOVE, ...others } = calls;
  t.equal(REMOVE, files);
  t.ok(total(others) <= 8, JSON.stringify(others));
  t.ok(rounds <= files + 8, `${rounds} rounds`);
});
