/** A call that changes one file (WRITE, COMMIT, SETATTR), with what its reply says of the file's attributes. */
import type { FileHandle, Status, WccData } from '../nfs3/index.js';
import type { CallStart } from './attribute-cache.js';
import type { Caller } from './caller.js';
import type { Inode } from './inode.js';
import type { VfsState } from './vfs-state.js';

/** Answers the call's result, whatever its status, and when the call that was answered began. */
export async function changeFile<Result extends { readonly status: Status; readonly wcc: WccData }>(
  vfs: VfsState,
  inode: Inode,
  caller: Caller,
  call: (file: FileHandle) => Promise<Result>,
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
    attributes.endChange(inode, result?.wcc, start, true);
  }
}
