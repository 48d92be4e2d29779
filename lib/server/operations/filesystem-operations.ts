/** FSSTAT, FSINFO, PATHCONF. */
import { statfsSync } from 'node:fs';
import {
  type FilesystemArguments,
  type FsinfoResult,
  FsProperty,
  type FsstatResult,
  type PathconfResult,
  Status,
} from '../../programs/nfs3/index.js';
import { statusOfError } from '../status-error.js';
import type { FileStat } from '../tree/file-stat.js';
import type { ServedObject } from '../tree/served-object.js';
import type { ExportedTree } from '../tree/tree.js';

const NAME_MAX = 255;
/** That of ext4, the smallest one of the common file systems. */
const LINK_MAX = 65000;
/** Offsets are exact up to here in Node's fs. */
const MAX_FILE_SIZE = BigInt(Number.MAX_SAFE_INTEGER);

function answer<Body>(
  tree: ExportedTree,
  { object }: FilesystemArguments,
  body: (inode: ServedObject) => Body,
):
  | (Body & { status: typeof Status.OK; attributes: FileStat })
  | { status: ReturnType<typeof statusOfError>; attributes: FileStat | undefined } {
  let inode: ServedObject | undefined;
  try {
    inode = tree.table.get(object);
    const attributes = tree.stat(inode);
    return { status: Status.OK, attributes, ...body(inode) };
  } catch (error) {
    return { status: statusOfError(error), attributes: tree.tryStat(inode) };
  }
}

export function fsstat(tree: ExportedTree, args: FilesystemArguments): FsstatResult {
  return answer(tree, args, (inode) => {
    // Any directory identifies the file system that it is in.
    const directory = inode.isDirectory ? inode : (inode.links[0]?.directory ?? tree.table.root);
    const descriptor = tree.table.openDirectory(directory);
    const s = statfsSync(`/proc/self/fd/${descriptor}`, { bigint: true });
    return {
      totalBytes: s.blocks * s.bsize,
      freeBytes: s.bfree * s.bsize,
      availableBytes: s.bavail * s.bsize,
      totalFiles: s.files,
      freeFiles: s.ffree,
      availableFiles: s.ffree,
      invariantSeconds: 0,
    };
  });
}

export function fsinfo(tree: ExportedTree, args: FilesystemArguments): FsinfoResult {
  return answer(tree, args, () => ({
    ...tree.options.limits,
    rtmult: 4096,
    wtmult: 4096,
    maxFileSize: MAX_FILE_SIZE,
    timeDelta: { seconds: 0, nanoseconds: 1 },
    properties: FsProperty.LINK | FsProperty.SYMLINK | FsProperty.HOMOGENEOUS | FsProperty.CANSETTIME,
  }));
}

export function pathconf(tree: ExportedTree, args: FilesystemArguments): PathconfResult {
  return answer(tree, args, () => ({
    linkMax: LINK_MAX,
    nameMax: NAME_MAX,
    noTrunc: true,
    chownRestricted: true,
    caseInsensitive: false,
    casePreserving: true,
  }));
}
