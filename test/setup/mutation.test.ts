/** The groups of `npm run mutation`, which is not part of a test run itself. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../support/project.js';

interface Group {
  readonly sources: readonly string[];
  readonly tests: readonly string[];
}

interface Selection {
  readonly mutate: readonly string[];
  readonly tests: readonly string[];
}

const load = (name: string): Promise<unknown> => import(join(projectRoot, 'test/mutation', name));
const { GROUPS } = (await load('groups.mjs')) as { readonly GROUPS: Readonly<Record<string, Group>> };
const { select, sourcesOf } = (await load('select.mjs')) as {
  readonly select: (word: string) => Selection;
  readonly sourcesOf: (group: string) => string[];
};

function sourcesIn(folder: string): string[] {
  return readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name}`);
}

t.test('every source file of lib/vfs and lib/rpc is in one group', async (t) => {
  const grouped = Object.keys(GROUPS).flatMap(sourcesOf);
  t.same(grouped.sort(), [...sourcesIn('lib/vfs'), ...sourcesIn('lib/rpc')].sort());
});

t.test('the tests of every group are there', async (t) => {
  for (const { tests } of Object.values(GROUPS))
    for (const file of tests) t.ok(existsSync(join(projectRoot, file)), file);
});

t.test('a group is chosen by its name, and a file by its path, with the tests of its group', async (t) => {
  t.same(select('write-path').tests, GROUPS['write-path']?.tests);
  t.same(select('lib/vfs/write-behind/slots.ts'), {
    name: 'lib/vfs/write-behind/slots.ts',
    mutate: ['lib/vfs/write-behind/slots.ts'],
    tests: GROUPS['write-path']?.tests,
  });
  t.same(select('lib/vfs/write-behind/slots.ts:5-9').mutate, ['lib/vfs/write-behind/slots.ts:5-9']);
  t.throws(() => select('chaches'), /"chaches" is neither a group nor a source file of one.*caches/);
});
