/** The shell processes that watch over mounts, found by what /proc says of them. */
import { readdirSync, readFileSync } from 'node:fs';

/** The watchers of the mount at `mountpoint`. */
export function watchersOf(mountpoint: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const args = argumentsOf(pid);
      return args.includes('nfs-fuse-watcher') && args.includes(mountpoint);
    });
}

/** Takes the watchers away, so that a killed mount stays as the kernel leaves it. */
export function endWatchers(mountpoint: string): void {
  for (const pid of watchersOf(mountpoint)) process.kill(pid, 'SIGKILL');
}

function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    // The process has just ended.
    return [];
  }
}
