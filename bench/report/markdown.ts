/** The results as a document. */
import { LOCAL, OURS, type Report, type RowResult } from '../model.js';
import {
  formatCalls,
  formatRatio,
  formatValue,
  judge,
  measurementOf,
  speedRatio,
  spread,
  totalCalls,
} from './numbers.js';

const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const rule = head.map((_, index) => (index === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

function targetCell(row: RowResult): string {
  const cells = judge(row).map(({ subject, target, ratio, scaled }) => {
    const whose = subject === OURS ? '' : `${subject}: `;
    const mark = scaled || row.unit === 's' ? '' : '†';
    return `${whose}${formatValue(target, row.unit)}${mark} (${ratio >= 1 ? 'reached' : 'missed'}, ${formatRatio(ratio)})`;
  });
  return cells.join('; ') || '-';
}

function resultRow(row: RowResult, peers: readonly string[]): string[] {
  const ours = measurementOf(row, OURS);
  const own = ours ? `**${formatValue(ours.median, row.unit)}** ${spread(ours)}` : 'failed';
  const others = peers.map((peer) => {
    const theirs = measurementOf(row, peer);
    if (theirs === undefined) return row.failures[peer] === undefined ? '-' : 'failed';
    const value = `${formatValue(theirs.median, row.unit)} ${spread(theirs)}`;
    return ours ? `${value}, ${formatRatio(speedRatio(ours.median, theirs.median, row.unit))}` : value;
  });
  return [row.title, own, targetCell(row), ...others];
}

function costRow(row: RowResult, clients: readonly string[]): string[] {
  const cells = clients.flatMap((client) => {
    const measurement = measurementOf(row, client);
    const cpu = measurement?.cpuSeconds;
    const peak = measurement?.peakKiB;
    return [
      cpu === undefined ? '-' : `${cpu.toFixed(2)} s`,
      peak === undefined ? '-' : `${Math.round(peak / 1024)} MiB`,
    ];
  });
  return [row.title, ...cells, String(totalCalls(row) ?? '-'), formatCalls(row)];
}

/** A Markdown page with what was measured, what it cost, and how. */
export function markdown(report: Report): string {
  const { machine, rows, runs, subjects } = report;
  const peers = subjects.map(({ name }) => name).filter((name) => name !== OURS);
  const clients = subjects
    .map(({ name }) => name)
    .filter((name) =>
      rows.some((row) => row.measurements.some((m) => m.subject === name && m.cpuSeconds !== undefined)),
    );
  const failures = rows.flatMap((row) =>
    Object.entries(row.failures).map(([name, why]) => `- ${row.title}, ${name}: ${why.split('\n')[0]}`),
  );
  const cost = ['', ...clients.flatMap((name) => [`${name}: CPU`, 'peak memory']), 'calls', 'of which'];
  return `${[
    '# Benchmark',
    `\`npm run bench\`, ${report.date.slice(0, 10)}${report.quick ? ', **a quick run: an eighth of the work**' : ''}. ` +
      `${machine.cpus} × ${machine.model}, ${machine.memoryMiB} MiB, Linux ${machine.kernel}, Node ${machine.node}, ` +
      `${machine.server}; the load average was ${machine.load.toFixed(1)} when it began.`,
    '![Speed as a part of the local directory’s](benchmark.svg)',
    `Medians of ${runs} runs after a warm-up; ± is half the distance from the slowest to the fastest run. A peer’s ` +
      'last number says how many times as fast as it nfs-fuse is. A target is scaled by what the local directory ' +
      'does here and did on the machine for which the target was set; † marks those for which nothing was measured there.',
    table(
      ['', OURS, 'target', ...peers],
      rows.map((row) => resultRow(row, peers)),
    ),
    '## What it cost',
    'User and system time of all threads of the client’s processes during a run (median), their peak memory since ' +
      'they were started (the largest process), and the calls that nfs-fuse sent in one run, counted by a relay in a ' +
      'run of its own.',
    table(
      cost,
      rows.map((row) => costRow(row, clients)),
    ),
    '## How',
    [
      ...subjects.map(({ name, description }) => `- **${name}**: ${description}.`),
      '- **cold**: the client is mounted anew, nfs-ganesha restarted, and the kernel’s page, dentry and inode caches dropped ' +
        '(which are the caches of the local directory and of sshd’s side too); **client cold**: only the client is mounted anew; ' +
        'otherwise the mount has just done the same. A peer given by `--dir` is not mounted anew: for it the kernel’s caches are dropped.',
      '- A new mount first does a little of everything in a folder of its own, so that no program is measured in its first moments.',
      '- Subjects take turns, run by run. The loads are loops in C (bench/load.c) and the programs that are named.',
    ].join('\n'),
    ...(failures.length > 0 ? ['## Failed', failures.join('\n')] : []),
  ].join('\n\n')}\n`;
}

/** The same numbers for a terminal, without what they cost. */
export function plainTable(report: Report): string {
  const peers = report.subjects.map(({ name }) => name).filter((name) => name !== OURS);
  const lines = [['', OURS, 'target', ...peers], ...report.rows.map((row) => resultRow(row, peers))].map(
    (cells) => cells.map((cell) => cell.replaceAll('**', '')),
  );
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0))) ?? [];
  const text = lines.map((cells) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
  const failed = report.rows.flatMap((row) =>
    Object.entries(row.failures).map(
      ([name, why]) => `${row.id}, ${name}: ${why.split('\n').slice(0, 5).join('\n  ')}`,
    ),
  );
  const note = peers.includes(LOCAL) ? '' : 'Without the local directory targets are not scaled.\n';
  return `${text.join('\n')}\n${note}${failed.map((why) => `failed: ${why}\n`).join('')}`;
}
