/**
 * Checks what this program itself needs: Node.js and its packages. It imports no package that may be missing and nothing
 * that an old Node.js lacks, so that it can report these faults.
 */
import { createRequire } from 'node:module';
import { isSingleFile } from '../base/own-program.js';
import { packageInfo } from '../base/package-info.js';
import { failure, ok, type Step, type Verdict } from './step.js';

const REINSTALL =
  'Install nfs-fuse again on this very machine (npm install -g nfs-fuse, or npm ci in a clone): its native part ' +
  'differs between glibc and musl and between processors.';

const OF_SINGLE_FILE =
  'This file needs glibc, libstdc++ and libgcc, as every Node has them, and a folder to which it may write and from which it may ' +
  'run programs ($XDG_RUNTIME_DIR, /dev/shm, /tmp: one is enough).';

/** `loadError`: the reason why the rest of this program could not be loaded. */
export function programSteps(loadError?: unknown): Step[] {
  const { oldestNode } = packageInfo();
  return [
    { name: 'Node.js', examine: () => nodeVerdict(process.versions.node, oldestNode) },
    { name: 'packages', examine: () => packagesVerdict(loadError) },
  ];
}

/** Versions as "20.19.0". */
export function nodeVerdict(version: string, oldest: string | undefined): Verdict {
  if (oldest === undefined || compareVersions(version, oldest) >= 0)
    return ok(`version ${version}${oldest === undefined ? '' : ` (${oldest} or newer is needed)`}`);
  return failure(
    `Version ${version} is too old.`,
    `Install Node.js ${oldest} or newer (in a container: take a base image that has it).`,
  );
}

function packagesVerdict(loadError: unknown): Verdict {
  try {
    if (loadError !== undefined) throw loadError;
    if (isSingleFile()) return ok('all packages are part of this program');
    // This loads the package.
    const { version } = createRequire(import.meta.url)('koffi') as { readonly version: string };
    return ok(`koffi ${version}, which makes the system calls, can be loaded`);
  } catch (error) {
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    return failure(`The program cannot be loaded: ${reason}`, isSingleFile() ? OF_SINGLE_FILE : REINSTALL);
  }
}

/** Negative, 0 or positive. */
function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
