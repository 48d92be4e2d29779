/** The cost of clients and servers: CPU time, switches and peak memory from /proc. Also drops caches. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mustRun } from '../test/support/process.js';

/** USER_HZ, which is 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/**
 * User and system time of all threads so far, in seconds; undefined without processes. From the scheduler in
 * nanoseconds, if it has them; otherwise in ticks, which are too long for short runs.
 */
export function cpuSeconds(pids: readonly number[]): number | undefined {
  if (pids.length === 0) return undefined;
  let seconds = 0;
  for (const pid of pids) {
    const threads = threadFiles(pid, 'schedstat').map((path) => Number(read(path).split(' ')[0]) / 1e9);
    const exact = threads.reduce((sum, one) => sum + one, 0);
    seconds += exact > 0 ? exact : tickSeconds(pid);
  }
  return seconds;
}

/** User and system time of the main thread so far, in seconds; undefined where the scheduler does not tell. */
export function threadCpuSeconds(pid: number): number | undefined {
  const nanoseconds = Number(read(`/proc/${pid}/task/${pid}/schedstat`).split(' ')[0]);
  return nanoseconds > 0 ? nanoseconds / 1e9 : undefined;
}

function tickSeconds(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  // Fields 14 and 15; the command's name before them may contain spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND;
}

/** Context switches of all threads so far; undefined without processes. */
export function contextSwitches(pids: readonly number[]): number | undefined {
  if (pids.length === 0) return undefined;
  let count = 0;
  for (const pid of pids) {
    for (const path of threadFiles(pid, 'status')) {
      for (const [, number] of read(path).matchAll(/^(?:non)?voluntary_ctxt_switches:\s+(\d+)/gm)) {
        count += Number(number);
      }
    }
  }
  return count;
}

/** The files of this name of all threads of a process; none if it is gone. */
function threadFiles(pid: number, name: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}/${name}`);
  } catch {
    return [];
  }
}

/** Lets the peaks of {@link peakKiB} begin anew, where the kernel has a way to (proc(5), clear_refs). */
export function forgetPeaks(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      writeFileSync(`/proc/${pid}/clear_refs`, '5');
    } catch {
      // Then the peaks count from the start of the process, and are no lower than they should be.
    }
  }
}

/** The most memory that each of the processes has had resident, added up, in KiB; undefined without processes. */
export function peakKiB(pids: readonly number[]): number | undefined {
  if (pids.length === 0) return undefined;
  const peaks = pids.map((pid) => Number(/^VmHWM:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0));
  return peaks.reduce((sum, peak) => sum + peak, 0);
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
