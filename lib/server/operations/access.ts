/** Permission to read, write and search: the kernel decides, or the mode bits where the kernel cannot be asked. */
import { constants } from 'node:os';
import type { ServedUser } from '../served-users.js';
import { AT_EMPTY_PATH, accessAt, EMPTY_PATH } from '../system-calls-at.js';
import type { FileStat } from '../tree/file-stat.js';
import type { ExportedTree } from '../tree/tree.js';

export const MAY_READ = 4;
export const MAY_WRITE = 2;
export const MAY_EXECUTE = 1;

/** POSIX.1 4.7, without access control lists: for kernels before 5.8. */
function modeBitsAllow(caller: ServedUser, stat: FileStat, wanted: number): boolean {
  if (caller.uid === 0) return (wanted & MAY_EXECUTE) === 0 || (stat.mode & 0o111) !== 0;
  let bits = stat.mode;
  if (caller.uid === stat.uid) bits >>= 6;
  else if (caller.gid === stat.gid || caller.groups.includes(stat.gid)) bits >>= 3;
  return (bits & wanted) === wanted;
}

/** Whether the caller has all of the wanted permissions on the object behind a descriptor (O_PATH will do). */
export function isAllowed(
  tree: ExportedTree,
  caller: ServedUser,
  stat: FileStat,
  descriptor: number,
  wanted: number,
): boolean {
  const result = tree.callers.as(caller, () => accessAt(descriptor, EMPTY_PATH, wanted, AT_EMPTY_PATH));
  if (result === -constants.errno.ENOSYS || result === -constants.errno.EPERM) {
    return modeBitsAllow(caller, stat, wanted);
  }
  return result === 0;
}
