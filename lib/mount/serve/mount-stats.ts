/** What a mount tells of itself: sizes, caches, calls. The shape that `nfs-fuse stats --json` prints. */
import { type OddValues, oddValues } from '../../programs/nfs3/index.js';
import type { ClientCounters, ProcedureCounters } from '../../rpc/index.js';
import type { IdentityRules } from '../../vfs/caller/identity.js';
import type { TransferLimits } from '../../vfs/config.js';
import type { VfsCounters } from '../../vfs/counters.js';
import type { CacheSizes, NfsFileSystem } from '../../vfs/filesystem.js';
import type { ExportSession } from '../../vfs/remote/export-session.js';
import { summarize, type Unwritten } from '../failure/unwritten.js';

export interface MountStats {
  readonly pid: number;
  readonly uptimeSeconds: number;
  /** CPU time of the serving process, user and system, in seconds. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** What of it JavaScript's objects take, and what lies outside of their heap: buffers, above all. */
  readonly memory: {
    readonly heapUsedBytes: number;
    readonly heapTotalBytes: number;
    readonly externalBytes: number;
    readonly arrayBuffersBytes: number;
  };
  readonly limits: TransferLimits;
  /** The server's ids that stand for this machine's: uid=, gid= and the idmap ranges. */
  readonly identity: IdentityRules;
  /** How often the groups of a caller could not be read: of one in another PID namespace, or hidden by hidepid=. */
  readonly unseenCallers: number;
  readonly inodes: number;
  readonly openFiles: number;
  readonly cacheSizes: CacheSizes;
  /** Bytes of file data in memory: read ahead, and written but not yet stable on the server. */
  readonly bufferedBytes: { readonly read: number; readonly write: number };
  readonly unwritten: Unwritten;
  readonly caches: VfsCounters;
  /** Values that the server should not have sent: each was mended or left out. */
  readonly oddValues: Readonly<OddValues>;
  readonly rpc: Readonly<ClientCounters> & { readonly outstanding: number };
  readonly procedures: readonly Readonly<ProcedureCounters>[];
}

export function mountStats(session: ExportSession, fileSystem: NfsFileSystem): MountStats {
  const { user, system } = process.cpuUsage();
  const { rpc } = session;
  const memory = process.memoryUsage();
  const { badXids, lateReplies, garbage, reconnects, majorTimeouts } = rpc.counters;
  return {
    pid: process.pid,
    uptimeSeconds: Math.round(process.uptime()),
    cpuSeconds: (user + system) / 1e6,
    residentBytes: memory.rss,
    memory: {
      heapUsedBytes: memory.heapUsed,
      heapTotalBytes: memory.heapTotal,
      externalBytes: memory.external,
      arrayBuffersBytes: memory.arrayBuffers,
    },
    limits: session.limits,
    identity: fileSystem.identity,
    unseenCallers: fileSystem.unseenCallers,
    inodes: fileSystem.inodeCount,
    openFiles: fileSystem.openFileCount,
    cacheSizes: fileSystem.cacheSizes,
    bufferedBytes: fileSystem.buffered,
    unwritten: summarize(fileSystem.unwritten()),
    caches: fileSystem.counters,
    oddValues: { ...oddValues },
    rpc: { badXids, lateReplies, garbage, reconnects, majorTimeouts, outstanding: rpc.outstanding },
    procedures: rpc.procedureCounters(),
  };
}
