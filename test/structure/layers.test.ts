/** The house is built as docs/architecture.md says: rooms, arrows between them, sizes, and names with one meaning. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../support/project.js';
import {
  allImports,
  circles,
  circlesOfRooms,
  forbiddenImports,
  type Import,
  type Room,
  readRooms,
  repeatedFileNames,
  repeatedTypeNames,
  type Sources,
  tooLarge,
  unmatched,
} from './house.js';

const MAX_LINES = 400;
const MAX_FILES = 15;

/** Names of files that may occur twice, because they mean the same thing at both places. */
const SAME_MEANING = [
  // One of each for every RPC program.
  'client.ts: lib/programs/mount3/client.ts, lib/programs/portmap/client.ts',
  'procedures.ts: lib/programs/mount3/procedures.ts, lib/programs/nlm4/procedures.ts, lib/programs/portmap/procedures.ts, lib/programs/rquota/procedures.ts',
  'types.ts: lib/programs/mount3/types.ts, lib/programs/nlm4/types.ts, lib/programs/portmap/types.ts, lib/programs/rquota/types.ts',
  // The system call below, and the whole order of the user above it.
  'remount.ts: lib/fuse/mount/remount.ts, lib/mount/reach/remount.ts',
  'unmount.ts: lib/fuse/mount/unmount.ts, lib/mount/reach/unmount.ts',
];

function readSources(): Sources {
  const paths = ['bin', 'lib'].flatMap((folder) =>
    readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`),
  );
  return new Map(paths.sort().map((path) => [path, readFileSync(join(projectRoot, path), 'utf8')]));
}

const sources = readSources();
const imports = allImports(sources);
const rooms = readRooms(readFileSync(join(projectRoot, 'docs/architecture.md'), 'utf8'));
const shown = (list: readonly Import[]): string[] => list.map(({ from, to }) => `${from} imports ${to}`);

t.test('every room has one row with a sentence, and every row has a room', async (t) => {
  t.same(unmatched(rooms, sources), []);
  for (const { name, sentence } of rooms) t.match(sentence, /^[A-Z].*\.$/, name);
});

t.test('every import follows an arrow', async (t) => {
  t.ok(imports.length > 100, 'the imports were found');
  t.same(shown(imports.filter(({ to }) => !sources.has(to))), [], 'each leads to a file');
  t.same(shown(forbiddenImports(rooms, imports)), []);
});

t.test('neither rooms nor files form a circle', async (t) => {
  t.same(circlesOfRooms(rooms), []);
  t.same(circles(imports), []);
});

t.test('files and folders stay small', async (t) => {
  t.same(tooLarge(sources, MAX_LINES, MAX_FILES), []);
});

t.test('names of files and types mean one thing', async (t) => {
  t.same(repeatedTypeNames(sources), []);
  t.same(
    repeatedFileNames(sources).filter((name) => !SAME_MEANING.includes(name)),
    [],
  );
});

/** A small house: the rules are tried on it, so that it is known that they can be broken. */
const room = (name: string, mayImport: string[] = []): Room => ({ name, sentence: 'A room.', mayImport });
const SMALL = [
  room('lib/base'),
  room('lib/top', ['lib/base']),
  room('lib/top/left', ['lib/top/right', 'lib/top/words.ts']),
  room('lib/top/right'),
  room('lib/side'),
];

function judgeOne(from: string, text: string): string {
  const forbidden = forbiddenImports(SMALL, allImports(new Map([[from, text]])));
  return forbidden.length > 0 ? 'forbidden' : 'allowed';
}

t.test('an import without an arrow is found, however it is written', async (t) => {
  const forms = [
    "import { a } from '../top/a.js';",
    "import type { A } from '../top/a.js';",
    "import { type A } from '../top/a.js';",
    "import '../top/left/a.js';",
    "export { a } from '../top/a.js';",
    "export * from '../top/a.js';",
    "const a = await import('../top/a.js');",
    "let a: import('../top/a.js').A;",
  ];
  for (const form of forms) t.equal(judgeOne('lib/base/b.ts', form), 'forbidden', form);
  t.equal(judgeOne('lib/base/b.ts', "// import '../top/a.js';\nimport 'node:fs';"), 'allowed');
});

t.test('arrows lead down and sideways as the tables say', async (t) => {
  const verdicts = [
    ['lib/top/a.ts', '../base/b.js', 'allowed'],
    ['lib/top/left/a.ts', '../../base/b.js', 'allowed'],
    ['lib/top/a.ts', './left/b.js', 'allowed'],
    ['lib/top/left/a.ts', '../right/b.js', 'allowed'],
    ['lib/top/right/a.ts', '../left/b.js', 'forbidden'],
    ['lib/top/left/a.ts', '../words.js', 'allowed'],
    ['lib/top/left/a.ts', '../a.js', 'forbidden'],
    ['lib/top/right/a.ts', '../words.js', 'forbidden'],
    ['lib/top/right/a.ts', '../../side/b.js', 'forbidden'],
    ['lib/side/a.ts', '../top/right/b.js', 'forbidden'],
    ['lib/new/a.ts', '../base/b.js', 'forbidden'],
  ] as const;
  for (const [from, to, verdict] of verdicts)
    t.equal(judgeOne(from, `import '${to}';`), verdict, `${from} imports ${to}`);
});

t.test('rooms and rows that do not match are found', async (t) => {
  const tree = new Map(['lib/base/b.ts', 'lib/new/n.ts', 'lib/top/left/l.ts'].map((path) => [path, '']));
  t.same(unmatched([...SMALL.slice(0, 3), room('lib/base')], tree), [
    'lib/new has no row',
    'lib/base has two rows',
    'an arrow leads to lib/top/right, which is not there',
    'an arrow leads to lib/top/words.ts, which is not there',
  ]);
  t.same(unmatched([room('lib/gone')], new Map()), ['lib/gone has a row and no folder']);
});

t.test('circles are found, and only circles', async (t) => {
  const edges = (...pairs: string[]): Import[] =>
    pairs.map((pair) => ({ from: pair.charAt(0), to: pair.charAt(1) }));
  t.same(circles(edges('ab', 'bc', 'ac', 'dc')), []);
  t.same(circles(edges('ab', 'bc', 'ca', 'cd', 'de', 'ed')), [
    ['d', 'e'],
    ['a', 'b', 'c'],
  ]);
  t.same(circles(edges('aa')), [['a']]);
  t.same(circlesOfRooms(SMALL), []);
  t.same(circlesOfRooms([...SMALL, room('lib/side', ['lib/top/right'])]), []);
  t.same(circlesOfRooms([...SMALL.slice(1), room('lib/base', ['lib/top/right'])]), [
    ['lib/base', 'lib/top/right'],
  ]);
  const twoWays = [room('lib/top/left', ['lib/top/right']), room('lib/top/right', ['lib/top/left/words.ts'])];
  t.same(circlesOfRooms([room('lib/top'), ...twoWays]), [['lib/top/left', 'lib/top/right']]);
});

t.test('large files and full folders are found', async (t) => {
  const tree = new Map([
    ['lib/a/long.ts', 'x\n'.repeat(3)],
    ['lib/a/short.ts', 'x\n'.repeat(2)],
    ['lib/a/third.ts', ''],
    ['bin/long.ts', 'x\n'.repeat(3)],
  ]);
  t.same(tooLarge(tree, 2, 2), ['lib/a/long.ts has 3 lines', 'lib/a has 3 files']);
});

t.test('names with two meanings are found', async (t) => {
  const tree = new Map([
    ['lib/a/names.ts', 'export class Name {}\nexport type Other = 1;\nclass Inner {}'],
    ['lib/b/names.ts', 'export interface Name {}\nclass Inner {}'],
    ['lib/b/index.ts', "export type { Other } from '../a/names.js';"],
    ['lib/index.ts', ''],
  ]);
  t.same(repeatedTypeNames(tree), ['Name: lib/a/names.ts, lib/b/names.ts']);
  t.same(repeatedFileNames(tree), ['names.ts: lib/a/names.ts, lib/b/names.ts']);
});

t.test('only tables of rooms are read', async (t) => {
  const table = [
    '| room  | what it does | may import |',
    '| ----- | ------------ | ---------- |',
    '| `a/b` | Does.        | `c`, `d`   |',
    '',
    '| `x` | of another table |',
  ];
  t.same(readRooms(table.join('\n')), [{ name: 'a/b', sentence: 'Does.', mayImport: ['c', 'd'] }]);
});
