/**
 * `npm test`: brings a fresh clone to the state that the tests need, runs them, and ends with the count.
 * Runs before anything is installed, so it is plain JavaScript and uses nothing but Node itself.
 *
 * usage: node test/run.mjs [--all | test files…]
 *   without files: type-check, lint and every test that is fast; --all: the long ones too
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, SetupError, say } from './setup/common.mjs';
import { checkMachine, installPackages } from './setup/machine.mjs';
import { buildHelpers, buildProduct, installModules } from './setup/project.mjs';
import { sweep } from './setup/sweep.mjs';

/** Suites that take minutes: run on demand, with --all. */
const LONG = ['test/model/', 'test/e2e/fuse-native'];
/** Suites that mount and start servers: they wait more than they work, and may take long. */
const MOUNTING = ['test/e2e/', 'test/consistency/', 'test/cli/', 'test/model/'];
const JOBS = 2;
/** The longest begin first, so that none is left to run alone at the end. */
const LONGEST = [
  'test/e2e/source-tree',
  'test/consistency/changing-directories',
  'test/consistency/changes-seen',
  'test/e2e/directories',
  'test/consistency/close-to-open',
];

const isIn = (groups) => (file) => groups.some((group) => file.includes(group));

function testFiles() {
  return readdirSync(join(root, 'test'), { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `test/${name}`)
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

function rank(file) {
  const at = LONGEST.findIndex((name) => file.includes(name));
  return at < 0 ? LONGEST.length : at;
}

/** Runs tap on `files` and returns the counts of its own report. */
function runTap(files, jobs, timeoutSeconds) {
  const none = { pass: 0, fail: 0, other: 0 };
  if (files.length === 0) return none;
  say(`${files.length} test files, ${jobs} at a time`);
  const folder = mkdtempSync(join(tmpdir(), 'nfs-fuse-tap-'));
  try {
    const report = join(folder, 'report.tap');
    const args = [`--jobs=${jobs}`, `--timeout=${timeoutSeconds}`, `--output-file=${report}`, '--no-color'];
    const reporter = process.stdout.isTTY ? 'base' : 'min';
    const tap = join(root, 'node_modules/.bin/tap');
    const { status, error } = spawnSync(tap, [...args, `--reporter=${reporter}`, ...files], {
      cwd: root,
      stdio: 'inherit',
    });
    if (error) throw error;
    // tap writes no report if it does not even start.
    const text = existsSync(report) ? readFileSync(report, 'latin1') : '';
    const totals = [...text.matchAll(/^# \{ (total: .*) \}$/gm)].at(-1)?.[1];
    const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals ?? '')?.[1] ?? 0);
    const counts = { pass: count('pass'), fail: count('fail'), other: count('skip') + count('todo') };
    say(`slowest: ${slowest(text)}`);
    // A run that ended without totals, or that tap calls failed for a reason it does not count, is a failure.
    if (status !== 0 && counts.fail === 0 && counts.other === 0) counts.fail = 1;
    return counts;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The files that took longest, as a report tells it. */
function slowest(report) {
  return [...report.matchAll(/^(?:not )?ok \d+ - (\S+) # time=([\d.]+)ms$/gm)]
    .sort((a, b) => Number(b[2]) - Number(a[2]))
    .slice(0, 5)
    .map(([, file, ms]) => `${file} ${Math.round(Number(ms) / 1000)} s`)
    .join(', ');
}

function checkSources() {
  const { status } = spawnSync('npm', ['run', '--silent', 'check'], { cwd: root, stdio: 'inherit' });
  return status === 0;
}

function main(args) {
  const all = args[0] === '--all';
  const wanted = all ? [] : args;
  installPackages();
  checkMachine();
  installModules();
  buildProduct();
  buildHelpers();
  sweep();
  let failedChecks = 0;
  if (wanted.length === 0) {
    say('checking types, format and lint');
    if (!checkSources()) failedChecks = 1;
  }
  const long = isIn(all || wanted.length > 0 ? [] : LONG);
  const files = (wanted.length > 0 ? wanted : testFiles()).filter((file) => !long(file));
  const mounting = isIn(MOUNTING);
  const runs = [
    runTap(
      files.filter((file) => !mounting(file)),
      JOBS,
      120,
    ),
    runTap(files.filter(mounting), JOBS, 600),
  ];
  const left = sweep();
  for (const what of left) console.error(`left behind by a test, removed now: ${what}`);
  const sum = (name) => runs.reduce((total, run) => total + run[name], 0);
  if (sum('other') > 0)
    console.error(`${sum('other')} tests were skipped or left to do: that counts as failed`);
  const failed = sum('fail') + sum('other') + left.length + failedChecks;
  console.log(`${sum('pass')} passed, ${failed} failed`);
  return failed === 0 && sum('pass') > 0 ? 0 : 1;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`npm test: ${error.message}`);
  process.exitCode = 1;
}
