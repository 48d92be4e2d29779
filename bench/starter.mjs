/**
 * Brings a fresh clone to the state that a measurement needs, and runs it. Runs before anything is installed, so
 * it is plain JavaScript and uses nothing but Node itself.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root, SetupError } from '../test/setup/common.mjs';
import { checkMachine, installPackages } from '../test/setup/machine.mjs';
import { buildHelpers, buildProduct, installModules } from '../test/setup/project.mjs';
import { sweep } from '../test/setup/sweep.mjs';

/** Packages for a mount from nfs-ganesha. Package -> a command or a file that it brings. */
export const SERVER_AND_MOUNT = {
  'nfs-ganesha': 'ganesha.nfsd',
  'nfs-ganesha-vfs': undefined,
  fuse3: 'fusermount3',
  'util-linux': 'setpriv',
  gcc: 'gcc',
  'libc6-dev': '/usr/include/stdio.h',
  tar: 'tar',
  findutils: 'find',
};

/** Packages for a disk of its own (disk.ts). */
export const DISK = {
  e2fsprogs: 'mkfs.ext4',
  mount: 'losetup',
};

function prepare(name, needed, wanted) {
  installPackages(needed);
  try {
    installPackages(wanted);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`${name}: not all peers take part: ${error.message}`);
  }
  checkMachine();
  installModules();
  buildProduct();
  buildHelpers();
  sweep();
}

/** Others' mount namespaces, made meanwhile, do not get copies of the mounts, which would outlive the unmounting. */
const PRIVATE = ['unshare', '--mount', '--propagation', 'private'];
/** A network of its own, with the loopback address only. */
const ALONE = ['--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];

/** Resolves with the exit status. A signal is the program's to answer: this process ends after it. */
function runProgram(file, args, { privateMounts, privateNetwork }) {
  const loader = ['--import', 'tsx'];
  const env = {
    ...process.env,
    INIT_CWD: process.env.INIT_CWD ?? process.cwd(),
  };
  const argv = [process.execPath, ...loader, join(root, file), ...args];
  const around = privateMounts ? [...PRIVATE, ...(privateNetwork ? ALONE : [])] : [];
  const [command, ...rest] = [...around, ...argv];
  const child = spawn(command, rest, { cwd: root, stdio: 'inherit', env });
  // A terminal sends ^C to both, which the program has to bear.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (status) => resolve(status ?? 1));
  });
}

/**
 * Runs `main` with this process's arguments. `needed` packages must be there, `wanted` ones may be missing, and
 * neither is looked for where `measures` is false. `privateMounts`: in a mount namespace of its own; and with
 * `privateNetwork` in a network namespace, too.
 */
export async function startMeasurement(what) {
  const {
    name,
    main,
    needed,
    wanted = {},
    measures = true,
    privateMounts = false,
    privateNetwork = false,
  } = what;
  // Standard output is for the results, and a pipe wants nothing else.
  console.log = (line) => {
    if (process.stderr.isTTY) console.error(line);
  };
  try {
    if (measures) prepare(name, needed, wanted);
    else installModules();
    const namespaces = { privateMounts: privateMounts && measures, privateNetwork };
    process.exitCode = await runProgram(main, process.argv.slice(2), namespaces);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
