/** The build context of an image of our Dockerfile. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../support/process.js';
import { projectRoot } from '../support/project.js';

/** A copy of the project as it is now, which the user can read, with leftovers that must stay outside the image. */
export async function buildContext(folder: string): Promise<string> {
  const context = join(folder, 'context');
  const without = ['.git', 'node_modules', 'dist', '.tap', 'build'].map((name) => `--exclude=/${name}`);
  await mustRun(['rsync', '-a', ...without, `${projectRoot}/`, context]);
  for (const name of ['dist', 'node_modules']) {
    mkdirSync(join(context, name));
    writeFileSync(join(context, name, 'leftover.js'), '');
  }
  return context;
}
