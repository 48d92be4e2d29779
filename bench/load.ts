/** load.c, calls.c and delay.c: compiled where they are missing or old; the loads are run. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../test/support/process.js';
import { projectRoot } from '../test/support/project.js';
import type { LoadResult } from './model.js';

/** A load that takes longer hangs. */
const TIMEOUT_MS = 20 * 60_000;

/** A header that only libnfs-dev brings. */
const LIBNFS_HEADER = '/usr/include/nfsc/libnfs-raw.h';

/** Compiles load.c into `folder`, readable by every user, and returns the program's path. */
export function compileLoad(folder: string): Promise<string> {
  return compile('load', folder, ['-pthread']);
}

/** The same with calls.c, which needs libnfs; undefined without its headers. */
export async function compileCalls(folder: string): Promise<string | undefined> {
  return existsSync(LIBNFS_HEADER) ? compile('calls', folder, ['-lnfs']) : undefined;
}

/** The same with delay.c. */
export function compileDelay(folder: string): Promise<string> {
  return compile('delay', folder, [], 'bench/distance');
}

async function compile(
  name: string,
  folder: string,
  flags: readonly string[],
  sources = 'bench',
): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const source = join(projectRoot, sources, `${name}.c`);
  const program = join(folder, name);
  const changed = Math.max(
    ...[source, join(projectRoot, 'bench/timing.h')].map((path) => statSync(path).mtimeMs),
  );
  if (existsSync(program) && statSync(program).mtimeMs > changed) return program;
  await mustRun(['gcc', '-O2', '-Wall', '-o', program, source, ...flags]);
  return program;
}

/** Runs a load to its end; throws with its last words if it fails. */
export async function runLoad(argv: readonly string[], cwd = '/'): Promise<LoadResult> {
  const output = await mustRun(argv, { cwd, timeoutMs: TIMEOUT_MS });
  const result: unknown = JSON.parse(output);
  if (typeof result === 'object' && result !== null && 'seconds' in result && 'count' in result) {
    return result as LoadResult;
  }
  throw new Error(`${argv.join(' ')} said: ${output}`);
}
