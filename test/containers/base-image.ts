/**
 * A stand-in for the base image node:26-slim, made of what this machine has: Debian by debootstrap, and
 * the Node and npm that run the tests. Nothing is pulled from a registry of images.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { publicFolder } from '../support/folders.js';
import { mustRun, run } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import type { RootlessPodman } from './rootless-podman.js';

const MINUTES = 60_000;
const NAME = 'localhost/nfs-fuse-test-base:1';

/** The mirror from which this machine's apt gets its distribution, if it is known, and the release. */
async function source(): Promise<{ mirror: string | undefined; release: string }> {
  const release = /^VERSION_CODENAME="?(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'stable';
  const listed = await run([
    'apt-get',
    'indextargets',
    '--format',
    '$(REPO_URI) $(CODENAME)',
    'Created-By: Packages',
  ]);
  const lines = listed.stdout.toString().split('\n');
  const mirror = lines.find((line) => line.endsWith(` ${release}`) && line.startsWith('http'))?.split(' ')[0];
  return { mirror, release };
}

/** A value of npm's configuration, or undefined if it has none. */
async function npmSetting(name: string): Promise<string | undefined> {
  const value = (await mustRun(['npm', 'config', 'get', name], { cwd: projectRoot })).trim();
  return value === '' || value === 'null' || value === 'undefined' ? undefined : value;
}

/** The files of certificates that this machine trusts, if they are not those of the distribution. */
async function trustFiles(): Promise<string[]> {
  const files = [
    '/etc/ssl/certs/ca-certificates.crt',
    process.env.NODE_EXTRA_CA_CERTS,
    await npmSetting('cafile'),
  ];
  return [...new Set(files.filter((file) => file !== undefined && existsSync(file)))] as string[];
}

/** Writes npm's configuration of this machine for the build, which gets it as a secret; answers the file. */
export async function npmSecret(folder: string): Promise<string> {
  const files = [await npmSetting('globalconfig'), await npmSetting('userconfig')];
  const texts = files.map((file) =>
    file !== undefined && existsSync(file) ? readFileSync(file, 'utf8') : '',
  );
  const path = join(folder, 'npmrc');
  writeFileSync(path, `${texts.join('\n')}\nregistry=${await npmSetting('registry')}\n`);
  return path;
}

async function addNode(root: string): Promise<void> {
  const bin = join(root, 'usr/local/bin');
  const modules = join(root, 'usr/local/lib/node_modules');
  mkdirSync(modules, { recursive: true });
  cpSync(process.execPath, join(bin, 'node'));
  chmodSync(join(bin, 'node'), 0o755);
  const npm = dirname(dirname(realpathSync((await mustRun(['sh', '-c', 'command -v npm'])).trim())));
  await mustRun(['cp', '-a', npm, join(modules, 'npm')]);
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(bin, 'npm'));
  const plain = ['env', '-u', 'NODE_OPTIONS', '-u', 'NODE_EXTRA_CA_CERTS'];
  await mustRun([...plain, 'chroot', root, 'sh', '-c', 'node --version && npm --version']);
}

/** Makes the image in podman's storage; answers its name. */
export async function makeBaseImage(podman: RootlessPodman): Promise<string> {
  const scratch = publicFolder();
  try {
    const root = join(scratch.path, 'root');
    const { mirror, release } = await source();
    // debootstrap knows a mirror of its own.
    const from = mirror === undefined ? [] : [mirror];
    await mustRun(['debootstrap', '--variant=minbase', release, root, ...from], { timeoutMs: 15 * MINUTES });
    const unneeded = [
      'var/cache/apt',
      'var/lib/apt/lists',
      'usr/share/doc',
      'usr/share/man',
      'usr/share/locale',
    ];
    await mustRun(['rm', '-rf', ...unneeded.map((path) => join(root, path))]);
    await addNode(root);
    for (const file of await trustFiles()) {
      mkdirSync(join(root, dirname(file)), { recursive: true });
      cpSync(file, join(root, file), { dereference: true });
    }
    const archive = join(scratch.path, 'base.tar');
    await mustRun(['tar', '-C', root, '-cf', archive, '.'], { timeoutMs: 5 * MINUTES });
    const extra = process.env.NODE_EXTRA_CA_CERTS;
    const changes = extra === undefined ? [] : ['--change', `ENV NODE_EXTRA_CA_CERTS=${extra}`];
    await podman.mustRun(['import', ...changes, archive, NAME], { timeoutMs: 10 * MINUTES });
    return NAME;
  } finally {
    await scratch.remove();
  }
}
