/**
 * The quota of a caller as a limit of the file system (-o quotadf): df(1) and programs that look for room before they write see
 * the smaller one. Owns what is remembered of quotas, for a few seconds, and of a server that does not tell them.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import type { FuseStatfs } from '../../fuse/contract/operations.js';
import { type Quota, QuotaOwner, QuotaStatus, type QuotaUse } from '../../programs/rquota/index.js';
import type { UserCredential } from '../caller/caller.js';
import { type QuotaService, QuotaServiceError } from './quota-service.js';

/** How long a quota is believed. */
const VALID_MS = 5_000;
/** How long a server that could not tell is left alone. */
const PAUSE_MS = 60_000;
const MOST_USERS = 1024;

export interface QuotaLimitsOptions {
  readonly service: Pick<QuotaService, 'ask'>;
  /** Of the export, as the server names it. */
  readonly path: Uint8Array;
  readonly clock: Clock;
  readonly log: Logger;
}

export class QuotaLimits {
  readonly #options: QuotaLimitsOptions;
  /** By users of the server. Questions that are under way are shared. */
  readonly #known: LRUCache<number, Promise<Quota | undefined>>;
  #askAgainAt = 0;
  #told = false;

  constructor(options: QuotaLimitsOptions) {
    this.#options = options;
    this.#known = new LRUCache({
      max: MOST_USERS,
      ttl: VALID_MS,
      ttlResolution: 0,
      perf: { now: () => options.clock.now() },
    });
  }

  /** The quota that limits the caller. Undefined: none does, or nobody can tell. Never rejects. */
  of(credential: UserCredential): Promise<Quota | undefined> {
    const { uid } = credential;
    let quota = this.#known.get(uid);
    if (quota === undefined) {
      quota = this.#ask(credential);
      this.#known.set(uid, quota);
    }
    return quota;
  }

  async #ask(credential: UserCredential): Promise<Quota | undefined> {
    const { service, path, clock, log } = this.#options;
    if (clock.now() < this.#askAgainAt) return undefined;
    try {
      const result = await service.ask(credential, (quotas) =>
        quotas.quota(path, QuotaOwner.USER, credential.uid),
      );
      return result?.status === QuotaStatus.OK && result.quota.active ? result.quota : undefined;
    } catch (error) {
      this.#askAgainAt = clock.now() + PAUSE_MS;
      if (!this.#told) log.warn(`${reasonOf(error)}: df shows the file system without quotas. Said once.`);
      this.#told = true;
      return undefined;
    }
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof QuotaServiceError) return error.message;
  return `Asking for quotas failed: ${error instanceof Error ? error.message : String(error)}`;
}

/**
 * A file system as a user with this quota sees it. The soft limit counts before the hard one, and nothing is free beyond
 * it, as for project quotas in Linux (ext4_statfs_project).
 */
export function withinQuota(statfs: FuseStatfs, { blockSize, blocks, files }: Quota): FuseStatfs {
  const [frsize, size] = [BigInt(statfs.frsize), BigInt(blockSize)];
  const space = roomIn(blocks, size);
  const names = roomIn(files, 1n);
  return {
    ...statfs,
    ...(space && {
      blocks: least(statfs.blocks, space.limit / frsize),
      bfree: least(statfs.bfree, space.left / frsize),
      bavail: least(statfs.bavail, space.left / frsize),
    }),
    ...(names && { files: least(statfs.files, names.limit), ffree: least(statfs.ffree, names.left) }),
  };
}

/** In units of which one of the quota's has `size`. Undefined: there is no limit. */
function roomIn({ used, softLimit, hardLimit }: QuotaUse, size: bigint) {
  const limit = softLimit > 0 && hardLimit > 0 ? Math.min(softLimit, hardLimit) : softLimit + hardLimit;
  if (limit === 0) return undefined;
  return { limit: BigInt(limit) * size, left: BigInt(Math.max(0, limit - used)) * size };
}

function least(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}
