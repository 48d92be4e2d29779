/** The machine that something was measured on, for reports. */
import { existsSync, readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { mustRun, start, until } from '../test/support/process.js';

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

/** "max", or bytes. */
const GROUP_LIMIT = '/sys/fs/cgroup/memory.max';
const KEEP_PATIENCE_MS = 10 * 60_000;
/** Left alone while the rest is being written to. */
const SPARED_BYTES = 2 * 1024 ** 3;

/**
 * Has the machine own its memory from before anything is measured until the result is called: a virtual one is given a
 * page when it first writes to it, and may give free ones back within seconds. A subject that gets such pages pays for
 * them (6 to 8 µs each, twice what reading their content takes).
 */
export async function keepMemory(load: string): Promise<() => Promise<void>> {
  const bytes = Math.max(0, memoryToBeHad() - SPARED_BYTES);
  const keeper = start([load, 'keep', String(bytes)]);
  const stop = async () => void (await keeper.stop());
  try {
    await until(
      'the memory is there',
      () => {
        if (keeper.outcome) throw new Error(`load keep ended: ${keeper.output}`);
        return keeper.output.includes('\n');
      },
      KEEP_PATIENCE_MS,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;
}

/** Bytes that this process may have: MemAvailable, or less where its control group (version 2) says so. */
function memoryToBeHad(): number {
  const available = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? 0;
  const limit = existsSync(GROUP_LIMIT) ? Number(readFileSync(GROUP_LIMIT, 'latin1')) : Number.NaN;
  return Math.min(Number(available) * 1024, Number.isNaN(limit) ? Number.POSITIVE_INFINITY : limit);
}

/** Whether this process is in a network namespace where nothing but itself and its children can be reached. */
export function isAlone(): boolean {
  const links = readFileSync('/proc/net/dev', 'latin1').match(/^ *[^ |:]+(?=:)/gm) ?? [];
  return links.every((name) => name.trim() === 'lo');
}
