/** rquota, versions 1 and 2: how much a user or a group may store on a server, and stores. */

export * as quotaProcedures from './procedures.js';
export { RQUOTA_V1, RQUOTA_V2 } from './procedures.js';
export { RquotaClient } from './rquota-client.js';
export {
  MAX_QUOTA_PATH,
  type Quota,
  type QuotaArguments,
  QuotaOwner,
  type QuotaResult,
  QuotaStatus,
  type QuotaUse,
  type UserQuotaArguments,
} from './types.js';
