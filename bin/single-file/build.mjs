/**
 * `npm run package`: makes the product one executable file, with Node and koffi's native half inside (Node's "single executable
 * application"). It runs without Node on machines with glibc and the processor of the node that went into it.
 *
 * usage: node bin/single-file/build.mjs [--node FILE] [--out FILE] [--deb]
 *   --node  the node program that goes into the file (by default the one that runs this); one for another processor has to be
 *           of the same version as the one that runs this
 *   --out   the file to make (by default build/nfs-fuse)
 *   --deb   a Debian package of it, too, in the same folder
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { manualPage } from '../../man/build.mjs';
import { debName, makeDeb } from './deb.mjs';
import { checkSameVersion, nativeOfKoffi, ProcessorError, processorOf } from './processor.mjs';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
/** The place in the program that Node's own documentation has postject look for. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
/** Koffi's line that looks for its native half in the file system. */
const LOADS_NATIVE = /^var native = .*;$/m;

const POSTJECT = join(ROOT, 'node_modules/postject/dist/cli.js');

class BuildError extends Error {}

function run(command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: ROOT, encoding: 'utf8' });
  if (error !== undefined) throw new BuildError(`${command} cannot be started: ${error.message}`);
  if (status !== 0)
    throw new BuildError(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

/** Debian, Ubuntu and Fedora build Node as a small program and a library, which a copy of the program would need. */
function checkWhole(node) {
  if (readFileSync(node).includes(FUSE)) return;
  throw new BuildError(
    `${node} is not the whole of Node: its main part is in a library (libnode.so), or it is another program. ` +
      'Name a node from nodejs.org, from npm or of the image "node" with --node FILE.',
  );
}

/** Has koffi take its native half from the file. */
const koffiInside = {
  name: 'koffi-inside',
  setup(build) {
    build.onLoad({ filter: /koffi\/src\/koffi\/index\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!LOADS_NATIVE.test(text))
        throw new BuildError(`${path} loads its native half in another way than it did.`);
      const loader = JSON.stringify(join(ROOT, 'bin/single-file/native.ts'));
      const contents = `import { loadNative } from ${loader};\n${text.replace(LOADS_NATIVE, 'var native = loadNative();')}`;
      return { contents, loader: 'js', resolveDir: dirname(path) };
    });
  },
};

/** A single file has CommonJS only, and its modules have no addresses: those of the file itself stand for them. */
async function bundle(outfile) {
  const { build } = await import('esbuild');
  await build({
    absWorkingDir: ROOT,
    entryPoints: ['bin/single-file/single-file.ts'],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20.19',
    minifyWhitespace: true,
    external: ['fuse-native'],
    define: { 'import.meta.url': 'SINGLE_FILE_URL', 'import.meta.dirname': 'SINGLE_FILE_FOLDER' },
    banner: {
      js:
        "const SINGLE_FILE_URL = require('node:url').pathToFileURL(process.execPath).href;" +
        "const SINGLE_FILE_FOLDER = require('node:path').dirname(process.execPath);",
    },
    plugins: [koffiInside],
    outfile,
    logLevel: 'warning',
  });
}

async function debOf(program, processor, work) {
  const info = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const out = join(dirname(program), debName(info, processor));
  mkdirSync(work);
  makeDeb({ root: ROOT, info, processor, program, manual: await manualPage(), work, out, run });
  return out;
}

async function main() {
  const { values } = parseArgs({
    options: { node: { type: 'string' }, out: { type: 'string' }, deb: { type: 'boolean' } },
  });
  const node = resolve(values.node ?? process.execPath);
  const out = resolve(values.out ?? join(ROOT, 'build/nfs-fuse'));
  const processor = processorOf(node);
  checkWhole(node);
  const runsHere = processor === process.arch;
  if (!runsHere) checkSameVersion(node);
  mkdirSync(dirname(out), { recursive: true });
  const work = mkdtempSync(join(dirname(out), '.package-'));
  try {
    await bundle(join(work, 'main.cjs'));
    const config = {
      main: join(work, 'main.cjs'),
      output: join(work, 'blob'),
      disableExperimentalSEAWarning: true,
      // Compiled code is for one processor.
      useCodeCache: runsHere,
      assets: {
        'koffi.node': nativeOfKoffi(ROOT, processor, work),
        'package.json': join(ROOT, 'package.json'),
      },
    };
    writeFileSync(join(work, 'config.json'), JSON.stringify(config));
    // The blob is only for the node that made it.
    run(runsHere ? node : process.execPath, ['--experimental-sea-config', join(work, 'config.json')]);
    const program = join(work, 'nfs-fuse');
    copyFileSync(node, program);
    chmodSync(program, 0o755);
    // Its warnings about sections of Node's own file say nothing to anybody here.
    run(process.execPath, [POSTJECT, program, 'NODE_SEA_BLOB', config.output, '--sentinel-fuse', FUSE]);
    renameSync(program, out);
    const deb = values.deb === true ? await debOf(out, processor, join(work, 'deb')) : undefined;
    const megabytes = (file) => `${Math.round(statSync(file).size / 1e6)} MB`;
    const what = runsHere
      ? `nfs-fuse ${run(out, ['--version']).trim()}, with Node ${run(node, ['--version']).trim()}`
      : `nfs-fuse for ${processor}, not run here, with Node ${process.version}`;
    console.log(`${out}: ${what}, ${megabytes(out)}`);
    if (deb !== undefined) console.log(`${deb}: ${megabytes(deb)}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof BuildError || error instanceof ProcessorError)) throw error;
  console.error(`npm run package: ${error.message}`);
  process.exitCode = 1;
}
