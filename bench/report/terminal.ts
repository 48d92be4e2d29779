/** The results for a terminal: speeds and targets, without what they cost. */
import { LOCAL, OURS, type Report } from '../model.js';
import { farOf, formatRoundTrips, sequentialRoundTrips } from './distance.js';
import { peerRow } from './markdown.js';
import { failuresOf, formatValue, formatVerdict, judge } from './numbers.js';
import { plain } from './table.js';

export function plainTable(report: Report): string {
  const peers = report.subjects.map(({ name }) => name).filter((name) => name !== OURS);
  const rows = report.rows.map((row) => {
    const [title = '', own = '', ...others] = peerRow(row, peers);
    const verdicts = judge(row).map((judgement) => {
      const whose = judgement.subject === OURS ? '' : `${judgement.subject}: `;
      return `${whose}${formatValue(judgement.target, row.unit)} ${formatVerdict(judgement)}`;
    });
    return [title, own, verdicts.join('; ') || '-', ...others];
  });
  const failed = report.rows.flatMap((row) =>
    failuresOf(row).map(
      ({ name, why }) => `failed: ${row.id}, ${name}: ${why.split('\n').slice(0, 5).join('\n  ')}\n`,
    ),
  );
  const note = peers.includes(LOCAL) ? '' : 'Without the local directory targets are not scaled.\n';
  return `${plain(['', OURS, 'target', ...peers], rows)}\n${distances(report)}${note}${failed.join('')}It took ${Math.round(report.seconds)} s.\n`;
}

/** The rows at the further distances, and the round trips that wait for one another. */
function distances(report: Report): string {
  const { rows, rttMs = [], subjects } = report;
  const [least, ...further] = rttMs;
  if (least === undefined) return '';
  const through = least === 0 ? '' : `Through a relay that adds ${least} ms to each round trip.\n`;
  if (further.length === 0) return through;
  const names = subjects
    .map(({ name }) => name)
    .filter((name) => rows.some((row) => further.some((rtt) => farOf(row, name, rtt))));
  const head = names.flatMap((name) => [
    ...further.map((rtt) => `${name}, ${rtt} ms`),
    'one after the other',
  ]);
  const lines = rows.map((row) => [
    row.title,
    ...names.flatMap((name) => [
      ...further.map((rtt) => {
        const measurement = farOf(row, name, rtt);
        return measurement ? formatValue(measurement.median, row.unit) : '-';
      }),
      formatRoundTrips(sequentialRoundTrips(row, name, report)),
    ]),
  ]);
  return `${through}\n${plain(['', ...head], lines)}\n`;
}
