/** The parts of the test run that run before anything is installed, and so are plain JavaScript without types. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { run } from '../support/process.js';
import { projectRoot } from '../support/project.js';

interface FileResult {
  readonly file: string;
  readonly failures: string;
}

const { readReport } = (await import(new URL('tap-report.mjs', import.meta.url).href)) as {
  readReport(report: string): FileResult[];
};

t.test(
  'a report is counted by file, assertion by assertion, with what failed and what was said',
  async (t) => {
    const report = `TAP version 14
# Subtest: test/a.test.ts
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
    1..1
not ok 1 - test/a.test.ts # time=1500.5ms

# Subtest: test/b.test.ts
    ok 1 - holds
    1..1
ok 2 - test/b.test.ts # time=3ms

not ok 3 - test/c.test.ts # time=4ms
`;
    const [a, b, c] = readReport(report);
    t.match(a, { file: 'test/a.test.ts', pass: 1, fail: 1, other: 1, milliseconds: 1500.5 });
    t.match(
      a?.failures,
      /^test\/a.test.ts > outer > inner > one is two\n.*not a point.*said meanwhile:\nthe server said: boo/s,
    );
    t.notMatch(a?.failures, /somewhere/, 'a subtest that fails by what is in it is not told twice');
    t.match(b, { file: 'test/b.test.ts', pass: 1, fail: 0, other: 0, failures: '' });
    t.match(c, { file: 'test/c.test.ts', pass: 0, fail: 1 }, 'a file that dies without a word has failed');
  },
);

t.test('a run counts what fails, and a file that cannot even be run', async (t) => {
  const folder = mkdtempSync(join(projectRoot, 'node_modules/.cache/failing-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const failing = join(folder, 'failing.test.mjs');
  writeFileSync(failing, "import t from 'tap';\nt.ok(true);\nt.equal(1, 2, 'one is two');\n");
  const relative = failing.slice(projectRoot.length + 1);
  // In a process of its own: tap writes its report to standard output too.
  const script = `
    import { runFiles } from ${JSON.stringify(new URL('tap.mjs', import.meta.url).href)};
    const files = [${JSON.stringify(relative)}, 'test/none-such.test.ts'];
    console.log('RESULTS ' + JSON.stringify(runFiles(files, { jobs: 1, timeoutSeconds: 60 })));`;
  const { stdout } = await run([process.execPath, '--input-type=module', '-e', script]);
  const [, results = ''] = /^RESULTS (.*)$/m.exec(stdout.toString()) ?? [];
  t.match(JSON.parse(results), [
    { file: relative, pass: 1, fail: 1, failures: /one is two/ },
    { file: 'test/none-such.test.ts', pass: 0, fail: 1 },
  ]);
});
