/**
 * Namespaces in which an engine of containers runs: its mounts and processes, and its view of control groups. Everything in them (the
 * engine, its containers, their mounts) ends with their first process, and nothing outlives the test.
 */
import { readFileSync } from 'node:fs';
import { WITHOUT_FUSE } from '../support/places.js';
import { type Background, start, until } from '../support/process.js';

/** Prepares the namespaces, and waits in them. bash, as their first process, takes care of orphans. */
function holderScript(preparation: string): string {
  return `
    # Copies of mounts of other tests, which would keep those from ending.
    ${WITHOUT_FUSE} || :
    set -eu
    ${preparation}
    echo ready
    sleep infinity & wait`;
}

/** A line of /proc/PID/status, or undefined if there is no such process. Unlike stat, it never waits for an exec. */
function statusLine(pid: number, name: string): string | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    return status.split('\n').find((line) => line.startsWith(`${name}:`));
  } catch {
    return undefined;
  }
}

/** In how many PID namespaces within each other a process is; 0 if there is none of this number. */
function depthOf(pid: number): number {
  return (statusLine(pid, 'NSpid')?.split('\t').length ?? 1) - 1;
}

function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
    return children.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Whether any of these processes of an engine still exists. A later process of the same number has one number only. */
export function stillRun(processes: readonly number[]): boolean {
  return processes.some((pid) => depthOf(pid) > 1);
}

export class Namespaces {
  private constructor(
    private readonly holder: Background,
    private readonly hasControlGroups: boolean,
  ) {}

  /**
   * `preparation`: a script of root that runs first in them, with `args` as $1, $2 and so on. `controlGroups`: they have a view of
   * control groups of their own.
   */
  static async start(
    preparation: string,
    args: readonly string[],
    controlGroups: boolean,
  ): Promise<Namespaces> {
    const kinds = ['-m', ...(controlGroups ? ['-C'] : []), '-p', '--fork', '--kill-child', '--mount-proc'];
    const holder = start(['unshare', ...kinds, 'bash', '-c', holderScript(preparation), 'bash', ...args]);
    const namespaces = new Namespaces(holder, controlGroups);
    try {
      await until('the namespaces for an engine are ready', () => {
        if (holder.outcome) throw new Error(`making namespaces for an engine failed: ${holder.output}`);
        return holder.output.includes('ready');
      });
    } catch (error) {
      await namespaces.close();
      throw error;
    }
    return namespaces;
  }

  /** The prefix of a command that runs in them. */
  get enter(): readonly string[] {
    const folder = `/proc/${this.holder.pid}/ns`;
    return [
      'nsenter',
      `--mount=${folder}/mnt`,
      ...(this.hasControlGroups ? [`--cgroup=${folder}/cgroup`] : []),
      `--pid=${folder}/pid_for_children`,
    ];
  }

  /** The processes in them: those of the engine, and the containers. */
  processes(): number[] {
    const descendants = (pid: number): number[] =>
      childrenOf(pid).flatMap((child) => [child, ...descendants(child)]);
    return descendants(this.holder.pid);
  }

  /** Those of them that run in containers, by their numbers here. */
  containers(): number[] {
    return this.processes().filter((pid) => depthOf(pid) > 2);
  }

  /** Ends everything that runs in them. */
  async close(): Promise<void> {
    const running = this.processes();
    // The kernel ends the whole namespace with its first process, and with it the containers and their mounts.
    this.holder.signal('SIGKILL');
    await this.holder.ended;
    await until('the engine and its containers have ended', () => !stillRun(running), 60_000);
  }
}
