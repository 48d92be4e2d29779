/** The needs of the tests in the clone: node modules, the built product, the compiled helper programs. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, must, root, say } from './common.mjs';

const modified = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

/** `npm ci`, unless the modules are those of the lock file. */
export function installModules() {
  const installed = join(root, 'node_modules/.package-lock.json');
  if (existsSync(join(root, 'node_modules/.bin/tap')) && modified(installed) > 0) {
    const locked = must('node', ['-e', SAME_LOCK, join(root, 'package-lock.json'), installed]).trim();
    if (locked === 'same') return;
  }
  say('npm ci');
  must('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
}

/** Whether all packages of the lock file, but for optional ones, are installed in its versions. */
const SAME_LOCK = `
  const [wanted, have] = process.argv.slice(1).map((file) => JSON.parse(require('fs').readFileSync(file)).packages);
  const differs = Object.entries(wanted).some(([path, { version, optional }]) =>
    path !== '' && !optional && have[path]?.version !== version);
  console.log(differs ? 'different' : 'same');`;

/** `npm run build`. */
export function buildProduct() {
  say('npm run build');
  must('npm', ['run', '--silent', 'build']);
}

/** Compiles the C helpers of test/support into the cache, where they are older than their source. */
export function buildHelpers() {
  mkdirSync(cacheFolder, { recursive: true });
  const source = join(root, 'test/support/norpcbind.c');
  const target = join(cacheFolder, 'norpcbind.so');
  if (modified(target) > modified(source)) return;
  must('gcc', ['-shared', '-fPIC', '-O2', '-Wall', '-o', target, source, '-ldl']);
}
