/** The targets of paths, in the node ids of FUSE's low-level protocol. */
import type { EntryReply, NodeId } from '../fuse/contract/operations.js';

/** A node that a path leads to. */
export interface Resolved {
  readonly nodeid: NodeId;
  /**
   * The result of its lookup. Undefined for the root and for hidden files, which are neither looked up nor forgotten.
   */
  readonly entry: EntryReply | undefined;
}

export interface ResolvedParent {
  readonly parent: NodeId;
  readonly name: Buffer;
}
