/** How measured values are written, compared and scaled; shared by the table, the plot and the terminal. */
import { LOCAL, type Measurement, OURS, ROOTLESS, type RowResult, type Unit } from '../model.js';

/** Three significant digits: 1.23 s, 512 MiB/s, 12.3 k/s. */
export function formatValue(value: number, unit: Unit): string {
  if (!Number.isFinite(value)) return '-';
  if (unit === 's') return `${digits(value)} s`;
  if (unit === 'MiB/s') return value >= 10_240 ? `${digits(value / 1024)} GiB/s` : `${digits(value)} MiB/s`;
  return value >= 10_000 ? `${digits(value / 1000)} k/s` : `${digits(value)} /s`;
}

/** Three significant digits, and at most three behind the point. */
export function digits(value: number): string {
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value >= 1 ? value.toFixed(2) : value.toFixed(3);
}

/** Half of what lies between the fastest and the slowest run, as a part of the median. */
export function spread({ min, max, median }: Measurement): string {
  return `±${(((max - min) / 2 / median) * 100).toFixed(0)} %`;
}

/** How many times as fast `value` is as `other`. */
export function speedRatio(value: number, other: number, unit: Unit): number {
  return unit === 's' ? other / value : value / other;
}

export function formatRatio(ratio: number): string {
  if (ratio >= 9.95) return `${ratio.toFixed(0)}×`;
  return ratio >= 0.0995 ? `${ratio.toFixed(2)}×` : `${ratio.toFixed(3)}×`;
}

export function measurementOf(row: RowResult, subject: string): Measurement | undefined {
  return row.measurements.find((measurement) => measurement.subject === subject);
}

export interface Judgement {
  readonly subject: string;
  /** As it was set, for the reference machine. */
  readonly set: number;
  /** As it is for this machine: scaled by what the local directory does here and did there. */
  readonly target: number;
  readonly scaled: boolean;
  /** How many times as fast as the target; 1 or more: reached. */
  readonly ratio: number;
  /** The same for the target as it was set. */
  readonly setRatio: number;
}

/** The product's values against the targets of the row. */
export function judge(row: RowResult): Judgement[] {
  const { reference, unit } = row;
  const here = measurementOf(row, LOCAL)?.median;
  const there = reference?.local;
  const of = (subject: string, set: number | undefined): Judgement[] => {
    const value = measurementOf(row, subject)?.median;
    if (value === undefined || set === undefined) return [];
    const scaled = here !== undefined && there !== undefined;
    const target = scaled ? (set * here) / there : set;
    const ratio = speedRatio(value, target, unit);
    return [{ subject, set, target, scaled, ratio, setRatio: speedRatio(value, set, unit) }];
  };
  return [...of(OURS, reference?.target), ...of(ROOTLESS, reference?.rootlessTarget)];
}

/** "✓ 1.05×", or how much is missing. */
export function formatVerdict({ ratio, setRatio }: Judgement): string {
  if (ratio >= 1) return `✓ ${formatRatio(ratio)}`;
  const asSet = setRatio >= 1 ? ', ✓ as set' : '';
  return `${formatRatio(ratio)}, ${Math.ceil((1 - ratio) * 100)} % short${asSet}`;
}

/** The subjects that failed, at whatever distance, and why. */
export function failuresOf({ failures, far = [] }: RowResult): { name: string; why: string }[] {
  const near = Object.entries(failures).map(([name, why]) => ({ name, why }));
  const distant = far.flatMap((one) =>
    Object.entries(one.failures).map(([name, why]) => ({ name: `${name} at ${one.rttMs} ms`, why })),
  );
  return [...near, ...distant];
}

/** How much of something one operation of the row took. */
export function perOperation(row: RowResult, amount: number | undefined): number | undefined {
  return amount === undefined ? undefined : amount / row.operation.count;
}

/** 0.000123 -> "123 µs". */
export function formatMicroseconds(seconds: number | undefined): string {
  return seconds === undefined ? '-' : `${digits(Math.max(0, seconds) * 1e6)} µs`;
}

/** Three significant digits of a count. */
export function formatCount(value: number | undefined): string {
  return value === undefined ? '-' : String(Number(value.toPrecision(3)));
}

/** "READ 512, GETATTR 2". */
export function formatCalls(row: RowResult): string {
  if (row.calls === undefined) return '-';
  const parts = Object.entries(row.calls).map(([name, count]) => `${name} ${count}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}

export function totalCalls(row: RowResult): number | undefined {
  return row.calls && Object.values(row.calls).reduce((sum, count) => sum + count, 0);
}
