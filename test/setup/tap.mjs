/** Runs test files under tap, and gives a file that failed beside others a second try alone. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, say } from './common.mjs';
import { readReport } from './tap-report.mjs';

/**
 * Runs `files`, `jobs` at a time; each may take `timeoutSeconds`. One result per file, also for those that tap says
 * nothing about, which count as failed.
 */
export function runFiles(files, { jobs, timeoutSeconds }) {
  if (files.length === 0) return [];
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
    const results = readReport(existsSync(report) ? readFileSync(report, 'latin1') : '');
    const missing = files.filter((file) => !results.some((result) => result.file === file));
    for (const file of missing) results.push(failed(file, 'tap reported nothing of it'));
    // tap calls the run failed for a reason that no file shows.
    if (status !== 0 && results.every(({ fail, other }) => fail + other === 0))
      results.push(failed('tap itself', `exit status ${status}`));
    return results;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function failed(file, failures) {
  return { file, pass: 0, fail: 1, other: 0, milliseconds: 0, failures };
}

/**
 * Like {@link runFiles}, but whoever fails beside others runs once more, alone: a machine that is short of everything
 * is not what the tests are about. Such a file is named as unsteady; what fails twice has failed.
 */
export function runSteadily(files, options) {
  say(`${files.length} test files, ${options.jobs} at a time`);
  const results = runFiles(files, options);
  say(`slowest: ${slowest(results)}`);
  return results.map((result) => {
    if (result.fail === 0 || !files.includes(result.file)) return result;
    console.error(`${result.file} failed beside others, and runs again alone:\n${result.failures}`);
    const [again = result] = runFiles([result.file], { ...options, jobs: 1 });
    return { ...again, unsteady: again.fail === 0 };
  });
}

/** The files that took longest. */
function slowest(results) {
  return [...results]
    .sort((a, b) => b.milliseconds - a.milliseconds)
    .slice(0, 8)
    .map(({ file, milliseconds }) => `${file} ${Math.round(milliseconds / 1000)} s`)
    .join(', ');
}
