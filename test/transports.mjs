/**
 * `npm run test:transports`: the end-to-end suites over every way to mount an export of nfs-ganesha, and the table of
 * results, docs/transports.md. Brings a fresh clone to the state that the tests need, like run.mjs.
 *
 * usage: node test/transports.mjs [suites…]     with suites: only those, and only shown
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { must, root, SetupError, say } from './setup/common.mjs';
import { checkMachine, installPackages } from './setup/machine.mjs';
import { buildHelpers, buildProduct, installModules } from './setup/project.mjs';
import { sweep } from './setup/sweep.mjs';
import { runFile } from './setup/tap.mjs';
import { transpile } from './setup/transpile.mjs';
import { judge, renderTable, SUITES, WAYS, whyNotRun } from './setup/transports-table.mjs';

const JOBS = 2;
const TIMEOUT_SECONDS = 1800;
/** The longest begin first. */
const LONGEST = ['source-tree', 'directories'];

function versionOf(name) {
  return JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version;
}

function ganesha() {
  const { stdout } = spawnSync('ganesha.nfsd', ['-v'], { encoding: 'utf8' });
  return /V?(\d[\d.]*)/.exec(stdout)?.[1] ?? 'of unknown version';
}

/** The versions that were run together, for the reader of the table. */
function circumstances() {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const commit = must('git', ['describe', '--always', '--dirty', '--exclude=*']).trim();
  const day = new Date().toISOString().slice(0, 10);
  return `${day}: nfs-fuse ${version} (${commit}), Linux ${release()}, Node ${process.version}, fuse-native ${versionOf('fuse-native')}, nfs-ganesha ${ganesha()}.`;
}

async function runSuite(suite, way) {
  const environment = { NFS_FUSE_TEST_VARIANTS: `ganesha/${way.place}` };
  if (way.transport !== undefined) environment.NFS_FUSE_TEST_TRANSPORT = way.transport;
  const attempt = async () => {
    const report = await runFile(`test/e2e/${suite}.test.ts`, TIMEOUT_SECONDS, environment);
    const result = judge(suite, way, report);
    const minutes = (report.milliseconds / 60_000).toFixed(1);
    say(`${way.title}, ${suite}: ${result.passed} passed, ${result.failed} failed (${minutes} min)`);
    if (result.failed > 0) console.error(report.failures);
    return result;
  };
  return { attempt, result: await attempt() };
}

/** Runs everything, and what failed beside others once more, alone; the results by suite and way. */
async function runAll(suites) {
  const rank = ({ suite }) => (LONGEST.indexOf(suite) + LONGEST.length + 1) % (LONGEST.length + 1);
  const waiting = WAYS.flatMap((way) => suites.map((suite) => ({ suite, way })))
    .filter(({ suite, way }) => whyNotRun(suite, way) === undefined)
    .sort((a, b) => rank(a) - rank(b));
  const results = new Map();
  const again = [];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { suite, way } = next;
      const key = `${suite} ${way.title}`;
      const { attempt, result } = await runSuite(suite, way);
      results.set(key, result);
      if (result.failed > 0) again.push({ key, attempt });
    }
  };
  await Promise.all(Array.from({ length: JOBS }, work));
  for (const { key, attempt } of again) results.set(key, await attempt());
  return (suite, way) => results.get(`${suite} ${way.title}`);
}

function page(table) {
  return `# The end-to-end suites over each way to mount

Written by \`npm run test:transports\`; do not edit. The numbers are assertions of the suites in test/e2e, each with a
mount of its own: by the default transport (\`kernel\`) as root, as root of a user namespace (\`unshare -Urm\`, as in a
rootless container) and as an ordinary user with fusermount3, and by \`--transport fuse-native\`. "Excluded" are assertions
that fail because README says that they cannot hold there.

${circumstances()}

${table}
`;
}

async function main(wanted) {
  const unknown = wanted.find((suite) => !(suite in SUITES));
  if (unknown !== undefined)
    throw new SetupError(`${unknown}: the suites are ${Object.keys(SUITES).join(', ')}`);
  installPackages();
  checkMachine();
  installModules();
  buildProduct();
  buildHelpers();
  await transpile();
  sweep();
  const suites = wanted.length > 0 ? wanted : Object.keys(SUITES);
  const resultOf = await runAll(suites);
  for (const what of sweep()) console.error(`left behind by a test, removed now: ${what}`);
  const table = renderTable(resultOf);
  if (wanted.length > 0) console.log(table);
  else {
    const path = join(root, 'docs/transports.md');
    writeFileSync(path, page(table));
    must(join(root, 'node_modules/.bin/biome'), ['format', '--write', path]);
    say('written: docs/transports.md');
  }
  const results = WAYS.flatMap((way) => suites.map((suite) => resultOf(suite, way))).filter(Boolean);
  const sum = (name) => results.reduce((total, result) => total + result[name], 0);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('excluded')} excluded`);
  return sum('failed') === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`npm run test:transports: ${error.message}`);
  process.exitCode = 1;
}
