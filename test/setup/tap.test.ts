/** The parts of the test run that run before anything is installed, and so are plain JavaScript without types. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../support/project.js';

interface Report {
  readonly pass: number;
  readonly fail: number;
  readonly other: number;
  readonly failed: string[];
  readonly failures: string;
}

interface Way {
  readonly title: string;
}

/** A report of a suite over a way to mount. */
interface Result {
  readonly passed: number;
  readonly failed: number;
  readonly excluded: number;
  readonly reasons: readonly string[];
}

async function setup<Exports>(name: string): Promise<Exports> {
  return (await import(new URL(name, import.meta.url).href)) as Exports;
}

const { readReport } = await setup<{ readReport(report: string): Report }>('tap-report.mjs');
const { runFile } = await setup<{ runFile(file: string, seconds: number): Promise<Report> }>('tap.mjs');
const { judge, renderTable, whyNotRun, SUITES, WAYS } = await setup<{
  judge(suite: string, way: Way, report: Report): Result;
  renderTable(resultOf: (suite: string, way: Way) => Result | undefined): string;
  whyNotRun(suite: string, way: Way): string | undefined;
  SUITES: Record<string, string>;
  WAYS: Way[];
}>('transports-table.mjs');

t.test('a report is counted assertion by assertion, with what failed and what was said', async (t) => {
  const report = readReport(`TAP version 14
# Subtest: outer
    ok 1 - holds
    # Subtest: inner
        # the server said: boo
        not ok 1 - one is two
          ---
          diff: |
            ok 7 - not a point
          ...
        ok 2 - later # SKIP no time
        1..2
    not ok 2 - inner # time=1ms
      ---
      at: somewhere
      ...
    1..2
not ok 1 - outer # time=2ms
ok 2 - by itself
1..2
`);
  t.match(report, { pass: 2, fail: 1, other: 1, failed: ['outer > inner > one is two'] });
  t.match(
    report.failures,
    /^outer > inner > one is two\n.*not a point.*said meanwhile:\nthe server said: boo/s,
  );
  t.notMatch(report.failures, /somewhere/, 'a subtest that fails by what is in it is not told twice');
});

t.test('a file fails by an assertion, by how it ends, and by saying nothing', async (t) => {
  const cache = join(projectRoot, 'node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'failing-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const runText = (name: string, text: string) => {
    const file = join(folder, `${name}.test.mjs`);
    writeFileSync(file, text);
    return runFile(file, 60);
  };
  const good = "import t from 'tap';\nt.ok(true);\n";
  t.match(await runText('good', good), { pass: 1, fail: 0 });
  t.match(await runText('wrong', `${good}t.equal(1, 2, 'one is two');`), {
    pass: 1,
    fail: 1,
    failures: /one is two/,
  });
  t.match(await runText('status', `${good}process.on('exit', () => { process.exitCode = 3; });`), {
    fail: 1,
    failures: /ended with 3 after 1 assertions/,
  });
  t.match(await runText('killed', `${good}process.kill(process.pid, 'SIGKILL');`), {
    fail: 1,
    failures: /SIGKILL/,
  });
  t.match(await runText('silent', ''), { pass: 0, fail: 1 });
  t.match(await runFile('test/none-such.test.ts', 60), { pass: 0, fail: 1, failures: /none-such/ });
});

t.test('over each way to mount, what must fail counts as excluded, and nothing else does', async (t) => {
  const failed = ['ganesha/root > utimensat sets times to the nanosecond > a folder', 'ganesha/root > other'];
  const report = { pass: 7, fail: 2, other: 0, failed, failures: '' };
  const [kernel, native] = ['kernel, root', 'fuse-native, root'].map((title) =>
    WAYS.find((way) => way.title === title),
  );
  if (kernel === undefined || native === undefined) throw new Error('a way is missing');
  t.match(judge('attributes', kernel, report), { passed: 7, failed: 2, excluded: 0 });
  t.match(judge('attributes', native, report), { passed: 7, failed: 1, excluded: 1 });
  t.match(judge('files', native, report), { failed: 2, excluded: 0 }, 'in the suite that it is about only');
  t.equal(whyNotRun('users', kernel), undefined);
  const table = renderTable((suite, way) => (whyNotRun(suite, way) ? undefined : judge(suite, way, report)));
  t.equal(table.split('\n').filter((line) => line.startsWith('| ')).length, Object.keys(SUITES).length + 2);
  const [, mark] = /7 passed, \*\*1 failed\*\*, 1 excluded \[(\d+)\]/.exec(table) ?? [];
  t.match(table, new RegExp(`^${mark}\\. fuse-native has times in whole milliseconds`, 'm'));
});

t.test('docs/transports.md is what the table is made of, and says why a number differs', async (t) => {
  const page = readFileSync(join(projectRoot, 'docs/transports.md'), 'utf8');
  const shown = page.slice(page.indexOf('\n|') + 1);
  const notes = [...shown.matchAll(/^\d+\. (.*)\.$/gm)].map(([, reason]) => reason ?? '');
  const rows = shown.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
  const cellOf = (suite: string, way: Way) =>
    rows.find(([, title]) => title?.startsWith(`${suite}:`))?.[WAYS.indexOf(way) + 2] ?? '';
  const number = (pattern: RegExp, cell: string) => Number(pattern.exec(cell)?.[1] ?? 0);
  const resultOf = (suite: string, way: Way): Result => {
    const cell = cellOf(suite, way);
    const marks = [...(/excluded(.*)/.exec(cell)?.[1] ?? '').matchAll(/\d+/g)];
    return {
      passed: number(/(\d+) passed/, cell),
      failed: number(/(\d+) failed/, cell),
      excluded: number(/(\d+) excluded/, cell),
      reasons: marks.map(([mark]) => notes[Number(mark) - 1] ?? ''),
    };
  };
  const bare = (table: string) => table.replace(/-+/g, '-').replace(/ +/g, ' ').trim();
  t.equal(bare(shown), bare(renderTable(resultOf)));
  const count = ({ passed, failed, excluded }: Result) => passed + failed + excluded;
  for (const suite of Object.keys(SUITES)) {
    const [first, ...others] = WAYS;
    for (const way of others) {
      const cell = cellOf(suite, way);
      if (first === undefined || cell.startsWith('not run')) continue;
      const differs = count(resultOf(suite, way)) !== count(resultOf(suite, first));
      t.equal(/passed \[/.test(cell), differs, `${suite}, ${way.title}: ${cell}`);
    }
  }
});
