/** `npm run profile`, once everything that it needs is there (profile.mjs): says where the time of the benchmark's rows goes, if nfs-fuse has a part in it. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { publicFolder } from '../test/support/folders.js';
import { projectRoot } from '../test/support/project.js';
import { DIRECT } from './distance/way.js';
import { thisMachine } from './machine.js';
import { countCalls, once, summarize } from './measure.js';
import { OURS, type Row, type Sample } from './model.js';
import { type ProfileOptions, readProfileOptions, USAGE, UsageError } from './options.js';
import { type ProfileSummary, summarizeProfile } from './profile/analysis.js';
import { profiledPlace, record } from './profile/recorder.js';
import { type ProfiledRow, type ProfileReport, profileMarkdown, profileText } from './profile/report.js';
import { allRows } from './rows/index.js';
import { FULL, QUICK } from './rows/sizes.js';
import { chooseRows, note, progress, type Setting, withSetting } from './setting.js';
import { emptyRow, prepareRow } from './store.js';
import { NfsFuse } from './subjects/nfs-fuse.js';

const DEFAULT_ROWS = [
  'write',
  'read-cold',
  'read-server-warm',
  'random-read',
  'create',
  'unlink',
  'stat-cold',
  'open-warm',
  'ls-cold',
  'ls-warm',
  'find-cold',
  'untar',
  'tar-cold',
  'rm',
];

/** Measures a row without the profiler, then records one run of it. */
async function profileRow(
  row: Row,
  { setting, runs, plain, recorded, folder }: ProfileContext,
): Promise<ProfiledRow> {
  await prepareRow(setting.store, row);
  try {
    const calls = await countCalls(row, plain);
    const samples: Sample[] = [];
    const session = await plain.open(row.id, DIRECT);
    try {
      for (let run = 0; run <= runs; run++) {
        progress(`${row.id}: ${run === 0 ? 'warm-up' : `run ${run} of ${runs}`}`);
        const sample = await once(row, session);
        if (run > 0) samples.push(sample);
      }
    } finally {
      await session.close();
    }
    progress(`${row.id}: profiling`);
    const profile = await profileOnce(row, recorded, folder);
    const { id, title, operation } = row;
    return { id, title, operation, measured: summarize(OURS, samples), calls, profile };
  } finally {
    await emptyRow(setting.store, row);
  }
}

interface ProfileContext {
  readonly setting: Setting;
  readonly runs: number;
  readonly plain: NfsFuse;
  /** Makes a subject whose profiles go to a folder. */
  recorded(folder: string): NfsFuse;
  /** For the folders of profiles. */
  readonly folder: string;
}

async function profileOnce(row: Row, recorded: ProfileContext['recorded'], parent: string) {
  const folder = mkdtempSync(join(parent, 'run-'));
  const session = await recorded(folder).open(row.id, DIRECT);
  try {
    // Warm rows have been done before; cold ones meet a new process in any case.
    if (row.cold === 'nothing') await once(row, session);
    const summaries: ProfileSummary[] = [];
    await once(row, session, async (run) => {
      const [pid = 0] = session.processes();
      const { result, profile, threadSeconds } = await record(pid, folder, 1, run);
      summaries.push(summarizeProfile(profile, threadSeconds));
      return result;
    });
    const [summary] = summaries;
    if (summary === undefined) throw new Error(`${row.id} was not profiled`);
    return summary;
  } finally {
    await session.close();
  }
}

function measure(options: ProfileOptions): Promise<ProfileReport> {
  const sizes = options.quick ? QUICK : FULL;
  return withSetting(sizes, options.disk, async (setting) => {
    const { load, disk, server, store } = setting;
    const rows = chooseRows(allRows(sizes, load), options.rows ?? DEFAULT_ROWS);
    const about = await thisMachine();
    const place = await setting.place('root');
    const scratch = publicFolder();
    setting.endWith(() => scratch.remove());
    const common = { name: OURS, description: OURS, server, store, load, mountOptions: options.mountOptions };
    const results: ProfiledRow[] = [];
    for (const row of rows) {
      results.push(
        await profileRow(row, {
          setting,
          runs: options.runs,
          plain: new NfsFuse({ ...common, place }),
          recorded: (folder) => new NfsFuse({ ...common, place: profiledPlace(place, folder) }),
          folder: scratch.path,
        }),
      );
    }
    const { quick, runs } = options;
    const date = new Date().toISOString();
    return { date, quick, runs, machine: about, disk: disk.description, rows: results };
  });
}

async function main(): Promise<void> {
  const cwd = process.env.INIT_CWD ?? process.cwd();
  const options = readProfileOptions(process.argv.slice(2), join(projectRoot, 'docs'), cwd);
  if (options.help) {
    process.stdout.write(USAGE);
    return;
  }
  const report = await measure(options);
  if (options.out !== undefined) {
    mkdirSync(options.out, { recursive: true });
    writeFileSync(join(options.out, 'profile.md'), profileMarkdown(report));
  }
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : profileText(report));
}

try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  note(error.message);
  process.exitCode = 2;
}
