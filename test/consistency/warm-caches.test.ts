/** Cached objects that have not changed cost no call, or one: counted at the server. */
import { constants, mkdirSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { watchedServer } from '../support/two-mounts.js';

/** Attributes that do not run out while the test goes on. */
const LONG = ['acregmin=600', 'acregmax=600', 'acdirmin=600', 'acdirmax=600'];
const FILES = 50;

function fill(directory: string): void {
  for (let folder = 0; folder < 5; folder++) {
    mkdirSync(`${directory}/tree/folder${folder}`, { recursive: true });
    for (let file = 0; file < FILES; file++) {
      writeFileSync(`${directory}/tree/folder${folder}/file${file}`, `content ${file}`);
    }
  }
}

t.test('a warm stat of a tree costs no call', async (t) => {
  const { directory, mount, calls } = await watchedServer(t);
  fill(directory);
  const client = await mount(LONG);
  const statAll = async () => {
    for (let folder = 0; folder < 5; folder++) {
      for (let file = 0; file < FILES; file++) await client.fs.stat(`tree/folder${folder}/file${file}`);
    }
  };
  const cold = await calls(statAll);
  t.ok(Object.values(cold).reduce((sum, count) => sum + count, 0) > 0, 'cold, it costs calls');
  t.same(await calls(statAll), {}, 'warm, none');
});

t.test('a warm stat within the default timeouts costs no call', async (t) => {
  const { directory, mount, calls } = await watchedServer(t);
  writeFileSync(`${directory}/file`, 'x');
  const client = await mount();
  // Until two of them fall into one timeout, however slow the machine is.
  let cost: Record<string, number> = { GETATTR: 1 };
  for (let attempt = 0; attempt < 20 && Object.keys(cost).length > 0; attempt++) {
    await client.fs.stat('file');
    cost = await calls(() => client.fs.stat('file'));
  }
  t.same(cost, {});
});

t.test('a name that is not there is asked for once', async (t) => {
  const { mount, calls } = await watchedServer(t);
  const client = await mount(LONG);
  const absent = () => client.fs.stat('absent').catch(() => undefined);
  t.equal((await calls(absent)).LOOKUP, 1);
  t.same(await calls(absent), {});
});

t.test('a warm ls -l of an unchanged directory costs at most one GETATTR', async (t) => {
  const { directory, mount, calls } = await watchedServer(t);
  fill(directory);
  const client = await mount(LONG);
  const list = () => client.mount.mustRun(['ls', '-l', 'tree/folder1']);
  const first = await list();
  t.equal(first.trimEnd().split('\n').length, FILES + 1);
  await list();
  const cost = await calls(list);
  t.same(
    Object.keys(cost).filter((name) => name !== 'GETATTR'),
    [],
    'nothing but GETATTR',
  );
  t.ok((cost.GETATTR ?? 0) <= 1, `${cost.GETATTR ?? 0} GETATTR`);
});

t.test('a cold ls -l costs no call for each entry', async (t) => {
  const { directory, mount, calls } = await watchedServer(t);
  fill(directory);
  const client = await mount(LONG);
  const cost = await calls(() => client.mount.mustRun(['ls', '-l', 'tree/folder1']));
  const all = Object.values(cost).reduce((sum, count) => sum + count, 0);
  t.ok(all < FILES / 2, `${all} calls for ${FILES} entries: ${JSON.stringify(cost)}`);
});

t.test('opening an unchanged file costs one GETATTR and no READ', async (t) => {
  const { directory, mount, calls } = await watchedServer(t);
  writeFileSync(`${directory}/file`, Buffer.alloc(100_000, 1));
  const client = await mount(LONG);
  await client.fs.readFile('file');
  await client.fs.readFile('file');
  const cost = await calls(async () => t.equal((await client.fs.readFile('file')).length, 100_000));
  t.same(cost, { GETATTR: 1 });
});

t.test('with nocto, opening an unchanged file costs nothing', async (t) => {
  const { directory, mount, calls } = await watchedServer(t);
  writeFileSync(`${directory}/file`, Buffer.alloc(100_000, 1));
  const client = await mount([...LONG, 'nocto']);
  await client.fs.readFile('file');
  await client.fs.readFile('file');
  t.same(await calls(() => client.fs.readFile('file')), {});
});

t.test('with direct_io nothing is kept, and files are still read ahead', async (t) => {
  const { directory, mount, calls } = await watchedServer(t);
  const data = Buffer.alloc(8 << 20, 'what is read directly');
  writeFileSync(`${directory}/file`, data);
  const client = await mount([...LONG, 'rsize=1048576', 'direct_io']);
  const read = async () => t.ok((await client.fs.readFile('file')).equals(data));
  const [first, second] = [await calls(read), await calls(read)];
  for (const { READ = 0 } of [first, second]) t.ok(READ >= 8 && READ <= 24, `${READ} READs of 8 MiB`);
});

t.test('data that this client wrote is read back without a READ', async (t) => {
  const { mount, calls } = await watchedServer(t);
  const client = await mount(LONG);
  // Whole pages: the kernel would not know the rest of a partly written one.
  await client.fs.writeFile('file', Buffer.alloc(24 * 4096, 1));
  const cost = await calls(() => client.fs.readFile('file'));
  t.equal(cost.READ ?? 0, 0, JSON.stringify(cost));
});

t.test('sequential reading costs no more READs than the file has pieces', async (t) => {
  const { directory, mount, calls } = await watchedServer(t);
  writeFileSync(`${directory}/file`, Buffer.alloc(8 << 20, 1));
  const client = await mount([...LONG, 'rsize=1048576']);
  const cost = await calls(async () => {
    const fd = await client.fs.open('file', constants.O_RDONLY);
    for (let at = 0; at < 8 << 20; at += 65_536) await client.fs.pread(fd, 65_536, at);
    await client.fs.closeFd(fd);
  });
  t.ok((cost.READ ?? 0) <= 24, `${cost.READ} READs of 8 MiB`);
});
