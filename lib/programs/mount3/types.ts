/** The MOUNT protocol's constants and types (RFC 1813 section 5). */
import type { FileHandle } from '../nfs3/file-handle.js';

/** Bytes of a path and of a name (RFC 1813 5.1.4). */
export const MNTPATHLEN = 1024;
export const MNTNAMLEN = 255;

/** mountstat3 (RFC 1813 5.1.5). */
export const MountStatus = {
  OK: 0,
  PERM: 1,
  NOENT: 2,
  IO: 5,
  ACCES: 13,
  NOTDIR: 20,
  INVAL: 22,
  NAMETOOLONG: 63,
  NOTSUPP: 10004,
  SERVERFAULT: 10006,
} as const;
export type MountStatus = (typeof MountStatus)[keyof typeof MountStatus];

const STATUS_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(MountStatus).map(([name, value]) => [value, name === 'OK' ? 'MNT3_OK' : `MNT3ERR_${name}`]),
);

export function isMountStatus(value: number): value is MountStatus {
  return STATUS_NAMES.has(value);
}

/** As the RFC spells it: "MNT3ERR_ACCES". */
export function mountStatusName(status: MountStatus): string {
  return STATUS_NAMES.get(status) ?? `mountstat3 ${status}`;
}

/** mountres3_ok: the handle of the exported directory, and the RPC flavors it may be used with. */
export interface MountGrant {
  readonly handle: FileHandle;
  readonly flavors: readonly number[];
}

export type MountResult =
  | { readonly status: typeof MountStatus.OK; readonly grant: MountGrant }
  | { readonly status: Exclude<MountStatus, typeof MountStatus.OK> };

/** One entry of DUMP: who has mounted what, as far as the server remembers. */
export interface MountListEntry {
  readonly hostname: Buffer;
  readonly directory: Buffer;
}

/** One entry of EXPORT. No groups: everybody may mount. */
export interface ExportEntry {
  readonly directory: Buffer;
  readonly groups: readonly Buffer[];
}
