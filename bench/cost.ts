/** What a client costs: CPU time and peak memory of its processes, from /proc; and how its caches are dropped. */
import { readFileSync, writeFileSync } from 'node:fs';
import { mustRun } from '../test/support/process.js';

/** USER_HZ, which is 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** User and system time of all threads so far, in seconds; 0 of a process that is gone. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = read(`/proc/${pid}/stat`);
    // Fields 14 and 15; the command's name before them may contain spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return ticks / TICKS_PER_SECOND;
}

/** The most memory that any of the processes has had resident, in KiB. */
export function peakKiB(pids: readonly number[]): number {
  return Math.max(
    0,
    ...pids.map((pid) => Number(/^VmHWM:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0)),
  );
}

/** The processes that `pid` has started, and those that they have. */
export function descendants(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Writes out what is dirty on the file system of `path`, so that no run pays for the one before. */
export async function settle(path: string): Promise<void> {
  await mustRun(['sync', '-f', path], { cwd: '/' });
}

/** Drops the kernel's page cache, dentries and inodes, of all file systems, clients' and servers'. */
export async function dropCaches(path: string): Promise<void> {
  await settle(path);
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
  } catch (error) {
    throw new Error(
      `the kernel's caches cannot be dropped (${(error as NodeJS.ErrnoException).code}): run the benchmark as root of the machine, or leave the cold rows out with --rows.`,
    );
  }
}
