/**
 * A tar archive of a real source tree of more than 2 000 files (packages that the project itself is built
 * with), and of the other things that such trees have: links of all kinds, modes, times, empty files and folders.
 */
import { cpSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { publicFolder, type ScratchFolder } from './folders.js';
import { mustRun } from './process.js';
import { projectRoot } from './project.js';

/** The tree has at least this many files. */
const FILES = 2200;

interface SourceTree {
  /** The archive, readable by everybody. */
  readonly archive: string;
  readonly files: number;
  remove(): Promise<void>;
}

/** A package with more files than this is left out: the tree is to be hardly larger than it has to be. */
const MOST_FILES = 400;
/** One with more bytes, too. */
const MOST_BYTES = 12 << 20;

/** The packages, in the order of their names, whose files together are enough; big ones are left out. */
function packages(): { names: string[]; files: number } {
  const folder = join(projectRoot, 'node_modules');
  const names: string[] = [];
  let files = 0;
  for (const name of readdirSync(folder).sort()) {
    if (name.startsWith('.') || !statSync(join(folder, name)).isDirectory()) continue;
    const entries = readdirSync(join(folder, name), { recursive: true, withFileTypes: true });
    const regular = entries.filter((entry) => entry.isFile());
    const size = regular.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
    if (size > MOST_BYTES || regular.length > MOST_FILES) continue;
    names.push(name);
    files += regular.length;
    if (files >= FILES) return { names, files };
  }
  throw new Error(`node_modules holds only ${files} files that can be used`);
}

/** Added to the packages: one of everything that tar can carry without root. */
const ODDITIES = `
set -eu
mkdir odd odd/empty odd/deep
d=odd/deep; for i in $(seq 40); do d=$d/level$i; done; mkdir -p $d; echo bottom > $d/file
: > odd/empty-file
ln -s ../odd/empty-file odd/relative-link
ln -s /nonexistent/target odd/dangling-link
ln -s deep odd/folder-link
ln -s "$(printf 'x%.0s' $(seq 1000))" odd/long-link
echo one > odd/hard-a; ln odd/hard-a odd/hard-b; ln odd/hard-a odd/deep/hard-c
for m in 400 444 500 555 600 640 644 664 700 755 777 1644; do echo $m > odd/mode-$m; chmod $m odd/mode-$m; done
mkdir -m 1777 odd/sticky; mkdir -m 700 odd/private
printf '#!/bin/sh\\necho "it runs"\\n' > odd/script; chmod 755 odd/script
head -c 3000000 /dev/urandom > odd/three-megabytes
touch -d '1980-02-03 04:05:06.123456789 UTC' odd/old
touch -d '2037-12-31 23:59:59.987654321 UTC' odd/future
touch -h -d '2001-02-03 04:05:06.5 UTC' odd/relative-link
touch -d '1999-12-31 23:59:59 UTC' odd/empty
`;

/** Packs the tree. */
export async function packSourceTree(): Promise<SourceTree> {
  const scratch: ScratchFolder = publicFolder();
  const tree = join(scratch.path, 'tree');
  mkdirSync(tree);
  const { names, files } = packages();
  for (const name of names) {
    cpSync(join(projectRoot, 'node_modules', name), join(tree, name), {
      recursive: true,
      preserveTimestamps: true,
      verbatimSymlinks: true,
    });
  }
  await mustRun(['sh', '-c', ODDITIES], { cwd: tree });
  const archive = join(scratch.path, 'tree.tar');
  await mustRun(['tar', '--format=pax', '--owner=0', '--group=0', '-cf', archive, '-C', tree, '.']);
  await mustRun(['rm', '-rf', tree]);
  return { archive, files, remove: () => scratch.remove() };
}
