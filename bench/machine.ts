/** The machine that something was measured on, for reports. */
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { mustRun } from '../test/support/process.js';
import { runLoad } from './load.js';

export interface Machine {
  readonly cpus: number;
  readonly model: string;
  readonly memoryMiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly server: string;
  /** Runnable processes, one minute's average, when the run began. */
  readonly load: number;
}

/** This machine, now. */
export async function thisMachine(): Promise<Machine> {
  const version = await mustRun(['ganesha.nfsd', '-v']).catch(() => '');
  return {
    cpus: cpus().length,
    model: cpus()[0]?.model.trim() ?? 'unknown CPU',
    memoryMiB: Math.round(totalmem() / (1 << 20)),
    kernel: release(),
    node: process.versions.node,
    server: /Release = V?(\S+)/.exec(version)?.[1]?.replace(/^/, 'nfs-ganesha ') ?? 'nfs-ganesha',
    load: loadavg()[0] ?? 0,
  };
}

/**
 * Has the machine own memory that is free: a virtual one is given a page when it first writes to it, and may give free
 * ones back within seconds (free page reporting). A program that needs pages then pays for them, here 7 µs each, twice
 * as much as reading their content takes. Takes at most half of the memory.
 */
export async function touchMemory(load: string, bytes: number): Promise<void> {
  const available = Number(
    /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? 0,
  );
  await runLoad([load, 'touch', String(Math.min(bytes, Math.floor((available * 1024) / 2)))]);
}

/** Whether this process is in a network namespace where nothing but itself and its children can be reached. */
export function isAlone(): boolean {
  const links = readFileSync('/proc/net/dev', 'latin1').match(/^ *[^ |:]+(?=:)/gm) ?? [];
  return links.every((name) => name.trim() === 'lo');
}
