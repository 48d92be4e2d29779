/** The program of the consistency matrix (matrix.py): run here, and what it says. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { mustRun } from '../../support/process.js';
import { python } from '../../support/project.js';

const folder = fileURLToPath(new URL('.', import.meta.url));
const TIMEOUT_MS = 60 * 60_000;

/** When B acts: at once after A's change, or when attributes with `actimeo=1` have run out since. */
export type Pass = 'at-once' | 'later';
export const PASSES: readonly Pass[] = ['at-once', 'later'];

/** Options of both mounts of a pass, beside those that the server needs; mount.nfs takes them, too. */
export const PASS_OPTIONS: Readonly<Record<Pass, readonly string[]>> = {
  'at-once': [],
  later: ['actimeo=1'],
};
/** More than a second after the last change, for clocks that count in tenths of it. */
const PASS_ARGUMENTS: Readonly<Record<Pass, readonly string[]>> = {
  'at-once': [],
  later: ['--later', '1.3'],
};

/** Where the two clients are, and where an observer sees the real state. */
export interface Folders {
  readonly a: string;
  readonly b: string;
  readonly look: string;
}

/** By combination, `prepare/change/act`: what B was told. */
export type Outcomes = ReadonlyMap<string, string>;

/** The program's command line, for every `every`th combination. */
export function commandLine(pass: Pass, every: number, { a, b, look }: Folders): string[] {
  const program = `${folder}matrix.py`;
  return [python, program, ...PASS_ARGUMENTS[pass], '--every', String(every), a, b, look];
}

/** The outcomes that the program has printed. */
export function parse(output: string): Outcomes {
  return new Map(
    output
      .split('\n')
      .filter((line) => line !== '')
      .map((line): [string, string] => {
        const tab = line.indexOf('\t');
        return [line.slice(0, tab), line.slice(tab + 1)];
      }),
  );
}

/** Runs every `every`th combination of a pass. */
export async function runProgram(pass: Pass, every: number, folders: Folders): Promise<Outcomes> {
  const output = await mustRun(commandLine(pass, every, folders), { cwd: '/', timeoutMs: TIMEOUT_MS });
  return parse(output);
}

/** Of the whole program: a record is of the program that made it. */
export function programHash(): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder).sort()) {
    if (name.endsWith('.py')) hash.update(name).update(readFileSync(folder + name));
  }
  return hash.digest('hex');
}
