/** How long a name may be, in bytes. Owns the refusal of longer ones before the server is asked. */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { FileName } from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';
import { NAME_MAX, type TransferLimits } from '../config.js';
import type { KernelReplies } from '../kernel/kernel-replies.js';

/** The parts of the mount that this needs. */
export interface NameLimitNeeds {
  readonly limits: TransferLimits;
  readonly replies: KernelReplies;
}

/**
 * The limit that PATHCONF told for the export's root, where it told one. It does not hold for another file system that
 * the server has mounted below: names there are refused by the server itself.
 */
function limitIn(vfs: NameLimitNeeds, directory: Inode): number {
  const { attributes } = directory;
  const elsewhere = attributes !== undefined && attributes.fsid !== vfs.replies.rootFsid;
  return elsewhere ? NAME_MAX : vfs.limits.nameMax;
}

/**
 * Throws ENAMETOOLONG for a name that cannot be in the directory (Linux nfs_lookup does the same). Servers do not
 * agree on the error: some answer NFS3ERR_ACCES, NFS3ERR_IO or NFS3ERR_NOENT, or cannot decode the call.
 */
export function checkNameLength(vfs: NameLimitNeeds, directory: Inode, name: FileName): void {
  if (name.length <= NAME_MAX && name.length <= limitIn(vfs, directory)) return;
  throw new FuseError(Errno.ENAMETOOLONG, `a name of ${name.length} bytes`);
}
