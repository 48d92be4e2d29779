/** Puts the client's shared state over a connected export: caches, budgets, counters. */

import { randomInt } from 'node:crypto';
import { type Clock, systemClock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { FuseCapabilities } from '../fuse/contract/capabilities.js';
import type { CreationIntents } from '../fuse/contract/operations.js';
import type { RpcCaller } from '../rpc/client/rpc-caller.js';
import { InodeTable } from './cache/inode-table.js';
import type { Ids } from './caller/identity.js';
import { identityFor, ownCredential, ownServerIds } from './caller/own-identity.js';
import { type ClientConfig, DEFAULT_CONFIG } from './config.js';
import { VfsCounters } from './counters.js';
import type { CacheFolder } from './disk-cache/cache-folder.js';
import { Handover, type HandoverOptions } from './handover/handover.js';
import { MemoryReturn } from './kernel/memory-return.js';
import type { LockJournal } from './locks/lock-notes.js';
import { Locks } from './locks/locks.js';
import { ByteBudget } from './memory/byte-budget.js';
import { QuotaLimits } from './quota/quota-limits.js';
import type { QuotaService } from './quota/quota-service.js';
import type { ExportSession } from './remote/export-session.js';
import { NfsClient } from './remote/nfs-client.js';
import { VfsState } from './vfs-state.js';

/** The properties of a connected export that the client needs. */
export type ConnectedExport = Pick<
  ExportSession,
  'machineName' | 'limits' | 'rootHandle' | 'rootAttributes' | 'generation' | 'findRoot' | 'close'
> &
  Partial<Pick<ExportSession, 'lockManager' | 'restarts' | 'port'>> & { readonly rpc: RpcCaller };

/** Where the locks of a mount are, and the name of their client there. */
export interface LocksAt {
  readonly host: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** One character per byte. */
  readonly callerName: string;
  /** Calls come from a port below 1024, where that is permitted. */
  readonly resvport: boolean;
  /** Whom the server takes for the caller of what no program asks for. */
  readonly user: Ids;
}

export interface ExportDependencies {
  readonly log: Logger;
  readonly clock?: Clock | undefined;
  /** Where locks are noted that the server may hold, in case this process dies. Called if any are. */
  readonly lockJournal?: ((where: LocksAt) => LockJournal) | undefined;
  /** Has the engine give unused memory back; called when that is worth it. */
  readonly collectGarbage?: (() => void) | undefined;
  /** Where data that was read stays on the local disk. Undefined: nowhere. */
  readonly cacheFolder?: CacheFolder | undefined;
  /** Foresees which lookups need not be sent. */
  readonly intents?: CreationIntents | undefined;
  /** Where the next process finds what it has to know, should it have to go on with this mount. */
  readonly handover?: HandoverOptions | undefined;
  /** Asks for the quotas by which statfs(2) goes, if the configuration wants that. */
  readonly quotaService?: QuotaService | undefined;
}

export function openExport(
  session: ConnectedExport,
  config: ClientConfig,
  dependencies: ExportDependencies,
): VfsState {
  const { log, clock = systemClock, collectGarbage, cacheFolder, quotaService: service } = dependencies;
  const counters = new VfsCounters();
  const records = dependencies.handover && new Handover(dependencies.handover);
  const { rootHandle: root, port, lockManager } = session;
  if (port !== undefined) records?.reaches({ root, port, lockPort: lockManager?.port });
  const inodes = new InodeTable(session.rootHandle, undefined, records);
  const vfs = new VfsState({
    config,
    identity: identityFor(config.identity),
    limits: session.limits,
    nfs: new NfsClient(session.rpc, clock, counters),
    inodes,
    rootFinder: session,
    clock,
    log,
    counters,
    generation: records?.counters.generation ?? session.generation,
    records,
    quotas: quotasFor(config, service, clock, log),
    disk: cacheFolder && { folder: cacheFolder, port: port ?? config.port ?? 0 },
    restarts: session.restarts,
    memoryReturn: collectGarbage && new MemoryReturn(clock, collectGarbage, () => inodes.size),
    readBudget: new ByteBudget(config.readAhead),
    writeBudget: new ByteBudget(
      // Even what is not written behind is kept until a COMMIT vouches for it.
      config.writeBehind > 0 ? config.writeBehind : DEFAULT_CONFIG.writeBehind,
    ),
  });
  vfs.adoptRoot(session.rootAttributes, vfs.attributes.start());
  return vfs;
}

/** Undefined: statfs(2) does not go by quotas. */
function quotasFor(
  { quotaDf, exportPath: path }: ClientConfig,
  service: QuotaService | undefined,
  clock: Clock,
  log: Logger,
): QuotaLimits | undefined {
  return quotaDf && service !== undefined ? new QuotaLimits({ service, path, clock, log }) : undefined;
}

/** The kinds of locks that go to the server. The kernel keeps the others for the programs of this mount. */
function locksAtServer(
  { lockManager }: ConnectedExport,
  { locks, localLock }: ClientConfig,
): { readonly fcntl: boolean; readonly flock: boolean } {
  if (lockManager === undefined || locks === 'none') return { fcntl: false, flock: false };
  return { fcntl: !/posix|all/.test(localLock), flock: !/flock|all/.test(localLock) };
}

/** The capabilities that the file system offers the kernel. */
export function capabilitiesOf(session: ConnectedExport, config: ClientConfig): FuseCapabilities {
  const { fcntl, flock } = locksAtServer(session, config);
  return {
    readdirplus: true,
    lookupOfDots: true,
    // The server takes these bits away.
    clearsSetIdBits: true,
    cachedSymlinks: false,
    idmappedMounts: config.kernelChecks && config.identity.idmapped === true,
    posixLocks: fcntl,
    flockLocks: flock,
  };
}

/** Locks at the server, or undefined where none go there. */
export function openLocks(
  session: ConnectedExport,
  vfs: VfsState,
  journal: ((where: LocksAt) => LockJournal) | undefined,
): Locks | undefined {
  const { lockManager, machineName } = session;
  const { config } = vfs;
  const kinds = locksAtServer(session, config);
  if (lockManager === undefined || !(kinds.fcntl || kinds.flock)) return undefined;
  // As bytes: the name of a machine need not be ASCII.
  const callerName = Buffer.from(machineName, 'utf8').toString('latin1');
  const { host, proto: protocol, resvport } = config;
  const user = ownServerIds(identityFor(config.identity));
  const noted = journal?.({ host, port: lockManager.port, protocol, callerName, resvport, user });
  const locks = new Locks(vfs, {
    rpc: lockManager.rpc,
    callerName,
    connectionless: config.proto === 'udp',
    credential: ownCredential(config.identity),
    failsWhenLost: config.lockLost === 'eio',
    hearsGrants: config.lockCallback,
    journal: vfs.records === undefined ? noted : vfs.records.lockNotes(noted),
    random: () => randomInt(2 ** 31) / 2 ** 31,
  });
  vfs.restarts.onSeen(() => locks.restartSeen());
  return locks;
}
