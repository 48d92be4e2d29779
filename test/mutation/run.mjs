/**
 * `npm run mutation`: changes the program in small ways, and runs the tests that belong to the changed file. A change that no
 * test notices is shown: it needs a test, or makes no difference.
 *
 * usage: npm run mutation -- group… | file… | file:from-to
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Stryker } from '@stryker-mutator/core';
import { root } from '../setup/common.mjs';
import { GROUPS } from './groups.mjs';
import { select } from './select.mjs';

/** Ignored by git. */
const FOLDER = '.mutation';
/** Of this run alone: another may go on beside it. */
const WORK = `${FOLDER}/work-${process.pid}`;

/** The options of Stryker for one group. */
function options({ name, mutate, tests }) {
  return {
    mutate,
    testRunner: 'tap',
    tap: {
      testFiles: tests.map((file) => `dist/${file.replace(/\.ts$/, '.js')}`),
      nodeArgs: ['-r', '{{hookFile}}', '{{testFile}}'],
    },
    plugins: ['@stryker-mutator/tap-runner', join(root, 'test/mutation/messages.mjs')],
    ignorers: ['messages'],
    // Compiled once, with every mutant in it: starting the compiler with each run would take most of the time.
    buildCommand: 'tsc -p test/mutation/tsconfig.json',
    ignorePatterns: ['/.ci', '/dist', '/docs', '/bench', `/${FOLDER}`],
    coverageAnalysis: 'perTest',
    concurrency: Number(process.env.NFS_FUSE_MUTATION_JOBS ?? 2),
    timeoutMS: 10_000,
    tempDirName: WORK,
    cleanTempDir: 'always',
    reporters: ['progress', 'clear-text', 'html', 'json'],
    clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
    htmlReporter: { fileName: `${FOLDER}/${fileName(name)}.html` },
    jsonReporter: { fileName: `${FOLDER}/${fileName(name)}.json` },
    allowEmpty: true,
    logLevel: 'error',
  };
}

const fileName = (name) => name.replaceAll('/', '-');

/** "caches: 412 of 450 changes noticed (91.5 %), in 7 minutes" */
function summary(name, results, startedAt) {
  const count = (...states) => results.filter(({ status }) => states.includes(status)).length;
  const noticed = count('Killed', 'Timeout');
  const all = noticed + count('Survived', 'NoCoverage');
  const minutes = Math.max(1, Math.round((Date.now() - startedAt) / 60_000));
  const percent = all === 0 ? '100.0' : ((100 * noticed) / all).toFixed(1);
  return `${name}: ${noticed} of ${all} changes noticed (${percent} %), in ${minutes} min`;
}

async function main(words) {
  if (words.length === 0) {
    console.error(`usage: npm run mutation -- group… | file…\ngroups: ${Object.keys(GROUPS).join(', ')}`);
    return 2;
  }
  const selections = words.map(select);
  process.chdir(root);
  mkdirSync(FOLDER, { recursive: true });
  const lines = [];
  for (const selection of selections) {
    const startedAt = Date.now();
    const results = await new Stryker(options(selection)).runMutationTest();
    lines.push(summary(selection.name, results, startedAt));
  }
  rmSync(WORK, { recursive: true, force: true });
  console.log(`${lines.join('\n')}\nThe changes are shown in ${FOLDER}.`);
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error) => {
  console.error(error instanceof Error ? error.message : String(error));
  return 1;
});
