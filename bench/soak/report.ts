/** The result of the long run, as a page and as text. */
import type { Machine } from '../machine.js';
import type { Sample } from './samples.js';
import type { Trouble, TroubleKind } from './trouble.js';
import { MAX_ABOVE_MIB, MAX_RISE_MIB, type Verdict } from './verdict.js';

export interface SoakReport {
  readonly date: string;
  readonly machine: Machine;
  readonly minutes: number;
  readonly seed: number;
  readonly mountOptions: readonly string[];
  /** How it ended: after its time, by ^C, or with something that was not as it should be. */
  readonly ended: 'in time' | 'interrupted' | 'failed';
  readonly failure: string | undefined;
  readonly rounds: number;
  readonly operations: Readonly<Record<string, number>>;
  readonly troubles: readonly Trouble[];
  readonly samples: readonly Sample[];
  readonly verdict: Verdict;
}

const MIB = 1 << 20;

const mib = (bytes: number) => `${(bytes / MIB).toFixed(1)} MiB`;
const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(1)}`;

/** "2:05" of 125. */
export function clock(seconds: number): string {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

/** One sentence. */
export function verdictText({ verdict }: SoakReport): string {
  const { flat, rise, slopePerHour, warmUpMax, laterMax } = verdict;
  const numbers =
    `the line through the resident set after the warm-up rises by ${signed(rise)} MiB ` +
    `(${signed(slopePerHour)} MiB an hour; at most +${MAX_RISE_MIB} in all is allowed), its highest point is ` +
    `${laterMax.toFixed(1)} MiB after ${warmUpMax.toFixed(1)} MiB in the warm-up (at most +${MAX_ABOVE_MIB} is allowed)`;
  if (flat === undefined) return `Too short to tell: ${numbers}.`;
  return `The memory ${flat ? 'stays flat' : 'GROWS'}: ${numbers}.`;
}

export function countTroubles(troubles: readonly Trouble[], kind: TroubleKind): number {
  return troubles.filter((trouble) => trouble.kind === kind).length;
}

function troubleText({ troubles }: SoakReport): string {
  const count = (kind: TroubleKind) => countTroubles(troubles, kind);
  return (
    `the server was killed or stopped and started again ${count('restart')} times, all connections were cut ` +
    `${count('cut')} times, cut and refused for a while ${count('refuse')} times, and the network stood still ${count('pause')} times`
  );
}

function outcomeText(report: SoakReport): string {
  if (report.ended === 'failed') return `It failed: ${report.failure ?? 'unknown'}`;
  const early = report.ended === 'interrupted' ? 'It was ended early. ' : '';
  return `${early}Everything that was read was what had been written, and so was what the server had at the end.`;
}

const COLUMNS: readonly { readonly title: string; readonly cell: (sample: Sample) => string }[] = [
  { title: 'time', cell: ({ seconds }) => clock(seconds) },
  { title: 'resident', cell: ({ resident }) => mib(resident) },
  { title: 'heap used', cell: ({ heapUsed }) => mib(heapUsed) },
  { title: 'heap reserved', cell: ({ heapTotal }) => mib(heapTotal) },
  { title: 'external', cell: ({ external }) => mib(external) },
  { title: 'inodes', cell: ({ inodes }) => String(inodes) },
  { title: 'names', cell: ({ dentries }) => String(dentries) },
  { title: 'open files', cell: ({ openFiles }) => String(openFiles) },
  { title: 'descriptors', cell: ({ descriptors }) => String(descriptors) },
  { title: 'calls', cell: ({ calls }) => String(calls) },
  { title: 'sent again', cell: ({ retransmits }) => String(retransmits) },
  { title: 'reconnections', cell: ({ reconnects }) => String(reconnects) },
];

const ROWS = 20;

/** About {@link ROWS} of the samples, the first and the last among them. */
function fewOf(samples: readonly Sample[]): Sample[] {
  const every = Math.max(1, Math.ceil(samples.length / ROWS));
  return samples.filter((_, index) => index % every === 0 || index === samples.length - 1);
}

/** A Markdown page. */
export function markdown(report: SoakReport): string {
  const { machine, samples, operations, rounds } = report;
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const last = samples.at(-1);
  const options = report.mountOptions.length > 0 ? `, mount options ${report.mountOptions.join(',')}` : '';
  const work = Object.entries(operations).map(([name, count]) => `${count} × ${name}`);
  return `${[
    '# A long run',
    `\`npm run soak -- --minutes ${report.minutes} --seed ${report.seed}\`, ${report.date.slice(0, 10)}${options}. ` +
      `${machine.cpus} × ${machine.model}, ${machine.memoryMiB} MiB, Linux ${machine.kernel}, Node ${machine.node}, ${machine.server}.`,
    `**${verdictText(report)}** ${outcomeText(report)}`,
    '![Memory of nfs-fuse over the run](soak.svg)',
    `One mount (\`hard\`) was used for ${clock(last?.seconds ?? 0)} minutes, ${rounds} rounds: ${work.join(', ')}. ` +
      `Meanwhile ${troubleText(report)}. nfs-fuse took ${last?.cpuSeconds.toFixed(0) ?? 0} s of CPU time and sent ` +
      `${last?.calls ?? 0} calls. The shaded first quarter is the warm-up; it counts only as what the rest is compared with. ` +
      `The line through the JavaScript heap in use changes by ${signed(report.verdict.heapRise)} MiB after it.`,
    [
      line(COLUMNS.map(({ title }) => title)),
      line(COLUMNS.map(() => '---:')),
      ...fewOf(samples).map((sample) => line(COLUMNS.map(({ cell }) => cell(sample)))),
    ].join('\n'),
    'Inodes and names stay in caches of bounded size after the kernel has forgotten them, and so are counted here. ' +
      'Samples are 10 seconds apart; the table shows a few of them.',
  ].join('\n\n')}\n`;
}

/** The same for a terminal. */
export function plainText(report: SoakReport): string {
  const last = report.samples.at(-1);
  const lines = [
    `${clock(last?.seconds ?? 0)} minutes, ${report.rounds} rounds, seed ${report.seed}: ${troubleText(report)}.`,
    `${mib(last?.resident ?? 0)} resident, ${last?.inodes ?? 0} inodes, ${last?.calls ?? 0} calls at the end.`,
    verdictText(report),
    outcomeText(report),
  ];
  return `${lines.join('\n')}\n`;
}
