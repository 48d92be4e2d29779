/**
 * `npm test`: brings a fresh clone to the state that the tests need, runs them, and ends with the count.
 * Runs before anything is installed, so it is plain JavaScript and uses nothing but Node itself.
 *
 * usage: node test/run.mjs [--ci | --all | test files…]
 *   without arguments: type-check, lint and every test that is fast, on a part of the matrix (test/support/variants.ts)
 *   --ci: the long suites too; --all: every suite in full (test/support/tier.ts), with hundreds of seeds
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { root, SetupError, say } from './setup/common.mjs';
import { closeInherited } from './setup/descriptors.mjs';
import { installGuests } from './setup/guests.mjs';
import {
  CONTAINER_PACKAGES,
  checkMachine,
  DEPLOY_PACKAGES,
  EMULATOR_PACKAGES,
  installPackages,
} from './setup/machine.mjs';
import { buildHelpers, buildProduct, installModules } from './setup/project.mjs';
import { sweep } from './setup/sweep.mjs';
import { runSteadily } from './setup/tap.mjs';
import { transpile } from './setup/transpile.mjs';

/** Suites that need user-mode Linux (test/support/guest): all long ones. */
const GUESTS = ['test/linux/', '/knfsd-'];
/** The consistency matrix. A plain `npm test` has a sample of it. */
const WHOLE_MATRIX = ['test/consistency/matrix-ganesha', 'test/consistency/matrix-embedded'];
const SAMPLE = 'test/consistency/matrix-sample';
/** Suites with promtool and kubectl, which Debian has. */
const DEBIAN_JUDGES = ['test/deploy/promtool', 'test/deploy/kustomize'];
/** Suites that take minutes, or run those of the other tests once more: not part of a plain `npm test`. */
const LONG = [
  'test/lock-clients/embedded',
  'test/lock-clients/restarts',
  'test/lock-clients/local',
  'test/lock-listener/ganesha',
  'test/lock-listener/queue',
  'test/cli/mount8',
  'test/monitoring/all-mounts',
  'test/monitoring/watching',
  'test/monitoring/endpoint',
  'test/mount/log-formats',
  'test/keep/takeover',
  'test/keep/storm',
  'test/keep/restart',
  'test/keep/recovery-table',
  'test/keep/stuck-thread',
  'test/consistency/early-reads',
  'test/consistency/direct-create',
  'test/consistency/switched-off',
  'test/consistency/unpacked',
  'test/consistency/restarting-listings',
  'test/e2e/source-tree',
  'test/e2e/disk-cache',
  'test/e2e/direct-io-suites',
  'test/e2e/one-user-matrix',
  'test/cli/exec',
  'test/e2e/directories',
  'test/consistency/changing-directories',
  'test/consistency/estale-objects',
  'test/model/dead-server',
  'test/model/faults',
  'test/model/hostile',
  'test/model/odd-clocks',
  'test/consistency/huge-directory',
  'test/model/restarts',
  'test/e2e/fuse-native',
  'test/containers/',
  'test/single-file/',
  'test/runtimes/',
  'test/volume-plugin/volume-',
  'test/csi/',
  '/unbuffered-',
  ...DEBIAN_JUDGES,
  ...WHOLE_MATRIX,
  ...GUESTS,
];
/** Suites that show little more than others of --ci, and take minutes: with --all only. */
const RARE = [
  'test/bench/rows',
  'test/linux/other-kernel-matrix',
  'test/e2e/knfsd-source-tree',
  'test/e2e/knfsd-udp-suites',
  'test/containers/single-file-image',
  'test/single-file/other-processor',
  'test/e2e/unbuffered-source-tree',
  '/switched-off-suites',
  '/direct-create-suites',
  'test/consistency/unbuffered-suites',
  'test/e2e/fuse-native-suites',
];
/** Tests wait for much of their time: with one for each core, two cores are idle for two fifths of it. */
const JOBS = 3;
/** The longest begin first, so that none is left to run alone at the end. */
const LONGEST = [
  'test/e2e/source-tree',
  '/knfsd-',
  'test/linux/',
  'test/e2e/fuse-native-suites',
  'test/containers/',
  'test/model/restarts',
  'test/model/dead-server',
  'test/model/faults',
  'test/model/hostile',
  '/unbuffered-',
  ...WHOLE_MATRIX,
  'test/consistency/changing-directories',
  'test/consistency/changes-seen',
  'test/e2e/directories',
  'test/consistency/close-to-open',
];
/** Seeds of the model-checked workload with --all; otherwise each suite has its own number. */
const MANY_SEEDS = '300';
/** The time that one file may take, on a machine far slower than any that we know. */
const FILE_SECONDS = { all: 4 * 3600, other: 1800 };

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

function checkSources() {
  say('checking types, format and lint');
  const { status } = spawnSync('npm', ['run', '--silent', 'check'], { cwd: root, stdio: 'inherit' });
  return status === 0;
}

/** The files that the command line asks for, and the tier that they are run for. */
function select(args) {
  if (args[0] === '--all') return { tier: 'all', files: testFiles() };
  const rare = isIn(RARE);
  if (args[0] === '--ci') {
    const files = testFiles().filter((file) => !rare(file) && !file.includes(SAMPLE));
    return { tier: 'ci', files };
  }
  if (args.length > 0) return { tier: 'named', files: args.map((file) => relative(root, resolve(file))) };
  const long = isIn(LONG);
  return { tier: 'fast', files: testFiles().filter((file) => !long(file) && !rare(file)) };
}

async function main(args) {
  const { tier, files } = select(args);
  closeInherited();
  installPackages();
  if (files.some(isIn(['test/containers/']))) installPackages(CONTAINER_PACKAGES);
  if (files.some(isIn(['other-processor']))) installPackages(EMULATOR_PACKAGES);
  if (files.some(isIn(DEBIAN_JUDGES))) installPackages(DEPLOY_PACKAGES);
  checkMachine();
  installModules();
  if (files.some(isIn(GUESTS))) installGuests();
  buildProduct();
  buildHelpers();
  await transpile();
  sweep();
  const failedChecks = tier === 'named' || checkSources() ? 0 : 1;
  if (tier !== 'named') process.env.NFS_FUSE_TEST_TIER ??= tier;
  if (tier === 'all') process.env.NFS_FUSE_MODEL_SEEDS ??= MANY_SEEDS;
  const results = await runSteadily(files, JOBS, FILE_SECONDS[tier] ?? FILE_SECONDS.other);
  return report(results, sweep(), failedChecks);
}

/** Says what failed and ends with the count. */
function report(results, left, failedChecks) {
  for (const { file, failures } of results.filter(({ fail }) => fail > 0))
    console.error(`\nFAILED ${file}\n${failures}`);
  for (const what of left) console.error(`left behind by a test, removed now: ${what}`);
  if (failedChecks > 0) console.error('types, format or lint: see above');
  for (const { file } of results.filter(({ unsteady }) => unsteady))
    console.error(`unsteady: ${file} failed beside others and passed alone`);
  const sum = (name) => results.reduce((total, result) => total + result[name], 0);
  if (sum('other') > 0)
    console.error(`${sum('other')} tests were skipped or left to do: that counts as failed`);
  const failed = sum('fail') + sum('other') + left.length + failedChecks;
  console.log(`${sum('pass')} passed, ${failed} failed`);
  return failed === 0 && sum('pass') > 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`npm test: ${error.message}`);
  process.exitCode = 1;
}
