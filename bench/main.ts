/** `npm run bench`, once everything that it needs is there (run.mjs): reads the options, measures, reports. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DEFAULT_CONFIG } from '../lib/vfs/config.js';
import type { Place } from '../test/support/places.js';
import { projectRoot } from '../test/support/project.js';
import { roundTripsOver } from './distance/added.js';
import { DelayedWay, DIRECT, type Way } from './distance/way.js';
import { compileDelay } from './load.js';
import { isAlone, thisMachine, touchMemory } from './machine.js';
import { measureAlong } from './measure.js';
import {
  BEFORE,
  BEFORE_ROOTLESS,
  DURABLE,
  LOCAL,
  OURS,
  type Report,
  ROOTLESS,
  ROOTLESS_DIRECT,
  type Row,
  type RowResult,
  type Subject,
} from './model.js';
import { type BenchOptions, readOptions, USAGE, UsageError } from './options.js';
import { Pieces } from './pieces.js';
import { markdown } from './report/markdown.js';
import { plot } from './report/plot.js';
import { plainTable } from './report/terminal.js';
import { allRows } from './rows/index.js';
import { FULL, farther, QUICK } from './rows/sizes.js';
import { chooseRows, note, progress, type Setting, withSetting } from './setting.js';
import { FolderPeer } from './subjects/folder.js';
import { KernelClient } from './subjects/kernel.js';
import { LibNfs } from './subjects/libnfs.js';
import { NfsFuse } from './subjects/nfs-fuse.js';
import { Sshfs } from './subjects/sshfs.js';

/** Makes the subjects, which end with the setting. */
async function makeSubjects(options: BenchOptions, setting: Setting): Promise<Subject[]> {
  const { load, disk, server, store, place } = setting;
  const { primeFiles } = store;
  const { mountOptions, peers, before } = options;
  const subjects: Subject[] = [];
  const add = (subject: Subject) => {
    subjects.push(subject);
    setting.endWith(() => subject.close());
  };
  const addMount = (
    name: string,
    description: string,
    where: Place,
    kind: { readonly streamsOnly?: boolean; readonly nearOnly?: boolean },
    ...more: readonly string[]
  ) => {
    const all = [...mountOptions, ...more];
    add(new NfsFuse({ name, description, ...kind, place: where, server, store, load, mountOptions: all }));
  };
  const root = await place('root');
  addMount(OURS, 'nfs-fuse, mounted as root', root, {});
  if (before !== undefined) addMount(BEFORE, 'an earlier build of it', earlierBuild(root, before), {});
  for (const { name, path } of options.nodes)
    addMount(name, `nfs-fuse, mounted as root, run by Node ${nodeVersion(path)}`, runBy(root, path), {
      nearOnly: true,
    });
  if (peers.includes(ROOTLESS)) {
    const rootless = await place('userns');
    const streams = { streamsOnly: true };
    addMount(ROOTLESS, 'nfs-fuse, mounted in an unprivileged user namespace', rootless, streams);
    addMount(ROOTLESS_DIRECT, 'the same with -o direct_io', rootless, streams, 'direct_io');
    if (before !== undefined)
      addMount(BEFORE_ROOTLESS, 'the earlier build, there', earlierBuild(rootless, before), {
        ...streams,
        nearOnly: true,
      });
  }
  const work = { load, primeFiles };
  if (peers.includes(LOCAL)) {
    add(
      await FolderPeer.make({
        name: LOCAL,
        description: 'a directory of the disk that the servers export',
        path: disk.path,
        ...work,
      }),
    );
  }
  if (peers.includes(DURABLE)) {
    const description = 'the same, with every change synced before the call returns (chattr +S +D)';
    const durable = FolderPeer.make({ name: DURABLE, description, path: disk.path, synced: true, ...work });
    await durable.then(add, (error: unknown) => note(`without durable: ${String(error)}`));
  }
  if (peers.includes('sshfs')) {
    if (Sshfs.installed) add(await Sshfs.start(disk.path, load, primeFiles));
    else note('without sshfs: the packages sshfs and openssh-server are not there');
  }
  if (peers.includes('libnfs')) {
    if (await LibNfs.installed()) add(await LibNfs.make(server, store, load));
    else note('without libnfs: the package libnfs-utils is not there');
  }
  if (peers.includes('kernel')) {
    const missing = KernelClient.missing();
    if (missing === undefined) {
      const kernel = KernelClient.start({ server, store, load });
      await kernel.then(add, (error: unknown) => note(`without the kernel’s client: ${String(error)}`));
    } else note(`without the kernel’s client: ${missing}`);
  }
  for (const { name, path } of options.folders) {
    add(await FolderPeer.make({ name, description: `${path}, as it was mounted`, path, ...work }));
  }
  return subjects;
}

/** The ways to the servers, which end with the setting. */
async function makeWays(rttMs: readonly number[], setting: Setting): Promise<readonly Way[]> {
  if (rttMs.length === 0) return [DIRECT];
  const program = await compileDelay(dirname(setting.load));
  const ways = rttMs.map((rtt) => (rtt === 0 ? DIRECT : new DelayedWay(rtt, program, isAlone())));
  for (const way of ways) setting.endWith(() => way.close());
  return ways;
}

/** Such as "24.1.0". */
function nodeVersion(program: string): string {
  const { status, stdout, error } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  const version = /^v([\d.]+)/.exec(stdout ?? '')?.[1];
  if (status === 0 && version !== undefined) return version;
  throw new UsageError(`--node: ${program} is no Node${error === undefined ? '' : ` (${error.message})`}`);
}

/** The place with the product as another node runs it, which its user must be able to read. */
function runBy(place: Place, node: string): Place {
  return { ...place, product: [node, ...place.product.slice(1)] };
}

/** The place with another build of the product, which its user must be able to read. */
function earlierBuild(place: Place, folder: string): Place {
  const program = join(folder, 'dist/bin/nfs-fuse.js');
  if (!existsSync(program))
    throw new UsageError(`--before ${folder}: there is no ${program}; build it first`);
  const [node = process.execPath] = place.product;
  return { ...place, product: [node, program] };
}

/** Of bytes on the disk: a server keeps the space of removed files for a while, and each client writes streams. */
function roomForMore({ nodes, before, folders, rttMs }: BenchOptions, streamBytes: number): number {
  const clients = nodes.length + folders.length + (before === undefined ? 0 : 2);
  return 2 * streamBytes * clients * Math.max(1, rttMs.length);
}

/** The build that is measured: the bundle's content, since a clone may hold changes that no commit has. */
function thisBuild(): string {
  return createHash('sha256')
    .update(readFileSync(join(projectRoot, 'dist/bin/nfs-fuse.js')))
    .digest('hex')
    .slice(0, 16);
}

function measure(options: BenchOptions): Promise<Report> {
  const { quick, runs, rttMs, out, goesOn } = options;
  const usual = quick ? QUICK : FULL;
  const sizes = { ...usual, diskBytes: usual.diskBytes + roomForMore(options, usual.streamBytes) };
  return withSetting(sizes, options.disk, async (setting) => {
    const rows = chooseRows(allRows(sizes, setting.load), options.rows);
    const fartherRows = new Map(allRows(farther(sizes), setting.load).map((row) => [row.id, row]));
    const { load, ...machine } = await thisMachine();
    const ways = await makeWays(rttMs, setting);
    const subjects = await makeSubjects(options, setting);
    const tripMs = await roundTripsOver(ways);
    const named = subjects.map(({ name, description }) => ({ name, description }));
    const asked = { build: thisBuild(), machine, subjects: named, rttMs, runs, quick, disk: options.disk };
    const pieces = new Pieces(out, goesOn, asked, load);
    // Streams fill the page cache, of the server's file system as of the client.
    const ready = (row: Row): Promise<void> =>
      row.stream === true && !quick ? touchMemory(setting.load, 3 * sizes.streamBytes) : Promise.resolve();
    const results: RowResult[] = [];
    for (const [index, row] of rows.entries()) {
      const report = (what: string) => progress(`[${index + 1}/${rows.length}] ${what}`);
      let result = pieces.row(row.id);
      if (result === undefined) {
        const how = { runs, quick, progress: report, ready };
        result = await measureAlong(row, fartherRows.get(row.id) ?? row, subjects, ways, how);
        pieces.add(result);
      }
      results.push(result);
    }
    const { load: most, ...whole } = pieces.end();
    return {
      date: new Date().toISOString(),
      quick,
      runs,
      ...whole,
      machine: { ...machine, load: most },
      disk: setting.disk.description,
      bufferMiB: {
        read: DEFAULT_CONFIG.readAhead / (1 << 20),
        write: DEFAULT_CONFIG.writeBehind / (1 << 20),
      },
      ...(rttMs.length > 0 ? { rttMs, tripMs } : {}),
      subjects: named,
      rows: results,
    };
  });
}

function writeDocuments(report: Report, folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'benchmark.md'), markdown(report));
  writeFileSync(join(folder, 'benchmark.json'), `${JSON.stringify(report, null, 2)}\n`);
  const picture = plot(report);
  if (picture !== undefined) writeFileSync(join(folder, 'benchmark.svg'), picture);
  else note('no picture: it needs the local directory as a peer');
}

async function main(): Promise<void> {
  const options = readOptions(
    process.argv.slice(2),
    join(projectRoot, 'docs'),
    process.env.INIT_CWD ?? process.cwd(),
  );
  if (options.help) {
    process.stdout.write(USAGE);
    return;
  }
  const report =
    options.from === undefined
      ? await measure(options)
      : (JSON.parse(readFileSync(options.from, 'utf8')) as Report);
  if (options.out !== undefined) writeDocuments(report, options.out);
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : plainTable(report));
  const failed = report.rows.flatMap(({ failures, far = [] }) => [
    failures,
    ...far.map((one) => one.failures),
  ]);
  if (failed.some((failures) => Object.keys(failures).length > 0)) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`bench: ${error.message}\n`);
  process.exitCode = 2;
}
