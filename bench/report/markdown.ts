/** The results as a document. */
import {
  BEFORE,
  BEFORE_ROOTLESS,
  LOCAL,
  OURS,
  type Report,
  ROOTLESS,
  ROOTLESS_DIRECT,
  type RowResult,
} from '../model.js';
import { distanceSection } from './distance.js';
import {
  failuresOf,
  formatCalls,
  formatCount,
  formatMicroseconds,
  formatRatio,
  formatValue,
  formatVerdict,
  judge,
  measurementOf,
  perOperation,
  speedRatio,
  spread,
  totalCalls,
} from './numbers.js';
import { table } from './table.js';

/** Resident memory that no row may exceed, beside the configured buffers. */
const MOST_MIB = 200;

function valueCell(row: RowResult, subject: string): string {
  const measurement = measurementOf(row, subject);
  if (measurement === undefined) return row.failures[subject] === undefined ? '-' : 'failed';
  return `${formatValue(measurement.median, row.unit)} ${spread(measurement)}`;
}

/** Title, the product, and the peers with how many times as fast as them it is. */
export function peerRow(row: RowResult, peers: readonly string[]): string[] {
  const ours = measurementOf(row, OURS);
  const own = ours ? `**${formatValue(ours.median, row.unit)}** ${spread(ours)}` : 'failed';
  const others = peers.map((peer) => {
    const theirs = measurementOf(row, peer);
    const value = valueCell(row, peer);
    return ours && theirs
      ? `${value}, ${formatRatio(speedRatio(ours.median, theirs.median, row.unit))}`
      : value;
  });
  return [row.title, own, ...others];
}

/** The reference machine's numbers, the target, and what was reached here; a line for each target of the row. */
function targetRows(row: RowResult): string[][] {
  const { reference, unit } = row;
  if (reference === undefined) return [];
  const there = (value: number | undefined) => (value === undefined ? '-' : formatValue(value, unit));
  const { fuseNfs, nfusr, passthrough, local, remark } = reference;
  return judge(row).map((judgement) => {
    const { subject, set, target, scaled } = judgement;
    const value = measurementOf(row, subject)?.median ?? Number.NaN;
    return [
      subject === OURS ? row.title : `${row.title}: ${subject}`,
      ...[fuseNfs, nfusr, passthrough, local, set].map(there),
      valueCell(row, LOCAL),
      `${formatValue(target, unit)}${scaled ? '' : '†'}`,
      `**${formatValue(value, unit)}**`,
      formatVerdict(judgement),
      remark ?? '',
    ];
  });
}

/** Streams as root and in a user namespace, and by the earlier build, if one was measured. */
function rootlessSection(rows: readonly RowResult[], subjects: readonly string[]): string[] {
  const streams = rows.filter((row) => measurementOf(row, ROOTLESS) !== undefined);
  if (streams.length === 0) return [];
  const shown = [BEFORE, OURS, BEFORE_ROOTLESS, ROOTLESS, ROOTLESS_DIRECT].filter((name) =>
    subjects.includes(name),
  );
  const ratio = (row: RowResult, name: string, other: string) => {
    const [one, two] = [measurementOf(row, name)?.median, measurementOf(row, other)?.median];
    return one === undefined || two === undefined ? '-' : formatRatio(speedRatio(one, two, row.unit));
  };
  return [
    '## Streams without privilege',
    'In a user namespace the kernel’s read-ahead window (read_ahead_kb) cannot be raised from its 128 KiB.',
    table(
      ['', ...shown, 'rootless to root'],
      streams.map((row) => [
        row.title,
        ...shown.map((name) => valueCell(row, name)),
        ratio(row, ROOTLESS, OURS),
      ]),
    ),
  ];
}

function memoryCell(peakKiB: number | undefined, { read, write }: Report['bufferMiB']): string {
  if (peakKiB === undefined) return '-';
  const peak = Math.round(peakKiB / 1024);
  if (peak <= MOST_MIB) return `${peak} MiB ✓`;
  const beside = peak - read - write;
  return `${peak} MiB, ${Math.max(0, beside)} beside the buffers${beside <= MOST_MIB ? ' ✓' : ''}`;
}

function costRow(row: RowResult, report: Report, clients: readonly string[]): string[] {
  const ours = measurementOf(row, OURS);
  const theirs = clients.flatMap((name) => {
    const measurement = measurementOf(row, name);
    const peak = measurement?.peakKiB;
    return [
      measurement?.cpuSeconds === undefined ? '-' : `${measurement.cpuSeconds.toFixed(2)} s`,
      peak === undefined ? '-' : `${Math.round(peak / 1024)} MiB`,
    ];
  });
  return [
    row.title,
    `${row.operation.count} × ${row.operation.name}`,
    formatCount(perOperation(row, totalCalls(row))),
    ours?.cpuSeconds === undefined ? '-' : `${ours.cpuSeconds.toFixed(2)} s`,
    ...[ours?.cpuSeconds, ours?.serverCpuSeconds].map((seconds) =>
      formatMicroseconds(perOperation(row, seconds)),
    ),
    formatCount(perOperation(row, ours?.switches)),
    memoryCell(ours?.peakKiB, report.bufferMiB),
    ...theirs,
    formatCalls(row),
  ];
}

/** How a relay touches all numbers but those of the section about distance. */
function throughRelay({ rttMs: [rtt] = [] }: Report): string {
  if (rtt === undefined || rtt === 0) return '';
  return ` Clients reach their servers through a relay that adds ${rtt} ms to each round trip.`;
}

/** A Markdown page with what was measured, what it cost, and how. */
export function markdown(report: Report): string {
  const { machine, rows, runs, subjects, bufferMiB } = report;
  const names = subjects.map(({ name }) => name);
  const peers = names.filter((name) => name !== OURS);
  const clients = peers.filter((name) =>
    rows.some((row) => measurementOf(row, name)?.cpuSeconds !== undefined),
  );
  const failures = rows.flatMap((row) =>
    failuresOf(row).map(({ name, why }) => `- ${row.title}, ${name}: ${why.split('\n')[0]}`),
  );
  const targetHead = [
    '',
    ...['fuse-nfs', 'nfusr', 'FUSE alone', 'local', 'target'].map((name) => `reference: ${name}`),
    ...['local', 'target, scaled', OURS, 'reached'].map((name) => `here: ${name}`),
    '',
  ];
  const costHead = ['', 'work', 'calls each', 'CPU', 'CPU each', 'server’s CPU each', 'switches each'];
  return `${[
    '# Benchmark',
    `\`npm run bench\`, ${report.date.slice(0, 10)}${report.quick ? ', **a quick run: an eighth of the work, through the relay that counts calls**' : ''}. ` +
      `${machine.cpus} × ${machine.model}, ${machine.memoryMiB} MiB, Linux ${machine.kernel}, Node ${machine.node}, ` +
      `${machine.server}; the load average was ${machine.load.toFixed(1)} when it began. The disk: ${report.disk}.${throughRelay(report)}`,
    '![Speed as a part of the local directory’s](benchmark.svg)',
    `Medians of ${runs} runs after a warm-up; ± is half the distance from the slowest to the fastest run. All of it ` +
      `took ${Math.round(report.seconds / 60)} minutes${report.pieces === undefined ? '' : `, in ${report.pieces} pieces on the same machine`}.`,
    '## Against the targets',
    'The reference machine (two cores, nfs-ganesha on loopback, medians of 3) had the peers that no distribution ' +
      'brings. Its targets are scaled by what the local directory does here and did there. † marks what it has no ' +
      'local number for. Where the disk here is faster than there, a target asks for more than was set: “✓ as set” ' +
      'says that the number itself was reached.',
    table(targetHead, rows.flatMap(targetRows)),
    '## Beside the peers',
    'A peer’s last number says how many times as fast as it nfs-fuse is.',
    table(
      ['', OURS, ...peers],
      rows.map((row) => peerRow(row, peers)),
    ),
    ...rootlessSection(rows, names),
    ...distanceSection(report),
    '## What it cost',
    'Calls that nfs-fuse sent, counted by a relay in a run of its own; user and system time and context switches of ' +
      'its threads, and nfs-ganesha’s time, during a run (medians); the most memory it had resident. Its buffers are ' +
      `bounded to ${bufferMiB.read} MiB for readers and ${bufferMiB.write} MiB for writers; ✓: not more than ` +
      `${MOST_MIB} MiB beside them.`,
    table(
      [
        ...costHead,
        'peak memory',
        ...clients.flatMap((name) => [`${name}: CPU`, 'peak memory']),
        'calls of a run',
      ],
      rows.map((row) => costRow(row, report, clients)),
    ),
    '## How',
    [
      ...subjects.map(({ name, description }) => `- **${name}**: ${description}.`),
      '- **cold**: the client is mounted anew, nfs-ganesha restarted, and the kernel’s page, dentry and inode caches dropped ' +
        '(which are the caches of the local directory and of sshd’s side too); **client cold**: only the client is mounted anew; ' +
        'otherwise the mount has just done the same. A peer given by `--dir` is not mounted anew: for it the kernel’s caches are dropped.',
      '- A new mount first does a little of everything in a folder of its own, so that no program is measured in its first moments.',
      '- Subjects take turns, run by run. The loads are loops in C (bench/load.c) and the programs that are named.',
      '- The kernel’s own NFS client runs in user-mode Linux here, whose system calls are slow. Where it can be mounted, ' +
        '`--dir NAME=PATH` adds it.',
      ...(report.rttMs === undefined
        ? []
        : [
            '- The relay of the distances (bench/distance/delay.c) lies before nfs-ganesha, and before sshd for sshfs. Mounting ' +
              'does not go through it, but each start of nfs-cp and nfs-cat opens its connection through it. ' +
              'The local directory and what `--dir` names have no distance.',
          ]),
      '- nfs-cp and nfs-cat start a process for each run; nfs-cp ends without having anything synced.',
    ].join('\n'),
    ...(failures.length > 0 ? ['## Failed', failures.join('\n')] : []),
  ].join('\n\n')}\n`;
}
