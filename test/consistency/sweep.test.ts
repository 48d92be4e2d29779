/** `nfs-fuse sweep` lists the files that crashed clients left behind, removes them on demand, and touches no others. */

import { chmodSync, mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { Fattr3, FileName } from '../../lib/programs/nfs3/index.js';
import type { EmbeddedServer } from '../../lib/server/index.js';
import { embeddedMount } from '../support/embedded-mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { type Outcome, run } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const DAY = 86_400;
const OLD = `.nfs${'0123456789abcdef'.repeat(2).slice(0, 24)}`;
const YOUNG = `.nfs${'f'.repeat(24)}`;
const NESTED = `.nfs${'a'.repeat(24)}`;
/** Names that look like leftovers and are none. */
const OTHERS = [
  '.nfs',
  '.nfs0123',
  `.nfs${'0'.repeat(23)}g`,
  `.nfs${'0'.repeat(25)}`,
  `.NFS${'0'.repeat(24)}`,
  'file',
];

interface Ground {
  readonly server: EmbeddedServer;
  readonly folder: string;
  readonly place: Place;
  sweep(...args: string[]): Promise<Outcome & { readonly text: string }>;
}

/** An export with leftovers: OLD and NESTED, which look ten and thirty days old to clients, and YOUNG. */
async function ground(t: Test, placeName: PlaceName = 'root'): Promise<Ground> {
  const { server, folder, source } = await embeddedMount(t);
  const place = untilEnd(t, await openPlace(placeName));
  mkdirSync(`${folder}/dir/sub`, { recursive: true });
  for (const name of [OLD, YOUNG, `dir/sub/${NESTED}`, ...OTHERS, ...OTHERS.map((name) => `dir/${name}`)]) {
    writeFileSync(`${folder}/${name}`, 'left behind');
  }
  mkdirSync(`${folder}/.nfs${'d'.repeat(24)}`);
  symlinkSync('file', `${folder}/.nfs${'e'.repeat(24)}`);
  const ages = new Map([
    [OLD, 10 * DAY],
    [NESTED, 30 * DAY],
  ]);
  // The ctime, which counts, is the one time that nobody can set.
  server.faults.add({
    procedure: 'READDIRPLUS',
    times: Number.POSITIVE_INFINITY,
    alter: (result) => ({
      ...result,
      ...(Array.isArray(result.entries) ? { entries: result.entries.map((entry) => aged(entry, ages)) } : {}),
    }),
  });
  const target = `${source.host}:${source.exportPath}`;
  return {
    server,
    folder,
    place,
    sweep: async (...args) => {
      const argv = [...place.product, 'sweep', '-o', source.mountOptions.join(','), target, ...args];
      const outcome = await run(place.command(argv), { cwd: '/' });
      return { ...outcome, text: outcome.stdout.toString() };
    },
  };
}

function aged(
  entry: { readonly name: FileName; readonly attributes?: Fattr3 },
  ages: ReadonlyMap<string, number>,
): unknown {
  const { attributes } = entry;
  if (attributes === undefined) return entry;
  const { ctime } = attributes;
  const seconds = ctime.seconds - (ages.get(entry.name) ?? 0);
  return { ...entry, attributes: { ...attributes, ctime: { ...ctime, seconds } } };
}

const names = (folder: string): string[] => readdirSync(folder, { recursive: true }).map(String).sort();
const paths = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('/'))
    .map((line) => line.split(' ')[0] ?? '')
    .sort();

t.test('it lists files older than a week, and removes nothing', async (t) => {
  const { sweep, folder } = await ground(t);
  const before = names(folder);
  const { status, text } = await sweep();
  t.equal(status, 0);
  t.same(paths(text), [`/${OLD}`, `/dir/sub/${NESTED}`]);
  t.match(text, /11 bytes, 10\.0 days old/);
  t.match(text, /2 files, 22 bytes\. Nothing was removed/);
  t.same(names(folder), before);
});

t.test('--older-than', async (t) => {
  const { sweep } = await ground(t);
  t.same(paths((await sweep('--older-than', '20d')).text), [`/dir/sub/${NESTED}`]);
  t.same(paths((await sweep('--older-than', '31d')).text), []);
  t.match((await sweep('--older-than', '31d')).text, /No leftovers/);
  const all = [`/${OLD}`, `/${YOUNG}`, `/dir/sub/${NESTED}`].sort();
  t.same(paths((await sweep('--older-than', '0s')).text), all);
  const wrong = await sweep('--older-than', 'soon');
  t.not(wrong.status, 0);
  t.match(wrong.stderr.toString(), /soon/);
});

t.test('--delete removes the listed files and no others', async (t) => {
  const { sweep, folder } = await ground(t);
  const before = names(folder);
  const { status, text } = await sweep('--delete');
  t.equal(status, 0);
  t.same(paths(text), [`/${OLD}`, `/dir/sub/${NESTED}`]);
  t.match(text, /2 files, 22 bytes: removed/);
  const gone = [OLD, `dir/sub/${NESTED}`];
  t.same(
    names(folder),
    before.filter((name) => !gone.includes(name)),
  );
  t.match((await sweep('--delete')).text, /No leftovers/);
});

t.test('--json', async (t) => {
  const { sweep } = await ground(t);
  const records = async (...args: string[]) =>
    (await sweep('--json', ...args)).text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .sort((a, b) => String(a.path).localeCompare(String(b.path)));
  for (const remove of [false, true]) {
    const found = await records(...(remove ? ['--delete'] : []));
    t.match(found, [
      { path: `/${OLD}`, bytes: 11, removed: remove },
      { path: `/dir/sub/${NESTED}`, bytes: 11, removed: remove },
    ]);
    t.ok(Math.abs(Number(found[0]?.ageSeconds) - 10 * DAY) < 600, 'ten days');
  }
});

t.test('a file that got the name meanwhile stays', async (t) => {
  const { sweep, server, folder } = await ground(t);
  writeFileSync(`${folder}/newcomer`, 'in use');
  // The name is looked up once more before the file is removed: at that moment it is another file.
  server.faults.add({
    procedure: 'LOOKUP',
    when: (args) => (args as { name: FileName }).name === OLD,
    wait: async () => renameSync(`${folder}/newcomer`, `${folder}/${OLD}`),
  });
  const { status, text } = await sweep('--delete');
  t.equal(status, 1);
  t.match(text, /not removed: the name stands for another file by now/);
  t.ok(names(folder).includes(OLD), 'the newcomer is still there');
  t.notOk(names(folder).includes(`dir/sub/${NESTED}`), 'the other leftover is not');
});

t.test('a directory that cannot be read is reported, and the rest is swept', async (t) => {
  const { sweep, folder, place } = await ground(t, 'user');
  const { uid } = place.owner;
  t.not(uid, 0);
  mkdirSync(`${folder}/locked`, { mode: 0o700 });
  chmodSync(`${folder}/dir/sub`, 0o777);
  writeFileSync(`${folder}/locked/${YOUNG}`, '');
  const { status, text, stderr } = await sweep();
  t.equal(status, 1);
  t.match(stderr.toString(), /\/locked cannot be read: .*ACCES/);
  t.same(paths(text), [`/${OLD}`, `/dir/sub/${NESTED}`], 'the files that could be seen are listed');
  const deleted = await sweep('--delete');
  t.equal(deleted.status, 1);
  t.match(deleted.text, /not removed: NFS3ERR_ACCES/, 'it cannot remove a file that its user may not remove');
  t.same(readdirSync(`${folder}/dir/sub`), [], 'it removes the files that its user may remove');
});

t.test('a server that cannot be reached', async (t) => {
  const { sweep, server } = await ground(t);
  await server.pause();
  const { status, stderr } = await sweep();
  t.not(status, 0);
  t.match(stderr.toString(), /refuses connections to port/);
  await server.resume();
});
