/** `npm run bench`, once everything that it needs is there (run.mjs): reads the options, measures, reports. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportFolder, publicFolder } from '../test/support/folders.js';
import { Ganesha } from '../test/support/ganesha.js';
import { openPlace, type Place } from '../test/support/places.js';
import { mustRun } from '../test/support/process.js';
import { projectRoot } from '../test/support/project.js';
import { compileLoad } from './load.js';
import { thisMachine } from './machine.js';
import { measureRow } from './measure.js';
import { LOCAL, type Report, type Row, type RowResult, type Subject } from './model.js';
import { type BenchOptions, readOptions, USAGE, UsageError } from './options.js';
import { markdown, plainTable } from './report/markdown.js';
import { plot } from './report/plot.js';
import { allRows } from './rows/index.js';
import { FULL, QUICK } from './rows/sizes.js';
import { makeStore } from './store.js';
import { FolderPeer } from './subjects/folder.js';
import { LibNfs } from './subjects/libnfs.js';
import { NfsFuse } from './subjects/nfs-fuse.js';
import { Sshfs } from './subjects/sshfs.js';

/** One line that is written over again, on a terminal; nothing otherwise. */
function progress(what: string): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${what.slice(0, (process.stderr.columns || 80) - 1)}`);
}

function note(what: string): void {
  progress('');
  process.stderr.write(`bench: ${what}\n`);
}

function chooseRows(rows: readonly Row[], wanted: readonly string[] | undefined): Row[] {
  if (wanted === undefined) return [...rows];
  const ids = rows.map(({ id }) => id);
  const unknown = wanted.find((name) => !ids.some((id) => id.startsWith(name)));
  if (unknown !== undefined) throw new UsageError(`--rows ${unknown}: there are ${ids.join(', ')}`);
  return rows.filter(({ id }) => wanted.some((name) => id.startsWith(name)));
}

/** The place with the product under the profiler. */
function profiled(place: Place, folder: string | undefined): Place {
  if (folder === undefined) return place;
  const [node = process.execPath, ...rest] = place.product;
  return { ...place, product: [node, '--cpu-prof', `--cpu-prof-dir=${folder}`, ...rest] };
}

/** Removes the copy of the product that was made for an unprivileged place, whose life is otherwise this process's. */
async function removeStaged({ product }: Place): Promise<void> {
  const program = product.at(-1);
  if (program?.startsWith(tmpdir())) await mustRun(['rm', '-rf', join(program, '../../..')], { cwd: '/' });
}

/** Starts the servers and makes the subjects; what must be ended comes with them, last started first. */
async function makeSubjects(
  options: BenchOptions,
  load: string,
  ending: (() => Promise<void>)[],
): Promise<Subject[]> {
  const subjects: Subject[] = [];
  const add = (subject: Subject) => {
    subjects.push(subject);
    ending.unshift(() => subject.close());
  };
  const server = await Ganesha.start();
  ending.unshift(() => server.close());
  const store = await makeStore(server.directory, load);
  const { mountOptions, profile, peers } = options;
  const place = profiled(await openPlace('root'), profile);
  add(new NfsFuse({ place, server, store, load, mountOptions }));
  if (peers.includes('rootless')) {
    const userns = await openPlace('userns');
    ending.unshift(() => removeStaged(userns));
    add(new NfsFuse({ place: userns, server, store, load, mountOptions }));
  }
  if (peers.includes(LOCAL)) {
    const own = exportFolder();
    ending.unshift(() => own.remove());
    add(
      await FolderPeer.make(LOCAL, 'a directory of the file system that the servers export', own.path, load),
    );
  }
  if (peers.includes('sshfs')) {
    if (Sshfs.installed) add(await Sshfs.start(load));
    else note('without sshfs: the packages sshfs and openssh-server are not there');
  }
  if (peers.includes('libnfs')) {
    if (await LibNfs.installed()) add(new LibNfs(server, store, load));
    else note('without libnfs: the package libnfs-utils is not there');
  }
  for (const { name, path } of options.folders) {
    add(await FolderPeer.make(name, `${path}, as it was mounted`, path, load));
  }
  return subjects;
}

async function measure(options: BenchOptions): Promise<Report> {
  const tools = publicFolder();
  const ending: (() => Promise<void>)[] = [() => tools.remove()];
  try {
    progress('starting servers');
    const load = await compileLoad(tools.path);
    const rows = chooseRows(allRows(options.quick ? QUICK : FULL, load), options.rows);
    const about = await thisMachine();
    const subjects = await makeSubjects(options, load, ending);
    const results: RowResult[] = [];
    for (const [index, row] of rows.entries()) {
      const report = (what: string) => progress(`[${index + 1}/${rows.length}] ${what}`);
      results.push(await measureRow(row, subjects, { runs: options.runs, progress: report }));
    }
    return {
      date: new Date().toISOString(),
      quick: options.quick,
      runs: options.runs,
      machine: about,
      subjects: subjects.map(({ name, description }) => ({ name, description })),
      rows: results,
    };
  } finally {
    progress('');
    for (const end of ending) await end();
  }
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
  if (report.rows.some(({ failures }) => Object.keys(failures).length > 0)) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`bench: ${error.message}\n`);
  process.exitCode = 2;
}
