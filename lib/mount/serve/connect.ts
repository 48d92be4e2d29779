/** Connects the client proper with an export. */
import type { Logger } from '../../base/log.js';
import type { CreationIntents, FuseOperations } from '../../fuse/index.js';
import type { RpcClientOptions } from '../../rpc/index.js';
import { outOfReach } from '../../vfs/caller/own-identity.js';
import type { ClientConfig } from '../../vfs/config.js';
import { CacheFolder } from '../../vfs/disk-cache/cache-folder.js';
import { NfsFileSystem } from '../../vfs/filesystem.js';
import { recordedExport } from '../../vfs/handover/export-record.js';
import type { HandoverOptions } from '../../vfs/handover/handover.js';
import { rehearseRecords } from '../../vfs/handover/inode-records.js';
import type { QuotaReport, QuotaWish } from '../../vfs/quota/quota-report.js';
import { type QuotaAsker, QuotaReporter } from '../../vfs/quota/quota-reporter.js';
import { QuotaService } from '../../vfs/quota/quota-service.js';
import { ExportSession } from '../../vfs/remote/export-session.js';
import { quotaFailure } from '../failure/quota-failure.js';
import { summarize, type Unwritten } from '../failure/unwritten.js';
import { hearLockGrants, type LockGrants } from './lock-grants.js';
import type { LockNoteFile } from './lock-note-file.js';
import { type MountStats, mountStats } from './mount-stats.js';

/** A file system that is connected with its server. */
export interface ConnectedFileSystem {
  readonly operations: FuseOperations;
  /**
   * Writes back what is dirty, says good-bye to the server, and closes the connections. Never rejects: the log names
   * what could not be written back.
   */
  shutdown(): Promise<void>;
  /** The number of files whose unwritten data died with an earlier process. The log names each of them. */
  readonly filesLost: number;
  /** Another process is about to go on with what is open and locked here. Call it when everything is written back. */
  letGo(): void;
  /** Writes back what was written so far, and goes on. Resolves with a line for each file that lost data. */
  writeBack(): Promise<readonly string[]>;
  /** The number of files that have lost data when no program could be told. The log names each of them. */
  losses(): number;
  /** The data that would be lost if the process ended now. */
  unwritten(): Unwritten;
  stats(): MountStats;
  /** The quota that is wanted, by default those that concern the asker. @throws UserError */
  quotas(asker: QuotaAsker, wish: QuotaWish | undefined): Promise<QuotaReport>;
}

export interface ConnectOptions {
  readonly log: Logger;
  /** Absolute, without symbolic links. */
  readonly mountpoint: string;
  /** Gets a line for every remote call. */
  readonly trace?: ((line: string) => void) | undefined;
  /** Where locks are noted that the server may hold. */
  readonly lockJournal?: LockNoteFile | undefined;
  /** The state that the next process finds, or that this one goes on with. */
  readonly handover?: HandoverOptions | undefined;
  /** Foresees which lookups need not be sent. */
  readonly intents?: CreationIntents | undefined;
  /** Awaited when the server has answered, before anything is done with the state. */
  readonly mayGoOn?: (() => Promise<void>) | undefined;
  /** See MountSettings. */
  readonly collectGarbage?: (() => void) | undefined;
}

/**
 * Throws what ExportSession.connect throws, UserError for a folder that is not fit for the cache on the local disk, and
 * RecordsError for a state that nobody can go on with.
 */
export async function connectFileSystem(
  config: ClientConfig,
  { log, mountpoint, trace, collectGarbage, lockJournal, handover, intents, mayGoOn }: ConnectOptions,
): Promise<ConnectedFileSystem> {
  const servedSince = performance.now();
  const rpc: Partial<RpcClientOptions> = { trace };
  const known = handover?.isTakeover === true ? recordedExport(handover.memory) : undefined;
  const cacheFolder = await openCacheFolder(
    config,
    mountpoint,
    handover?.isTakeover === true ? log : undefined,
  );
  const quotaService = new QuotaService(config, rpc);
  const quotas = new QuotaReporter(config, quotaService);
  const connecting = ExportSession.connect(config, { log, rpc, known });
  // Programs wait for a process that takes over.
  if (handover?.isTakeover === false) rehearseRecords(handover.memory);
  const session = await connecting.catch(async (error: unknown) => {
    await cacheFolder?.close();
    throw error;
  });
  let fileSystem: NfsFileSystem | undefined;
  let grants: LockGrants | undefined;
  try {
    await mayGoOn?.();
    fileSystem = new NfsFileSystem(session, config, {
      log,
      collectGarbage,
      cacheFolder,
      lockJournal: lockJournal && ((where) => lockJournal.locksAreAt(where)),
      handover,
      intents,
      quotaService,
    });
    await fileSystem.takeUp();
    grants = await hearLockGrants(config, session, fileSystem, log);
  } catch (error) {
    // The next attempt needs all that an earlier process had open, and what ends with this one must not end its records.
    if (handover?.isTakeover === true) handover.memory.freeze();
    if (handover?.isTakeover === true || fileSystem === undefined) await session.close();
    else await fileSystem.shutdown();
    await cacheFolder?.close();
    throw error;
  }
  const { rootAttributes } = session;
  const opened = fileSystem;
  const lost = opened.counters.losses;
  const own = outOfReach(config.identity, rootAttributes);
  if (own !== undefined && handover?.isTakeover !== true)
    log.warn(
      'The exported directory belongs to somebody whom this user namespace does not have ' +
        `(${rootAttributes.uid}:${rootAttributes.gid}): the kernel lets nobody change it, although the server would. ` +
        `With -o uid=${own.uid},gid=${own.gid} others’ files are shown as your own, and the server alone decides.`,
    );
  return {
    operations: opened,
    filesLost: lost,
    shutdown: async () => {
      await opened.shutdown();
      await grants?.close();
      lockJournal?.close(true);
    },
    writeBack: () => opened.writeBack(),
    letGo: () => lockJournal?.close(false),
    losses: () => opened.counters.losses,
    unwritten: () => summarize(opened.unwritten()),
    stats: () => mountStats(session, opened, config, servedSince),
    quotas: (asker, wish) =>
      quotas.report(asker, wish).catch((error: unknown) => Promise.reject(quotaFailure(error))),
  };
}

/** `onWithout`: programs wait for a mount that is there already; without its cache it is slower, and nothing else. */
async function openCacheFolder(
  { diskCache }: ClientConfig,
  mountpoint: string,
  onWithout: Logger | undefined,
): Promise<CacheFolder | undefined> {
  if (diskCache === undefined) return undefined;
  try {
    return await CacheFolder.open(diskCache.folder, mountpoint);
  } catch (error) {
    if (onWithout === undefined) throw error;
    onWithout.warn(`${error instanceof Error ? error.message : String(error)} The mount goes on without it.`);
    return undefined;
  }
}
