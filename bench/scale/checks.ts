/** The cost of large things: a tree of many files, many streams at a time, a file larger than any memory. */
import { createHash, randomBytes } from 'node:crypto';
import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { askStats } from '../../lib/mount/reach/mount-control.js';
import type { MountStats } from '../../lib/mount/serve/mount-stats.js';
import type { Ganesha } from '../../test/support/ganesha.js';
import type { Mount } from '../../test/support/mount.js';
import { mustRun, until } from '../../test/support/process.js';
import { dropCaches } from '../cost.js';

const MIB = 1 << 20;
const FILES_PER_FOLDER = 1_000;
const LONG_MS = 30 * 60_000;
const GIVEN_BACK_MS = 5 * 60_000;
const SETTLE_MS = 20_000;
/** The number of forgotten inodes that our own caches may keep, with some room. */
const IDLE_INODES = 20_000;

export interface Memory {
  readonly resident: number;
  readonly heap: number;
  readonly inodes: number;
}

async function memoryOf(mount: Mount): Promise<Memory> {
  const [major = 0, minor = 0] = (mount.entry?.device ?? '').split(':').map(Number);
  const told = (await askStats({ major, minor, superOptions: mount.entry?.options ?? '' })) as MountStats;
  return { resident: told.residentBytes, heap: told.memory.heapUsedBytes, inodes: told.inodes };
}

export interface TreeResult {
  readonly files: number;
  readonly folders: number;
  /** Seconds of a walk that looks at every file. */
  readonly walk: number;
  readonly before: Memory;
  readonly known: Memory;
  /** Some seconds after the kernel has dropped its inodes; nothing else was done. */
  readonly forgotten: Memory;
}

/** Makes `files` empty files on the server. */
async function makeTree(folder: string, files: number): Promise<number> {
  const folders = Math.ceil(files / FILES_PER_FOLDER);
  const script = `
import os, sys
root, files, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for start in range(0, files, each):
    folder = '%s/folder%06d' % (root, start // each)
    os.makedirs(folder)
    for i in range(start, min(start + each, files)):
        os.close(os.open('%s/file%07d' % (folder, i), os.O_CREAT | os.O_WRONLY))
`;
  await mustRun(['python3', '-c', script, join(folder, 'tree'), String(files), String(FILES_PER_FOLDER)], {
    timeoutMs: LONG_MS,
  });
  return folders;
}

async function walk(mount: Mount, path: string): Promise<number> {
  const count = await mount.mustRun(['sh', '-c', `find ${path} -type f -size -1 -printf . | wc -c`], {
    timeoutMs: LONG_MS,
  });
  return Number(count);
}

/** Throws if the walk does not find every file, or if inodes or their memory stay when the kernel forgets them. */
export async function walkTree(mount: Mount, server: Ganesha, files: number): Promise<TreeResult> {
  const folders = await makeTree(server.directory, files);
  await walk(mount, 'tree/folder000000');
  const before = await memoryOf(mount);
  const began = performance.now();
  const found = await walk(mount, 'tree');
  if (found !== files) throw new Error(`${found} of ${files} files were found`);
  const seconds = (performance.now() - began) / 1000;
  const known = await memoryOf(mount);
  await dropCaches(server.directory);
  await until(
    'the inodes that the kernel forgot are gone',
    async () => (await memoryOf(mount)).inodes < IDLE_INODES,
    LONG_MS,
  );
  const half = (before.resident + known.resident) / 2;
  await until(
    'their memory is given back to the machine',
    async () => (await memoryOf(mount)).resident < half,
    GIVEN_BACK_MS,
  );
  // It goes in pieces.
  await sleep(SETTLE_MS);
  return { files, folders, walk: seconds, before, known, forgotten: await memoryOf(mount) };
}

export interface StreamsResult {
  readonly streams: number;
  readonly mibEach: number;
  /** Seconds that all of them together took. */
  readonly write: number;
  readonly read: number;
  readonly memory: Memory;
}

/** Every stream writes a file of its own and reads it back after the caches are gone; checked by SHA-256. */
export async function manyStreams(
  mount: Mount,
  server: Ganesha,
  streams: number,
  mibEach: number,
): Promise<StreamsResult> {
  const seed = randomBytes(MIB);
  const sums = Array.from({ length: streams }, (_, index) => {
    const hash = createHash('sha256');
    for (let i = 0; i < mibEach; i++) hash.update(Buffer.concat([Buffer.from([index]), seed.subarray(1)]));
    return hash.digest('hex');
  });
  await mount.mustRun(['mkdir', 'streams']);
  await mount.mustRun(['dd', 'of=streams/seed', 'status=none'], { input: seed });
  const write = `
import os, sys
index, count = int(sys.argv[1]), int(sys.argv[2])
data = bytes([index]) + open('streams/seed', 'rb').read()[1:]
fd = os.open('streams/%d' % index, os.O_CREAT | os.O_WRONLY)
for _ in range(count):
    assert os.write(fd, data) == len(data)
os.close(fd)`;
  const all = async (argv: (index: number) => string[]) => {
    const began = performance.now();
    const outputs = await Promise.all(
      sums.map((_, index) => mount.mustRun(argv(index), { timeoutMs: LONG_MS })),
    );
    return { outputs, seconds: (performance.now() - began) / 1000 };
  };
  const written = await all((index) => ['python3', '-c', write, String(index), String(mibEach)]);
  await dropCaches(server.directory);
  const read = await all((index) => ['sha256sum', `streams/${index}`]);
  read.outputs.forEach((output, index) => {
    if (!output.startsWith(sums[index] ?? '?'))
      throw new Error(`stream ${index} reads otherwise than written`);
  });
  const memory = await memoryOf(mount);
  await mount.mustRun(['rm', '-r', 'streams']);
  return { streams, mibEach, write: written.seconds, read: read.seconds, memory };
}

/** A sparse file: its size, data far inside, its end, and a write beyond. Throws where anything is not right. */
export async function sparseFile(mount: Mount, server: Ganesha, gib: number): Promise<void> {
  const size = gib * 1024 * MIB;
  const path = join(server.directory, 'sparse');
  await writeFile(path, '');
  await truncate(path, size);
  const marks = [0, 1, 4 * 1024 * MIB - 5, Math.floor(size / 2) + 1, size - 10];
  const file = await open(path, 'r+');
  for (const at of marks) await file.write(`mark${at % 10}`, at);
  await file.close();
  const script = `
import os, sys
size, marks = int(sys.argv[1]), [int(a) for a in sys.argv[2:]]
fd = os.open('sparse', os.O_RDWR)
assert os.fstat(fd).st_size == size, os.fstat(fd).st_size
for at in marks:
    assert os.pread(fd, 5, at).endswith(b'%d' % (at % 10)) or at == 0, at
assert os.pread(fd, 4096, size // 3) == bytes(4096)
assert os.lseek(fd, 0, os.SEEK_END) == size
assert os.pread(fd, 10, size) == b''
assert os.pwrite(fd, b'beyond', size + 4096) == 6
os.close(fd)
assert os.stat('sparse').st_size == size + 4102
fd = os.open('sparse', os.O_RDONLY)
assert os.pread(fd, 6, size + 4096) == b'beyond'
assert os.pread(fd, 4096, size) == bytes(4096)`;
  await mount.mustRun(['python3', '-c', script, String(size), ...marks.map(String)]);
  const served = await open(path);
  const { buffer } = await served.read(Buffer.alloc(6), 0, 6, size + 4096);
  await served.close();
  if (buffer.toString() !== 'beyond') throw new Error('the server has not what was written');
}
