/**
 * The results of Linux's own client in the combinations of the matrix, recorded once for each server (record.mjs): the
 * names of the combinations in which it shows something else than a local directory, at least once in several runs.
 *
 * The file is lines of text: `# comment`, `program HASH`, `every N`, `runs N`, and for each pass `pass NAME COUNT` and lines
 * `prepare/change: act act…`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ServerName } from '../../support/variants.js';
import { type Outcomes, PASSES, type Pass } from './program.js';

export interface PassRecord {
  /** How many combinations were run. */
  readonly count: number;
  /** Those in which Linux's client differs from a local directory. */
  readonly late: ReadonlySet<string>;
}

export interface LinuxRecord {
  /** Of the program that made it. */
  readonly hash: string;
  /** Every so many-th combination was run. */
  readonly every: number;
  readonly runs: number;
  readonly passes: Readonly<Record<Pass, PassRecord>>;
}

export type RecordedServer = Exclude<ServerName, 'local'>;

export function recordFile(server: RecordedServer): string {
  return fileURLToPath(new URL(`linux-6.1-${server}.txt`, import.meta.url));
}

/** The combinations of `truth` in which `run` shows something else, or earlier runs did. */
export function lateIn(truth: Outcomes, run: Outcomes, earlier: ReadonlySet<string>): ReadonlySet<string> {
  return new Set([...truth.keys()].filter((name) => earlier.has(name) || run.get(name) !== truth.get(name)));
}

export function writeRecord(record: LinuxRecord, comments: readonly string[]): string {
  const { hash, every, runs } = record;
  const lines = [...comments.map((line) => `# ${line}`), `program ${hash}`, `every ${every}`, `runs ${runs}`];
  for (const pass of PASSES) {
    const { count, late } = record.passes[pass];
    lines.push(`pass ${pass} ${count}`);
    const groups = new Map<string, string[]>();
    for (const name of late) {
      const slash = name.lastIndexOf('/');
      const group = name.slice(0, slash);
      groups.set(group, [...(groups.get(group) ?? []), name.slice(slash + 1)]);
    }
    for (const [group, acts] of groups) lines.push(`${group}: ${acts.join(' ')}`);
  }
  return `${lines.join('\n')}\n`;
}

/**
 * Linux's client from this server, or from nfs-ganesha where it has not been recorded: both show what a server says at
 * the same moments. Throws if there is neither, or if it cannot be read.
 */
export function recordFor(server: RecordedServer): LinuxRecord {
  const record = readRecord(server) ?? readRecord('ganesha');
  if (record) return record;
  throw new Error('there is no record of Linux: node test/consistency/matrix/record.mjs');
}

/** Undefined: there is none of this server. Throws if it cannot be read. */
export function readRecord(server: RecordedServer): LinuxRecord | undefined {
  const file = recordFile(server);
  if (!existsSync(file)) return undefined;
  let hash = '';
  const numbers = { every: 0, runs: 0 };
  const passes: Record<Pass, { count: number; late: Set<string> }> = {
    'at-once': { count: 0, late: new Set() },
    later: { count: 0, late: new Set() },
  };
  let current = passes['at-once'];
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [first = '', ...words] = line.split(' ');
    if (first === '' || first === '#') continue;
    if (first === 'program') hash = words[0] ?? '';
    else if (first === 'every' || first === 'runs') numbers[first] = Number(words[0]);
    else if (first === 'pass') {
      const pass = PASSES.find((name) => name === words[0]);
      if (pass === undefined) throw new Error(`${file}: no such pass: ${line}`);
      current = passes[pass];
      current.count = Number(words[1]);
    } else for (const act of words) current.late.add(`${first.slice(0, -1)}/${act}`);
  }
  return { hash, ...numbers, passes };
}
