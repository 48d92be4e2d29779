/** A call that changes one file (WRITE, COMMIT, SETATTR), with what its reply says of the file's attributes. */
import { type FileHandle, Status, type WccData } from '../../programs/nfs3/index.js';
import type { CallStart } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { VfsState } from '../vfs-state.js';

/**
 * Answers the call's result, whatever its status, and when the call that was answered began. `told`: success is
 * answered to the kernel with the attributes as they are then.
 */
export async function changeFile<Result extends { readonly status: Status; readonly wcc: WccData }>(
  vfs: VfsState,
  inode: Inode,
  caller: Caller,
  call: (file: FileHandle) => Promise<Result>,
  told = false,
): Promise<{ readonly result: Result; readonly start: CallStart }> {
  const { attributes, redriver } = vfs;
  attributes.beginChange(inode);
  let start = attributes.start();
  let result: Result | undefined;
  try {
    result = await redriver.run(inode, caller, (file) => {
      start = attributes.start();
      return call(file);
    });
    return { result, start };
  } finally {
    const terms = { trusting: true, told: told && result?.status === Status.OK };
    attributes.endChange(inode, result?.wcc, start, terms);
  }
}
