/**
 * A control group with a memory limit, made by hand as root: of version 2 where that has the memory controller, else of
 * version 1. Owns the difference between the two.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../../lib/base/log.js';
import { until } from './process.js';

interface Version {
  readonly folder: string;
  readonly limit: string;
  readonly usage: string;
  /** Has the line `oom_kill N`. */
  readonly events: string;
  readonly unlimited: string;
}

const ROOT = '/sys/fs/cgroup';
let groups = 0;

function version(): Version {
  const controllers = join(ROOT, 'cgroup.controllers');
  if (existsSync(controllers) && readFileSync(controllers, 'latin1').split(/\s/).includes('memory')) {
    writeFileSync(join(ROOT, 'cgroup.subtree_control'), '+memory');
    return {
      folder: ROOT,
      limit: 'memory.max',
      usage: 'memory.current',
      events: 'memory.events',
      unlimited: 'max',
    };
  }
  const folder = join(ROOT, 'memory');
  if (!existsSync(join(folder, 'memory.limit_in_bytes')))
    throw new Error('This machine has no control groups that limit memory.');
  return {
    folder,
    limit: 'memory.limit_in_bytes',
    usage: 'memory.usage_in_bytes',
    events: 'memory.oom_control',
    unlimited: '-1',
  };
}

export class MemoryGroup {
  readonly #version = version();
  readonly path: string;

  constructor() {
    groups += 1;
    this.path = join(this.#version.folder, `nfs-fuse-test-${process.pid}-${groups}`);
    mkdirSync(this.path);
  }

  /** The command line that runs `argv` in the group. */
  command(argv: readonly string[]): string[] {
    return ['sh', '-c', 'echo $$ > "$0" && exec "$@"', join(this.path, 'cgroup.procs'), ...argv];
  }

  /**
   * Moves processes, by their numbers here, into the group. Programs that they start from then on are there as well. `list`
   * is asked again until all of them are there: one that is asked once may have ended, or have started another.
   */
  takeAll(list: () => readonly number[]): void {
    for (;;) {
      const inside = new Set(this.pids);
      const outside = list().filter((pid) => !inside.has(pid));
      if (outside.length === 0) return;
      for (const pid of outside) this.#take(pid);
    }
  }

  #take(pid: number): void {
    try {
      writeFileSync(join(this.path, 'cgroup.procs'), String(pid));
    } catch (error) {
      if (errorCode(error) !== 'ESRCH') throw error;
    }
  }

  get pids(): number[] {
    return this.#read('cgroup.procs').split('\n').filter(Boolean).map(Number);
  }

  /** In bytes. */
  get usage(): number {
    return Number(this.#read(this.#version.usage));
  }

  /** In bytes. Undefined: none. */
  set limit(bytes: number | undefined) {
    writeFileSync(
      join(this.path, this.#version.limit),
      bytes === undefined ? this.#version.unlimited : String(bytes),
    );
  }

  /** The number of processes of the group that the kernel has killed for want of memory. */
  get kills(): number {
    return Number(/^oom_kill (\d+)$/m.exec(this.#read(this.#version.events))?.[1] ?? Number.NaN);
  }

  /** Waits for the end of its processes. */
  async close(): Promise<void> {
    await until('the group is empty', () => this.pids.length === 0);
    rmdirSync(this.path);
  }

  #read(name: string): string {
    return readFileSync(join(this.path, name), 'latin1');
  }
}
