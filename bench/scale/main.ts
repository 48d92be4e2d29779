/** `npm run scale`, once everything that it needs is there (scale.mjs): large things, and what they cost. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Ganesha } from '../../test/support/ganesha.js';
import { Mount } from '../../test/support/mount.js';
import { openPlace } from '../../test/support/places.js';
import { projectRoot } from '../../test/support/project.js';
import { type Machine, thisMachine } from '../machine.js';
import { UsageError } from '../options.js';
import {
  type Memory,
  manyStreams,
  type StreamsResult,
  sparseFile,
  type TreeResult,
  walkTree,
} from './checks.js';

const FILES = 1_000_000;
const STREAMS = 64;
const STREAM_MIB = 8;
const GIB = 100;
const MIB = 1 << 20;

const USAGE = `usage: npm run scale -- [options]

Walks a tree of many files and says what an inode costs in memory and whether it is given back, has many programs
stream at a time, and works in a sparse file of ${GIB} GiB. Needs as many free inodes on the server's disk.

  --files N     files of the tree (1000000)
  --json        the results as JSON on standard output, not as text
  --out FOLDER  where scale.md goes; default: docs, and nowhere for another number of files
`;

interface ScaleReport {
  readonly date: string;
  readonly machine: Machine;
  readonly tree: TreeResult;
  readonly streams: StreamsResult;
  readonly sparseGib: number;
}

/** Bytes of the resident set per inode that the kernel knows. */
function perInode({ before, known }: TreeResult): number {
  return (known.resident - before.resident) / (known.inodes - before.inodes);
}

const mib = (bytes: number) => `${(bytes / MIB).toFixed(0)} MiB`;

function markdown({ date, machine, tree, streams, sparseGib }: ScaleReport): string {
  const line = (when: string, { inodes, resident, heap }: Memory) =>
    `| ${when} | ${inodes} | ${mib(resident)} | ${mib(heap)} |`;
  const rate = (seconds: number) => `${((streams.streams * streams.mibEach) / seconds).toFixed(0)} MiB/s`;
  return `# Scale

Made by \`npm run scale\` on ${date.slice(0, 10)}: ${machine.cpus} × ${machine.model}, ${machine.memoryMiB} MiB, Linux ${machine.kernel},
Node ${machine.node}, ${machine.server} on loopback.

## ${tree.files} files in ${tree.folders} directories

A walk that looks at every file (\`find -size\`) took ${tree.walk.toFixed(1)} s, ${Math.round(tree.files / tree.walk)} files a second. An inode that the kernel
knows costs ${perInode(tree).toFixed(0)} bytes of nfs-fuse's resident set.

| when | inodes | resident | JavaScript heap |
| --- | --- | --- | --- |
${line('before', tree.before)}
${line('all are known', tree.known)}
${line('the kernel has forgotten them', tree.forgotten)}

Our own cache, which is bounded, still holds a few thousand forgotten inodes. The rest is given back some seconds
after the kernel has forgotten them, without anything else to be done.

## ${streams.streams} streams at a time

Each of ${streams.streams} programs wrote ${streams.mibEach} MiB (${rate(streams.write)} together) and read them back, client cold (${rate(streams.read)} together); all
were compared. Resident afterwards: ${mib(streams.memory.resident)}.

## A sparse file of ${sparseGib} GiB

Its size, data at its beginning, beyond 4 GiB, in its middle and at its end, the holes between, and a write beyond its end
were as they should be, on the server too.
`;
}

async function measure(files: number): Promise<ScaleReport> {
  const ending: (() => Promise<void>)[] = [];
  const progress = (what: string) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${what}`);
  };
  try {
    const server = await Ganesha.start();
    ending.unshift(() => server.close());
    const place = await openPlace('root');
    ending.unshift(() => place.close());
    const mount = await Mount.start({ source: server, place });
    ending.unshift(() => mount.close());
    const machine = await thisMachine();
    progress(`${STREAMS} streams`);
    const streams = await manyStreams(mount, server, STREAMS, STREAM_MIB);
    progress(`a sparse file of ${GIB} GiB`);
    await sparseFile(mount, server, GIB);
    progress(`a tree of ${files} files`);
    const tree = await walkTree(mount, server, files);
    return { date: new Date().toISOString(), machine, tree, streams, sparseGib: GIB };
  } finally {
    progress('');
    for (const one of ending) await one();
  }
}

function options(argv: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        files: { type: 'string' },
        json: { type: 'boolean' },
        out: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    const files = Number(values.files ?? FILES);
    if (!Number.isInteger(files) || files < 1)
      throw new UsageError(`--files ${values.files}: a whole number above 0 is wanted`);
    return { ...values, files };
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError((error as Error).message);
  }
}

async function main(): Promise<void> {
  const { files, json, out, help } = options(process.argv.slice(2));
  if (help) {
    process.stdout.write(USAGE);
    return;
  }
  const report = await measure(files);
  const usual = files === FILES ? join(projectRoot, 'docs') : undefined;
  const folder = out === undefined ? usual : resolve(process.env.INIT_CWD ?? process.cwd(), out);
  if (folder !== undefined) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'scale.md'), markdown(report));
  }
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : markdown(report));
}

try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`scale: ${error.message}\n`);
  process.exitCode = 2;
}
