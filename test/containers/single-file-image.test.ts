/** The stage `single-file` of our Dockerfile, built by rootless podman, and its file in an image that has no Node. */
import { join } from 'node:path';
import t from 'tap';
import { publicFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { mustRun } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { makeBaseImage, npmSecret } from './base-image.js';
import { buildContext } from './build-context.js';
import { RootlessPodman } from './rootless-podman.js';
import { requireTools } from './tools.js';

const MINUTES = 60_000;
const FILE = 'localhost/nfs-fuse-file:test';
const USER = 'localhost/without-node:test';
/** Whatever the base has of Node goes away. */
const WITHOUT_NODE = (base: string): string => `
FROM ${base}
RUN rm -rf "$(command -v node)" /usr/lib/node_modules /usr/local/lib/node_modules && ! command -v node
COPY --from=${FILE} /nfs-fuse /usr/local/bin/
ENTRYPOINT ["nfs-fuse"]
`;

t.test('an image without Node gets nfs-fuse as one file', { timeout: 40 * MINUTES }, async (t) => {
  requireTools('podman', 'newuidmap', 'debootstrap', 'rsync');
  const podman = untilEnd(t, await RootlessPodman.start());
  const base = await makeBaseImage(podman);
  const scratch = untilEnd(t, publicFolder());
  const build = (...args: readonly string[]) =>
    podman.mustRun(['build', '--network=host', '--layers=false', ...args], { timeoutMs: 20 * MINUTES });
  const secret = `--secret=id=npmrc,src=${await npmSecret(scratch.path)}`;
  const context = await buildContext(scratch.path);
  await build(secret, '--build-arg', `BASE=${base}`, '--target', 'single-file', '--tag', FILE, context);
  const recipe = join(scratch.path, 'recipe');
  await mustRun(['sh', '-c', 'mkdir "$0" && cat > "$0/Dockerfile"', recipe], { input: WITHOUT_NODE(base) });
  await build('--tag', USER, recipe);

  const server = untilEnd(t, await Ganesha.start());
  const exec = ['exec', '-o', server.mountOptions.join(','), `${server.host}:${server.exportPath}`, '/mnt'];
  const run = [
    'run',
    '--rm',
    '--network=host',
    '--device=/dev/fuse',
    '--read-only',
    '--tmpfs=/tmp:exec',
    USER,
  ];
  const outcome = await podman.run([
    ...run,
    ...exec,
    '--',
    'sh',
    '-c',
    'echo content > /mnt/file; cat /mnt/file',
  ]);
  t.equal(`${outcome.stdout}${outcome.stderr}`, 'content\n');
  t.equal(outcome.status, 0);
});
