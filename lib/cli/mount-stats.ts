/** What a mount tells of itself: sizes, caches, calls. The shape that `nfs-fuse stats --json` prints. */
import type { ClientCounters, ProcedureCounters } from '../rpc/index.js';
import type { VfsCounters } from '../vfs/counters.js';
import type { ExportSession } from '../vfs/export-session.js';
import type { NfsFileSystem } from '../vfs/filesystem.js';
import type { TransferLimits } from '../vfs/vfs-state.js';

export interface MountStats {
  readonly pid: number;
  readonly uptimeSeconds: number;
  /** CPU time of the serving process, user and system, in seconds. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly limits: TransferLimits;
  readonly inodes: number;
  readonly openFiles: number;
  readonly caches: VfsCounters;
  readonly rpc: Readonly<ClientCounters> & { readonly outstanding: number };
  readonly procedures: readonly Readonly<ProcedureCounters>[];
}

export function mountStats(session: ExportSession, fileSystem: NfsFileSystem): MountStats {
  const { user, system } = process.cpuUsage();
  const { rpc } = session;
  const { badXids, lateReplies, garbage, reconnects, majorTimeouts } = rpc.counters;
  return {
    pid: process.pid,
    uptimeSeconds: Math.round(process.uptime()),
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    limits: session.limits,
    inodes: fileSystem.inodeCount,
    openFiles: fileSystem.openFileCount,
    caches: fileSystem.counters,
    rpc: { badXids, lateReplies, garbage, reconnects, majorTimeouts, outstanding: rpc.outstanding },
    procedures: rpc.procedureCounters(),
  };
}
