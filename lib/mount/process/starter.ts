/**
 * A program that has started nfs-fuse and wants to hear how it fares: whether a mount answers, and of which kind a failure is.
 * Words on standard error are for people, and parts of them come from strangers. Owns the variable that names the descriptor for
 * such reports, and the lines on it, each of which is JSON.
 */
import type { ChildProcess } from 'node:child_process';
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { isRecord, parsedJson } from '../../base/json.js';
import { type FailureKind, failureKindIn } from '../failure/told-failure.js';

const VARIABLE = 'NFS_FUSE_STARTER';

/** `ready`: the mount that is served in the foreground answers. `failed`: the command has failed. */
export type StarterReport = { readonly ready: true } | { readonly failed: FailureKind };

let starter: number | undefined;

/** Finds the descriptor in the environment. Programs that this process starts do not find it there any more. */
export function findStarter(): void {
  const digits = /^\d{1,9}$/.exec(process.env[VARIABLE] ?? '')?.[0];
  delete process.env[VARIABLE];
  starter = digits === undefined ? undefined : Number(digits);
}

/** Does nothing if nobody wants to hear. */
export function tellStarter(report: StarterReport): void {
  if (starter === undefined) return;
  try {
    writeSync(starter, `${JSON.stringify(report)}\n`);
  } catch {
    // It has ended.
  }
}

/** The environment of a process that is to report through its descriptor `fd`. */
export function withStarter(environment: NodeJS.ProcessEnv, fd: number): NodeJS.ProcessEnv {
  return { ...environment, [VARIABLE]: String(fd) };
}

/** Passes the reports on of a process that was started with a pipe as its descriptor `fd`. */
export function hearReports(child: ChildProcess, fd: number, heard: (report: StarterReport) => void): void {
  // Node gives a process none that could not be started for lack of descriptors.
  const streams: ChildProcess['stdio'] | undefined = child.stdio;
  const socket = streams?.[fd];
  if (!(socket instanceof Socket)) return;
  let rest = '';
  socket.on('error', () => {});
  socket.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const report of lines.map(reportIn)) if (report !== undefined) heard(report);
  });
}

/** Undefined: it is none. */
function reportIn(line: string): StarterReport | undefined {
  const report = parsedJson(line);
  if (!isRecord(report)) return undefined;
  if (report.ready === true) return { ready: true };
  return 'failed' in report ? { failed: failureKindIn(report.failed) } : undefined;
}
