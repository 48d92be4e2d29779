/** The built product, run as a user runs it, and what it said. */
import { join } from 'node:path';
import { type Outcome, type RunOptions, run } from '../support/process.js';
import { projectRoot } from '../support/project.js';

export const product: readonly string[] = [process.execPath, join(projectRoot, 'dist/bin/nfs-fuse.js')];

export interface Said {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function said(outcome: Outcome): Said {
  return { status: outcome.status, stdout: outcome.stdout.toString(), stderr: outcome.stderr.toString() };
}

/** Runs `nfs-fuse` with these arguments to its end, without what the caller's environment may ask of it. */
export async function nfsFuse(args: readonly string[], options: RunOptions = {}): Promise<Said> {
  const { NFS_FUSE_DEBUG: _, ...env } = process.env;
  return said(await run([...product, ...args], { timeoutMs: 60_000, env, ...options }));
}

/** No line of a stack trace, and nothing of Node's own. */
export const STACK_TRACE = /^\s+at |node:internal|Error:/m;
