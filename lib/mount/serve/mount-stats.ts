/** The sizes, caches and calls of a mount, in the shape that `nfs-fuse stats --json` prints. */
import { LATENCY_LIMITS } from '../../base/latencies.js';
import { type OddValues, oddValues } from '../../programs/nfs3/index.js';
import type { ClientCounters, ProcedureCounts } from '../../rpc/index.js';
import type { IdentityRules } from '../../vfs/caller/identity.js';
import type { ClientConfig, TransferLimits } from '../../vfs/config.js';
import type { VfsCounters } from '../../vfs/counters.js';
import type { NfsFileSystem } from '../../vfs/filesystem.js';
import type { ExportSession } from '../../vfs/remote/export-session.js';
import { summarize, type Unwritten } from '../failure/unwritten.js';
import { effectiveOptions } from '../options/effective-options.js';
import { type LockStats, lockStats } from './lock-stats.js';

export interface MountStats {
  /** The serving process. Its times and memory are shared by all mounts that it serves. */
  readonly pid: number;
  readonly uptimeSeconds: number;
  /** CPU time of the serving process, user and system, in seconds. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** The parts of the memory: JavaScript's heap, and what lies outside of it, mostly buffers. */
  readonly memory: {
    readonly heapUsedBytes: number;
    readonly heapTotalBytes: number;
    readonly externalBytes: number;
    readonly arrayBuffersBytes: number;
  };
  /** For how long this process has served this mount: its counters began then. */
  readonly servedMilliseconds: number;
  readonly limits: TransferLimits;
  /** The options in force, defaults included, without the flags that the kernel obeys: those are in the table of mounts. */
  readonly effectiveOptions: readonly string[];
  /** The upper ends of the buckets in which latencies are counted, in milliseconds; one more bucket follows. */
  readonly latencyLimits: readonly number[];
  /** How ids of this machine are translated into the server's: uid=, gid= and the idmap ranges. */
  readonly identity: IdentityRules;
  /** How often the groups of a caller could not be read, because of another PID namespace or hidepid=. */
  readonly unseenCallers: number;
  readonly inodes: number;
  readonly openFiles: number;
  readonly cacheSizes: NfsFileSystem['cacheSizes'];
  /** Bytes of file data in memory: read ahead, and written but not yet stable on the server. */
  readonly bufferedBytes: { readonly read: number; readonly write: number };
  readonly unwritten: Unwritten;
  readonly caches: VfsCounters;
  /** Values that the server should not have sent. Each was corrected or left out. */
  readonly oddValues: Readonly<OddValues>;
  readonly rpc: Readonly<ClientCounters> & { readonly outstanding: number };
  readonly procedures: readonly ProcedureCounts[];
  /** Locks at the server; left out where the kernel keeps all of them. */
  readonly locks?: LockStats | undefined;
}

/** `servedSince`: of performance.now(). */
export function mountStats(
  session: ExportSession,
  fileSystem: NfsFileSystem,
  config: ClientConfig,
  servedSince: number,
): MountStats {
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
    servedMilliseconds: performance.now() - servedSince,
    limits: session.limits,
    effectiveOptions: effectiveOptions(config, {
      limits: session.limits,
      port: session.port,
      locksAtServer: session.lockManager !== undefined,
      hasDiskCache: fileSystem.counters.disk !== undefined,
    }),
    latencyLimits: LATENCY_LIMITS,
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
    locks: lockStats(session, fileSystem),
  };
}
