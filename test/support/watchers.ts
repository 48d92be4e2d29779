/** The shell processes that watch over mounts, found by what /proc says of them. */
import { readdirSync, readFileSync } from 'node:fs';

const NAMES = ['nfs-fuse-watcher', 'nfs-fuse-keeper'];

/** The watchers of the mount at `mountpoint`, and its keepers. */
export function watchersOf(mountpoint: string): number[] {
  return shellsOf(mountpoint, NAMES);
}

/** The keepers of the mount at `mountpoint`. */
export function keepersOf(mountpoint: string): number[] {
  return shellsOf(mountpoint, ['nfs-fuse-keeper']);
}

function shellsOf(mountpoint: string, names: readonly string[]): number[] {
  return pidsWith((args) => args.includes(mountpoint) && names.some((name) => args.includes(name)));
}

function pidsWith(isMeant: (args: readonly string[]) => boolean): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => isMeant(argumentsOf(pid)));
}

/** The processes that serve the mount at `mountpoint`, or are to serve it and wait for the server. */
export function serversOf(mountpoint: string): number[] {
  return pidsWith((args) => args.includes(mountpoint) && args.includes('mount'));
}

/** The keepers of the mount at `mountpoint` that process `pid` has started itself. */
export function keepersStartedBy(pid: number, mountpoint: string): number[] {
  return keepersOf(mountpoint).filter((keeper) => {
    try {
      return new RegExp(`^PPid:\\s+${pid}$`, 'm').test(readFileSync(`/proc/${keeper}/status`, 'latin1'));
    } catch {
      return false;
    }
  });
}

/** Takes watchers and keepers away, so that a killed mount stays as the kernel leaves it. */
export function endWatchers(mountpoint: string): void {
  end(watchersOf(mountpoint));
}

/** Takes the keepers away, so that no process goes on with a mount. */
export function endKeepers(mountpoint: string): void {
  end(keepersOf(mountpoint));
}

/** SIGKILL of the process that serves a mount, and no other one goes on with it. */
export function killForGood(pid: number, mountpoint: string): void {
  // A process that is stopped starts no other keeper.
  process.kill(pid, 'SIGSTOP');
  endKeepers(mountpoint);
  process.kill(pid, 'SIGKILL');
}

function end(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
}

function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    // The process has just ended.
    return [];
  }
}
