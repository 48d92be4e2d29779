/**
 * The language of the range matrix. A case is a list of steps, a step is a line: a worker, an operation, its arguments.
 *
 * Workers: `a1`, `a2`, … are processes on the first client, `b1`, … on the second. A worker begins with its first step, and
 * with the case's file open for reading and writing as `f`; one that another forks begins with the descriptors of that one.
 *
 *   set|get|wait KIND AREA [FD]            fcntl F_SETLK, F_GETLK, F_SETLKW
 *   ofdset|ofdget|ofdwait KIND AREA [FD]   the same for OFD locks
 *   flock|flockwait KIND [FD]              with and without LOCK_NB
 *   soon STEP                              the step again and again until it is granted: what a process held is given up
 *                                          after its end, not at it
 *   done, interrupt                        the answer to the worker's request that waits; a signal ends it first
 *   picture POINT…                         each byte with what could be had of it, exclusive, shared or nothing: `90x 100s 110-`
 *   open NAME MODE [SUFFIX]                r, w, rw; the case's file, or the one with this suffix
 *   dup NAME OF, close NAME, closeAll, seek NAME OFFSET, read NAME OFFSET LENGTH, write NAME OFFSET TEXT
 *   link SUFFIX, unlink [SUFFIX]           another name of the case's file; the end of a name
 *   fork CHILD, exit, kill                 kill: by SIGKILL
 *
 * KIND: s shared, x exclusive, u unlock. AREA: START:LENGTH, without a length to the end of every file. START and LENGTH may
 * begin with 2^N, START also with `end` (of the file) or `here` (the descriptor's position): `2^62+5:10`, `end-3:3`.
 */
import { type FcntlCommand, type LockArea, type LockKind, WHENCE } from '../../support/locks/workers.js';

export interface Case {
  /** Unique. */
  readonly name: string;
  readonly steps: readonly string[];
  /** Files beside the case's own: their names are its name with one of these behind. */
  readonly suffixes?: readonly string[];
}

/** The steps of a text: lines, or parts of a line between semicolons. */
export function steps(text: string): string[] {
  return text
    .split(/[;\n]/)
    .map((step) => step.trim())
    .filter((step) => step !== '');
}

export interface Step {
  readonly text: string;
  readonly worker: string;
  readonly operation: string;
  readonly args: readonly string[];
  readonly soon: boolean;
}

const COMMANDS: readonly string[] = [
  'set',
  'get',
  'wait',
  'ofdset',
  'ofdget',
  'ofdwait',
] satisfies FcntlCommand[];

export const isFcntl = (operation: string): operation is FcntlCommand => COMMANDS.includes(operation);
export const mayWait = (operation: string): boolean => operation.endsWith('wait');
/** The client of a worker. */
export const clientOf = (worker: string): 'a' | 'b' => (worker.startsWith('a') ? 'a' : 'b');

export function parseStep(text: string): Step {
  const [worker = '', ...words] = text.split(' ');
  const soon = words[0] === 'soon';
  const [operation, ...args] = soon ? words.slice(1) : words;
  if (!/^[ab]\d$/.test(worker) || operation === undefined) throw new Error(`no step: ${text}`);
  return { text, worker, operation, args, soon };
}

export function parseKind(text = ''): LockKind {
  if (text === 's' || text === 'x' || text === 'u') return text;
  throw new Error(`no kind of lock: ${text}`);
}

const AREA = /^(end|here|)(2\^\d+|)([+-]?\d+|):(2\^\d+|)([+-]?\d+|)$/;

/** A power of two and a number, each of which may be missing. */
function sum(power: string, number: string): bigint {
  return (
    (power === '' ? 0n : 2n ** BigInt(power.slice(2))) + BigInt(number === '' ? 0 : number.replace('+', ''))
  );
}

export function parsePoint(text: string): bigint {
  return parseArea(`${text}:`).start;
}

export function parseArea(text = ''): LockArea {
  const [whole, whence, power = '', start = '', lengthPower = '', length = ''] = AREA.exec(text) ?? [];
  if (whole === undefined) throw new Error(`no area: ${text}`);
  return {
    whence: whence === 'end' ? WHENCE.end : whence === 'here' ? WHENCE.here : WHENCE.start,
    start: sum(power, start),
    length: sum(lengthPower, length),
  };
}

/** The shortest way to write a number that may be near a power of two. */
export function showNumber(value: bigint): string {
  for (const power of [63n, 62n]) {
    const off = value - 2n ** power;
    if (off === 0n) return `2^${power}`;
    if (off > -10_000n && off < 10_000n) return `2^${power}${off > 0n ? '+' : ''}${off}`;
  }
  return String(value);
}

/** The same area as {@link parseArea} reads, from the start of the file. */
export function showArea({ start, length }: Pick<LockArea, 'start' | 'length'>): string {
  return `${showNumber(start)}:${length === 0n ? '' : showNumber(length)}`;
}
