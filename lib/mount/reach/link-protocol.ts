/**
 * The protocol of the control socket, between a command and the process that serves a mount. The command sends a line
 * (mount-control.ts); the serving process answers with a line of JSON (serve/mount-link.ts).
 *
 * The questions are:
 * - `stats`: the counters of the mount.
 * - `write back`: answered when everything that was written so far is on stable storage.
 * - `watch`: answered at once, and with a {@link MountOutcome} when the serving process ends.
 * - `unmounted`: the caller has unmounted. The answer is {@link StillMounted} if the mount lives on elsewhere, otherwise {}.
 * - `restart` and a list with a program's path, or an empty list, as JSON: hands the mount over; answered with {@link Restarted}.
 * - `give up`: answered with {}. The end of the mount does not wait for a server that accepts nothing.
 * - `quota` and a list with a {@link QuotaWish}, or an empty list, as JSON: answered with a {@link QuotaReport}, or a {@link ToldLack}.
 */
import { parsedJson } from '../../base/json.js';
import { isWish, type QuotaReport, type QuotaWish } from '../../vfs/quota/quota-report.js';
import type { Unwritten } from '../failure/unwritten.js';

/** How a mount has ended. */
export interface MountOutcome {
  /** 0: everything that was written is on the server; 1 otherwise. */
  readonly status: number;
  /** The reason of a failure. */
  readonly message?: string | undefined;
  /** Data that was given up. */
  readonly lost?: Unwritten | undefined;
  /** The number of files that lost data at any time when no program could be told. */
  readonly untold?: number | undefined;
}

/** The mount lives on elsewhere. Everything that was written before the caller unmounted it has been written back. */
export interface StillMounted {
  readonly stillMounted: true;
  /** A line for each file that lost data. */
  readonly losses: readonly string[];
  readonly untold: number;
}

/** The answer to an order to hand the mount over: the new process, or why the old one goes on. */
export type Restarted = { readonly pid: number } | ToldLack;

/** A question cannot be answered, for a reason that is for the user. */
export interface ToldLack {
  readonly failed: string;
  readonly remedy: string | undefined;
}

/** The answer to a question for quotas. */
export type QuotaAnswer = QuotaReport | ToldLack;

const RESTART = 'restart ';
const QUOTA = 'quota ';

/** The question that orders to hand the mount over to a process of `program`, or of the same program. */
export function restartQuestion(program: string | undefined): string {
  // A socket carries Latin-1 here.
  const text = JSON.stringify(program === undefined ? [] : [program]);
  return RESTART + Buffer.from(text, 'utf8').toString('latin1');
}

/** The list in such a question. Undefined: this is another question. */
export function programIn(question: string): readonly string[] | undefined {
  if (!question.startsWith(RESTART)) return undefined;
  const list = parsedJson(Buffer.from(question.slice(RESTART.length), 'latin1').toString('utf8'));
  return Array.isArray(list) && list.every((one) => typeof one === 'string') ? list : undefined;
}

/** The question for one quota, or for those that concern the asker. */
export function quotaQuestion(wish: QuotaWish | undefined): string {
  return QUOTA + JSON.stringify(wish === undefined ? [] : [wish]);
}

/** The list in such a question. Undefined: this is another question. */
export function wishesIn(question: string): readonly QuotaWish[] | undefined {
  if (!question.startsWith(QUOTA)) return undefined;
  const list = parsedJson(question.slice(QUOTA.length));
  return Array.isArray(list) && list.every(isWish) ? list : undefined;
}

const ENDING = '.sock';

/** The beginning of the names of the sockets of mount `major`:`minor`. Device numbers are unique on the whole machine. */
function socketNameBeginning(major: number, minor: number): string {
  return `${major}:${minor}.`;
}

/** The name of a control socket of mount `major`:`minor`; `suffix` makes it unlike any other. */
export function socketName(major: number, minor: number, suffix: string): string {
  return `${socketNameBeginning(major, minor)}${suffix}${ENDING}`;
}

/** Whether a file in a runtime folder is a control socket. */
export function isControlSocket(name: string): boolean {
  return name.endsWith(ENDING);
}

/** Whether a file in a runtime folder is a control socket of mount `major`:`minor`. */
export function isSocketName(name: string, major: number, minor: number): boolean {
  return name.startsWith(socketNameBeginning(major, minor)) && isControlSocket(name);
}
