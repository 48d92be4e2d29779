/** A client sees another's changes: data when it opens the file, the rest when its attributes have run out. */
import { constants } from 'node:fs';
import t from 'tap';
import { type Agent, errnoOf } from '../support/agent.js';
import { until } from '../support/process.js';
import { twoMounts } from '../support/two-mounts.js';

interface Change {
  readonly name: string;
  /** Seen when the file is opened, and not only when a timeout is over. */
  readonly byOpening?: boolean;
  prepare(a: Agent): Promise<unknown>;
  /** Fills the caches of the other client. */
  warm(b: Agent): Promise<unknown>;
  change(a: Agent): Promise<unknown>;
  seen(b: Agent): Promise<boolean>;
}

const content = async (fs: Agent, path: string) => (await fs.readFile(path)).toString();

/** A change of the content of a file, seen by opening and reading it. */
function ofData(
  name: string,
  before: string,
  after: string,
  change: (a: Agent, path: string) => Promise<unknown>,
): Change {
  const path = name.replaceAll(' ', '-');
  return {
    name,
    byOpening: true,
    prepare: (a) => a.writeFile(path, before),
    warm: (b) => content(b, path),
    change: (a) => change(a, path),
    seen: async (b) => (await content(b, path)) === after,
  };
}

/** A change of what stat shows of a file. */
function ofAttributes(
  name: string,
  change: (a: Agent, path: string) => Promise<unknown>,
  seen: (stat: Awaited<ReturnType<Agent['stat']>>) => boolean,
): Change {
  const path = `attributes-${name}`;
  return {
    name,
    prepare: (a) => a.writeFile(path, 'x'),
    warm: (b) => b.stat(path),
    change: (a) => change(a, path),
    seen: async (b) => seen(await b.stat(path)),
  };
}

async function append(a: Agent, path: string): Promise<void> {
  const fd = await a.open(path, constants.O_WRONLY | constants.O_APPEND);
  await a.write(fd, ' and more');
  await a.closeFd(fd);
}

const CHANGES: readonly Change[] = [
  ofData('rewritten', 'first', 'other', (a, path) => a.writeFile(path, 'other')),
  ofData('written longer', 'first', 'a longer content', (a, path) => a.writeFile(path, 'a longer content')),
  ofData('appended', 'first', 'first and more', append),
  ofData('truncated', 'first and more', 'first', (a, path) => a.truncate(path, 5)),
  ofData('emptied', 'first', '', (a, path) => a.truncate(path, 0)),
  ofData('replaced by rename', 'first', 'the replacement', async (a, path) => {
    await a.writeFile(`${path}.new`, 'the replacement');
    await a.rename(`${path}.new`, path);
  }),
  ofData('removed and made again', 'first', 'second', async (a, path) => {
    await a.unlink(path);
    await a.writeFile(path, 'second');
  }),
  ofAttributes(
    'chmod',
    (a, path) => a.chmod(path, 0o600),
    ({ mode }) => (mode & 0o777) === 0o600,
  ),
  ofAttributes(
    'chown',
    (a, path) => a.chown(path, 1234, 2345),
    ({ uid, gid }) => uid === 1234 && gid === 2345,
  ),
  ofAttributes(
    'utimes',
    (a, path) => a.utimens(path, 1n, 2n),
    ({ mtimeNs }) => mtimeNs === 2n,
  ),
  ofAttributes('size', append, ({ size }) => size === 10),
  ofAttributes(
    'link',
    (a, path) => a.link(path, `${path}.2`),
    ({ nlink }) => nlink === 2,
  ),
  {
    name: 'renamed',
    prepare: (a) => a.writeFile('old-name', 'x'),
    warm: async (b) => [await b.stat('old-name'), await errnoOf(b.stat('new-name'))],
    change: (a) => a.rename('old-name', 'new-name'),
    seen: async (b) =>
      (await errnoOf(b.stat('old-name'))) === 'ENOENT' && (await errnoOf(b.stat('new-name'))) === 'no error',
  },
  {
    name: 'unlinked',
    prepare: (a) => a.writeFile('unlinked', 'x'),
    warm: (b) => b.stat('unlinked'),
    change: (a) => a.unlink('unlinked'),
    seen: async (b) => (await errnoOf(b.stat('unlinked'))) === 'ENOENT',
  },
  {
    name: 'opened after unlink',
    byOpening: true,
    prepare: (a) => a.writeFile('unlinked-then-opened', 'x'),
    warm: (b) => content(b, 'unlinked-then-opened'),
    change: (a) => a.unlink('unlinked-then-opened'),
    seen: async (b) => (await errnoOf(b.open('unlinked-then-opened', constants.O_RDONLY))) === 'ENOENT',
  },
  {
    name: 'created where nothing was',
    prepare: async () => undefined,
    warm: (b) => errnoOf(b.stat('created')),
    change: (a) => a.writeFile('created', 'x'),
    seen: async (b) => (await errnoOf(b.stat('created'))) === 'no error',
  },
  {
    name: 'mkdir and a listing',
    prepare: (a) => a.mkdir('parent'),
    warm: (b) => b.list('parent'),
    change: (a) => a.mkdir('parent/child'),
    seen: async (b) => (await b.list('parent')).map(String).join() === 'child',
  },
  {
    name: 'rmdir',
    prepare: (a) => a.mkdir('removed-folder'),
    warm: (b) => b.stat('removed-folder'),
    change: (a) => a.rmdir('removed-folder'),
    seen: async (b) => (await errnoOf(b.stat('removed-folder'))) === 'ENOENT',
  },
  {
    name: 'a symlink that points elsewhere',
    prepare: (a) => a.symlink('here', 'link'),
    warm: (b) => b.readlink('link'),
    change: async (a) => {
      await a.symlink('there', 'link.new');
      await a.rename('link.new', 'link');
    },
    seen: async (b) => (await b.readlink('link')).toString() === 'there',
  },
];

interface Expectation {
  readonly options: readonly string[];
  /** How soon a change is seen: everything at once, only data that is opened, or nothing before a timeout. */
  readonly atOnce: 'all' | 'data' | 'nothing';
  /** The time in which the rest must be seen: the longest timeout, and some seconds for a busy machine. */
  readonly latestMs: number;
  readonly servers: readonly ('ganesha' | 'embedded')[];
}

const BOTH = ['ganesha', 'embedded'] as const;
const EXPECTATIONS: Record<string, Expectation> = {
  'default options': { options: [], atOnce: 'data', latestMs: 35_000, servers: ['ganesha'] },
  noac: { options: ['noac'], atOnce: 'all', latestMs: 0, servers: BOTH },
  'actimeo=1': { options: ['actimeo=1'], atOnce: 'data', latestMs: 6_000, servers: BOTH },
  'lookupcache=none': {
    options: ['lookupcache=none', 'acdirmin=3', 'acdirmax=3'],
    atOnce: 'data',
    latestMs: 8_000,
    servers: BOTH,
  },
  nocto: { options: ['nocto', 'actimeo=2'], atOnce: 'nothing', latestMs: 7_000, servers: BOTH },
};

for (const [name, { options, atOnce, latestMs, servers }] of Object.entries(EXPECTATIONS)) {
  for (const kind of servers) {
    t.test(`${name}, ${kind}`, { timeout: 120_000 }, async (t) => {
      const { a, b } = await twoMounts(t, kind, options);
      for (const change of CHANGES) await change.prepare(a.fs);
      for (const change of CHANGES) await change.warm(b.fs);
      for (const change of CHANGES) await change.change(a.fs);
      const start = Date.now();
      for (const change of CHANGES) {
        if (atOnce === 'all' || (atOnce === 'data' && change.byOpening)) {
          t.ok(await change.seen(b.fs), `${change.name}: at once`);
          continue;
        }
        const left = Math.max(0, start + latestMs - Date.now());
        const seen = until(change.name, () => change.seen(b.fs), left).then(
          () => true,
          () => false,
        );
        t.ok(await seen, `${change.name}: within the timeout`);
      }
    });
  }
}
