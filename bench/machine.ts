/** The machine that something was measured on, for reports. */
import { cpus, loadavg, release, totalmem } from 'node:os';
import { mustRun } from '../test/support/process.js';

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
