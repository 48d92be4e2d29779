/** The effect of distance: the rows with servers further away, and the round trips that wait for one another. */
import type { FarResult, Measurement, Report, RowResult } from '../model.js';
import { digits, formatValue, measurementOf, spread } from './numbers.js';
import { table } from './table.js';

/** The row as it was done at one of the further distances. */
function distantRow(row: RowResult, rttMs: number): FarResult | undefined {
  return row.far?.find((one) => one.rttMs === rttMs);
}

/** The numbers of a subject at one of the further distances. */
export function farOf(row: RowResult, subject: string, rttMs: number): Measurement | undefined {
  return distantRow(row, rttMs)?.measurements.find((measurement) => measurement.subject === subject);
}

/**
 * Round trips that one operation waits for, one after the other: what the longest distance adds to the time, in round
 * trips. Below 1 where operations go on side by side. Undefined where there was only one distance.
 */
export function sequentialRoundTrips(
  row: RowResult,
  subject: string,
  { rttMs = [], tripMs = rttMs }: Pick<Report, 'rttMs' | 'tripMs'>,
): number | undefined {
  const [least = 0] = rttMs;
  const most = rttMs.at(-1) ?? least;
  const [near, far] = [measurementOf(row, subject), farOf(row, subject, most)];
  const operations = distantRow(row, most)?.operation.count;
  if (near === undefined || far === undefined || operations === undefined || most === least) return undefined;
  return (
    (far.seconds / operations - near.seconds / row.operation.count) /
    ((tripMs.at(-1) ?? most) / 1000 - (tripMs[0] ?? least) / 1000)
  );
}

/** Two digits behind the point; what is less than nothing is the measurement's inaccuracy. */
export function formatRoundTrips(value: number | undefined): string {
  return value === undefined ? '-' : digits(Math.max(0, value));
}

/** The section of the document; nothing where there was no second distance. */
export function distanceSection(report: Report): string[] {
  const { rows, rttMs = [], tripMs = rttMs, subjects } = report;
  const [least, ...further] = rttMs;
  const most = further.at(-1);
  if (least === undefined || most === undefined) return [];
  const names = subjects
    .map(({ name }) => name)
    .filter((name) => rows.some((row) => farOf(row, name, most) !== undefined));
  const value = (row: RowResult, name: string, rtt: number) => {
    const measurement = farOf(row, name, rtt);
    return measurement === undefined
      ? '-'
      : `${formatValue(measurement.median, row.unit)} ${spread(measurement)}`;
  };
  return [
    '## With the server further away',
    'A relay between client and server delays what goes either way by half of the round trip, and limits nothing else. One run each, with fewer operations.' +
      (least === 0
        ? ''
        : ` What stands elsewhere on this page went through the same relay with ${least} ms.`),
    table(
      ['', ...further.flatMap((rtt) => names.map((name) => `${rtt} ms: ${name}`))],
      rows.map((row) => [
        distantRow(row, most)?.title ?? row.title,
        ...further.flatMap((rtt) => names.map((name) => value(row, name, rtt))),
      ]),
    ),
    '### Round trips one after the other',
    `Those that an operation waits for: its time at ${most} ms less its time at ${least} ms, divided by what a round trip takes ` +
      `longer (${digits((tripMs.at(-1) ?? most) - (tripMs[0] ?? least))} ms, measured with an echo). ` +
      'Calls that are on their way together count once.',
    table(
      ['', 'operation', ...names],
      rows.map((row) => [
        row.title,
        row.operation.name,
        ...names.map((name) => formatRoundTrips(sequentialRoundTrips(row, name, report))),
      ]),
    ),
  ];
}
