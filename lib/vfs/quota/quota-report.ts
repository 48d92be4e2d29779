/**
 * The report about quotas that goes from the process of a mount to `nfs-fuse quota`: its shape, how it is made of the server's answers,
 * and how the command reads it.
 */
import { isRecord } from '../../base/json.js';
import type { Quota, QuotaUse } from '../../programs/rquota/index.js';

/** The user or group whose quota is wanted, by this machine's number. */
export interface QuotaWish {
  readonly kind: 'user' | 'group';
  readonly id: number;
}

/** As `nfs-fuse quota --json` prints it. A limit of 0: there is none. */
export interface ReportedUse {
  readonly used: number;
  readonly soft: number;
  readonly hard: number;
  /** Seconds until the soft limit counts as the hard one, 0 from then on. Null: less is used, or the server does not tell. */
  readonly graceSeconds: number | null;
}

/** One quota, as `nfs-fuse quota --json` prints it. */
export interface ReportedQuota extends QuotaWish {
  readonly serverId: number;
  /** `none`: the server has no quota for it. `refused`: it does not tell this caller. `unknown`: it knows no quotas of groups. */
  readonly result: 'quota' | 'none' | 'refused' | 'unknown';
  readonly enforced?: boolean | undefined;
  /** Bytes of a block. */
  readonly blockSize?: number | undefined;
  readonly blocks?: ReportedUse | undefined;
  readonly files?: ReportedUse | undefined;
}

/** `unmapped`: the server has no such user or group, by the rules of this mount. */
export type QuotaReport = { readonly quotas: readonly ReportedQuota[] } | { readonly unmapped: QuotaWish };

/** The part of a report that the server has answered. `now`: milliseconds since 1970. */
export function reportedQuota({ active, blockSize, blocks, files }: Quota, now: number) {
  return { enforced: active, blockSize, blocks: reportedUse(blocks, now), files: reportedUse(files, now) };
}

/** Nobody is given so long a grace, 34 years: it is a time since 1970. */
const IS_TIME = 2 ** 30;

function reportedUse({ used, softLimit, hardLimit, timeLeft }: QuotaUse, now: number): ReportedUse {
  const isOver = softLimit > 0 && used > softLimit && timeLeft !== 0;
  const seconds = timeLeft >= IS_TIME ? timeLeft - Math.floor(now / 1000) : timeLeft;
  return { used, soft: softLimit, hard: hardLimit, graceSeconds: isOver ? Math.max(0, seconds) : null };
}

/** A report that has come from another process. Undefined: it is none. */
export function quotaReportIn(value: unknown): QuotaReport | undefined {
  if (!isRecord(value)) return undefined;
  if (isWish(value.unmapped)) return { unmapped: value.unmapped };
  const { quotas } = value;
  return Array.isArray(quotas) && quotas.every(isReportedQuota) ? { quotas } : undefined;
}

/** Whether a value from outside names a user or a group. */
export function isWish(value: unknown): value is QuotaWish {
  return isRecord(value) && (value.kind === 'user' || value.kind === 'group') && isCount(value.id);
}

function isReportedQuota(value: unknown): value is ReportedQuota {
  if (!isRecord(value) || !isWish(value) || !isCount(value.serverId)) return false;
  const { result, enforced, blockSize, blocks, files } = value;
  if (result === 'none' || result === 'refused' || result === 'unknown') return true;
  const isWhole = typeof enforced === 'boolean' && isCount(blockSize) && isUse(blocks) && isUse(files);
  return result === 'quota' && isWhole;
}

function isUse(value: unknown): value is ReportedUse {
  if (!isRecord(value)) return false;
  const { used, soft, hard, graceSeconds } = value;
  return [used, soft, hard].every(isCount) && (graceSeconds === null || isCount(graceSeconds));
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}
