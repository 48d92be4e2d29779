/** A setattr request that changes nothing: tests add what they change. */
import type { SetAttributes } from '../../../lib/fuse/contract/operations.js';

export const NO_CHANGES: SetAttributes = {
  mode: undefined,
  uid: undefined,
  gid: undefined,
  size: undefined,
  atime: undefined,
  mtime: undefined,
  fh: undefined,
};
