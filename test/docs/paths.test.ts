/** Everything that the documents name exists: files, folders, names in files, and the targets of links. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../support/project.js';

const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync(join(projectRoot, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

const read = (path: string): string => readFileSync(join(projectRoot, path), 'utf8');

const PATH = /^(?:\.ci|bench|bin|deploy|docs|lib|man|test)\/[\w./-]+$/;

/** Paths of the project in backquotes. */
function pathsIn(text: string): string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code).filter((code) => PATH.test(code));
}

/** "`name` in `path`": the file has the name. */
function namesIn(text: string): { name: string; path: string }[] {
  return [...text.matchAll(/`(\w+)`\s+in\s+`([^`]+\.\w+)`/g)]
    .map(([, name = '', path = '']) => ({ name, path }))
    .filter(({ path }) => PATH.test(path));
}

/** The targets of links within the project, with the heading. */
function linksIn(text: string): { path: string; heading: string | undefined }[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [path = '', heading] = target.split('#');
      return { path, heading };
    });
}

/** The name that a heading has in links. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

t.test('the examples of what is looked for are found', async (t) => {
  const text =
    '`lib/a.ts` and `twice` in\n`test/b.ts` [c](docs/c.md#the-end) [d](https://d.example) `no/path`';
  t.same(pathsIn(text), ['lib/a.ts', 'test/b.ts']);
  t.same(namesIn(text), [{ name: 'twice', path: 'test/b.ts' }]);
  t.same(linksIn(text), [{ path: 'docs/c.md', heading: 'the-end' }]);
  t.same(anchorsOf('# One `two`: three\n## Four'), ['one-two-three', 'four']);
});

for (const document of DOCUMENTS) {
  const text = read(document);
  t.test(`${document} names only files and folders that exist`, async (t) => {
    const missing = pathsIn(text).filter((path) => !existsSync(join(projectRoot, path)));
    t.same([...new Set(missing)], []);
  });

  t.test(`${document} names what the files have`, async (t) => {
    const missing = namesIn(text).filter(
      ({ name, path }) =>
        !existsSync(join(projectRoot, path)) || !new RegExp(`\\b${name}\\b`).test(read(path)),
    );
    t.same(missing, []);
  });

  t.test(`links in ${document} lead somewhere`, async (t) => {
    const broken = linksIn(text).filter(({ path, heading }) => {
      const target = path === '' ? document : join(dirname(document), path);
      if (!existsSync(join(projectRoot, target))) return true;
      return heading !== undefined && !anchorsOf(read(target)).includes(heading);
    });
    t.same(broken, []);
  });
}

t.test(
  'every page in docs can be reached from README.md, CONTRIBUTING.md or docs/architecture.md',
  async (t) => {
    const entrances = ['README.md', 'CONTRIBUTING.md', 'docs/architecture.md'];
    const linked = entrances.flatMap((entrance) =>
      linksIn(read(entrance)).map(({ path }) => join(dirname(entrance), path)),
    );
    t.same(
      DOCUMENTS.filter((document) => document.startsWith('docs/') && !linked.includes(document)),
      [],
    );
  },
);
