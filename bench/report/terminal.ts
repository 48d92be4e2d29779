/** The results for a terminal: speeds and targets, without what they cost. */
import { LOCAL, OURS, type Report } from '../model.js';
import { peerRow } from './markdown.js';
import { formatValue, formatVerdict, judge } from './numbers.js';
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
    Object.entries(row.failures).map(
      ([name, why]) => `failed: ${row.id}, ${name}: ${why.split('\n').slice(0, 5).join('\n  ')}\n`,
    ),
  );
  const note = peers.includes(LOCAL) ? '' : 'Without the local directory targets are not scaled.\n';
  return `${plain(['', OURS, 'target', ...peers], rows)}\n${note}${failed.join('')}It took ${Math.round(report.seconds)} s.\n`;
}
