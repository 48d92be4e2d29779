/**
 * The TypeScript of the clone as JavaScript, for test runs: a test file that the loader has to translate while it runs takes three
 * times the processor time until its first test. Owns where the copies are, and that they tell of themselves what the sources would.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cacheFolder, root, say } from './common.mjs';

const FOLDERS = ['lib', 'test', 'bench', 'bin'];
/** Made anew by each run. */
const copies = join(cacheFolder, 'js');
/** Imported by tests as they are. */
const AS_IT_IS = /\.(mjs|json)$/;
const SOURCE = /(?<!\.d)\.ts$/;

/** The JavaScript of a source file, whose path begins at the project's folder. */
export const compiled = (file) => join(copies, file.replace(SOURCE, '.js'));

/** Translates all sources. Types are not looked at: `npm run check` does that. */
export async function transpile() {
  say('translating the tests');
  // Here, since the modules may just have been installed.
  const { transform, stop } = await import('esbuild');
  rmSync(copies, { recursive: true, force: true });
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)),
  );
  for (const folder of new Set(files.map((file) => dirname(join(copies, file)))))
    mkdirSync(folder, { recursive: true });
  writeFileSync(join(copies, 'package.json'), '{ "type": "module" }\n');
  for (const file of files.filter((file) => AS_IT_IS.test(file)))
    symlinkSync(join(root, file), join(copies, file));
  await Promise.all(files.filter((file) => SOURCE.test(file)).map((file) => translate(transform, file)));
  await stop();
}

async function translate(transform, file) {
  const source = join(root, file);
  const { code } = await transform(readFileSync(source, 'utf8'), {
    loader: 'ts',
    format: 'esm',
    target: `node${process.versions.node}`,
    sourcefile: source,
    sourcemap: 'inline',
    sourcesContent: false,
    // Whatever lies beside a source is looked for there.
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(source).href) },
  });
  writeFileSync(compiled(file), code);
}
