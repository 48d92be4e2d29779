/** A look at the serving process at a moment of the long run: from /proc, and from its own statistics. */
import { readdirSync, readFileSync } from 'node:fs';
import { askStats } from '../../lib/mount/reach/mount-control.js';
import type { MountStats } from '../../lib/mount/serve/mount-stats.js';
import type { Mount } from '../../test/support/mount.js';

/** Sizes in bytes, counts as they stand, and counters since the mount was made. */
export interface Sample {
  /** Since the run began. */
  readonly seconds: number;
  readonly resident: number;
  readonly heapUsed: number;
  readonly heapTotal: number;
  readonly external: number;
  readonly arrayBuffers: number;
  /** File data that was read ahead or waits for the server. */
  readonly buffered: number;
  readonly descriptors: number;
  readonly openFiles: number;
  readonly inodes: number;
  readonly dentries: number;
  readonly outstanding: number;
  readonly calls: number;
  readonly retransmits: number;
  readonly reconnects: number;
  readonly cpuSeconds: number;
}

/** Throws if the process has ended or does not answer. */
export async function takeSample(mount: Mount, seconds: number): Promise<Sample> {
  const [major, minor] = (mount.entry?.device ?? '').split(':').map(Number);
  if (major === undefined || minor === undefined) throw new Error('the mount is gone');
  const told = (await askStats({ major, minor, superOptions: mount.entry?.options ?? '' })) as
    | MountStats
    | undefined;
  if (told === undefined) throw new Error('nfs-fuse does not say how it is');
  const { memory, cacheSizes, bufferedBytes, rpc } = told;
  const sum = (count: (one: MountStats['procedures'][number]) => number) =>
    told.procedures.reduce((total, one) => total + count(one), 0);
  return {
    seconds: Math.round(seconds),
    resident: residentBytes(mount.pid),
    heapUsed: memory.heapUsedBytes,
    heapTotal: memory.heapTotalBytes,
    external: memory.externalBytes,
    arrayBuffers: memory.arrayBuffersBytes,
    buffered: bufferedBytes.read + bufferedBytes.write,
    descriptors: readdirSync(`/proc/${mount.pid}/fd`).length,
    openFiles: told.openFiles,
    inodes: told.inodes,
    dentries: cacheSizes.dentries,
    outstanding: rpc.outstanding,
    calls: sum(({ calls }) => calls),
    retransmits: sum(({ retransmits }) => retransmits),
    reconnects: rpc.reconnects,
    cpuSeconds: told.cpuSeconds,
  };
}

/** VmRSS. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kilobytes ?? 0) * 1024;
}
