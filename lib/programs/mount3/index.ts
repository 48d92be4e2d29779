/** MOUNT version 3 (RFC 1813 section 5). */

export { MountRefused } from './mount-refused.js';
export { Mount3Client } from './mount3-client.js';
export * as mountProcedures from './procedures.js';
export { MOUNT_PROGRAM } from './procedures.js';
export {
  type ExportEntry,
  MNTNAMLEN,
  MNTPATHLEN,
  type MountGrant,
  type MountListEntry,
  type MountResult,
  MountStatus,
  mountStatusName,
} from './types.js';
