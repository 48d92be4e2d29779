/** Measures one row: all subjects side by side, run by run, so that a noisy moment meets everybody. */
import { mustRun } from '../test/support/process.js';
import { cpuSeconds, peakKiB } from './cost.js';
import {
  type CallCounts,
  type Measurement,
  ROOTLESS,
  type Row,
  type RowResult,
  type Session,
  type Subject,
} from './model.js';
import { prepareRow } from './store.js';

export interface MeasureOptions {
  readonly runs: number;
  /** Called with what is being done now. */
  progress(what: string): void;
}

interface Sample {
  readonly value: number;
  readonly cpuSeconds: number | undefined;
  readonly peakKiB: number | undefined;
}

/** Measures `row` on all `subjects` that take it. A subject that fails is left out of the row, with its reason. */
export async function measureRow(
  row: Row,
  subjects: readonly Subject[],
  { runs, progress }: MeasureOptions,
): Promise<RowResult> {
  const taking = subjects.filter((subject) => subject.takes(row));
  const stores = [...new Set(taking.map(({ store }) => store))];
  const failures: Record<string, string> = {};
  const sessions = new Map<Subject, Session>();
  const samples = new Map<Subject, Sample[]>();
  let calls: CallCounts | undefined;
  const attempt = async (subject: Subject, what: string, body: () => Promise<void>) => {
    if (failures[subject.name] !== undefined) return;
    progress(`${row.id}: ${subject.name}, ${what}`);
    try {
      await body();
    } catch (error) {
      failures[subject.name] = error instanceof Error ? error.message : String(error);
    }
  };
  try {
    progress(`${row.id}: preparing`);
    for (const store of stores) await prepareRow(store, row);
    for (const subject of taking) {
      await attempt(subject, 'counting calls', async () => {
        calls = (await countCalls(row, subject)) ?? calls;
      });
    }
    for (let run = 0; run <= runs; run++) {
      for (const subject of taking) {
        await attempt(subject, run === 0 ? 'warm-up' : `run ${run} of ${runs}`, async () => {
          const session = sessions.get(subject) ?? (await subject.open(row.id));
          sessions.set(subject, session);
          const sample = await once(row, session);
          if (run === 0) return;
          samples.set(subject, [...(samples.get(subject) ?? []), sample]);
        });
      }
    }
  } finally {
    for (const session of sessions.values()) await session.close();
    for (const store of stores) {
      await mustRun(['rm', '-rf', `${store.path}/${row.id}`], { cwd: '/', timeoutMs: 600_000 });
    }
  }
  const measurements = taking
    .filter(({ name }) => failures[name] === undefined)
    .map((subject) => summarize(subject.name, samples.get(subject) ?? []));
  const { id, title, unit, cold, target, rootlessTarget } = row;
  return { id, title, unit, cold, target, rootlessTarget, measurements, calls, failures };
}

async function once(row: Row, session: Session): Promise<Sample> {
  await session.prepare(row.cold);
  await row.before?.(session);
  await session.settle();
  const pids = session.processes();
  const before = cpuSeconds(pids);
  const value = await row.run(session);
  const cpu = pids.length === 0 ? undefined : cpuSeconds(pids) - before;
  const peak = pids.length === 0 ? undefined : peakKiB(pids);
  await row.after?.(session);
  return { value, cpuSeconds: cpu, peakKiB: peak };
}

/** The calls of one run of `row`. What must be warm has been warmed by a run before. */
async function countCalls(row: Row, subject: Subject): Promise<CallCounts | undefined> {
  if (subject.openCounted === undefined || subject.name === ROOTLESS) return undefined;
  const session = await subject.openCounted(row.id);
  try {
    if (row.cold === 'nothing') await once(row, session);
    await session.prepare(row.cold);
    await row.before?.(session);
    session.takeCalls();
    await row.run(session);
    const calls = session.takeCalls();
    await row.after?.(session);
    return calls;
  } finally {
    await session.close();
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? Number.NaN;
  const lower = sorted[(sorted.length - 1) >> 1] ?? Number.NaN;
  return (lower + upper) / 2;
}

function summarize(subject: string, samples: readonly Sample[]): Measurement {
  const values = samples.map(({ value }) => value);
  const cpu = samples.flatMap(({ cpuSeconds: seconds }) => (seconds === undefined ? [] : [seconds]));
  const peaks = samples.flatMap(({ peakKiB: peak }) => (peak === undefined ? [] : [peak]));
  return {
    subject,
    values,
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    cpuSeconds: cpu.length === 0 ? undefined : median(cpu),
    peakKiB: peaks.length === 0 ? undefined : Math.max(...peaks),
  };
}
