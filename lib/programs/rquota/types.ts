/**
 * The constants and types of rquota, by which a server tells how much a user may store. No RFC describes it: version 1 is
 * Sun's (rpcsvc/rquota.x), version 2 is that of Linux and the BSDs, which knows groups as well.
 */

/** RQ_PATHLEN: bytes of a path. */
export const MAX_QUOTA_PATH = 1024;

/** gqr_status. */
export const QuotaStatus = {
  OK: 1,
  /** There are no quotas for this path, or none for this user. */
  NOQUOTA: 2,
  /** The caller may not know. */
  EPERM: 3,
} as const;
export type QuotaStatus = (typeof QuotaStatus)[keyof typeof QuotaStatus];

/** gqa_type of version 2: whose quota it is. */
export const QuotaOwner = { USER: 0, GROUP: 1 } as const;
export type QuotaOwner = (typeof QuotaOwner)[keyof typeof QuotaOwner];

/** getquota_args: the arguments of version 1. */
export interface UserQuotaArguments {
  /** Of the export, as the server names it. */
  readonly path: Uint8Array;
  /** Of the server. */
  readonly uid: number;
}

/** ext_getquota_args: the arguments of version 2. */
export interface QuotaArguments {
  /** Of the export, as the server names it. */
  readonly path: Uint8Array;
  readonly owner: QuotaOwner;
  /** Of the server. */
  readonly id: number;
}

/** How many blocks or files are used, and how many may be. A limit of 0: there is none. */
export interface QuotaUse {
  readonly used: number;
  readonly softLimit: number;
  readonly hardLimit: number;
  /**
   * Seconds until the soft limit counts as the hard one; negative: since then. It means nothing below the soft limit. Some servers
   * send the time at which that happens.
   */
  readonly timeLeft: number;
}

/** rquota. */
export interface Quota {
  /** Bytes of a block, as blocks are counted here. */
  readonly blockSize: number;
  /** The limits are enforced. */
  readonly active: boolean;
  readonly blocks: QuotaUse;
  readonly files: QuotaUse;
}

/** getquota_rslt. */
export type QuotaResult =
  | { readonly status: typeof QuotaStatus.OK; readonly quota: Quota }
  | { readonly status: Exclude<QuotaStatus, typeof QuotaStatus.OK> };
