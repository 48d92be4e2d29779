/** Numbers of NFS version 3 (RFC 1813): program, procedures, statuses, bits and limits. */
import type { Program } from '../../rpc/wire/procedure.js';

export const NFS_PROGRAM: Program = { number: 100003, version: 3, name: 'NFS' };
export const NFS_PORT = 2049;

/** RFC 1813 2.4. */
export const MAX_FILE_HANDLE = 64;
export const COOKIE_VERIFIER_SIZE = 8;
export const CREATE_VERIFIER_SIZE = 8;
export const WRITE_VERIFIER_SIZE = 8;
/** RFC 1813 sets no limit to names and link texts. These limits bound what a hostile peer can make us allocate. */
export const MAX_NAME = 1024;
export const MAX_PATH = 4096;
/** No message of this program carries more data than this. */
export const MAX_DATA = 4 * 1024 * 1024;

/** nfsstat3 (RFC 1813 2.6). */
export const Status = {
  OK: 0,
  PERM: 1,
  NOENT: 2,
  IO: 5,
  NXIO: 6,
  ACCES: 13,
  EXIST: 17,
  XDEV: 18,
  NODEV: 19,
  NOTDIR: 20,
  ISDIR: 21,
  INVAL: 22,
  FBIG: 27,
  NOSPC: 28,
  ROFS: 30,
  MLINK: 31,
  NAMETOOLONG: 63,
  NOTEMPTY: 66,
  DQUOT: 69,
  STALE: 70,
  REMOTE: 71,
  BADHANDLE: 10001,
  NOT_SYNC: 10002,
  BAD_COOKIE: 10003,
  NOTSUPP: 10004,
  TOOSMALL: 10005,
  SERVERFAULT: 10006,
  BADTYPE: 10007,
  JUKEBOX: 10008,
} as const;
export type Status = (typeof Status)[keyof typeof Status];
export type ErrorStatus = Exclude<Status, 0>;

const statusNames = new Map<number, string>(Object.entries(Status).map(([name, value]) => [value, name]));

export function isStatus(value: number): value is Status {
  return statusNames.has(value);
}

/** "NFS3ERR_STALE" for 70. */
export function statusName(status: number): string {
  const name = statusNames.get(status);
  if (name === undefined) return `NFS status ${status}`;
  return name === 'OK' ? 'NFS3_OK' : `NFS3ERR_${name}`;
}

/** ftype3 (RFC 1813 2.5). */
export const FileType = { REG: 1, DIR: 2, BLK: 3, CHR: 4, LNK: 5, SOCK: 6, FIFO: 7 } as const;
export type FileType = (typeof FileType)[keyof typeof FileType];

/** ACCESS3 bits (RFC 1813 3.3.4). */
export const Access = {
  READ: 0x01,
  LOOKUP: 0x02,
  MODIFY: 0x04,
  EXTEND: 0x08,
  DELETE: 0x10,
  EXECUTE: 0x20,
} as const;

/** stable_how (RFC 1813 3.3.7). */
export const StableHow = { UNSTABLE: 0, DATA_SYNC: 1, FILE_SYNC: 2 } as const;
export type StableHow = (typeof StableHow)[keyof typeof StableHow];

/** createmode3 (RFC 1813 3.3.8). */
export const CreateMode = { UNCHECKED: 0, GUARDED: 1, EXCLUSIVE: 2 } as const;

/** time_how (RFC 1813 2.5). */
export const TimeHow = { DONT_CHANGE: 0, SET_TO_SERVER_TIME: 1, SET_TO_CLIENT_TIME: 2 } as const;

/** FSINFO properties (RFC 1813 3.3.19). */
export const FsProperty = { LINK: 0x01, SYMLINK: 0x02, HOMOGENEOUS: 0x08, CANSETTIME: 0x10 } as const;

/** The names of the procedures. Their numbers are the indices (RFC 1813 3.3). */
export const PROCEDURE_NAMES = [
  'NULL',
  'GETATTR',
  'SETATTR',
  'LOOKUP',
  'ACCESS',
  'READLINK',
  'READ',
  'WRITE',
  'CREATE',
  'MKDIR',
  'SYMLINK',
  'MKNOD',
  'REMOVE',
  'RMDIR',
  'RENAME',
  'LINK',
  'READDIR',
  'READDIRPLUS',
  'FSSTAT',
  'FSINFO',
  'PATHCONF',
  'COMMIT',
] as const;
export type ProcedureName = (typeof PROCEDURE_NAMES)[number];
