/** Quotas for people: a table in the manner of quota(1), with sizes that can be read, and sentences about what is not there. */
import { shownName } from '../base/shown-name.js';
import type { ReportedQuota, ReportedUse } from '../vfs/quota/quota-report.js';

const UNITS = ['', 'K', 'M', 'G', 'T', 'P', 'E'];
const [MINUTE, HOUR, DAY] = [60, 3_600, 86_400];
const HEADINGS = ['', 'Used', 'Soft', 'Hard', 'Grace', 'Files', 'Soft', 'Hard', 'Grace'];

/** Several lines; safe for a terminal. `all`: also of groups that have no limit. */
export function quotaText(source: string, quotas: readonly ReportedQuota[], all: boolean): string {
  const shown = quotas.filter((one) => all || one.kind === 'user' || hasLimit(one));
  const rows = shown.map(rowOf).filter((row) => row !== undefined);
  const lines = [
    `Quotas on ${source}:`,
    ...(rows.length === 0 ? [] : table([HEADINGS, ...rows])),
    ...shown.flatMap((one) => remarkOn(one) ?? []),
  ];
  return `${lines.map(shownName).join('\n')}\n`;
}

function hasLimit({ blocks, files }: ReportedQuota): boolean {
  return [blocks, files].some((use) => use !== undefined && use.soft + use.hard > 0);
}

/** "user 1000", and the server's number if that is another one. */
function nameOf({ kind, id, serverId }: ReportedQuota): string {
  return id === serverId ? `${kind} ${id}` : `${kind} ${id} (${serverId} on the server)`;
}

function rowOf(one: ReportedQuota): string[] | undefined {
  const { blockSize, blocks, files } = one;
  if (blockSize === undefined || blocks === undefined || files === undefined) return undefined;
  const size = (count: number) => humanSize(BigInt(count) * BigInt(blockSize));
  return [nameOf(one), ...cellsOf(blocks, size), ...cellsOf(files, String)];
}

/** A star stands behind what is more than the soft limit, as quota(1) has it. */
function cellsOf({ used, soft, hard, graceSeconds }: ReportedUse, shown: (count: number) => string) {
  const limit = (count: number) => (count === 0 ? '-' : shown(count));
  const isOver = (soft > 0 && used > soft) || (hard > 0 && used >= hard);
  const grace = graceSeconds === null ? '-' : humanTime(graceSeconds);
  return [`${shown(used)}${isOver ? '*' : ''}`, limit(soft), limit(hard), grace];
}

function remarkOn(one: ReportedQuota): string | undefined {
  const name = nameOf(one);
  switch (one.result) {
    case 'none':
      return `The server has no quota for ${name}.`;
    case 'refused':
      return `The quota of ${name} is not told: the server does not permit this caller to ask for it.`;
    case 'unknown':
      return `The quota of ${name} is not known: the server's quota service (version 1) knows users only.`;
    case 'quota':
      return one.enforced === false ? `The server does not enforce the quota of ${name} now.` : undefined;
  }
}

/** As `df -h` writes sizes: "512", "1.5K", "20G", rounded up. */
export function humanSize(bytes: bigint): string {
  let unit = 0;
  let value = Number(bytes);
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  // 9.95 is 10 and not 10.0, and 1023.5K is 1.0M.
  const tenths = Math.ceil(value * 10) / 10;
  if (unit === 0 || tenths >= 10) {
    const whole = Math.ceil(value);
    return whole === 1024 && unit < UNITS.length - 1 ? `1.0${UNITS[unit + 1]}` : `${whole}${UNITS[unit]}`;
  }
  return `${tenths.toFixed(1)}${UNITS[unit]}`;
}

function humanTime(seconds: number): string {
  if (seconds === 0) return 'over';
  if (seconds >= 2 * DAY) return `${Math.floor(seconds / DAY)} days`;
  if (seconds >= HOUR) return `${Math.floor(seconds / HOUR)} h`;
  return `${Math.ceil(seconds / MINUTE)} min`;
}

/** The first column on the left, numbers on the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  '),
  );
}
