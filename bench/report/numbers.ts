/** How measured values are written, compared and scaled; shared by the table, the plot and the terminal. */
import { LOCAL, type Measurement, OURS, ROOTLESS, type RowResult, type Target, type Unit } from '../model.js';

/** Three significant digits: 1.23 s, 512 MiB/s, 12.3 k/s. */
export function formatValue(value: number, unit: Unit): string {
  if (!Number.isFinite(value)) return '-';
  if (unit === 's') return `${digits(value)} s`;
  if (unit === 'MiB/s') return value >= 10_240 ? `${digits(value / 1024)} GiB/s` : `${digits(value)} MiB/s`;
  return value >= 10_000 ? `${digits(value / 1000)} k/s` : `${digits(value)} /s`;
}

function digits(value: number): string {
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

/** A target as it is for this machine: scaled by what the local directory does here and did there. */
export function scaledTarget(row: RowResult, target: Target | undefined): number | undefined {
  if (target === undefined) return undefined;
  const here = measurementOf(row, LOCAL)?.median;
  if (target.local === undefined || here === undefined) return target.ours;
  return (target.ours * here) / target.local;
}

export interface Judgement {
  readonly subject: string;
  readonly target: number;
  /** How many times as fast as the target; 1 or more: reached. */
  readonly ratio: number;
  readonly scaled: boolean;
}

/** The product's values against the targets of the row. */
export function judge(row: RowResult): Judgement[] {
  const of = (subject: string, target: Target | undefined): Judgement[] => {
    const value = measurementOf(row, subject)?.median;
    const wanted = scaledTarget(row, target);
    if (value === undefined || wanted === undefined || target === undefined) return [];
    const scaled = target.local !== undefined && measurementOf(row, LOCAL) !== undefined;
    return [{ subject, target: wanted, ratio: speedRatio(value, wanted, row.unit), scaled }];
  };
  return [...of(OURS, row.target), ...of(ROOTLESS, row.rootlessTarget)];
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
