/** `npm run soak`, once everything that it needs is there (soak.mjs): works, watches, and says how it went. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FaultProxy } from '../../test/support/fault-proxy.js';
import { publicFolder } from '../../test/support/folders.js';
import { Ganesha } from '../../test/support/ganesha.js';
import { Mount } from '../../test/support/mount.js';
import { openPlace } from '../../test/support/places.js';
import { mustRun } from '../../test/support/process.js';
import { projectRoot } from '../../test/support/project.js';
import { SeededRandom } from '../../test/support/seeded-random.js';
import { thisMachine } from '../machine.js';
import { UsageError } from '../options.js';
import { readSoakOptions, type SoakOptions, USAGE } from './options.js';
import { plot } from './plot.js';
import { clock, countTroubles, markdown, plainText, type SoakReport } from './report.js';
import { type Sample, takeSample } from './samples.js';
import { makeTrouble, type Trouble } from './trouble.js';
import { judge } from './verdict.js';
import { Workload } from './workload.js';

const SAMPLE_SECONDS = 10;
/** A system call on the mount waits for a server that is down, but not for so long. */
const AGENT_TIMEOUT_MS = 15 * 60_000;

/** The measurements so far. */
class Run {
  readonly samples: Sample[] = [];
  readonly troubles: Trouble[] = [];
  failure: string | undefined;
  readonly #start = performance.now();

  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }
}

/** One line that is written over again, on a terminal; nothing otherwise. */
function progress(what: string): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${what.slice(0, (process.stderr.columns || 80) - 1)}`);
}

/** A terminal's ^C comes twice: directly, and through the starter. */
const SAME_SIGNAL_MS = 500;

/** The first ^C or SIGTERM ends the run in good order, the second one at once. */
function listenForEnd(): AbortController {
  const stop = new AbortController();
  let stopped = Number.POSITIVE_INFINITY;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // The list of what tests leave behind would end the process.
    process.removeAllListeners(signal);
    process.on(signal, () => {
      if (performance.now() - stopped > SAME_SIGNAL_MS) process.exit(1);
      if (stop.signal.aborted) return;
      stopped = performance.now();
      progress('ending; once more ends it at once');
      stop.abort();
    });
  }
  return stop;
}

/** Some hundred files of the project itself. */
async function packArchive(folder: string): Promise<string> {
  const archive = join(folder, 'tree.tar');
  await mustRun(['tar', 'cf', archive, '-C', projectRoot, 'lib', 'bin', 'docs']);
  return archive;
}

async function work(options: SoakOptions, run: Run, ending: (() => Promise<void>)[]): Promise<SoakReport> {
  progress('starting the server');
  const server = await Ganesha.start();
  ending.unshift(() => server.close());
  const proxy = await FaultProxy.start({ upstream: server.port });
  ending.unshift(() => proxy.close());
  const tools = publicFolder();
  ending.unshift(() => tools.remove());
  const archive = await packArchive(tools.path);
  const place = await openPlace('root');
  ending.unshift(() => place.close());
  const mountOptions = [`port=${proxy.port}`, `mountport=${server.mountPort}`];
  const source = { host: server.host, exportPath: server.exportPath, mountOptions };
  const mount = await Mount.start({ source, place, options: options.mountOptions });
  ending.unshift(() => mount.close());
  const agent = await mount.agent({ timeoutMs: AGENT_TIMEOUT_MS });
  const machine = await thisMachine();

  const stop = listenForEnd();
  const over = new AbortController();
  const end = AbortSignal.any([stop.signal, over.signal]);
  const timer = setTimeout(() => over.abort(), options.minutes * 60_000);
  const random = new SeededRandom(options.seed, 1);
  const workload = new Workload({ folder: mount.path, archive, agent, random, stop: end });
  const fail = (error: unknown) => {
    const how = mount.outcome;
    const ended = how === undefined ? '' : `; nfs-fuse has ended (${how.signal ?? how.status})`;
    run.failure ??= `${error instanceof Error ? error.message : String(error)}${ended}\n${mount.log.slice(-4000)}`;
    over.abort();
  };
  const working = async () => {
    while (!end.aborted) await workload.round();
  };
  const watching = async () => {
    for (;;) {
      const sample = await takeSample(mount, run.seconds);
      run.samples.push(sample);
      const restarts = countTroubles(run.troubles, 'restart');
      progress(
        `soak ${clock(run.seconds)} of ${clock(options.minutes * 60)}: round ${workload.rounds}, ` +
          `${(sample.resident / (1 << 20)).toFixed(1)} MiB, ${sample.calls} calls, ${restarts} restarts, ` +
          `${run.troubles.length - restarts} network failures`,
      );
      if (end.aborted) return;
      await sleep(SAMPLE_SECONDS * 1000, undefined, { signal: end }).catch(() => undefined);
    }
  };
  const troubling = makeTrouble({
    proxy,
    server,
    random: new SeededRandom(options.seed, 2),
    stop: end,
    told: (kind) => run.troubles.push({ seconds: Math.round(run.seconds), kind }),
    whileClosed: (work) => workload.whileClosed(work),
  });
  await Promise.all([working().catch(fail), watching().catch(fail), troubling.catch(fail)]);
  clearTimeout(timer);
  if (run.failure === undefined) {
    progress('comparing with what the server has');
    await finish(mount, server, workload).catch(fail);
  }
  return {
    date: new Date().toISOString(),
    machine,
    minutes: options.minutes,
    seed: options.seed,
    mountOptions: options.mountOptions,
    ended: run.failure !== undefined ? 'failed' : stop.signal.aborted ? 'interrupted' : 'in time',
    failure: run.failure,
    rounds: workload.rounds,
    operations: workload.operations,
    troubles: run.troubles,
    samples: run.samples,
    verdict: judge(run.samples),
  };
}

/** Unmounts, which has to succeed, and compares. */
async function finish(mount: Mount, server: Ganesha, workload: Workload): Promise<void> {
  const { status } = await mount.unmount();
  if (status !== 0) throw new Error(`nfs-fuse ended with status ${status}`);
  await workload.compare(server.directory);
}

async function main(): Promise<void> {
  const from = process.env.INIT_CWD ?? process.cwd();
  const options = readSoakOptions(process.argv.slice(2), join(projectRoot, 'docs'), from);
  if (options.help) {
    process.stdout.write(USAGE);
    return;
  }
  const ending: (() => Promise<void>)[] = [];
  let report: SoakReport;
  try {
    report = await work(options, new Run(), ending);
  } finally {
    for (const one of ending) await one();
    progress('');
  }
  if (options.out !== undefined) {
    mkdirSync(options.out, { recursive: true });
    writeFileSync(join(options.out, 'soak.md'), markdown(report));
    writeFileSync(join(options.out, 'soak.svg'), plot(report));
  }
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : plainText(report));
  if (report.ended === 'failed' || report.verdict.flat === false) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`soak: ${error.message}\n`);
  process.exitCode = 2;
}
