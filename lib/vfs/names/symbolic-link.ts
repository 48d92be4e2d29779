/** The target of a symbolic link: asked for, and followed where it stays within the mount. */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import {
  type FileHandle,
  type FileName,
  fileNameFromBytes,
  READLINK,
  type ReadlinkResult,
  Status,
} from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { Exchange } from '../remote/exchange.js';
import { ofObject } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import type { Redriver } from '../remote/redrive.js';

/** The parts of the mount that this needs. */
export interface SymbolicLinkNeeds {
  readonly exchange: Exchange;
  readonly nfs: NfsClient;
  readonly redriver: Redriver;
}

/** PATH_MAX of Linux without the NUL: no longer target can be followed, or comes through readlink(2). */
const LONGEST_TARGET = 4095;

/** READLINK. Throws ENAMETOOLONG for a target that no program could follow, and what the server says. */
export async function readTarget(vfs: SymbolicLinkNeeds, inode: Inode, caller: Caller): Promise<Buffer> {
  const { exchange, nfs, redriver } = vfs;
  const call = (symlink: FileHandle): Promise<ReadlinkResult> => nfs.call(READLINK, { symlink }, caller);
  const { result } = await exchange.ask(inode, caller, call, ofObject);
  if (result.status !== Status.OK) throw redriver.reportFailure(result, [inode], caller);
  // Linux's NFS client says so of such a target (nfs3xdr.c), and FUSE has no room for it.
  if (result.target.length > LONGEST_TARGET) throw new FuseError(Errno.ENAMETOOLONG);
  return result.target;
}

/**
 * The names on the way from the link's directory to what it leads to. Undefined: only the kernel can follow it, from the
 * root of the caller's own namespace.
 */
export function stepsOf(target: Buffer): readonly FileName[] | undefined {
  const path = fileNameFromBytes(target);
  return path.startsWith('/') ? undefined : (path.split('/') as FileName[]).filter((name) => name.length > 0);
}
