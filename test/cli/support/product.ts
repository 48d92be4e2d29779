/** Runs the built product like a user, and checks its output. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Outcome, type RunOptions, run } from '../../support/process.js';
import { projectRoot } from '../../support/project.js';

export const product: readonly string[] = [process.execPath, join(projectRoot, 'dist/bin/nfs-fuse.js')];

export interface Said {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function said(outcome: Outcome): Said {
  return { status: outcome.status, stdout: outcome.stdout.toString(), stderr: outcome.stderr.toString() };
}

/** Runs `nfs-fuse` with these arguments to its end, without variables of the caller that change its behaviour. */
export async function nfsFuse(args: readonly string[], options: RunOptions = {}): Promise<Said> {
  const { NFS_FUSE_DEBUG: _, ...env } = process.env;
  return said(await run([...product, ...args], { timeoutMs: 60_000, env, ...options }));
}

/** Matches a line of a stack trace or a message of Node itself. */
export const STACK_TRACE = /^\s+at |node:internal|Error:/m;

/** Expects a failure with one message and its remedy on standard error, and nothing else there. */
export function failsOnce(t: Test, outcome: Said, message: RegExp, remedy: RegExp): void {
  t.equal(outcome.status, 1, 'exit status');
  const [first = '', second = '', ...more] = outcome.stderr.trimEnd().split('\n');
  t.match(first, message);
  t.match(second, remedy);
  t.same(more, [], 'nothing but the message and the remedy');
  t.notMatch(outcome.stderr, STACK_TRACE);
}
