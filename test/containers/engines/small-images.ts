/** Small images of what this machine has: busybox, Node, and the product, each with the libraries that it needs. */
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { publicFolder } from '../../support/folders.js';
import { mustRun } from '../../support/process.js';
import { productFor } from '../../support/stage.js';

/** The whole command that runs an engine with these arguments. */
type EngineCommand = (args: readonly string[]) => string[];

const APPLETS = [
  'sh',
  'ls',
  'cat',
  'sleep',
  'stat',
  'chmod',
  'id',
  'ln',
  'mkdir',
  'touch',
  'true',
  'test',
  'umount',
];
const MINUTES = 60_000;
/** An ordinary user: nobody. The product is copied for such users together with what it needs. */
const SOMEBODY = 65_534;

const pathOf = async (program: string): Promise<string> =>
  (await mustRun(['sh', '-c', `command -v ${program}`])).trim();

/** Copies a program into the image, under another path if one is given, and its libraries. */
async function addProgram(root: string, program: string, as = program): Promise<void> {
  const libraries = (await mustRun(['sh', '-c', `ldd ${program} || :`])).match(/\/\S+/g) ?? [];
  const files = libraries.filter((path) => existsSync(path)).map((path) => [path, path] as const);
  for (const [from, to] of [[program, as] as const, ...files]) {
    mkdirSync(join(root, dirname(to)), { recursive: true });
    await mustRun(['cp', '-L', from, join(root, to)]);
  }
}

/** A root folder with busybox, and a folder /seed that is not empty. */
async function addBusybox(root: string): Promise<void> {
  const busybox = await pathOf('busybox');
  await addProgram(root, busybox);
  mkdirSync(join(root, 'bin'), { recursive: true });
  for (const name of APPLETS)
    if (!existsSync(join(root, 'bin', name))) symlinkSync(busybox, join(root, 'bin', name));
  mkdirSync(join(root, 'seed'));
  writeFileSync(join(root, 'seed', 'of the image'), '');
}

/** Node, and what nfs-fuse starts. */
async function addNode(root: string): Promise<void> {
  await addProgram(root, process.execPath, '/usr/local/bin/node');
  await addProgram(root, await pathOf('unshare'), '/usr/bin/unshare');
  symlinkSync(await pathOf('busybox'), join(root, 'usr/bin/env'));
  for (const folder of ['root', 'run', 'mnt', 'tmp', 'etc'])
    mkdirSync(join(root, folder), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
}

async function addProduct(root: string): Promise<void> {
  const [, program = ''] = await productFor(SOMEBODY);
  const from = dirname(dirname(dirname(program)));
  const to = join(root, 'opt/nfs-fuse');
  mkdirSync(to, { recursive: true });
  for (const part of ['dist', 'node_modules', 'package.json'])
    await mustRun(['cp', '-a', join(from, part), to]);
  symlinkSync('/opt/nfs-fuse/dist/bin/nfs-fuse.js', join(root, 'usr/local/bin/nfs-fuse'));
}

interface Image {
  readonly name: string;
  readonly parts: readonly ((root: string) => Promise<void>)[];
  /** Lines of a Dockerfile that say how it is run. */
  readonly changes?: readonly string[];
}

async function makeImage(engine: EngineCommand, { name, parts, changes = [] }: Image): Promise<void> {
  const scratch = publicFolder();
  try {
    const root = join(scratch.path, 'root');
    mkdirSync(root);
    for (const part of parts) await part(root);
    const archive = join(scratch.path, 'image.tar');
    await mustRun(['tar', '-C', root, '-cf', archive, '.']);
    const changed = changes.flatMap((line) => ['--change', line]);
    await mustRun(engine(['import', ...changed, archive, name]), { cwd: '/', timeoutMs: 5 * MINUTES });
  } finally {
    await scratch.remove();
  }
}

export const BUSYBOX_IMAGE = 'localhost/nfs-fuse-test-busybox:1';

/** An image of busybox in the storage of an engine. Its folder /seed has a file. */
export function makeBusyboxImage(engine: EngineCommand, name = BUSYBOX_IMAGE): Promise<void> {
  return makeImage(engine, { name, parts: [addBusybox] });
}

/** An image with Node, in place of one of Node's own. */
export function makeNodeImage(engine: EngineCommand, name: string): Promise<void> {
  return makeImage(engine, { name, parts: [addBusybox, addNode] });
}

/** An image that is run as the one of our Dockerfile is. */
export function makeProductImage(engine: EngineCommand, name: string): Promise<void> {
  const changes = ['ENTRYPOINT ["nfs-fuse"]', 'ENV PATH=/usr/local/bin:/usr/bin:/bin'];
  return makeImage(engine, { name, parts: [addBusybox, addNode, addProduct], changes });
}
