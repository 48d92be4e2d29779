/**
 * `npm run bench`: brings a fresh clone to the state that the benchmark needs, and runs it (main.ts). Runs before
 * anything is installed, so it is plain JavaScript and uses nothing but Node itself.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root, SetupError } from '../test/setup/common.mjs';
import { checkMachine, installPackages } from '../test/setup/machine.mjs';
import { buildHelpers, buildProduct, installModules } from '../test/setup/project.mjs';
import { sweep } from '../test/setup/sweep.mjs';

/** Package -> a command or a file that it brings. */
const NEEDED = {
  'nfs-ganesha': 'ganesha.nfsd',
  'nfs-ganesha-vfs': undefined,
  fuse3: 'fusermount3',
  'util-linux': 'setpriv',
  passwd: 'useradd',
  git: 'git',
  gcc: 'gcc',
  'libc6-dev': '/usr/include/stdio.h',
  tar: 'tar',
  findutils: 'find',
};

/** What the peers are; the benchmark does without those that cannot be had. */
const PEERS = {
  sshfs: 'sshfs',
  'openssh-server': 'sshd',
  'openssh-client': 'ssh',
  'libnfs-utils': 'nfs-cat',
};

/** Standard output is for the results, and a pipe wants nothing else. */
console.log = (line) => {
  if (process.stderr.isTTY) console.error(line);
};

function prepare() {
  installPackages(NEEDED);
  try {
    installPackages(PEERS);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`bench: not all peers take part: ${error.message}`);
  }
  checkMachine();
  installModules();
  buildProduct();
  buildHelpers();
  sweep();
}

try {
  const args = process.argv.slice(2);
  const measures = !args.some((arg) => /^--(help|from)\b/.test(arg));
  if (measures) prepare();
  else installModules();
  // The loader that tap runs the tests with.
  const loader = ['--import', '@tapjs/typescript/import'];
  const env = {
    ...process.env,
    TS_NODE_TRANSPILE_ONLY: '1',
    INIT_CWD: process.env.INIT_CWD ?? process.cwd(),
  };
  const options = { cwd: root, stdio: 'inherit', env };
  const { status, error } = spawnSync(
    process.execPath,
    [...loader, join(root, 'bench/main.ts'), ...args],
    options,
  );
  if (error) throw error;
  process.exitCode = status ?? 1;
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
