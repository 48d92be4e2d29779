/** Measures one row: all subjects side by side, run by run, so that a noisy moment meets everybody. */
import { contextSwitches, cpuSeconds, forgetPeaks, peakKiB } from './cost.js';
import { DIRECT, type Way } from './distance/way.js';
import {
  type CallCounts,
  type CountedSession,
  type FarResult,
  type LoadResult,
  type Measurement,
  OURS,
  type Row,
  type RowResult,
  type Sample,
  type Session,
  type Subject,
  type Unit,
} from './model.js';
import { REFERENCE } from './reference.js';
import { emptyRow, folderOf, prepareRow } from './store.js';

export interface MeasureOptions {
  readonly runs: number;
  /** No warm-up where a run begins with everything forgotten, and calls are counted in the run that is timed. */
  readonly quick: boolean;
  /** How clients reach their servers; by default without a relay. */
  readonly way?: Way;
  /**
   * A further distance: one run, without a warm-up where it begins with everything forgotten, and without counting calls, which
   * are the same at every distance. Where time is round trips, runs hardly differ.
   */
  readonly further?: boolean;
  /** Called right before each run, which does not count it. */
  ready?(row: Row): Promise<void>;
  /** Called with what is being done now. */
  progress(what: string): void;
}

/** Measures `row` on all `subjects` that take it. A subject that fails is left out of the row, with its reason. */
export async function measureRow(
  row: Row,
  subjects: readonly Subject[],
  { runs: nearRuns, quick, progress, ready, way = DIRECT, further = false }: MeasureOptions,
): Promise<RowResult> {
  const runs = further ? 1 : nearRuns;
  const taking = subjects.filter((subject) => subject.takes(row));
  const stores = [...new Set(taking.map(({ store }) => store))];
  const failures: Record<string, string> = {};
  const sessions = new Map<Subject, Session>();
  const samples = new Map<Subject, Sample[]>();
  let calls: CallCounts | undefined;
  let counted: CountedSession | undefined;
  const started = performance.now();
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
    for (const subject of quick || further ? [] : taking) {
      await attempt(subject, 'counting calls', async () => {
        calls = (await countCalls(row, subject, way)) ?? calls;
      });
    }
    const first = (quick || further) && row.cold !== 'nothing' ? 1 : 0;
    for (let run = first; run <= runs; run++) {
      // A subject leaves the machine's memory and caches as it does to the next one: each run turns the order round.
      for (const subject of run % 2 === 0 ? taking : taking.toReversed()) {
        await attempt(subject, run === 0 ? 'warm-up' : `run ${run} of ${runs}`, async () => {
          if (quick && !further && subject.name === OURS)
            counted ??= await subject.openCounted?.(folderOf(row), way);
          const counter = subject.name === OURS ? counted : undefined;
          const session = counter ?? sessions.get(subject) ?? (await subject.open(folderOf(row), way));
          sessions.set(subject, session);
          const sample = await once(row, session, async (timed) => {
            await ready?.(row);
            counter?.takeCalls();
            const result = await timed();
            calls = counter?.takeCalls() ?? calls;
            return result;
          });
          if (run === 0) return;
          samples.set(subject, [...(samples.get(subject) ?? []), sample]);
        });
      }
    }
  } finally {
    for (const session of sessions.values()) await session.close();
    for (const store of stores) await emptyRow(store, row);
  }
  const measurements = taking
    .filter(({ name }) => failures[name] === undefined)
    .map((subject) => summarize(subject.name, samples.get(subject) ?? []));
  const { id, title, unit, cold, operation } = row;
  const seconds = (performance.now() - started) / 1000;
  return {
    id,
    title,
    unit,
    cold,
    operation,
    reference: REFERENCE[id],
    measurements,
    calls,
    seconds,
    failures,
  };
}

/**
 * Measures `row` on each of `ways`, of which the first is the nearest: subjects that know no distance take part there
 * only. `farther` is the row with fewer operations: where time is round trips, they take long and vary little. Each way has
 * a folder of its own.
 */
export async function measureAlong(
  row: Row,
  farther: Row,
  subjects: readonly Subject[],
  ways: readonly Way[],
  options: MeasureOptions,
): Promise<RowResult> {
  const [near = DIRECT, ...further] = ways;
  const result = await measureRow(row, subjects, { ...options, way: near });
  const far: FarResult[] = [];
  for (const way of further) {
    const { rttMs } = way;
    const distant = subjects.filter(
      ({ distant, onlyNear }) => distant && onlyNear?.includes(row.id) !== true,
    );
    const progress = (what: string) => options.progress(`${rttMs} ms: ${what}`);
    const there = { ...farther, folder: `${row.id}-${rttMs}ms` };
    const { title, operation, measurements, failures } = await measureRow(there, distant, {
      ...options,
      way,
      further: true,
      progress,
    });
    far.push({ rttMs, title, operation, measurements, failures });
  }
  return far.length === 0 ? result : { ...result, far };
}

/** The result of a load, in the unit of a row. */
export function inUnit({ seconds, count, bytes }: LoadResult, unit: Unit): number {
  switch (unit) {
    case 's':
      return seconds;
    case '/s':
      return count / seconds;
    case 'MiB/s':
      return bytes / (1 << 20) / seconds;
  }
}

const difference = (after: number | undefined, before: number | undefined) =>
  after === undefined || before === undefined ? undefined : after - before;

/** Does the row once. `measured` surrounds what is timed, if anything is to happen there. */
export async function once(
  row: Row,
  session: Session,
  measured: (run: () => Promise<LoadResult>) => Promise<LoadResult> = (run) => run(),
): Promise<Sample> {
  await session.prepare(row.cold);
  await row.before?.(session);
  await session.settle();
  const clients = session.processes();
  const servers = session.servers();
  forgetPeaks(clients);
  const switchesBefore = contextSwitches(clients);
  const [cpuBefore, serverBefore] = [cpuSeconds(clients), cpuSeconds(servers)];
  const result = await measured(() => row.run(session));
  const sample: Sample = {
    value: inUnit(result, row.unit),
    seconds: result.seconds,
    loadCpuSeconds: result.cpuSeconds,
    cpuSeconds: difference(cpuSeconds(clients), cpuBefore),
    serverCpuSeconds: difference(cpuSeconds(servers), serverBefore),
    switches: difference(contextSwitches(clients), switchesBefore),
    peakKiB: peakKiB(clients),
  };
  await row.after?.(session);
  return sample;
}

/** The calls of one run of `row`. A run before has warmed the caches that must be warm. */
export async function countCalls(
  row: Row,
  subject: Subject,
  way: Way = DIRECT,
): Promise<CallCounts | undefined> {
  if (subject.openCounted === undefined || subject.name !== OURS) return undefined;
  const session = await subject.openCounted(folderOf(row), way);
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

/** Sums up the runs of one subject. */
export function summarize(subject: string, samples: readonly Sample[]): Measurement {
  const known = (of: (sample: Sample) => number | undefined) =>
    samples.map(of).filter((value) => value !== undefined);
  const middle = (of: (sample: Sample) => number | undefined) =>
    known(of).length === 0 ? undefined : median(known(of));
  const values = samples.map(({ value }) => value);
  const peaks = known(({ peakKiB: peak }) => peak);
  return {
    subject,
    values,
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    seconds: median(samples.map(({ seconds }) => seconds)),
    loadCpuSeconds: median(samples.map(({ loadCpuSeconds }) => loadCpuSeconds)),
    cpuSeconds: middle((sample) => sample.cpuSeconds),
    serverCpuSeconds: middle((sample) => sample.serverCpuSeconds),
    switches: middle((sample) => sample.switches),
    peakKiB: peaks.length === 0 ? undefined : Math.max(...peaks),
  };
}
