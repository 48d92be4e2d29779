/** Where the time of a row goes, as a document: per operation, in microseconds. */
import type { Machine } from '../machine.js';
import type { CallCounts, Measurement, Operation } from '../model.js';
import { formatCount, formatMicroseconds } from '../report/numbers.js';
import { plain, table } from '../report/table.js';
import { CATEGORIES, type ProfileSummary } from './analysis.js';

export interface ProfiledRow {
  readonly id: string;
  readonly title: string;
  readonly operation: Operation;
  /** Without the profiler. */
  readonly measured: Measurement;
  readonly calls: CallCounts | undefined;
  /** A run of its own. */
  readonly profile: ProfileSummary;
}

export interface ProfileReport {
  readonly date: string;
  readonly quick: boolean;
  readonly runs: number;
  readonly machine: Machine;
  /** Where the server keeps its files. */
  readonly disk: string;
  readonly rows: readonly ProfiledRow[];
}

/** Functions shown of each row. */
const FUNCTIONS = 10;

export interface Account {
  /** The time of one operation, and the part of each program in it; seconds. */
  readonly wall: number;
  readonly program: number;
  readonly client: number;
  readonly server: number;
  /** None of them works; negative if they work side by side for more than that. */
  readonly rest: number;
}

/** Divides the time of one operation among the programs. */
export function account({ measured, operation }: Pick<ProfiledRow, 'measured' | 'operation'>): Account {
  const each = (seconds = 0) => seconds / operation.count;
  const wall = each(measured.seconds);
  const [program, client, server] = [
    each(measured.loadCpuSeconds),
    each(measured.cpuSeconds),
    each(measured.serverCpuSeconds),
  ];
  return { wall, program, client, server, rest: wall - program - client - server };
}

const us = formatMicroseconds;

/** "Of 1450 µs per file, …". */
export function sentence(row: ProfiledRow): string {
  const { wall, program, client, server, rest } = account(row);
  const parts = `the server computes for ${us(server)}, nfs-fuse for ${us(client)}, the program and the kernel on its behalf for ${us(program)}`;
  const waiting =
    rest >= 0
      ? `for ${us(rest)} none of them does: the disk, wake-ups, other work of the kernel`
      : `they work side by side, ${us(-rest)} more in all than it takes`;
  return `Of ${us(wall)} per ${row.operation.name}, ${parts}; ${waiting}.`;
}

/** The time of nfs-fuse without the profiler, shared out as the profile says. */
function share(row: ProfiledRow, seconds: number): number {
  const { busySeconds } = row.profile;
  return busySeconds === 0 ? 0 : (account(row).client * seconds) / busySeconds;
}

const accountHead = ['', 'each takes', 'program', 'nfs-fuse', 'server', 'nobody', 'switches', 'calls'];

function accountRow(row: ProfiledRow): string[] {
  const { wall, program, client, server, rest } = account(row);
  const calls = row.calls && Object.values(row.calls).reduce((sum, count) => sum + count, 0);
  const each = (amount: number | undefined) =>
    formatCount(amount === undefined ? undefined : amount / row.operation.count);
  return [
    `${row.title}, per ${row.operation.name}`,
    ...[wall, program, client, server].map(us),
    rest >= 0 ? us(rest) : '-',
    each(row.measured.switches),
    each(calls),
  ];
}

const categoryHead = ['', 'nfs-fuse', ...CATEGORIES];

function categoryRow(row: ProfiledRow): string[] {
  return [
    `${row.title}, per ${row.operation.name}`,
    us(account(row).client),
    ...CATEGORIES.map((name) => us(share(row, row.profile.categories[name]))),
  ];
}

function section(row: ProfiledRow): string[] {
  const shown = row.profile.functions.slice(0, FUNCTIONS);
  return [
    `## ${row.title}`,
    sentence(row),
    table(
      ['function', 'where', `per ${row.operation.name}`],
      shown.map(({ name, where, seconds }) => [`\`${name}\``, where, us(share(row, seconds))]),
    ),
  ];
}

export function profileMarkdown(report: ProfileReport): string {
  const { machine, rows, runs } = report;
  return `${[
    '# Where the time goes',
    `\`npm run profile\`, ${report.date.slice(0, 10)}${report.quick ? ', **a quick run: an eighth of the work**' : ''}. ` +
      `${machine.cpus} × ${machine.model}, Linux ${machine.kernel}, Node ${machine.node}, ${machine.server}; the load ` +
      `average was ${machine.load.toFixed(1)} when it began. The disk: ${report.disk}.`,
    'The rows are those of the [benchmark](benchmark.md), mounted as root.',
    '## Who has how much of an operation',
    `Medians of ${runs} runs after a warm-up, without a profiler. CPU time, user and system, of the program that ` +
      'uses the mount, of nfs-fuse and of nfs-ganesha; “nobody” is what is left of the time that passed: the disk, ' +
      'wake-ups, and work that the kernel does in threads of its own. “-”: they work side by side. Switches are ' +
      'those of nfs-fuse’s threads, calls those on the wire.',
    table(accountHead, rows.map(accountRow)),
    '## What nfs-fuse does in its part',
    'The CPU time of nfs-fuse per operation, shared out as a run under V8’s CPU profiler says. FUSE read and write ' +
      'are system calls on /dev/fuse, and copy the data; reads that find nothing, while the process stays awake for the ' +
      'next request, are among them. The event loop reads sockets and waits; V8 does not see it, so it is what the ' +
      'samples leave of the thread’s CPU time.',
    table(categoryHead, rows.map(categoryRow)),
    ...rows.flatMap(section),
  ].join('\n\n')}\n`;
}

/** The same for a terminal, without functions. */
export function profileText({ rows }: ProfileReport): string {
  return [
    plain(accountHead, rows.map(accountRow)),
    plain(categoryHead, rows.map(categoryRow)),
    rows.map((row) => `${row.title}: ${sentence(row)}\n`).join(''),
  ].join('\n\n');
}
