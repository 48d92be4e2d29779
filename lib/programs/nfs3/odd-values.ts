/**
 * Values in replies that no server should send. They are mended or left out, so that the rest of a directory stays
 * readable. Owns their count over all servers that this process talks to; for a mount, that is one server.
 */

export interface OddValues {
  /** Times of 10^9 nanoseconds or more, shown as the last nanosecond of their second. */
  nanoseconds: number;
  /** Attributes whose file type is none of the seven (RFC 1813 2.5 ftype3): they count as not sent. */
  fileTypes: number;
  /** Handles of directory entries longer than the protocol allows: they count as not sent. */
  handles: number;
  /** Names in directories that programs cannot use: empty, too long, with "/" or NUL. They are left out. */
  names: number;
}

/** These counts only grow. */
export const oddValues: OddValues = { nanoseconds: 0, fileTypes: 0, handles: 0, names: 0 };
