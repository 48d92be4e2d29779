/** A copy of the built product that every user can read: other users cannot enter a clone in root's home. */
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { publicFolder, type ScratchFolder } from './folders.js';
import { run } from './process.js';
import { projectRoot } from './project.js';

interface LockFile {
  readonly packages: Record<string, { readonly dev?: boolean; readonly optional?: boolean }>;
}

let staged: Promise<readonly string[]> | undefined;
let copy: ScratchFolder | undefined;

/** The command that runs `nfs-fuse` for the user with this id, without arguments. */
export function productFor(uid: number): Promise<readonly string[]> {
  if (uid === 0) return Promise.resolve([process.execPath, join(projectRoot, 'dist/bin/nfs-fuse.js')]);
  staged ??= stage(uid);
  return staged;
}

/** Removes the copy, if there is one, before the process ends. Nobody may be using it any more. */
export async function removeStaged(): Promise<void> {
  await copy?.remove();
  copy = undefined;
  staged = undefined;
}

/** Copies dist, package.json and the packages that the product itself needs. */
async function stage(uid: number): Promise<readonly string[]> {
  copy = publicFolder();
  const { path } = copy;
  const lock = JSON.parse(readFileSync(join(projectRoot, 'package-lock.json'), 'utf8')) as LockFile;
  const needed = Object.entries(lock.packages).filter(([name, { dev }]) => name !== '' && dev !== true);
  for (const part of ['dist', 'package.json', ...needed.map(([name]) => name)]) {
    mkdirSync(dirname(join(path, part)), { recursive: true });
    try {
      cpSync(join(projectRoot, part), join(path, part), { recursive: true, dereference: false });
    } catch (error) {
      // Optional packages of other platforms are in the lock file, but not installed.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  const node = await nodeFor(uid, path);
  return [node, join(path, 'dist/bin/nfs-fuse.js')];
}

/** A node that the user may execute: this one, or a copy of it. */
async function nodeFor(uid: number, folder: string): Promise<string> {
  const user = ['setpriv', `--reuid=${uid}`, '--clear-groups'];
  const outcome = await run([...user, process.execPath, '--version']);
  if (outcome.status === 0) return process.execPath;
  const program = join(folder, 'node');
  cpSync(process.execPath, program);
  return program;
}

/** The same product file by file, not as a bundle: so that single modules of it can be looked at, or made to fail. */
export function fileByFile(product: readonly string[]): readonly string[] {
  return product.map((word) =>
    word.replace(/\/dist\/bin\/nfs-fuse\.js$/, '/dist/lib/cli/start/whole-program.js'),
  );
}
