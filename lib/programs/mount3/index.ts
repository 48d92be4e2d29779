/** MOUNT version 3 (RFC 1813 section 5). */
export { Mount3Client } from './client.js';
export { MountError } from './mount-refused.js';
export * as mountProcedures from './procedures.js';
export { MOUNT_PROGRAM } from './procedures.js';
export {
  type ExportEntry,
  MNTNAMLEN,
  MNTPATHLEN,
  type MountEntry,
  type MountGrant,
  type MountResult,
  MountStatus,
  mountStatusName,
} from './types.js';
